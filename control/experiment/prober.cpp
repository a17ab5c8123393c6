#include "prober.hpp"

namespace chaos::experiment {

prober::prober(const probe_plan& p, steady::time_point began, const surroundings& around) : plan_(p), began_(began), around_(around) {
  try {
    for (unsigned i = 0; i < p.workers(); ++i) workers_.emplace_back([this] { work(); });
  } catch (...) {  // no more threads: those that there are must end before this goes
    stop();
    join();
    throw;
  }
}

prober::~prober() {
  stop();
  join();
}

void prober::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  wake_.notify_all();
}

void prober::join() {
  for (auto& w : workers_)
    if (w.joinable()) w.join();
}

std::vector<sample> prober::samples() const {
  const std::lock_guard lock(mutex_);
  return samples_;
}

std::vector<sample> prober::recent(std::int64_t from_ns) const {
  std::vector<sample> out;
  const std::lock_guard lock(mutex_);
  // whatever ended before `from` was due before it
  for (auto s = samples_.rbegin(); s != samples_.rend() && s->due_ns + s->latency_ns >= from_ns; ++s)
    if (s->due_ns >= from_ns) out.push_back(*s);
  return out;
}

std::uint64_t prober::ended() const {
  const std::lock_guard lock(mutex_);
  return samples_.size();
}

void prober::work() {
  const auto asker = make_probe(plan_, around_);
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    const std::uint64_t number = next_++;
    const auto due = began_ + plan_.interval * static_cast<std::int64_t>(number);
    if (wake_.wait_until(lock, due, [&] { return stopped_; })) return;
    lock.unlock();
    sample s;
    const auto deadline = due + plan_.timeout;
    if (steady::now() < deadline) asker->ask(number, deadline, s);
    else s.failure = timed_out;
    const auto end = steady::now();
    s.due_ns = (due - began_).count();
    s.latency_ns = (end - due).count();
    if (s.failure == none && end > deadline) s.failure = timed_out;
    s.good = s.failure == none;
    s.timed_out = s.failure == timed_out;
    lock.lock();
    samples_.push_back(s);
  }
}

}  // namespace chaos::experiment
