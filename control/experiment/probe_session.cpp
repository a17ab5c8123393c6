// Probes that ask chaosd: counters of the shim, states of breakers.
#include <algorithm>

#include "probe.hpp"

namespace chaos::experiment {

namespace {

class stat_probe final : public probe {
 public:
  stat_probe(const probe_plan& p, facts& about) : plan_(p), about_(about) {}
  void ask(std::uint64_t, steady::time_point, sample& into) override {
    const auto now = about_.counter(plan_.rule, plan_.counter);
    into.failure = !now ? not_there : plan_.at_least && *now < *plan_.at_least ? too_low : plan_.at_most && *now > *plan_.at_most ? too_high : none;
  }

 private:
  const probe_plan& plan_;
  facts& about_;
};

class breaker_probe final : public probe {
 public:
  breaker_probe(const probe_plan& p, facts& about) : plan_(p), about_(about) {}
  void ask(std::uint64_t, steady::time_point, sample& into) override {
    const auto all = about_.breakers();
    into.failure = not_there;
    if (!all) return;
    for (const auto& b : *all) {
      if (b.name != plan_.breaker) continue;
      const bool good = std::ranges::find(plan_.states, b.state) != plan_.states.end();
      if (into.failure == not_there || !good) into.failure = good ? none : wrong_state;
    }
  }

 private:
  const probe_plan& plan_;
  facts& about_;
};

}  // namespace

std::unique_ptr<probe> make_stat_probe(const probe_plan& p, facts& about) { return std::make_unique<stat_probe>(p, about); }
std::unique_ptr<probe> make_breaker_probe(const probe_plan& p, facts& about) { return std::make_unique<breaker_probe>(p, about); }

}  // namespace chaos::experiment
