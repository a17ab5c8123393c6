// The file of a schedule: what is understood, what is refused, and what stands in it when it says nothing.
#include "control/schedule/plan.hpp"

#include <gtest/gtest.h>

namespace {

using namespace chaos::schedule;
using namespace std::chrono_literals;

const std::string head = "[schedule]\nname = s\n";
const std::string service = "[target shop]\nprocess = shop\nrestart = true\n";

auto read(const std::string& text) {
  return parse_plan(text, [](const std::string& name) -> std::optional<std::string> { return name == "CHAOS_INTERVAL" ? std::optional<std::string>("90") : std::nullopt; });
}

TEST(SchedulePlan, DefaultsAreThoseOfTheSchedulerThatThisFollows) {
  const auto p = read(head + service);
  ASSERT_TRUE(p) << p.error().message;
  EXPECT_TRUE(p->enabled);
  EXPECT_EQ(p->interval, 3min);
  EXPECT_EQ(p->start_wait, 1min);
  EXPECT_EQ(p->recovery, 30s);
  EXPECT_EQ(p->minimum_interval, 1min);
  ASSERT_EQ(p->scenarios.size(), 3u);
  EXPECT_EQ(p->scenarios[0].name, "crash");
  EXPECT_EQ(p->scenarios[0].weight, 30u);
  EXPECT_EQ(p->scenarios[1].mode, "slow");
  EXPECT_EQ(p->scenarios[1].weight, 40u);
  EXPECT_EQ(p->scenarios[2].rules[0], "unset env:DATABASE_URL");
  EXPECT_EQ(p->scenarios[2].weight, 30u);
  EXPECT_TRUE(p->scenarios[2].restart);
}

TEST(SchedulePlan, EverythingCanBeSaid) {
  const auto p = read(R"([schedule]
name = nightly
interval = ${CHAOS_INTERVAL:-180}s
minimum_interval = 30s
jitter = 10s
start_wait = 0s
recovery = 20s
command_timeout = 5s
count = 7
seed = 42
enabled = false
state_file = /tmp/state.json
[health]
check = http://127.0.0.1:1/healthz
timeout = 500ms
widen = 3
interval_max = 10min
[audit]
file = /tmp/audit.jsonl
syslog = true
[notify]
command = cat
webhook = http://127.0.0.1:2/hook
timeout = 1s
[target a]
process = shop*
start = ./a &
restart = ./again
state_file = /tmp/a.json
[target b]
[scenario slow]
weight = 2
rule = latency *:6379 {10..30}ms
rule = error file:/var/lib/** EIO --times {1..3}
recovery = 5s
mode = sluggish
targets = a
[scenario own]
command = touch /tmp/x
undo = rm /tmp/x
restart = false
)");
  ASSERT_TRUE(p) << p.error().message;
  EXPECT_EQ(p->interval, 90s);
  EXPECT_EQ(*p->seed, 42u);
  EXPECT_EQ(p->count, 7u);
  EXPECT_FALSE(p->enabled);
  EXPECT_EQ(p->widen, 3u);
  EXPECT_TRUE(p->syslog);
  ASSERT_EQ(p->scenarios.size(), 2u);
  EXPECT_EQ(p->scenarios[0].rules.size(), 2u);
  EXPECT_EQ(p->recovery_of(p->scenarios[0]), 5s);
  EXPECT_EQ(p->recovery_of(p->scenarios[1]), 20s);
  EXPECT_EQ(p->targets_of(p->scenarios[0]).size(), 1u);
  EXPECT_EQ(p->targets_of(p->scenarios[1]).size(), 2u);
}

TEST(SchedulePlan, RulesConcernTheProcessesOfTheirTarget) {
  const target t{"a", "shop*", "", "", ""};
  EXPECT_EQ(spec_of("pause process 1s", &t, "n")->get(chaos::rules::option::process_), "shop*");
  EXPECT_EQ(spec_of("pause process 1s --process other", &t, "n")->get(chaos::rules::option::process_), "other");
  EXPECT_FALSE(spec_of("pause process 1s --pid 7", &t, "n")->has(chaos::rules::option::process_));
  EXPECT_EQ(spec_of("pause process 1s", nullptr, "n")->get(chaos::rules::option::name_), "n");
}

TEST(SchedulePlan, WrongFilesAreRefusedWithLineAndWord) {
  const std::string rule = "[scenario x]\nrule = ";
  const struct {
    std::string text;
    const char* said;
  } rows[] = {
      {"", "there is no [schedule]"},
      {"[shedule]\n", "did you mean 'schedule'"},
      {"[schedule x]\n", "unknown section"},
      {head + "intervall = 1min\n", "line 3: unknown key of [schedule] 'intervall': did you mean 'interval'?"},
      {head + "interval = 5\n", "line 3: interval: '5' has no unit"},
      {head + "interval = 30s\n", "shorter than minimum_interval"},
      {head + "jitter = 5min\n", "jitter is more than the interval"},
      {head + "recovery = 5min\n" + service, "longer (recovery) than the interval"},
      {head + "seed = x\n", "seed"},
      {head + "count = 0\n", "count"},
      {head + "enabled = yes\n", "enabled"},
      {head + "state_file = relative.json\n", "not an absolute path"},
      {head + "name = second\n", "stands twice"},
      {head + "[target]\n", "a name is missing"},
      {head + "[target a b]\n", "[target a b]"},
      {head + "[target a]\nstart = ./a\n", "start needs process"},
      {head + "[notify]\nwebhook = https://x\n", "curl"},
      {head + "[health]\nwiden = 0\n", "widen"},
      {head + rule + "latancy *:1 1ms\n", "line 3: [scenario x]: unknown kind 'latancy': did you mean 'latency'?"},
      {head + rule + "latency *:1 1\n", "has no unit"},
      {head + rule + "latency *:1 {30..10}ms\n", "{30..10}"},
      {head + rule + "latency *:1 {1..x}ms\n", "{1..x}"},
      {head + rule + "latency *:1 {1\n", "{1"},
      {head + rule + "latency *:1 1ms --forever\n", "--forever has no meaning"},
      {head + rule + "latency *:1 1ms --name q\n", "--name has no meaning"},
      {head + rule + "latency '*:1\n", "never closed"},
      {head + "[scenario x]\n", "it does nothing"},
      {head + "[scenario x]\nundo = true\nrule = pause process 1s --process a\n", "undo without command"},
      {head + "[scenario x]\ncommand = true\nrestart = true\n", "there is no [target NAME]"},
      {head + "[target a]\n[scenario x]\ncommand = true\nrestart = true\n", "[target a] has no restart"},
      {head + "[target a]\n[scenario x]\ncommand = true\ntargets = b\n", "unknown target 'b'"},
      {head + "[scenario x]\ncommand = true\nweight = 0\n", "weight"},
      {head + "[target shop]\nprocess = shop\n", "[scenario config_error] for the target shop: it restarts its target, and [target shop] has no restart"},
      {head + "[target a]\nrestart = true\n", "[scenario crash] for the target a: 'process' is every attached process"},
      {head + "[scenario " + std::string(39, 'x') + "]\nrule = pause process 1s --process a\n", "name"},
  };
  for (const auto& row : rows) {
    const auto p = read(row.text);
    ASSERT_FALSE(p) << row.text;
    EXPECT_NE(p.error().message.find(row.said), std::string::npos) << row.text << "\n→ " << p.error().message;
  }
}

}  // namespace
