// The judge and the composition of effects: order, endings, dry runs, and decisions that do not depend on who runs when.
#include "support.hpp"

#include <cerrno>

namespace chaos::core {
namespace {

using effects::ending;
using effects::verdict;

struct ruling {
  judgement j;
  verdict v;
  std::vector<std::uint32_t> fired() const {
    std::vector<std::uint32_t> ids;
    for (unsigned i = 0; i < j.count; ++i) ids.push_back(j.fired[i].rule->id);
    return ids;
  }
};

ruling rule_on(const abi::rule_bank& bank, test_host& host, const facts_of_call& facts) {
  ruling r;
  judge(bank, every_rule, facts, host, r.j);
  effects::compose(r.j, {.function = facts.function, .acts_as = facts.acts_as, .stream = true, .size = facts.size, .now_ns = facts.now_ns}, r.v);
  return r;
}
abi::rule latency(std::uint32_t id, std::uint64_t ns) {
  abi::rule r = plain_rule(id, abi::effect::latency);
  r.delay_ns = ns;
  return r;
}
abi::rule error(std::uint32_t id, int number) {
  abi::rule r = plain_rule(id, abi::effect::error);
  r.error_count = 1;
  r.errors[0].error = number;
  r.errors[0].weight = 1;
  r.errors[0].functions.add(abi::function_id::recv);
  return r;
}
using ids = std::vector<std::uint32_t>;

TEST(Judge, DelaysAddAndTheFirstErrorEndsTheList) {
  test_host host;
  const auto bank = bank_of({latency(1, 10), latency(2, 20), error(3, ECONNRESET), latency(4, 40), error(5, EPIPE)});
  const ruling r = rule_on(*bank, host, reading());
  EXPECT_EQ(r.v.delay_ns, 30u);
  EXPECT_EQ(r.v.end, ending::error);
  EXPECT_EQ(r.v.error, ECONNRESET);
  EXPECT_EQ(r.fired(), (ids{1, 2, 3}));
}

TEST(Judge, WhatAnotherRuleKeptFromHappeningDoesNotUseUpALimit) {
  test_host host;
  abi::rule failing = error(1, ECONNRESET), slow = latency(2, 40);
  failing.times = slow.times = 1;
  const auto bank = bank_of({failing, slow});
  EXPECT_EQ(rule_on(*bank, host, reading()).fired(), (ids{1}));
  EXPECT_EQ(rule_on(*bank, host, reading()).fired(), (ids{2}));
  EXPECT_EQ(rule_on(*bank, host, reading()).fired(), (ids{}));
}

TEST(Judge, AWaitStandsForAllFunctionsThatTakeWhatItSees) {
  test_host host;
  abi::rule r = latency(1, 10);
  r.functions.add(abi::function_id::recv);
  const auto bank = bank_of({r});
  facts_of_call f = reading();
  for (const auto wait : {abi::function_id::poll, abi::function_id::epoll_wait, abi::function_id::ioctl}) {
    f.function = wait;
    EXPECT_EQ(rule_on(*bank, host, f).fired(), (ids{1}));
  }
  f.function = abi::function_id::read;
  EXPECT_EQ(rule_on(*bank, host, f).fired(), (ids{}));
}

TEST(Judge, ADryRunIsCountedAndChangesNothing) {
  test_host host;
  abi::rule dry = error(1, EPIPE), slow = latency(2, 10);
  dry.dry_run = slow.dry_run = 1;
  const auto bank = bank_of({dry, slow, latency(3, 20)});
  const ruling r = rule_on(*bank, host, reading());
  EXPECT_EQ(r.v.end, ending::none);
  EXPECT_EQ(r.v.delay_ns, 20u);
  EXPECT_EQ(r.fired(), (ids{1, 2, 3}));
  EXPECT_EQ(r.j.fired[0].error, EPIPE) << "the event says what would have been";
}

TEST(Judge, AsksOnlyRulesOfTheClassFunctionSizeAndTime) {
  test_host host;
  abi::rule other_class = latency(1, 1), other_function = latency(2, 1), too_small = latency(3, 1), ended = latency(4, 1), empty = latency(0, 1),
            fits = latency(6, 1);
  other_class.classes = abi::classes::stream_out;
  other_function.functions.add(abi::function_id::read);
  too_small.size_low = 101;
  ended.ends_at_ns = 1000;
  fits.functions.add(abi::function_id::recv);
  fits.size_low = fits.size_high = 100;
  fits.ends_at_ns = 1001;
  const auto bank = bank_of({other_class, other_function, too_small, ended, empty, fits});
  EXPECT_EQ(rule_on(*bank, host, reading()).fired(), ids{6});
  EXPECT_EQ(host.asked, ids{6});
}

TEST(Judge, AsksOnlyRulesOfTheMask) {
  test_host host;
  const auto bank = bank_of({latency(1, 1), latency(2, 1), latency(3, 1)});
  judgement j;
  const std::uint64_t second[4] = {2, 0, 0, 0};
  judge(*bank, second, reading(), host, j);
  EXPECT_EQ(host.asked, ids{2});
}

TEST(Judge, TheStackIsAskedForWhereAllElseMatches) {
  abi::rule by_stack = latency(1, 1), other_caller = latency(2, 1);
  by_stack.stack_glob = other_caller.stack_glob = other_caller.caller_glob = 1;
  const auto bank = bank_of({by_stack, other_caller});
  test_host host;
  judgement out;
  judge(*bank, every_rule, reading(), host, out);
  EXPECT_EQ(out.matched, 0u);
  EXPECT_EQ(host.stacks_looked_at, 1u) << "of the rule that the caller did not rule out";
  host.stack = "wanted";
  judgement matching;
  judge(*bank, every_rule, reading(), host, matching);
  EXPECT_EQ(matching.count, 1u);
  EXPECT_EQ(matching.matched, 1u);
}

TEST(Judge, ThreadAndCallerNarrow) {
  test_host host;
  abi::rule by_thread = latency(1, 1), by_caller = latency(2, 1);
  by_thread.thread_glob = by_caller.caller_glob = 1;
  const auto bank = bank_of({by_thread, by_caller});
  EXPECT_TRUE(rule_on(*bank, host, reading()).fired().empty());
  host.thread_name = "wanted";
  EXPECT_EQ(rule_on(*bank, host, reading()).fired(), ids{1});
  host.caller = "wanted";
  EXPECT_EQ(rule_on(*bank, host, reading()).fired(), (ids{1, 2}));
}

TEST(Judge, AFiredRuleThatFindsNothingToDoGivesItsInjectionBack) {
  test_host host;
  abi::rule elsewhere = error(1, EPIPE);
  elsewhere.errors[0].functions = {};
  elsewhere.errors[0].functions.add(abi::function_id::send);
  elsewhere.times = 1;
  const auto bank = bank_of({elsewhere, latency(2, 10)});
  EXPECT_EQ(rule_on(*bank, host, reading()).fired(), ids{2});
  EXPECT_EQ(host.state(bank->rules[0], abi::scope::connection).fired.load(), 0u) << "--times is not used up";
}

TEST(Judge, ResetPeerWaitsForItsTime) {
  test_host host;
  abi::rule r = plain_rule(1, abi::effect::reset_peer);
  r.delay_ns = 500;
  const auto bank = bank_of({r});
  facts_of_call f = reading();
  f.now_ns = 1000;
  EXPECT_TRUE(rule_on(*bank, host, f).fired().empty());
  f.now_ns = 1499;
  EXPECT_TRUE(rule_on(*bank, host, f).fired().empty());
  f.now_ns = 1500;
  const ruling done = rule_on(*bank, host, f);
  EXPECT_EQ(done.v.end, ending::reset);
  EXPECT_EQ(done.v.error, ECONNRESET);
}

// Of two threads that meet it for the first time the one that looked at the clock later may come first.
TEST(Judge, ResetPeerWaitsForItsTimeAlsoWhereThatBeganALittleLater) {
  test_host host;
  abi::rule r = plain_rule(1, abi::effect::reset_peer);
  r.delay_ns = 500;
  const auto bank = bank_of({r});
  facts_of_call f = reading();
  f.now_ns = 1000;
  EXPECT_TRUE(rule_on(*bank, host, f).fired().empty());
  f.now_ns = 990;
  const ruling early = rule_on(*bank, host, f);
  EXPECT_TRUE(early.fired().empty());
  EXPECT_EQ(early.v.ends_ns, 1500u);
  EXPECT_EQ(host.state(bank->rules[0], abi::scope::connection).fired.load(), 0u);
}

TEST(Judge, TheSmallestSliceWins) {
  test_host host;
  abi::rule large = plain_rule(1, abi::effect::slicer), small = plain_rule(2, abi::effect::slicer);
  large.average_size = 50;
  small.average_size = 10;
  const auto bank = bank_of({large, small});
  EXPECT_EQ(rule_on(*bank, host, reading(100)).v.cap, 10u);
  EXPECT_EQ(rule_on(*bank, host, reading(5)).v.cap, UINT64_MAX) << "nothing to cut";
}

TEST(Slicer, SizesStayWithinTheirVariationAndAreNeverZero) {
  test_host host;
  abi::rule r = plain_rule(1, abi::effect::slicer);
  r.average_size = 64;
  for (std::uint64_t spread : {0u, 16u, 63u, 64u, 1000u}) {
    r.size_variation = spread;
    const auto bank = bank_of({r});
    std::uint64_t low = ~0ull, high = 0;
    for (int i = 0; i < 2000; ++i) {
      const std::uint64_t cap = rule_on(*bank, host, reading(100000)).v.cap;
      low = std::min(low, cap), high = std::max(high, cap);
    }
    const std::uint64_t real = std::min<std::uint64_t>(spread, 63);
    EXPECT_EQ(low, 64 - real) << spread;
    EXPECT_EQ(high, 64 + real) << spread;
  }
}

TEST(Judge, MoreRulesThanFitAreNotReached) {
  test_host host;
  std::vector<abi::rule> many;
  for (std::uint32_t i = 1; i <= 30; ++i) many.push_back(latency(i, 1));
  const auto bank = bank_of(many);
  EXPECT_EQ(rule_on(*bank, host, reading()).v.delay_ns, fired_max);
}

TEST(Judge, ACountBeyondTheBankIsCutOff) {
  test_host host;
  auto bank = bank_of({latency(1, 1)});
  bank->count = ~0u;  // a hostile page
  EXPECT_EQ(rule_on(*bank, host, reading()).fired(), ids{1});
}

// The decisions of `connections` connections with 50 operations each, run in the order that `next` chooses.
template <class Next>
std::map<std::uint64_t, std::string> decisions(std::uint64_t seed, Next next) {
  abi::rule r = error(1, EPIPE), slow = latency(2, 1000);
  r.chance = threshold(0.3);
  r.toxicity = threshold(0.7);
  slow.jitter_ns = 900;
  slow.shape = abi::distribution::normal;
  r.seed = slow.seed = seed;
  const auto bank = bank_of({r, slow});
  test_host host;
  std::map<std::uint64_t, std::string> log;
  std::map<std::uint64_t, int> done;
  for (unsigned step = 0; step < 8 * 50;) {
    const std::uint64_t c = next(step);
    if (done[c] == 50) { ++host.thread; continue; }
    ++done[c];
    ++step;
    host.connection = c;
    const ruling it = rule_on(*bank, host, reading());
    log[c] += std::to_string(it.v.error) + ":" + std::to_string(it.v.delay_ns) + " ";
  }
  return log;
}

TEST(Determinism, TheSameSeedDecidesTheSameInAnyInterleaving) {
  const auto one_by_one = decisions(5, [](unsigned step) { return step / 50; });
  const auto in_turn = decisions(5, [](unsigned step) { return step % 8; });
  std::uint64_t n = 0;
  const auto at_random = decisions(5, [&](unsigned) { return draws({77}, ++n).below(8); });
  EXPECT_EQ(one_by_one, in_turn);
  EXPECT_EQ(one_by_one, at_random);
}

TEST(Determinism, AnotherSeedDecidesOtherwise) {
  const auto order = [](unsigned step) { return step / 50; };
  EXPECT_NE(decisions(5, order), decisions(6, order));
}

}  // namespace
}  // namespace chaos::core
