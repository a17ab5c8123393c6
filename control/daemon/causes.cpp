#include "causes.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "chaos/abi/effects.hpp"

namespace chaos::daemon {

namespace {

// "NAME: closed -> open (consecutive_failures) after 5 failures", as breakers annotate it.
struct move {
  std::string_view breaker;
  bool opens;
  std::size_t failures;  // 0: not said
};

std::optional<move> move_in(const abi::event& e) {
  constexpr std::string_view category = "breaker", arrow = " -> ", open = "open (", after = ") after ";
  if (std::strncmp(e.text, category.data(), category.size() + 1) != 0) return {};
  const char* const begin = e.text + category.size() + 1;
  const std::string_view text(begin, strnlen(begin, sizeof e.text - category.size() - 1));
  const auto at = text.rfind(arrow);
  const auto colon = at == text.npos ? at : text.rfind(": ", at);
  if (colon == text.npos) return {};
  std::string_view rest = text.substr(at + arrow.size());
  move m{text.substr(0, colon), rest.substr(0, open.size()) == open, 0};
  if (const auto number = rest.find(after); number != rest.npos) {
    rest.remove_prefix(number + after.size());
    std::from_chars(rest.data(), rest.data() + rest.size(), m.failures);
  }
  return m;
}

bool can_fail_a_call(const abi::event& e) {
  return e.kind == abi::event_kind::injection && !(e.flags & abi::event_flags::dry_run) &&
         e.effect != static_cast<std::uint8_t>(abi::effect::observe);
}

}  // namespace

causes::process& causes::of(std::int32_t pid, std::uint64_t seq) {
  if (!processes_.count(pid) && processes_.size() >= processes_max)
    processes_.erase(std::min_element(processes_.begin(), processes_.end(), [](const auto& a, const auto& b) { return a.second.seen < b.second.seen; }));
  process& p = processes_[pid];
  p.seen = seq;
  return p;
}

std::optional<cause> causes::take(std::uint64_t seq, const abi::event& e) {
  if (can_fail_a_call(e)) {
    process& p = of(e.pid, seq);
    p.injections.push_back(seq);
    if (p.injections.size() > injections_max) p.injections.pop_front();
    return {};
  }
  if (e.kind == abi::event_kind::attach) {  // another program, or another process, begins under this pid
    processes_.erase(e.pid);
    return {};
  }
  if (e.kind != abi::event_kind::annotation) return {};
  const auto move = move_in(e);
  if (!move) return {};
  process& p = of(e.pid, seq);
  const std::string name(move->breaker);
  const auto known = p.transitions.find(name);
  auto first = p.injections.begin();
  if (known != p.transitions.end()) first = std::upper_bound(first, p.injections.end(), known->second);
  else if (p.transitions.size() >= breakers_max) p.transitions.clear();
  p.transitions[name] = seq;
  const auto n = static_cast<std::size_t>(p.injections.end() - first);
  const std::size_t wanted = std::min(n, move->failures ? move->failures : untold_max);
  if (!move->opens || wanted == 0) return {};
  return cause{*(p.injections.end() - static_cast<std::ptrdiff_t>(wanted)), p.injections.back(), wanted};
}

}  // namespace chaos::daemon
