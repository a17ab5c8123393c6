#include "runner.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <thread>

#include "control/rules/values.hpp"
#include "health.hpp"

namespace chaos::schedule {

using rules::done;
using rules::option;
using rules::result;
using steady = std::chrono::steady_clock;

namespace {

constexpr auto look_every = 250ms;   // whether a rule was ended from outside
constexpr nanoseconds spare_life = 60s;  // of a rule, beyond the time that it is meant for

std::string text_of(nanoseconds ns) { return rules::format_duration(static_cast<std::uint64_t>(std::chrono::floor<std::chrono::milliseconds>(ns).count()) * 1'000'000); }
std::int64_t in_ms(nanoseconds ns) { return std::chrono::duration_cast<std::chrono::milliseconds>(ns).count(); }

struct ended {
  end_reason why;
  std::string detail;
};

class running {
 public:
  running(const plan& p, std::uint64_t seed, const std::string& folder, const surroundings& world, teller& tell)
      : plan_(p), seed_(seed), folder_(folder), world_(world), tell_(tell) {}

  summary all() {
    if (const auto before = read_record(folder_, plan_.name)) {
      take_back(*before);
      if (const json last = before->value("last_injection_unix_ms", json()); last.is_number_integer()) last_ms_ = last.get<std::int64_t>();
    }
    try {
      record("starting", 0ns);
      write_states(healthy_state(plan_), nullptr);
      tell_.tell("start", plan_.name + ": an injection every " + text_of(plan_.interval) + ", seed " + std::to_string(seed_));
      for (const auto& t : plan_.targets) bring_up(t);
      // The minimum interval holds across restarts; a clock that was set back must not make it longer.
      const auto since_last = std::chrono::milliseconds(std::clamp<std::int64_t>(unix_ms() - last_ms_, 0, in_ms(plan_.minimum_interval)));
      pause("waiting", std::max<nanoseconds>(plan_.start_wait, plan_.minimum_interval - since_last));
      for (std::uint64_t number = 1; !plan_.count || number <= plan_.count; ++number) {
        const auto in = draw(plan_, seed_, number);
        until_well();
        const auto began = steady::now();
        carry_out(in);
        if (number != plan_.count) pause("waiting", in.interval - (steady::now() - began));
      }
    } catch (const ended& e) {
      summary_.why = e.why;
      summary_.detail = e.detail;
    }
    static_cast<void>(write_record("ended", 0ns));
    tell_.tell("end", plan_.name + ": ended after " + std::to_string(summary_.injections) + (summary_.injections == 1 ? " injection" : " injections") + (summary_.detail.empty() ? "" : " (" + summary_.detail + ")"),
               {{"injections", summary_.injections}, {"skipped", summary_.skipped}});
    return summary_;
  }

 private:
  // --- waiting

