#include "injector.hpp"

#include <unistd.h>

#include <algorithm>

#include "control/rules/joined.hpp"
#include "control/rules/values.hpp"

namespace chaos::experiment {

using rules::option;

namespace {

using rules::joined;

constexpr auto spare_life = std::chrono::seconds(60);  // of a rule, beyond the time that it is meant for

std::string text_of(const rules::rule_spec& spec) {
  const std::string kind = abi::effect_table[static_cast<unsigned>(spec.kind)].name;
  return kind + (spec.value.empty() ? "" : " " + spec.value) + " " + spec.target;
}

}  // namespace

injector::injector(const plan& p, session& s, outcome& o, bool dry_run) : plan_(p), session_(s), out_(o), dry_run_(dry_run), steps_(steps_of(p)) {
  for (const auto& one : p.stresses) stresses_.push_back(&one);
  for (const auto& f : p.faults)
    if (f.spec.has(option::for_)) limited_.insert(f.name());
}

void injector::begin(std::int64_t now_ns) {
  began_ns_ = now_ns;
  std::vector<std::string> names;
  for (const auto& f : plan_.faults) names.push_back(f.name());
  if (const auto good = session_.reserve(names); !good) throw stopped{verdict::not_run, "the faults could not be put in force: " + good.error().message};
  armed_ = true;  // before: an answer that is lost may still have been an injection
  advance(now_ns);
}

void injector::fill(rules::rule_spec& spec, nanoseconds since_begin) const {
  spec.options[option::owner_] = std::to_string(getpid());
  if (!spec.has(option::for_)) spec.options[option::for_] = rules::format_duration(static_cast<std::uint64_t>((plan_.observe + spare_life).count()));
  else if (since_begin.count() > 0) {  // a step of a ramp does not begin its life anew
    const auto whole = rules::parse_duration("for", spec.get(option::for_));
    const auto fault = std::ranges::find(plan_.faults, spec.get(option::name_), &fault_plan::name);
    const auto lived = since_begin - (fault == plan_.faults.end() ? nanoseconds(0) : fault->start);
    if (whole && lived.count() > 0 && *whole > static_cast<std::uint64_t>(lived.count())) spec.options[option::for_] = rules::format_duration(*whole - static_cast<std::uint64_t>(lived.count()));
  }
  if (dry_run_) spec.options[option::dry_run_] = "true";
}

void injector::put(std::int64_t now_ns, std::vector<rules::rule_spec> specs) {
  const bool first = !injected_;
  auto made = session_.inject(specs, out_.notes);
  if (!made) throw stopped{first ? verdict::not_run : verdict::aborted, "the faults could not be put in force: " + made.error().message};
  injected_ = true;
  if (first) out_.faults = std::move(*made);
  for (const auto& spec : specs) {
    const std::string name = spec.get(option::name_);
    end_bands(now_ns, "fault", name);
    out_.bands.push_back({"fault", name, text_of(spec), now_ns});
  }
}

void injector::advance(std::int64_t now_ns) {
  if (!armed_) return;
  const nanoseconds since(now_ns - began_ns_);
  std::vector<rules::rule_spec> due;
  for (; next_step_ < steps_.size() && steps_[next_step_].at <= since; ++next_step_) {
    auto spec = steps_[next_step_].spec;
    // of several steps of one ramp that are due, the last
    std::erase_if(due, [&](const rules::rule_spec& other) { return other.get(option::name_) == spec.get(option::name_); });
    const bool over = std::ranges::any_of(out_.bands, [&](const band& b) { return b.of == "fault" && b.name == spec.get(option::name_); }) &&
                      std::ranges::none_of(out_.bands, [&](const band& b) { return b.of == "fault" && b.name == spec.get(option::name_) && b.to_ns < 0; });
    if (over) continue;  // it ended by itself: the rest of its ramp has nothing to change
    fill(spec, since);
    due.push_back(std::move(spec));
  }
  if (!due.empty()) put(now_ns, std::move(due));
  std::erase_if(stresses_, [&](const stress_plan* s) {
    if (s->start > since) return false;
    if (dry_run_) return true;
    if (const auto made = session_.stress(*s); !made) throw stopped{verdict::aborted, "[stress " + s->name + "] could not be started: " + made.error().message};
    std::string words;
    for (const auto& w : s->words) words += (words.empty() ? "" : " ") + w;
    out_.bands.push_back({"stress", s->name, words, now_ns});
    return true;
  });
}

void injector::look(std::int64_t now_ns) {
  if (!armed_) return;
  auto states = session_.look();
  if (!states) throw stopped{verdict::aborted, "chaosd can not be asked any more: " + states.error().message};
  if (!states->empty()) out_.faults = std::move(*states);
  for (const auto& f : out_.faults) {
    if (!f.ended) continue;
    end_bands(now_ns, "fault", f.name);
    if (!limited_.contains(f.name)) throw stopped{verdict::aborted, "the fault " + f.name + " was ended from outside (" + f.ended_reason + ")"};
  }
  for (const auto& s : session_.look_stress()) {
    end_bands(now_ns, "stress", s.name);
    if (!s.wrong.empty()) throw stopped{verdict::aborted, "the stress " + s.name + " ended: " + s.wrong};
  }
}

void injector::end_bands(std::int64_t now_ns, const char* of, const std::string& name) {
  for (auto& b : out_.bands)
    if (b.of == of && b.name == name && b.to_ns < 0) b.to_ns = now_ns;
}

void injector::remove(std::int64_t now_ns) {
  if (!armed_) return;
  armed_ = false;
  auto removed = session_.end_stress();
  for (auto& s : removed) s = "stress " + s;
  const auto there = session_.look();
  if (const auto gone = session_.remove(); gone) {
    if (there)
      for (const auto& f : *there)
        if (!f.ended) removed.push_back("fault " + f.name);
    out_.notes.push_back(removed.empty() ? "clean-up: there was nothing left to remove" : "clean-up: removed " + joined(removed));
  } else {
    out_.notes.push_back("clean-up: the faults could not be removed (" + gone.error().message + "); they end with this process, or with chaosd's lease");
  }
  for (auto& b : out_.bands)
    if (b.to_ns < 0) b.to_ns = now_ns;
}

}  // namespace chaos::experiment
