// The daemon over its real socket: every command, and clients that misbehave.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "daemon_process.hpp"

namespace chaos::testing_support {
namespace {

using rules::problem_code;
using words = std::vector<std::string>;

class Socket : public daemon_process {
 protected:
  void SetUp() override {
    std::string text;
    ASSERT_EQ(start({}, &text), 0) << text;
  }
};

TEST_F(Socket, SetListRm) {
  const json rule = set({"latency", "127.0.0.1:6379", "200ms", "--jitter", "5ms", "--for", "1min"});
  EXPECT_EQ(rule["id"], 1);
  EXPECT_EQ(rule["name"], "latency-1");
  const json list = good(command::list)["rules"];
  ASSERT_EQ(list.size(), 1u);
  for (const char* field : {"id", "name", "kind", "target", "matched", "fired", "delayed_ns", "remaining_ms", "paused", "dry_run"})
    EXPECT_TRUE(list[0].contains(field)) << field;
  EXPECT_EQ(list[0]["never_matched"], true);
  EXPECT_EQ(good(command::rm, {{"words", {"1"}}})["ids"], json::array({1}));
  EXPECT_EQ(state_of(1), "ended: removed");
}

TEST_F(Socket, RulesAreChosenByIdNameKindAndTargetOrAll) {
  set({"latency", "127.0.0.1:1", "1ms", "--name", "one", "--forever"});
  set({"latency", "127.0.0.1:2", "1ms", "--forever"});
  set({"loss", "127.0.0.1:2", "1%", "--forever"});
  EXPECT_EQ(good(command::pause, {{"words", {"one"}}})["ids"], json::array({1}));
  EXPECT_EQ(state_of(1), "paused");
  EXPECT_EQ(good(command::resume, {{"id", 1}})["ids"], json::array({1}));
  EXPECT_EQ(good(command::pause, {{"words", {"latency", "127.0.0.1:2"}}})["ids"], json::array({2}));
  EXPECT_EQ(good(command::rm, {{"words", {"1", "loss-3"}}})["ids"], json::array({1, 3}));
  EXPECT_EQ(good(command::rm, {{"all", true}})["ids"], json::array({2}));
  EXPECT_EQ(bad(command::rm, {{"words", {"one"}}}).code, problem_code::not_found);
  EXPECT_EQ(bad(command::rm).code, problem_code::missing_word);
  EXPECT_EQ(bad(command::rm, {{"words", {"latency", "redis:"}}}).code, problem_code::bad_target);
}

TEST_F(Socket, DefaultLifeIsSaidInAWarning) {
  const auto r = ask(command::set, {{"words", {"observe", "127.0.0.1:1"}}});
  ASSERT_TRUE(r);
  ASSERT_EQ(r->warnings.size(), 1u);
  EXPECT_NE(r->warnings[0].find("10min"), std::string::npos);
  EXPECT_TRUE(ask(command::set, {{"words", {"observe", "127.0.0.1:1", "--forever"}}})->warnings.empty());
}

TEST_F(Socket, ApplyIsAllOrNothingAndSaveGivesItBack) {
  const std::string ini = "[fault slow]\nkind = latency\ntarget = 127.0.0.1:1\nvalue = 1ms\n\n[fault lossy]\nkind = loss\ntarget = 127.0.0.1:1\nvalue = 1%\n";
  EXPECT_EQ(good(command::apply, {{"ini", ini}})["rules"].size(), 2u);
  EXPECT_EQ(good(command::save)["ini"], ini);
  EXPECT_EQ(bad(command::apply, {{"ini", ini + "\n[fault third]\nkind = latency\ntarget = a:1\nvalue = 5\n"}}).code, problem_code::bad_value);
  EXPECT_EQ(bad(command::apply, {{"ini", ""}}).code, problem_code::bad_ini);
  EXPECT_EQ(good(command::save)["ini"], ini);
}

TEST_F(Socket, CheckChangesNothing) {
  EXPECT_EQ(good(command::check, {{"words", {"latency", "a:1", "0.2s"}}})["text"], "latency a:1 200ms");
  EXPECT_EQ(bad(command::check, {{"words", {"latency", "a:1", "2"}}}).code, problem_code::bad_value);
  EXPECT_TRUE(good(command::list)["rules"].empty());
}

TEST_F(Socket, StopEndsEverything) {
  set({"latency", "127.0.0.1:1", "1ms"});
  set({"loss", "127.0.0.1:1", "1%"});
  EXPECT_EQ(good(command::stop)["ended"], 2);
  EXPECT_EQ(good(command::status)["armed_classes"], 0);
}

TEST_F(Socket, StatusAndStatsHaveTheirFields) {
  const json status = good(command::status);
  for (const char* field : {"pid", "version", "session", "lease_ms", "http"}) EXPECT_TRUE(status.contains(field)) << field;
  EXPECT_GT(status["lease_ms"], 1000);
  if (!sanitized) {
    EXPECT_LE(status["memory_kib"], 20 * 1024);
  }
  const json stats = good(command::stats);
  for (const char* field : {"rules", "processes", "events_lost", "events_published"}) EXPECT_TRUE(stats.contains(field)) << field;
  EXPECT_TRUE(good(command::ps)["processes"].empty());
}

TEST_F(Socket, RulesOfARunEndWithItsRoot) {
  const pid_t root = fork();
  if (root == 0) {
    pause();
    _exit(0);
  }
  const json begun = good(command::run_begin, {{"pid", root}, {"rules", {{"latency", "127.0.0.1:1", "1ms"}, {{"kind", "loss"}, {"target", "127.0.0.1:1"}, {"value", "1%"}}}}});
  EXPECT_EQ(begun["run"], 1);
  ASSERT_EQ(begun["ids"].size(), 2u);
  EXPECT_EQ(good(command::list)["rules"][0]["run"], 1);
  EXPECT_TRUE(good(command::list)["rules"][0]["remaining_ms"].is_null());
  EXPECT_EQ(good(command::save)["rules"], 0) << "they are nobody else's";
  kill(root, SIGKILL);
  waitpid(root, nullptr, 0);
  EXPECT_TRUE(wait_until([&] { return state_of(begun["ids"][0]) == "ended: its run ended"; }));
  EXPECT_EQ(bad(command::run_begin, {{"pid", root}, {"rules", json::array()}}).code, problem_code::not_found);
  EXPECT_EQ(bad(command::run_begin, {{"pid", getpid()}, {"rules", {{"latency", "a:1", "1"}}}}).code, problem_code::bad_value);
}

TEST_F(Socket, RulesEndWithTheirOwner) {
  const pid_t owner = fork();
  if (owner == 0) {
    pause();
    _exit(0);
  }
  set({"observe", "127.0.0.1:1", "--owner", std::to_string(owner), "--forever"});
  kill(owner, SIGKILL);
  waitpid(owner, nullptr, 0);
  EXPECT_TRUE(wait_until([&] { return state_of(1) == "ended: its owner ended"; }));
  EXPECT_EQ(bad(command::set, {{"words", {"observe", "127.0.0.1:1", "--owner", std::to_string(owner)}}}).code, problem_code::not_found);
}

TEST_F(Socket, RulesEndWhenTheirTimeIsUp) {
  set({"observe", "127.0.0.1:1", "--for", "100ms"});
  EXPECT_TRUE(wait_until([&] { return state_of(1) == "ended: expired"; }));
  EXPECT_TRUE(wait_until([&] { return good(command::status)["armed_classes"] == 0; })) << "what keeps books lingers for 5 s";
}

TEST_F(Socket, AProcessThatDoesNotAttachIsReported) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], 2);
    close(ends[0]);
    pause();
    _exit(0);
  }
  close(ends[1]);
  ASSERT_TRUE(wait_until([&] { return std::filesystem::read_symlink("/proc/" + std::to_string(child) + "/fd/2") == std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(ends[0])); }));
  good(command::expect_attach, {{"pid", child}, {"timeout_ms", 1}, {"tell_stderr", true}});
  EXPECT_TRUE(wait_until([&] { return good(command::ps)["missing"].size() == 1; }));
  char text[512] = {};
  EXPECT_GT(read(ends[0], text, sizeof text - 1), 0);
  EXPECT_NE(std::string(text).find("did not attach"), std::string::npos);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  close(ends[0]);
}