  void wait(nanoseconds length, const std::function<void()>& look) {
    const auto end = steady::now() + length;
    for (;;) {
      const auto left = end - steady::now();
      if (left <= 0ns) return;
      const auto slice = look ? std::min<nanoseconds>(left, look_every) : left;
      pollfd told{world_.signals, POLLIN, 0};
      if (poll(&told, 1, static_cast<int>(std::clamp<std::int64_t>(in_ms(slice) + 1, 1, 1'000'000'000))) > 0) throw ended{end_reason::told, "told to end"};
      if (look) look();
    }
  }

  void pause(const char* state, nanoseconds length) {
    record(state, length);
    wait(std::max<nanoseconds>(length, 0ns), nullptr);
  }

  // A system that fails already is left alone, and asked less and less often.
  void until_well() {
    for (auto interval = plan_.interval; !plan_.health.empty() && !is_well(plan_.health, plan_.health_timeout);) {
      ++summary_.skipped;
      interval = std::min(interval * plan_.widen, plan_.interval_max);
      tell_.tell("skip", plan_.name + ": the system is failing already; nothing is injected for " + text_of(interval), {{"interval_ms", in_ms(interval)}});
      pause("failing", interval);
    }
  }

  // --- one injection

  void carry_out(const injection& in) {
    current_ = &in;
    last_ms_ = unix_ms();
    port_ = world_.faults();
    record("injecting", in.recovery);  // before: after a crash it must be known what may have been done
    try {
      if (!begin(in)) return finish(in);
      ++summary_.injections;
      ++counts_[in.what->name];
      wait(in.recovery, [&] { look(in); });
    } catch (const ended&) {
      finish(in);
      throw;
    }
    finish(in);
  }

  bool begin(const injection& in) {
    json about = about_of(in);
    if (!in.specs.empty()) {
      auto specs = in.specs;
      for (auto& spec : specs) {
        spec.options[option::owner_] = std::to_string(getpid());
        if (!spec.has(option::for_)) spec.options[option::for_] = rules::format_duration(static_cast<std::uint64_t>((in.recovery + plan_.command_timeout * 2 + spare_life).count()));
      }
      std::vector<std::string> notes;
      const auto made = port_->inject(specs, notes);
      if (!made) {
        warn(in, "could not be injected: " + made.error().message);
        return false;
      }
      for (const auto& f : *made) about["ids"].push_back(f.id);
    }
    write_states(state_of(plan_, in), &in);
    if (!in.command.empty()) command(in, "command", in.command);
    if (in.what->restart) restart(in);
    tell_.tell("inject", title(in) + ": injected for " + text_of(in.recovery) + text_of_rules(in), about);
    return true;
  }

  void look(const injection& in) {
    if (in.specs.empty()) return;
    const auto states = port_->look();
    if (!states) throw ended{end_reason::stopped_from_outside, "chaosd can not be asked any more: " + states.error().message};
    for (std::size_t i = 0; i < in.specs.size(); ++i)
      for (const auto& f : *states)
        if (f.ended && f.name == in.specs[i].get(option::name_) && !in.specs[i].has(option::for_) && f.id >= newest(*states, f.name))
          throw ended{end_reason::stopped_from_outside, "the rule " + f.name + " was ended from outside (" + f.ended_reason + ")"};
  }

  // Rules of earlier injections of this process, long ended, have the same name.
  static std::uint64_t newest(const std::vector<experiment::fault_state>& states, const std::string& name) {
    std::uint64_t id = 0;
    for (const auto& f : states)
      if (f.name == name) id = std::max(id, f.id);
    return id;
  }

  void finish(const injection& in) {
    json about = about_of(in);
    if (const auto states = port_->look()) {
      std::uint64_t fired = 0;
      for (const auto& f : *states)
        if (f.id >= newest(*states, f.name) && std::ranges::any_of(in.specs, [&](const auto& s) { return s.get(option::name_) == f.name; })) fired += f.fired;
      about["fired"] = fired;
    }
    if (const auto gone = port_->remove(); !gone) warn(in, "its rules could not be removed (" + gone.error().message + "); they end with this process, or with chaosd's lease");
    if (!in.undo.empty()) command(in, "undo", in.undo);
    if (in.what->restart) restart(in);
    write_states(healthy_state(plan_), &in);
    if (in.where) bring_up(*in.where);
    current_ = nullptr;
    port_.reset();
    tell_.tell("clear", title(in) + ": cleared", about);
  }

  // --- targets

  void bring_up(const target& t) {
    if (t.start.empty() || world_.runs(t)) return;
    const auto done = run_command(t.start, variables_for(nullptr, &t), "", plan_.command_timeout);
    if (done.good()) await(t);
    if (!done.good()) tell_.tell("warning", t.name + ": start: " + done.text(), {{"target", t.name}});
    else if (!world_.runs(t)) tell_.tell("warning", t.name + ": it was started, and no process " + t.process + " is attached", {{"target", t.name}});
    else tell_.tell("started", t.name + ": started", {{"target", t.name}});
  }

  // A restart that has returned may not have come so far yet; `start` as well would make two of it.
  void restart(const injection& in) {
    command(in, "restart", in.where->restart);
    if (!in.where->process.empty()) await(*in.where);
  }

  void await(const target& t) const {
    const auto deadline = steady::now() + plan_.command_timeout;
    while (!world_.runs(t) && steady::now() < deadline) std::this_thread::sleep_for(20ms);
  }

  variables variables_for(const injection* in, const target* t) const {
    variables v = world_.session;
    v.emplace_back("CHAOS_SCHEDULE", plan_.name);
    if (t) v.emplace_back("CHAOS_TARGET", t->name);
    if (!in) return v;
    v.emplace_back("CHAOS_SCENARIO", in->what->name);
    v.emplace_back("CHAOS_NUMBER", std::to_string(in->number));
    return v;
  }

  void command(const injection& in, const char* which, const std::string& text) {
    if (const auto outcome = run_command(text, variables_for(&in, in.where), "", plan_.command_timeout); !outcome.good()) warn(in, std::string(which) + ": " + outcome.text());
  }

  void write_states(const json& state, const injection* in) {
    const auto write = [&](const std::string& path) {
      if (path.empty()) return;
      if (const auto good = replace_file(path, line_of(state)); !good) tell_.tell("warning", "state file: " + good.error().message);
    };
    write(plan_.state_file);
    for (const auto& t : plan_.targets)
      if (!in || in->where == &t) write(t.state_file);
  }

  // --- what a run that died had not taken back. Its rules are gone: they ended with it.
  void take_back(const json& before) {
    const auto said = [&](const char* key) {  // "" for what no schedule has written there
      const json text = before.value(key, json());
      return text.is_string() ? text.get<std::string>() : std::string();
    };
    if (said("state") != "injecting") return;
    const std::string name = said("scenario"), where = said("target");
    const auto* t = plan_.find(where);
    variables v = variables_for(nullptr, t);
    v.emplace_back("CHAOS_SCENARIO", name);
    std::string failed;
    const auto again = [&](const char* which, const std::string& text) {
      if (text.empty()) return;
      if (const auto outcome = run_command(text, v, "", plan_.command_timeout); !outcome.good()) failed += std::string("; ") + which + ": " + outcome.text();
    };
    again("undo", said("undo"));
    again("restart", said("restart"));
    tell_.tell("recovered", plan_.name + ": the run before died in the middle of " + name + "; it was taken back" + failed, {{"scenario", name}, {"target", where}});
  }

  // --- telling

  std::string title(const injection& in) const { return plan_.name + " #" + std::to_string(in.number) + ": " + in.what->name + (in.where ? " on " + in.where->name : ""); }

  static std::string text_of_rules(const injection& in) {
    std::string out;
    for (const auto& r : in.rules) out += (out.empty() ? ": " : "; ") + r;
    return out;
  }

  json about_of(const injection& in) const {
    json about{{"number", in.number}, {"scenario", in.what->name}, {"mode", in.what->mode}, {"delay_seconds", in.delay_seconds}, {"rules", in.rules}};
    if (in.where) about["target"] = in.where->name;
    return about;
  }

  void warn(const injection& in, const std::string& what) { tell_.tell("warning", title(in) + ": " + what, about_of(in)); }

  void record(const char* state, nanoseconds length) {
    if (const auto good = write_record(state, length); !good) throw ended{end_reason::failed, good.error().message};
  }

  result<done> write_record(const char* state, nanoseconds length) {
    json r{{"name", plan_.name}, {"pid", getpid()}, {"seed", seed_}, {"state", state}, {"injections", summary_.injections}, {"skipped", summary_.skipped},
           {"counts", counts_}, {"since_unix_ms", unix_ms()}, {"until_unix_ms", unix_ms() + std::max<std::int64_t>(0, in_ms(length))}};
    if (last_ms_) r["last_injection_unix_ms"] = last_ms_;
    if (current_) {
      r["scenario"] = current_->what->name;
      r["rules"] = current_->rules;
      r["undo"] = current_->undo;
      if (current_->where) r["target"] = current_->where->name;
      if (current_->what->restart) r["restart"] = current_->where->restart;
    }
    return replace_file(record_path(folder_, plan_.name), line_of(r));
  }

  const plan& plan_;
  const std::uint64_t seed_;
  const std::string folder_;
  const surroundings& world_;
  teller& tell_;
  summary summary_;
  std::map<std::string, std::uint64_t> counts_;
  std::int64_t last_ms_ = 0;
  const injection* current_ = nullptr;
  std::unique_ptr<experiment::fault_port> port_;
};

}  // namespace

summary run(const plan& p, std::uint64_t seed, const std::string& folder, const surroundings& world, teller& tell) {
  return running(p, seed, folder, world, tell).all();
}

}  // namespace chaos::schedule
