#include "preview.hpp"

namespace chaos::schedule {

using nlohmann::json;

void preview(const plan& p, std::uint64_t seed, std::uint64_t count, const std::function<void(const injection&, nanoseconds after)>& tell) {
  nanoseconds after = p.start_wait;
  for (std::uint64_t n = 1; n <= count; ++n) {
    const injection in = draw(p, seed, n);
    tell(in, after);
    after += in.interval;
  }
}

json json_of(const injection& in, nanoseconds after) {
  json rules = json::array();
  for (const auto& spec : in.specs) rules.push_back(rules::json_of(spec));
  return {{"number", in.number}, {"after_ms", after.count() / 1'000'000}, {"scenario", in.what->name}, {"target", in.where ? in.where->name : ""}, {"mode", in.what->mode},
          {"delay_seconds", in.delay_seconds}, {"recovery_ms", in.recovery.count() / 1'000'000}, {"command", in.command}, {"rules", rules}};
}

}  // namespace chaos::schedule