TEST_F(Socket, ANameIsResolvedWhereItCanBeAndAWarningWhereNot) {
  EXPECT_TRUE(ask(command::set, {{"words", {"observe", "localhost:1", "--forever"}}})->warnings.empty());
  const auto r = ask(command::set, {{"words", {"observe", "no-such-host.invalid:1", "--forever"}}});
  ASSERT_TRUE(r) << "the target may know the name";
  ASSERT_EQ(r->warnings.size(), 1u);
  EXPECT_NE(r->warnings[0].find("no-such-host.invalid"), std::string::npos);
}

TEST_F(Socket, WatchStreamsEventsAndRepeatsTheLast) {
  int fd = open((folder() + "/report").c_str(), O_RDWR | O_CLOEXEC);
  const auto publish = [&](std::uint64_t ticket) {
    struct {
      std::uint64_t sequence;
      abi::event entry;
    } slot{2 * ticket + 2, {}};
    slot.entry.rule = 1;
    slot.entry.bytes = ticket;
    const std::uint64_t head = ticket + 1;
    return pwrite(fd, &slot, sizeof slot, static_cast<off_t>(offsetof(abi::report_page, ring) + ticket * sizeof slot)) > 0 &&
           pwrite(fd, &head, sizeof head, offsetof(abi::report_page, ring_head)) > 0;
  };
  set({"observe", "127.0.0.1:1", "--name", "seen"});
  ASSERT_TRUE(publish(0));
  ASSERT_TRUE(wait_until([&] { return good(command::events)["events"].size() == 1; }));
  auto watcher = connect();
  ASSERT_TRUE(watcher.call(command::watch, {{"last", 5}}));
  const auto again = watcher.read_line(std::chrono::seconds(5));
  ASSERT_TRUE(again);
  EXPECT_EQ(json::parse(*again)["bytes"], 0);
  ASSERT_TRUE(publish(1));
  const auto next = watcher.read_line(std::chrono::seconds(5));
  ASSERT_TRUE(next);
  EXPECT_EQ(json::parse(*next)["seq"], 1);
  EXPECT_EQ(json::parse(*next)["rule_name"], "seen");
  EXPECT_TRUE(wait_until([&] { return read_file(folder() + "/timeline.jsonl").find(*next) != std::string::npos; }));
  const json stats = good(command::stats);
  EXPECT_EQ(stats["events"], 2);
  EXPECT_EQ(stats["rules"][0]["events"], 2);
  close(fd);
}

