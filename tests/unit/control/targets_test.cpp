// The target grammar.
#include "control/rules/targets.hpp"

#include <gtest/gtest.h>

#include "tests/support/parameter_names.hpp"

namespace chaos::rules {
namespace {

using abi::term_kind;

term only(const std::string& text) {
  const auto t = parse_target(text);
  EXPECT_TRUE(t) << text << ": " << (t ? "" : t.error().message);
  return t ? t->terms.at(0) : term{};
}

TEST(Target, NamesWithPorts) {
  const term t = only("Redis:6379");
  EXPECT_EQ(t.kind, term_kind::hostname);
  EXPECT_EQ(t.text, "redis");
  EXPECT_EQ(t.port_low, 6379);
  EXPECT_EQ(t.port_high, 6379);
  EXPECT_EQ(parse_target("redis:6379")->hostnames(), std::vector<std::string>{"redis"});
  EXPECT_TRUE(parse_target("*.example.com:443")->hostnames().empty()) << "a glob can not be resolved";
}

TEST(Target, IPv4IsMapped) {
  const term t = only("10.1.2.3/8:5432-5433");
  EXPECT_EQ(t.kind, term_kind::cidr);
  EXPECT_EQ(t.prefix, 104);
  EXPECT_EQ(t.address[10], 0xff);
  EXPECT_EQ(t.address[12], 10);
  EXPECT_EQ(t.address[13], 0) << "bits beyond the prefix do not count";
  EXPECT_EQ(t.port_low, 5432);
  EXPECT_EQ(t.port_high, 5433);
  EXPECT_EQ(only("127.0.0.1").prefix, 128);
}

TEST(Target, IPv6StandsInBracketsWhenAPortFollows) {
  const term t = only("[2001:db8::/32]:80");
  EXPECT_EQ(t.kind, term_kind::cidr);
  EXPECT_EQ(t.prefix, 32);
  EXPECT_EQ(t.port_low, 80);
  EXPECT_EQ(only("::1").prefix, 128);
  EXPECT_EQ(only("[::1]").port_high, 65535);
}

TEST(Target, OtherSubjects) {
  EXPECT_EQ(only("*:6379").kind, term_kind::cidr);
  EXPECT_EQ(only("*:6379").prefix, 0);
  EXPECT_EQ(only("unix:/run/app/*.sock").text, "/run/app/*.sock");
  EXPECT_EQ(only("unix:@abstract").text, "@abstract");
  EXPECT_EQ(only("listen:8080").kind, term_kind::listen);
  EXPECT_EQ(only("udp://*:53").over, abi::transport::datagram);
  EXPECT_EQ(only("tcp://redis:6379").over, abi::transport::stream);
  EXPECT_EQ(only("file:/var/lib/app/**").kind, term_kind::file_path);
  EXPECT_EQ(only("fd:3").port_low, 3);
  EXPECT_EQ(only("malloc").kind, term_kind::memory);
  EXPECT_EQ(only("dns:*.example.com").kind, term_kind::dns_name);
  EXPECT_EQ(only("env:DATABASE_URL").kind, term_kind::environment);
  EXPECT_EQ(only("process").kind, term_kind::process);
}

TEST(Target, RequestsByPath) {
  const term t = only("http://shop:8080/api/*");
  EXPECT_TRUE(t.http);
  EXPECT_EQ(t.kind, term_kind::hostname);
  EXPECT_EQ(t.port_low, 8080);
  EXPECT_EQ(t.path, "/api/*");
  EXPECT_EQ(t.over, abi::transport::stream);
  EXPECT_EQ(only("http://[::1]:80/x").kind, term_kind::cidr);
  EXPECT_EQ(only("http://listen:8080/x").kind, term_kind::listen);
  EXPECT_EQ(only("http://*/health").kind, term_kind::everything);
  EXPECT_EQ(only("http://shop").path, "");
  const auto several = parse_target("http://shop,!http://shop/health");
  ASSERT_TRUE(several);
  EXPECT_EQ(several->sort, target_sort::http);
  EXPECT_TRUE(parse_target("http://*")->hits_everything);
  EXPECT_FALSE(parse_target("http://*/api/*")->hits_everything);
}

TEST(Target, ListsAndExclusions) {
  const auto t = parse_target("10.0.0.0/8, !10.1.0.0/16");
  ASSERT_TRUE(t);
  ASSERT_EQ(t->terms.size(), 2u);
  EXPECT_TRUE(t->terms[1].exclude);
  EXPECT_FALSE(t->hits_everything);
  EXPECT_EQ(t->normalised, "10.0.0.0/8,!10.1.0.0/16");
  const auto only_not = parse_target("!10.0.0.0/8");
  ASSERT_TRUE(only_not);
  EXPECT_EQ(only_not->terms[0].kind, term_kind::everything);
  EXPECT_TRUE(only_not->hits_everything);
}

TEST(Target, KnowsWhatHitsEverything) {
  for (const char* text : {"*", "*:*", "0.0.0.0/0", "::/0", "tcp://*", "file:/**", "unix:*", "listen:*", "redis:6379,*"})
    EXPECT_TRUE(parse_target(text)->hits_everything) << text;
  for (const char* text : {"*:80", "0.0.0.0/0:80", "file:/tmp/**", "udp://*:53", "malloc", "dns:*"})
    EXPECT_FALSE(parse_target(text)->hits_everything) << text;
}

class BadTarget : public testing::TestWithParam<const char*> {};
TEST_P(BadTarget, IsRefusedAndSaysWhichWord) {
  const auto t = parse_target(GetParam());
  ASSERT_FALSE(t) << GetParam();
  EXPECT_FALSE(t.error().message.empty());
}
INSTANTIATE_TEST_SUITE_P(All, BadTarget,
                         testing::Values("", ",", "redis:6379,", "!", "redis:", ":6379", "redis:0", "redis:65536", "redis:http", "redis:80-70",
                                         "redis:80-", "redis:-80", "10.0.0.0/33", "10.0.0/8", "10.0.0.256", "2001:db8::/129", "[2001:db8::1", "[nope]:80",
                                         "[::1]80", "[::1]:", "2001:db8::1:99999:x", "ftp://redis", "https://x:443/y", "http://", "http:///x", "http://file:/x", "http://x:80/a#b", "http://x,redis:1", "udp://", "udp://file:/x",
                                         "file:relative", "file:", "unix:relative.sock", "unix:", "listen:", "listen:abc", "fd:", "fd:x", "fd:-1", "fd:70000",
                                         "env:", "env:A=B", "env:A*", "dns:", "a b:80", "redis:6379,file:/x", "malloc,redis:1", "re/dis:80"), testing_support::parameter_name);

TEST(Target, HasRoomFor24Parts) {
  std::string text = "a:1";
  for (int i = 0; i < 23; ++i) text += ",a:1";
  EXPECT_TRUE(parse_target(text));
  EXPECT_FALSE(parse_target(text + ",a:1"));
}

}  // namespace
}  // namespace chaos::rules
