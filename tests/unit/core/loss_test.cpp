// loss: datagrams vanish in the share asked for, streams pay retransmissions instead; gemodel loses in bursts.
#include "support.hpp"

namespace chaos::effects {
namespace {

using core::threshold;

struct tally {
  std::uint64_t fired = 0, dropped = 0;
  std::vector<std::uint64_t> delays;
  std::string order;
};

tally run(const abi::rule& r, abi::class_set acts_as, bool stream, std::uint64_t n) {
  tally out;
  core::rule_state s;
  for (std::uint64_t i = 1; i <= n; ++i) {
    core::fired_rule f = core::firing(r, s, core::random_key{23}, i);
    verdict v;
    situation where{abi::function_id::recv, acts_as, stream, 100, 0};
    const bool fired = loss::apply(f, where, v);
    out.fired += fired;
    out.dropped += v.drop;
    out.order += fired ? 'X' : 'O';
    if (v.delay_ns) out.delays.push_back(v.delay_ns);
  }
  return out;
}
abi::rule losing(double p) {
  abi::rule r = core::plain_rule(1, abi::effect::loss);
  r.amount = threshold(p);
  return r;
}

TEST(Loss, DatagramsVanishInTheShareAskedFor) {
  for (double p : {0.01, 0.3, 0.9}) {
    const tally t = run(losing(p), abi::classes::datagram_in, false, 20000);
    EXPECT_TRUE(core::plausible(t.dropped, 20000, p)) << p << ": " << t.dropped;
    EXPECT_EQ(t.dropped, t.fired);
    EXPECT_TRUE(t.delays.empty());
  }
}

TEST(Loss, ZeroIsNeverAndOneIsAlways) {
  EXPECT_EQ(run(losing(0), abi::classes::datagram_in, false, 5000).fired, 0u);
  EXPECT_EQ(run(losing(1), abi::classes::datagram_in, false, 5000).dropped, 5000u);
}

TEST(Loss, AStreamPaysRetransmissionsThatDouble) {
  const tally t = run(losing(0.5), abi::classes::stream_in, true, 20000);
  EXPECT_EQ(t.dropped, 0u);
  EXPECT_EQ(t.delays.size(), t.fired);
  std::map<std::uint64_t, std::uint64_t> kinds;
  for (auto d : t.delays) ++kinds[d / 1'000'000];
  EXPECT_TRUE(core::plausible(kinds[200], t.fired, 0.5)) << kinds[200];
  EXPECT_TRUE(core::plausible(kinds[200 + 400], t.fired, 0.25));
  EXPECT_TRUE(core::plausible(kinds[200 + 400 + 800], t.fired, 0.125));
  EXPECT_EQ(kinds.rbegin()->first, 200u * 63) << "bounded by six retries";
}

TEST(Loss, ALostSynCostsASecondThatDoubles) {
  const tally t = run(losing(0.5), abi::classes::connect, true, 2000);
  EXPECT_EQ(*std::min_element(t.delays.begin(), t.delays.end()), 1'000'000'000u);
  EXPECT_EQ(std::count(t.delays.begin(), t.delays.end(), 3'000'000'000u) > 0, true);
}

TEST(Loss, ADatagramSocketConnectsWithoutSendingAnything) {
  const tally t = run(losing(1), abi::classes::connect, false, 100);
  EXPECT_EQ(t.fired, 0u);
  EXPECT_TRUE(t.delays.empty());
}

TEST(Loss, DryRunFiresAndChangesNothing) {
  abi::rule r = losing(1);
  r.dry_run = 1;
  const tally t = run(r, abi::classes::datagram_in, false, 100);
  EXPECT_EQ(t.fired, 100u);
  EXPECT_EQ(t.dropped, 0u);
  EXPECT_TRUE(run(r, abi::classes::stream_in, true, 100).delays.empty());
}

TEST(Loss, GilbertElliottLosesInBurstsOfItsStates) {
  abi::rule r = losing(0);
  r.model = abi::loss_model::gemodel;
  r.gemodel[0] = threshold(0.02);  // good → bad
  r.gemodel[1] = threshold(0.2);   // bad → good
  r.gemodel[2] = abi::certain;     // lost while bad
  r.gemodel[3] = 0;                // never while good
  const std::uint64_t n = 100000;
  const tally t = run(r, abi::classes::datagram_in, false, n);
  const double share = 0.02 / (0.02 + 0.2);
  // Losses come in runs of mean 1/r: the variance of their count is that of a two-state chain, (2/(p+r) - 1) times binomial.
  const double sigma = std::sqrt(static_cast<double>(n) * share * (1 - share) * (2 / 0.22 - 1));
  EXPECT_NEAR(static_cast<double>(t.dropped), share * static_cast<double>(n), 5 * sigma);
  std::uint64_t bursts = 0;
  for (std::size_t i = 0; i < t.order.size(); ++i) bursts += t.order[i] == 'X' && (i == 0 || t.order[i - 1] == 'O');
  EXPECT_NEAR(static_cast<double>(t.dropped) / static_cast<double>(bursts), 5.0, 0.5) << "mean burst is 1/r";
}

TEST(Loss, CorrelationMakesLossesFollowEachOtherAndKeepsTheirShare) {
  const std::uint64_t n = 50000;
  for (double rho : {0.0, 0.25, 0.5, 0.9}) {
    abi::rule r = losing(0.3);
    r.correlation = threshold(rho);
    const tally t = run(r, abi::classes::datagram_in, false, n);
    std::uint64_t again = 0;
    for (std::size_t i = 1; i < t.order.size(); ++i) again += t.order[i - 1] == 'X' && t.order[i] == 'X';
    const double sigma = std::sqrt(static_cast<double>(n) * 0.3 * 0.7 * (1 + rho) / (1 - rho));
    EXPECT_NEAR(static_cast<double>(t.dropped), 0.3 * static_cast<double>(n), 5 * sigma) << rho;
    EXPECT_NEAR(static_cast<double>(again) / static_cast<double>(t.dropped), rho + (1 - rho) * 0.3, 0.03) << rho;
  }
}

}  // namespace
}  // namespace chaos::effects