TEST_F(Socket, SurvivesRequestsOfEveryWrongShape) {
  for (const char* line : {"", "x", "{}", "[]", R"({"v":1,"command":"set"})", R"({"v":1,"command":"set","words":"latency"})", R"({"v":1,"command":"set","words":[1]})",
                           R"({"v":1,"command":"set","words":{}})", R"({"v":1,"command":"set","rule":[]})", R"({"v":1,"command":"rm","words":[[]]})",
                           R"({"v":1,"command":"rm","id":"x"})", R"({"v":1,"command":"apply","ini":5})", R"({"v":1,"command":"run_begin","pid":"x"})",
                           R"({"v":1,"command":"run_begin","pid":-1})", R"({"v":1,"command":"run_begin","pid":1e300})", R"({"v":1,"command":"expect_attach"})",
                           R"({"v":1,"command":"run_begin","pid":1,"rules":[5]})"}) {
    auto c = connect();
    ASSERT_TRUE(c.send_line(std::string(line) + "\n"));
    if (*line == 0) continue;
    const auto reply = c.read_line(std::chrono::seconds(5));
    ASSERT_TRUE(reply) << line;
    EXPECT_EQ(json::parse(*reply)["ok"], false) << line << " " << *reply;
  }
  EXPECT_TRUE(good(command::list)["rules"].empty());
}

TEST_F(Socket, ALineWithoutEndIsCutOff) {
  auto c = connect();
  const std::string part(256 * 1024, 'x');
  for (int i = 0; i < 6 && c.send_line(part); ++i) {
  }
  const auto reply = c.read_line(std::chrono::seconds(5));
  if (reply) {
    EXPECT_EQ(json::parse(*reply)["error"]["code"], "bad_request");
  }
  EXPECT_EQ(good(command::status)["clients"], 1);
}

