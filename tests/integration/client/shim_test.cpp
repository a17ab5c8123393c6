// The breaker meets the faults of libchaos.so: what the fault injector does to a real client, and what the breaker
// makes of it. Everything runs in a session of its own, which ends with the test.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "process.hpp"
#include "redis_server.hpp"

namespace {
using namespace chaos_test;
using nlohmann::json;

int count(const std::string& text, const std::string& part) {
  int n = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++n;
  return n;
}

class UnderShim : public testing::Test {
 protected:
  void SetUp() override {
    setenv("CHAOS_DIR", folder.path.c_str(), 1);
    setenv("CHAOS_SESSION", "client", 1);
  }
  void TearDown() override {
    target.reset();
    ctl({"daemon", "stop"});
    unsetenv("CHAOS_DIR");
    unsetenv("CHAOS_SESSION");
  }
  std::string ctl(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), CHAOS_CTL);
    const auto out = folder.path / ("ctl-" + std::to_string(++runs));
    process p(arguments, out);
    last_exit = p.wait();
    return p.output();
  }
  // A rule's id.
  std::string set(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"set", "--json", "--for", "2min"});
    std::rotate(arguments.begin() + 1, arguments.begin() + 4, arguments.end());
    const std::string said = ctl(arguments);
    EXPECT_EQ(last_exit, 0) << said;
    const auto at = said.find('{');
    const json j = json::parse(said.substr(at == std::string::npos ? 0 : at), nullptr, false);
    EXPECT_TRUE(j.is_object()) << said;
    return j.contains("id") ? j["id"].dump() : "";
  }
  std::uint64_t matched(const std::string& id) {
    const json all = json::parse(ctl({"list", "--json"}), nullptr, false);
    const json& rules = all.is_object() && all.contains("rules") ? all["rules"] : all;
    for (const auto& r : rules)
      if (r.is_object() && r.value("id", json()).dump() == id) return r.value("matched", std::uint64_t{0});
    ADD_FAILURE() << "no rule " << id << " in " << all.dump();
    return 0;
  }
  void start(int threads, int recovery_ms) {
    int in[2];
    ASSERT_EQ(pipe2(in, O_CLOEXEC), 0);
    target =
        std::make_unique<process>(std::vector<std::string>{CHAOS_CTL, "run", "--", TARGET, std::to_string(redis.port),
                                                           std::to_string(threads), std::to_string(recovery_ms)},
                                  folder.path / ("target-" + std::to_string(++runs)), [&] { dup2(in[0], 0); });
    close(in[0]);
    if (ask_fd >= 0) close(ask_fd);
    ask_fd = in[1];
    ASSERT_TRUE(eventually([&] { return counter("ok") > 20; })) << target->output();
  }
  ~UnderShim() override {
    if (ask_fd >= 0) close(ask_fd);
  }
  // A counter of the target, now; or after an order was obeyed.
  long counter(const std::string& name, const std::string& order = "") {
    const int before = count(target->output(), "ok ");
    const std::string line_out = order + "\n";
    if (write(ask_fd, line_out.data(), line_out.size()) != static_cast<ssize_t>(line_out.size())) return -1;
    if (!eventually([&] { return count(target->output(), "ok ") > before && target->output().back() == '\n'; }))
      return -1;
    const std::string out = target->output();
    const auto line = out.substr(out.rfind("ok "));
    const auto at = line.find(name + " ");
    return at == std::string::npos ? -1 : std::stol(line.substr(at + name.size() + 1));
  }
  bool shows(const std::string& text, int times = 1) {
    return eventually([&] { return count(target->output(), text) >= times; });
  }
  std::string endpoint() const { return "127.0.0.1:" + std::to_string(redis.port); }

  temporary_folder folder;
  redis_server redis;
  std::unique_ptr<process> target;
  int ask_fd = -1, runs = 0, last_exit = 0;
};

TEST_F(UnderShim, AResetStormOpensWithinThresholdPlusCallsInFlight) {
  constexpr int threads = 4;
  start(threads, 60'000);
  // A call in flight when the rule comes may still succeed, and a success begins the count of failures anew.
  ASSERT_EQ(counter("failed", "hold"), 0);
  set({"error", endpoint(), "ECONNRESET"});
  ASSERT_GE(counter("failed", "go"), 0);
  ASSERT_TRUE(shows("closed -> open (consecutive_failures)")) << target->output();
  const long failed = counter("failed"), late = counter("late");
  EXPECT_EQ(failed, 5) << "exactly failure_threshold are counted";
  EXPECT_LE(failed + late, 5 + threads) << "and no more were made than were in flight";
}

TEST_F(UnderShim, WhileOpenNotOneSyscallGoesToTheEndpoint) {
  start(4, 60'000);
  const auto control = set({"observe", endpoint()});
  ASSERT_TRUE(eventually([&] { return matched(control) > 0; })) << "while closed the rule sees the calls";
  ctl({"rm", control});
  const auto error = set({"error", endpoint(), "ECONNRESET"});
  ASSERT_TRUE(shows("closed -> open")) << target->output();
  // The calls that were in flight when it opened have ended when their verdicts are in.
  ASSERT_TRUE(eventually([&] { return counter("rejected") > 100; }));
  ctl({"rm", error});
  const auto observe = set({"observe", endpoint()});
  const long before = counter("rejected");
  ASSERT_TRUE(eventually([&] { return counter("rejected") > before + 500; }));
  EXPECT_EQ(matched(observe), 0u);
}

TEST_F(UnderShim, ClosesWithinRecoveryAndPermitsOnceTheFaultIsGone) {
  start(4, 100);
  const auto error = set({"error", endpoint(), "ECONNRESET"});
  ASSERT_TRUE(shows("half_open -> open (probe_failed)", 2)) << target->output();
  ctl({"rm", error});
  const auto start = std::chrono::steady_clock::now();
  ASSERT_TRUE(shows("half_open -> closed (probes_succeeded)")) << target->output();
  EXPECT_LT(std::chrono::steady_clock::now() - start, 1s) << "recovery 100 ms and one probe";
}

TEST_F(UnderShim, AnInjectedHangOfTheProbeDoesNotWedgeHalfOpen) {
  start(8, 100);
  const auto error = set({"error", endpoint(), "ECONNRESET"});
  ASSERT_TRUE(shows("closed -> open")) << target->output();
  const auto hang = set({"latency", endpoint(), "100s"});
  ctl({"rm", error});
  // Each probe hangs; each time the breaker gives it up and tries another thread's. A wedged one would stay here.
  ASSERT_TRUE(shows("half_open -> open (probe_timeout)", 3)) << target->output();
  ctl({"rm", hang});
  ASSERT_TRUE(shows("half_open -> closed (probes_succeeded)")) << target->output();
  ASSERT_TRUE(eventually([&] { return counter("late") >= 1; })) << "the hung probes came back at last, and were late";
}

TEST_F(UnderShim, TransitionsStandOnTheTimelineBesideTheInjections) {
  start(2, 60'000);
  set({"error", endpoint(), "ECONNRESET"});
  ASSERT_TRUE(shows("closed -> open")) << target->output();
  const auto timeline = [&] {
    std::ifstream in(folder.path / "client" / "timeline.jsonl");
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const std::string note = "target: closed -> open (consecutive_failures)";
  ASSERT_TRUE(eventually([&] { return timeline().find(note) != std::string::npos; })) << timeline();
  const std::string all = timeline();
  EXPECT_GE(count(all.substr(0, all.find(note)), "\"effect\":\"error\""), 5) << "after the injections that caused it";
  EXPECT_NE(all.find("target: rejected while open"), std::string::npos);
}

}  // namespace
