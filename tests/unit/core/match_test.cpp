// Targets: which endpoint a term includes, exclusions, and offsets of a hostile page.
#include "support.hpp"

#include <cstring>

#include "preload/core/match.hpp"

namespace chaos::core {
namespace {

struct builder {
  abi::rule rule = plain_rule(1, abi::effect::latency);
  std::unique_ptr<abi::rule_bank> bank = std::make_unique<abi::rule_bank>();
  std::uint32_t used = 1;

  abi::target_term& add(abi::term_kind kind, bool exclude = false) {
    abi::target_term& t = rule.terms[rule.term_count++];
    t.kind = kind;
    t.exclude = exclude;
    t.port_high = 65535;
    return t;
  }
  abi::target_term& v4(const char (&bytes)[5], unsigned bits, bool exclude = false) {
    abi::target_term& t = add(abi::term_kind::cidr, exclude);
    t.address[10] = t.address[11] = 0xff;
    std::memcpy(t.address + 12, bytes, 4);
    t.prefix = static_cast<std::uint8_t>(96 + bits);
    return t;
  }
  abi::target_term& text(abi::term_kind kind, const char* s) {
    abi::target_term& t = add(kind);
    t.text = used;
    std::strcpy(bank->text + used, s);
    used += static_cast<std::uint32_t>(std::strlen(s)) + 1;
    return t;
  }
  bool matches(const endpoint& e, hostname_lookup names = nullptr) const { return target_matches(rule, *bank, e, names); }
};

endpoint remote(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d, std::uint16_t port) {
  endpoint e;
  e.has_remote = true;
  e.over = abi::transport::stream;
  e.remote[10] = e.remote[11] = 0xff;
  e.remote[12] = a, e.remote[13] = b, e.remote[14] = c, e.remote[15] = d;
  e.remote_port = port;
  return e;
}

TEST(Match, CidrCountsPrefixBitsExactly) {
  for (unsigned bits = 0; bits <= 32; ++bits) {
    builder b;
    b.v4({10, 20, 30, 40, 0}, bits);
    EXPECT_TRUE(b.matches(remote(10, 20, 30, 40, 1)));
    for (unsigned flip = 0; flip < 32; ++flip) {
      endpoint e = remote(10, 20, 30, 40, 1);
      e.remote[12 + flip / 8] ^= static_cast<std::uint8_t>(0x80 >> (flip % 8));
      EXPECT_EQ(b.matches(e), flip >= bits) << bits << " bits, bit " << flip << " differs";
    }
  }
}

TEST(Match, APrefixBeyondTheAddressMatchesNothing) {
  builder b;
  b.v4({10, 0, 0, 1, 0}, 32).prefix = 200;
  EXPECT_FALSE(b.matches(remote(10, 0, 0, 1, 1)));
}

TEST(Match, PortsAreARange) {
  builder b;
  auto& t = b.v4({10, 0, 0, 0, 0}, 8);
  t.port_low = 80;
  t.port_high = 90;
  for (const auto& [port, inside] : {std::pair{79, false}, {80, true}, {85, true}, {90, true}, {91, false}})
    EXPECT_EQ(b.matches(remote(10, 1, 1, 1, static_cast<std::uint16_t>(port))), inside) << port;
}

TEST(Match, TransportNarrows) {
  builder b;
  b.v4({10, 0, 0, 0, 0}, 8).over = abi::transport::datagram;
  EXPECT_FALSE(b.matches(remote(10, 1, 1, 1, 53)));
  endpoint e = remote(10, 1, 1, 1, 53);
  e.over = abi::transport::datagram;
  EXPECT_TRUE(b.matches(e));
}

TEST(Match, ExclusionsWinWhateverTheirPlace) {
  builder first, last;
  first.v4({10, 1, 0, 0, 0}, 16, true);
  first.v4({10, 0, 0, 0, 0}, 8);
  last.v4({10, 0, 0, 0, 0}, 8);
  last.v4({10, 1, 0, 0, 0}, 16, true);
  for (const builder* b : {&first, &last}) {
    EXPECT_TRUE(b->matches(remote(10, 2, 0, 1, 1)));
    EXPECT_FALSE(b->matches(remote(10, 1, 0, 1, 1)));
    EXPECT_FALSE(b->matches(remote(11, 2, 0, 1, 1)));
  }
}

TEST(Match, OnlyExclusionsMeanEverythingElse) {
  builder b;
  b.v4({10, 0, 0, 0, 0}, 8, true);
  EXPECT_TRUE(b.matches(remote(11, 0, 0, 1, 1)));
  EXPECT_FALSE(b.matches(remote(10, 0, 0, 1, 1)));
}

TEST(Match, NoTermsMatchNothing) { EXPECT_FALSE(builder{}.matches(remote(10, 0, 0, 1, 1))); }

TEST(Match, UnknownPartsMatchNothingThatAsksForThem) {
  const endpoint nothing;
  for (const auto kind : {abi::term_kind::cidr, abi::term_kind::hostname, abi::term_kind::listen, abi::term_kind::unix_path,
                          abi::term_kind::file_path, abi::term_kind::descriptor, abi::term_kind::memory, abi::term_kind::dns_name,
                          abi::term_kind::environment, abi::term_kind::none}) {
    builder b;
    b.add(kind);
    EXPECT_FALSE(b.matches(nothing, [](const std::uint8_t (&)[16], const char*) { return true; })) << static_cast<int>(kind);
  }
  for (const auto kind : {abi::term_kind::process, abi::term_kind::everything}) {
    builder b;
    b.add(kind);
    EXPECT_TRUE(b.matches(nothing));
  }
}

TEST(Match, NamesAskTheLookUpTable) {
  builder b;
  b.text(abi::term_kind::hostname, "redis");
  EXPECT_TRUE(b.matches(remote(10, 0, 0, 1, 1), [](const std::uint8_t (&a)[16], const char* g) { return a[12] == 10 && !std::strcmp(g, "redis"); }));
  EXPECT_FALSE(b.matches(remote(10, 0, 0, 1, 1), [](const std::uint8_t (&)[16], const char*) { return false; }));
  EXPECT_FALSE(b.matches(remote(10, 0, 0, 1, 1)));
}

TEST(Match, TextsAreGlobsOfTheirKind) {
  builder file, socket, dns;
  file.text(abi::term_kind::file_path, "/var/*/x");
  socket.text(abi::term_kind::unix_path, "@chaos*");
  dns.text(abi::term_kind::dns_name, "*.example.com");
  endpoint e;
  e.file_path = "/var/a/x";
  e.unix_path = "@chaos-1";
  e.name = "WWW.example.com";
  EXPECT_TRUE(file.matches(e));
  EXPECT_TRUE(socket.matches(e));
  EXPECT_TRUE(dns.matches(e));
  e.file_path = "/var/a/b/x";
  e.unix_path = "/chaos-1";
  e.name = "example.com";
  EXPECT_FALSE(file.matches(e));
  EXPECT_FALSE(socket.matches(e));
  EXPECT_FALSE(dns.matches(e));
}

TEST(Match, AHostilePageNeverReadsBeyondItsPool) {
  builder b;
  auto& t = b.add(abi::term_kind::file_path);
  endpoint e;
  e.file_path = "/x";
  for (const std::uint32_t offset : {abi::text_pool_bytes, abi::text_pool_bytes + 1, ~0u}) {
    t.text = offset;
    EXPECT_FALSE(b.matches(e));
  }
  t.kind = static_cast<abi::term_kind>(250);
  EXPECT_FALSE(b.matches(e));
  b.rule.term_count = 255;  // more than there is room for
  EXPECT_FALSE(b.matches(e));
}

}  // namespace
}  // namespace chaos::core
