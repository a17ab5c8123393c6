// Beside the shim: this program defines the shim's C functions itself and plays its part.
#include <map>
#include <mutex>

#include "chaos/abi/breaker_commands.hpp"
#include "support.hpp"

namespace {

struct fake_shim {
  std::mutex mutex;
  std::vector<std::string> notes;
  std::map<std::string, std::uint32_t> slots;
  std::uint32_t generation = 1;
  struct command {
    std::uint32_t what = 0, sequence = 0;
  };
  std::map<std::uint32_t, command> commands;
  struct published {
    std::uint32_t state = 99;
    std::uint64_t ok = 0, failed = 0, rejected = 0;
  };
  std::map<std::uint32_t, published> last;

  void send(const std::string& name, std::uint32_t what) {
    std::lock_guard lock(mutex);
    auto& c = commands[slots[name]];
    c.what = what;
    ++c.sequence;
    ++generation;
  }
  int count(const std::string& part) {
    std::lock_guard lock(mutex);
    int n = 0;
    for (const auto& s : notes) n += s.find(part) != std::string::npos;
    return n;
  }
};
fake_shim shim;

}  // namespace

extern "C" {
int chaos_annotate(const char* category, const char* text) {
  std::lock_guard lock(shim.mutex);
  shim.notes.push_back(std::string(category) + "|" + text);
  return 0;
}
std::uint32_t chaos_breaker_slot(const char* name) {
  std::lock_guard lock(shim.mutex);
  if (std::string(name) == "no room") return 0;
  return shim.slots.emplace(name, shim.slots.size() + 1).first->second;
}
const volatile std::uint32_t* chaos_breaker_generation(void) { return &shim.generation; }
std::uint32_t chaos_breaker_command(std::uint32_t slot, std::uint32_t* sequence) {
  std::lock_guard lock(shim.mutex);
  *sequence = shim.commands[slot].sequence;
  return shim.commands[slot].what;
}
void chaos_breaker_publish(std::uint32_t slot, std::uint32_t state, std::uint64_t ok, std::uint64_t failed,
                           std::uint64_t rejected) {
  std::lock_guard lock(shim.mutex);
  shim.last[slot] = {state, ok, failed, rejected};
}
}

namespace {
using namespace chaos_test;
using chaos::state;

TEST(Annotate, ReachesTheShim) {
  EXPECT_TRUE(chaos::annotate("shop", "hello"));
  EXPECT_EQ(shim.count("shop|hello"), 1);
}

TEST(Annotate, TransitionsWithReasonLateResultsRejectionsAndFallbacks) {
  clocked b({.failure_threshold = 2, .recovery_timeout = 1s, .success_threshold = 1}, "noted");
  auto early = b.breaker.try_acquire();
  b.fail(2);
  EXPECT_EQ(shim.count("breaker|noted: closed -> open (consecutive_failures)"), 1);
  for (int i = 0; i < 100; ++i) (void)b.breaker.call([] { return 1; }).or_else([] { return 2; });
  EXPECT_EQ(shim.count("breaker|noted: rejected while open"), 1) << "sampled: the first of each period";
  EXPECT_EQ(shim.count("breaker|noted: fallback fallback: used"), 1) << "sampled too";
  early.success();
  EXPECT_EQ(shim.count("breaker|noted: late_result: success"), 1);
  b.clock.advance(2s);
  b.succeed();
  EXPECT_EQ(shim.count("breaker|noted: open -> half_open (recovery_elapsed)"), 1);
  EXPECT_EQ(shim.count("breaker|noted: half_open -> closed (probes_succeeded)"), 1);
}

TEST(Command, OpensClosesDisablesResetsWithoutAThread) {
  clocked b({.failure_threshold = 1}, "commanded");
  const std::pair<std::uint32_t, state> steps[] = {
      {1, state::forced_open}, {2, state::closed},      {3, state::disabled}, {5, state::metrics_only},
      {0, state::closed},      {1, state::forced_open}, {4, state::closed}};
  for (const auto& [command, expected] : steps) {
    shim.send("commanded", command);
    auto p = b.breaker.try_acquire();  // the next call applies it
    EXPECT_EQ(static_cast<bool>(p), expected != state::forced_open);
    EXPECT_EQ(b.state(), expected) << command;
  }
}

TEST(Command, IsAppliedOnceAndThenTheProgramMayDecideOtherwise) {
  clocked b({}, "once");
  shim.send("once", 1);
  EXPECT_EQ(b.state(), state::forced_open);
  b.breaker.reset();
  shim.send("another", 1);  // the page's generation changes, this breaker's sequence does not
  EXPECT_EQ(b.state(), state::closed);
}

TEST(Command, GivenBeforeTheBreakerExistedApplies) {
  { clocked b({}, "later"); }
  shim.send("later", 1);
  clocked b({}, "later");
  EXPECT_FALSE(b.breaker.try_acquire());
}

TEST(Command, WithoutASlotNothingIsAsked) {
  clocked b({}, "no room");
  shim.send("no room", 1);
  EXPECT_TRUE(b.breaker.try_acquire());
  EXPECT_EQ(b.state(), state::closed);
}

// The client library is installed without the ABI headers; what stands in both must be the same.
TEST(Command, IsThatOfTheTable) {
  for (unsigned s = 0; s < 6; ++s)
    EXPECT_STREQ(chaos::abi::breaker_state_name(s), chaos::to_string(static_cast<state>(s)));
  for (const auto& row : chaos::abi::breaker_command_table) {
    const std::string name = std::string("table ") + row.name;
    { clocked b({}, name); }
    shim.send(name, row.number);
    clocked later({}, name);
    EXPECT_EQ(later.state() != state::closed, row.lasts) << row.name;
    EXPECT_EQ(shim.count(name + ": closed -> "), row.lasts ? 1 : 0) << "what does not last is nothing to a later one";
  }
}

TEST(Command, EndsWhenNobodyAnswersForItAnyLonger) {
  clocked b({}, "orphaned");
  shim.send("orphaned", 1);
  EXPECT_FALSE(b.breaker.try_acquire());
  {
    std::lock_guard lock(shim.mutex);
    shim.commands[shim.slots["orphaned"]].what = 0;  // same sequence, same generation: the lease has passed
  }
  int rejected = 0;
  while (!b.breaker.try_acquire() && rejected < 200) ++rejected;
  EXPECT_LE(rejected, 64);
  EXPECT_EQ(b.state(), state::closed);
  {
    std::lock_guard lock(shim.mutex);
    shim.commands[shim.slots["orphaned"]].what = 1;  // the daemon lives after all
    ++shim.generation;
  }
  EXPECT_FALSE(b.breaker.try_acquire());
}

TEST(Publish, WhenAsked) {
  clocked b({}, "asked");
  b.succeed(7);
  shim.send("nobody", 0);  // a new generation
  b.succeed(1);
  std::lock_guard lock(shim.mutex);
  EXPECT_EQ(shim.last[shim.slots["asked"]].ok, 7u);
}

TEST(Publish, StateAndCountsAtTransitions) {
  clocked b({.failure_threshold = 2}, "published");
  const auto last = [&] {
    std::lock_guard lock(shim.mutex);
    return shim.last[shim.slots["published"]];
  };
  EXPECT_EQ(last().state, 0u) << "known from its making";
  b.succeed(7);
  b.fail(2);
  EXPECT_EQ(last().state, 1u);
  EXPECT_EQ(last().ok, 7u);
  EXPECT_EQ(last().failed, 2u);
}

}  // namespace