TEST_F(Socket, ThousandsOfRequestsInOneBurstAreAnsweredInOrder) {
  auto c = connect();
  std::string burst;
  for (int i = 0; i < 5000; ++i) burst += "{\"v\":1,\"command\":\"nope" + std::to_string(i) + "\"}\n";
  std::thread writer([&] { c.send_line(burst); });
  for (int i = 0; i < 5000; ++i) {
    const auto reply = c.read_line(std::chrono::seconds(10));
    ASSERT_TRUE(reply);
    ASSERT_EQ(json::parse(*reply)["error"]["word"], "nope" + std::to_string(i));
  }
  writer.join();
}

TEST_F(Socket, TooManyClientsAreToldAndTheOthersServed) {
  std::vector<protocol::client> all;
  for (std::size_t i = 0; i < protocol::client_max; ++i) all.push_back(connect());
  ASSERT_TRUE(wait_until([&] { return all.front().call(command::status)->result["clients"] == protocol::client_max; }));
  auto more = connect();
  const auto reply = more.read_line(std::chrono::seconds(5));
  ASSERT_TRUE(reply);
  EXPECT_EQ(json::parse(*reply)["error"]["code"], "too_many");
  EXPECT_TRUE(all.back().call(command::list));
}

TEST_F(Socket, AClientThatNeverReadsHoldsNobodyUp) {
  auto lazy = connect();
  std::string burst;
  for (int i = 0; i < 2000; ++i) burst += protocol::to_line(protocol::request_json(command::status));
  fcntl(lazy.fd(), F_SETFL, O_NONBLOCK);
  for (int i = 0; i < 20; ++i) lazy.send_line(burst);
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_TRUE(ask(command::list));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(2));
}

TEST_F(Socket, TenThousandChangesLeaveMemoryFlat) {
  auto c = connect();
  const auto change = [&](int n) {
    for (int i = 0; i < n; ++i) ASSERT_TRUE(c.call(command::set, {{"words", {"latency", "127.0.0.1:6379", "1ms", "--name", "x", "--forever"}}}));
  };
  change(3000);
  const auto before = good(command::status)["memory_kib"].get<std::int64_t>();
  change(7000);
  const auto after = good(command::status)["memory_kib"].get<std::int64_t>();
  if (sanitized) return;  // freed memory is kept from use, and every byte has a shadow
  EXPECT_LE(after, before + 1024);
  EXPECT_LE(after, 20 * 1024);
}

std::int32_t connected(std::uint16_t port, int family, int patience_ms) {  // errno, 0, or -1 for "still pending"
  const int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_storage to{};
  socklen_t n = 0;
  if (family == AF_INET) {
    auto& a = reinterpret_cast<sockaddr_in&>(to);
    a.sin_family = AF_INET;
    a.sin_port = htons(port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    n = sizeof a;
  } else {
    auto& a = reinterpret_cast<sockaddr_in6&>(to);
    a.sin6_family = AF_INET6;
    a.sin6_port = htons(port);
    a.sin6_addr = in6addr_loopback;
    n = sizeof a;
  }
  int outcome = connect(fd, reinterpret_cast<sockaddr*>(&to), n) < 0 ? errno : 0;
  if (outcome == EINPROGRESS) {
    pollfd wait{fd, POLLOUT, 0};
    if (poll(&wait, 1, patience_ms) == 0) outcome = -1;
    else {
      socklen_t size = sizeof outcome;
      getsockopt(fd, SOL_SOCKET, SO_ERROR, &outcome, &size);
    }
  }
  close(fd);
  return outcome;
}

TEST_F(Socket, SinksRefuseAndSwallow) {
  const json sinks = good(command::status)["sinks"];
  EXPECT_EQ(connected(sinks["refuse_v4"], AF_INET, 500), ECONNREFUSED);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(connected(sinks["blackhole_v4"], AF_INET, 50), -1);
  if (sinks["refuse_v6"] != 0) {
    EXPECT_EQ(connected(sinks["refuse_v6"], AF_INET6, 500), ECONNREFUSED);
    EXPECT_EQ(connected(sinks["blackhole_v6"], AF_INET6, 50), -1);
  }
}

}  // namespace
}  // namespace chaos::testing_support
