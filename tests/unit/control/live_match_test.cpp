// Which live connections a closing rule means, from canned text of /proc. Beside them: what must not be broken at once.
#include <gtest/gtest.h>

#include "control/proc/match.hpp"
#include "control/rules/rule_spec.hpp"

namespace {

using namespace chaos;

constexpr const char* tcp_text =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                                                     \n"
    "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 111 1 0000000000000000 100 0 0 10 0                     \n"
    "   1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 222 1 0000000000000000 20 4 30 10 -1                    \n"
    "   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 333 1 0000000000000000 20 4 30 10 -1                    \n"
    "   3: 0100000A:C351 0200000A:1538 08 00000000:00000001 00:00000000 00000000  1000        0 444 1 0000000000000000 20 4 30 10 -1                    \n"
    "   4: 0100007F:C352 0100007F:1F90 06 00000000:00000000 03:00000F00 00000000     0        0 0 3 0000000000000000                                     \n"
    "   5: 0100007F:C353 0100007F:1F90 02 00000001:00000000 01:00000064 00000000  1000        0 555 2 0000000000000000 100 0 0 10 -1                    \n"
    "garbage\n   6: XYZ 0100007F:1F90 01 a b c d e 9\n"
    "   7: 0100007F:C354 0100007F:1F90 01 00000000:00000000 00:00000000 0000";

constexpr const char* tcp6_text =
    "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: 00000000000000000000000001000000:C355 00000000000000000000000001000000:18EB 01 00000000:00000000 00:00000000 00000000  1000        0 666 1 0 20 4 30 10 -1\n"
    "   1: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000100007F:C356 01 00000000:00000000 00:00000000 00000000  1000        0 777 1 0 20 4 30 10 -1\n";

proc::tcp_row row_of(std::uint64_t inode) {
  for (const char* text : {tcp_text, tcp6_text})
    for (const proc::tcp_row& row : proc::parse_tcp(text))
      if (row.inode == inode) return row;
  ADD_FAILURE() << "no row " << inode;
  return {};
}

rules::compiled_rule rule(std::vector<std::string> words, rules::address_book names = {}) {
  const auto spec = rules::spec_from_words(words);
  EXPECT_TRUE(spec) << (spec ? "" : spec.error().message);
  rules::compile_setting setting;
  setting.id = 1;
  setting.names = &names;
  auto compiled = rules::compile(*spec, setting);
  EXPECT_TRUE(compiled) << (compiled ? "" : compiled.error().message);
  return *compiled;
}

std::vector<std::uint64_t> meant(const rules::compiled_rule& r) {
  std::vector<std::uint64_t> inodes;
  for (const char* text : {tcp_text, tcp6_text})
    for (const proc::tcp_row& row : proc::parse_tcp(text))
      if (row.connected() && proc::means_connection(r.rule, row)) inodes.push_back(row.inode);
  return inodes;
}

using inodes = std::vector<std::uint64_t>;

TEST(ProcTcp, ReadsRowsAndPassesOverWhatMakesNoSense) {
  const auto rows = proc::parse_tcp(tcp_text);
  ASSERT_EQ(rows.size(), 6u);
  EXPECT_EQ(proc::text_of(rows[1].local, rows[1].local_port), "127.0.0.1:50000");
  EXPECT_EQ(proc::text_of(rows[1].remote, rows[1].remote_port), "127.0.0.1:8080");
  EXPECT_EQ(rows[1].uid, 1000u);
  EXPECT_EQ(rows[0].state, proc::tcp_state::listen);
  EXPECT_EQ(proc::parse_tcp("").size(), 0u);
  EXPECT_EQ(proc::parse_tcp(tcp_text, 2).size(), 2u);
}

TEST(ProcTcp, SixthVersionAndMappedFourth) {
  const auto rows = proc::parse_tcp(tcp6_text);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(proc::text_of(rows[0].remote, rows[0].remote_port), "[::1]:6379");
  EXPECT_EQ(proc::text_of(rows[1].remote, rows[1].remote_port), "127.0.0.1:50006");
}

TEST(ProcTcp, OnlyConnectionsWithAPeerCanBeBroken) {
  EXPECT_FALSE(row_of(111).connected()) << "a listener";
  EXPECT_TRUE(row_of(222).connected());
  EXPECT_TRUE(row_of(444).connected()) << "half closed by the peer";
  EXPECT_FALSE(row_of(555).connected()) << "still connecting";
}

TEST(ProcTcp, InodesOfSocketsOnly) {
  EXPECT_EQ(proc::socket_inode("socket:[4711]"), 4711u);
  for (const char* other : {"pipe:[4711]", "socket:[]", "socket:[12", "socket:[x]", "/tmp/socket:[1]", "socket:[1]x", ""}) EXPECT_EQ(proc::socket_inode(other), 0u) << other;
}

TEST(LiveMatch, ByRemoteEnd) {
  EXPECT_EQ(meant(rule({"down", "127.0.0.1:8080"})), inodes{222});
  EXPECT_EQ(meant(rule({"down", "10.0.0.0/8"})), inodes{444});
  EXPECT_EQ(meant(rule({"down", "10.0.0.0/8:8080"})), inodes{});
  EXPECT_EQ(meant(rule({"down", "[::1]:6379"})), inodes{666});
  EXPECT_EQ(meant(rule({"down", "*", "--everything"})), (inodes{222, 333, 444, 666, 777}));
  EXPECT_EQ(meant(rule({"down", "127.0.0.1:8080,10.0.0.0/8,!10.0.0.2"})), inodes{222});
}

TEST(LiveMatch, ByPortThatAcceptedThem) { EXPECT_EQ(meant(rule({"reset_peer", "listen:8080"})), (inodes{333, 777})); }

TEST(LiveMatch, ByNameAsResolved) {
  rules::ip_address redis{};
  redis[15] = 1;
  EXPECT_EQ(meant(rule({"reset_peer", "redis:6379"}, {{"redis", {redis}}})), inodes{666});
  EXPECT_EQ(meant(rule({"reset_peer", "redis:6379"})), inodes{});
}

TEST(LiveMatch, DatagramAndUnixTargetsMeanNoTcp) {
  EXPECT_EQ(meant(rule({"down", "udp://*:8080"})), inodes{});
  EXPECT_EQ(meant(rule({"reset_peer", "unix:/run/*.sock"})), inodes{});
}

TEST(LiveMatch, ByDescriptor) {
  const auto r = rule({"reset_peer", "fd:3"});
  EXPECT_TRUE(proc::means_connection(r.rule, row_of(222), 3));
  EXPECT_FALSE(proc::means_connection(r.rule, row_of(222), 4));
  EXPECT_FALSE(proc::means_connection(r.rule, row_of(222)));
}

TEST(LiveMatch, ByProcess) {
  const proc::process_names p{100, 7, "worker", "/usr/sbin/nginx"};
  for (const char* glob : {"nginx", "/usr/*", "work*", "*", "n?inx"}) EXPECT_TRUE(proc::means_process(rule({"down", "127.0.0.1:1", "--process", glob}), p)) << glob;
  for (const char* glob : {"redis", "ngin", "worker2", "?"}) EXPECT_FALSE(proc::means_process(rule({"down", "127.0.0.1:1", "--process", glob}), p)) << glob;
  EXPECT_TRUE(proc::means_process(rule({"down", "127.0.0.1:1", "--pid", "100"}), p));
  EXPECT_FALSE(proc::means_process(rule({"down", "127.0.0.1:1", "--pid", "101"}), p));
  auto of_run = rule({"down", "127.0.0.1:1"});
  of_run.rule.run = 7;
  EXPECT_TRUE(proc::means_process(of_run, p));
  of_run.rule.run = 8;
  EXPECT_FALSE(proc::means_process(of_run, p));
}

TEST(LiveMatch, OnlyClosingRulesThatNothingNarrowsBreakLiveConnections) {
  const auto breaks = [](std::vector<std::string> words) { return proc::breaks_live(rule(std::move(words)).rule); };
  EXPECT_TRUE(breaks({"down", "127.0.0.1:1"}));
  EXPECT_TRUE(breaks({"down", "127.0.0.1:1", "--how", "refuse", "--process", "x", "--pid", "3"}));
  EXPECT_TRUE(breaks({"reset_peer", "listen:80"}));
  EXPECT_FALSE(breaks({"latency", "127.0.0.1:1", "1ms"}));
  EXPECT_FALSE(breaks({"error", "127.0.0.1:1", "ECONNRESET"}));
  EXPECT_TRUE(breaks({"reset_peer", "127.0.0.1:1", "1s"})) << "then";
  EXPECT_FALSE(breaks({"reset_peer", "127.0.0.1:1,!redis"})) << "whom the target knows as redis, only the target knows";
  for (const char* how : {"unreachable", "blackhole"}) EXPECT_FALSE(breaks({"down", "127.0.0.1:1", "--how", how})) << how;
  for (const std::vector<std::string>& narrow : std::vector<std::vector<std::string>>{
           {"--probability", "99%"}, {"--toxicity", "50%"}, {"--when", "1+"}, {"--when", "XO"}, {"--times", "1"}, {"--after", "1KB"}, {"--space", "1KB"},
           {"--size", "..1KB"}, {"--caller", "x"}, {"--stack", "x"}, {"--thread", "x"}, {"--on", "recv"}, {"--on", "stream_in"}, {"--direction", "up"}, {"--dry-run"}}) {
    std::vector<std::string> words{"reset_peer", "127.0.0.1:1"};
    words.insert(words.end(), narrow.begin(), narrow.end());
    EXPECT_FALSE(breaks(words)) << narrow[0];
  }
  auto paused = rule({"down", "127.0.0.1:1"});
  paused.rule.paused = 1;
  EXPECT_FALSE(proc::breaks_live(paused.rule));
}

}  // namespace
