#include "probe.hpp"

namespace chaos::experiment {

std::unique_ptr<probe> make_probe(const probe_plan& p, const surroundings& around) {
  switch (p.kind) {
    case probe_kind::http: return make_http_probe(p);
    case probe_kind::tcp: return make_tcp_probe(p);
    case probe_kind::command: return make_command_probe(p);
    case probe_kind::redis: return make_redis_probe(p);
    case probe_kind::log: return make_log_probe(p);
    case probe_kind::timeline: return make_timeline_probe(p, *around.timeline);
    case probe_kind::stat: return make_stat_probe(p, *around.about);
    case probe_kind::breaker: return make_breaker_probe(p, *around.about);
  }
  return nullptr;
}

void timeline_lines::add(std::string line) {
  const std::lock_guard lock(mutex_);
  lines_.push_back(std::move(line));
  if (lines_.size() > kept_max) lines_.pop_front(), ++first_;
}

std::vector<std::string> timeline_lines::since(std::uint64_t& from) const {
  const std::lock_guard lock(mutex_);
  const std::uint64_t next = first_ + lines_.size();
  std::vector<std::string> out;
  for (std::uint64_t i = std::max(from, first_); i < next; ++i) out.push_back(lines_[i - first_]);
  from = next;
  return out;
}

}  // namespace chaos::experiment
