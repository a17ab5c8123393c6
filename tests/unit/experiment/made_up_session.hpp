// An experiment's surroundings without a daemon: faults that make a file, which a probe's command looks for.
#pragma once
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "control/experiment/runner.hpp"

namespace chaos_test {

using namespace chaos::experiment;
namespace rules = chaos::rules;

class made_up : public session {
 public:
  explicit made_up(std::string flag) : flag_(std::move(flag)) {}
  rules::result<rules::done> reserve(std::span<const std::string>) override {
    if (taken) return rules::problem{rules::problem_code::failed, "a rule is in force already", "", {}};
    return rules::done{};
  }
  rules::result<std::vector<fault_state>> inject(std::span<const rules::rule_spec> specs, std::vector<std::string>&) override {
    ++injected;
    if (refuse) return rules::problem{rules::problem_code::too_many, "no room", "", {}};
    for (const auto& s : specs) {
      history.push_back(s.value);
      std::erase_if(specs_, [&](const auto& other) { return other.get(rules::option::name_) == s.get(rules::option::name_); });
      specs_.push_back(s);
    }
    if (breaks) std::ofstream(flag_) << "broken";
    if (on_inject) on_inject();
    return states();
  }
  rules::result<std::vector<fault_state>> look() override {
    if (gone) return rules::problem{rules::problem_code::no_daemon, "gone", "", {}};
    return states();
  }
  rules::result<rules::done> remove() override {
    ++removed;
    if (heals) std::filesystem::remove(flag_);
    return rules::done{};
  }
  rules::result<rules::done> stress(const stress_plan& what) override {
    stressed.push_back(what);
    return rules::done{};
  }
  std::vector<std::string> end_stress() override {
    ++stress_ends;
    std::vector<std::string> names;
    for (const auto& s : stressed) names.push_back(s.name);
    return names;
  }
  std::vector<ended_stress> look_stress() override { return std::move(stress_over); }
  void read_events(std::vector<timeline_event>& into) override {
    for (auto& e : events) into.push_back(std::move(e));
    events.clear();
  }
  rules::result<std::vector<int>> attached() override { return pids; }
  rules::result<double> counter(const std::string&, const std::string& name) override {
    if (name == "fired") return static_cast<double>(fires);
    return rules::problem{rules::problem_code::not_found, "no counter", name, {}};
  }
  rules::result<std::vector<breaker_now>> breakers() override { return breaker_states; }

  std::vector<fault_state> states() const {
    std::vector<fault_state> all;
    for (const auto& s : specs_) all.push_back({1, s.get(rules::option::name_), "down", "x", fires, fires, 0, ends, "stopped"});
    return all;
  }
  std::uint64_t fires = 3;
  bool taken = false, refuse = false, gone = false, ends = false, breaks = true, heals = true;
  int injected = 0, removed = 0, stress_ends = 0;
  std::vector<rules::rule_spec> specs_;
  std::vector<std::string> history;  // values, in order
  std::vector<stress_plan> stressed;
  std::vector<ended_stress> stress_over;
  std::vector<timeline_event> events;
  std::vector<int> pids;
  std::vector<breaker_now> breaker_states;
  std::function<void()> on_inject;

 private:
  const std::string flag_;
};

// An annotation as chaos::breaker writes it, `after` from now.
inline timeline_event breaker_event(const std::string& text, int pid = 1, std::chrono::nanoseconds after = {}) {
  timeline_event e;
  e.time_ns = (std::chrono::steady_clock::now().time_since_epoch() + after).count();
  e.pid = pid, e.kind = "annotation", e.category = "breaker", e.text = text;
  e.line = "{\"kind\":\"annotation\",\"text\":\"" + text + "\"}";
  return e;
}

}  // namespace chaos_test
