// The environment.
#include <string.h>

#include "own.hpp"
#include "preload/runtime/environment.hpp"

namespace chaos::hooks {
namespace {

// Values that rules put in place of others: callers keep the pointer, so a text once given out stays. One page each.
struct given {
  std::uint32_t rule;
  char text[4096 - sizeof(std::uint32_t)];
};
constexpr unsigned given_max = 1024;
constinit std::atomic<given*> replaced[given_max]{};

// nullptr: there is no more room.
char* lasting_text(const abi::rule& r, const char* text) {
  given* fresh = nullptr;
  char* lasting = nullptr;
  for (std::atomic<given*>& place : replaced) {
    given* there = place.load(std::memory_order_acquire);
    if (!there) {
      if (!fresh && !(fresh = static_cast<given*>(sys::pages(sizeof(given))))) break;
      fresh->rule = r.id;
      strncpy(fresh->text, text, sizeof fresh->text - 1);
      if (place.compare_exchange_strong(there, fresh, std::memory_order_acq_rel)) return fresh->text;
    }
    if (there->rule == r.id) {
      lasting = there->text;
      break;
    }
  }
  if (fresh) sys::unmap(fresh, sizeof(given));
  return lasting;
}

}  // namespace

environment_change change_of(abi::function_id self, const char* name, const void* caller, char*& value) {
  const rule_view* v = inside() || !name ? nullptr : current_view();
  if (!v || !(v->classes & abi::classes::env)) return environment_change::none;
  inside_scope work;
  const int before = errno;
  std::uint64_t mask[4];
  core::endpoint e;
  e.variable = name;
  match_endpoint(*v, e, mask);
  decision made;
  decide({.function = self, .acts_as = abi::classes::env}, mask, nullptr, *v, caller, made);
  environment_change change = environment_change::none;
  if (made.verdict.ender) {
    const abi::rule& r = *made.verdict.ender->rule;
    const bool replaces = r.kind == abi::effect::replace;
    value = replaces ? lasting_text(r, core::pool_text(*v->bank, r.text)) : nullptr;
    change = value ? environment_change::replaced : environment_change::unset;
    if (replaces && !value) {
      undecide(made);
      change = environment_change::none;
    }
  }
  report_fired(made, name, 0, 0, caller);
  errno = before;
  work.end();
  return change;
}

void edit_environment(char** envp) {
  if (!envp || !(page->armed_classes.load(std::memory_order_relaxed) & abi::classes::env)) return;
  char** to = envp;
  for (char** from = envp; *from; ++from) {
    char name[256];
    const char* equals = strchr(*from, '=');
    const std::size_t n = equals ? static_cast<std::size_t>(equals - *from) : 0;
    char* value = nullptr;
    auto change = environment_change::none;
    if (n && n < sizeof name) {
      memcpy(name, *from, n);
      name[n] = 0;
      change = change_of(abi::function_id::getenv, name, nullptr, value);
    }
    if (change == environment_change::unset) continue;
    if (change == environment_change::replaced) {
      const std::size_t length = strlen(value);
      auto* entry = static_cast<char*>(sys::pages(n + length + 2));
      if (entry) {
        memcpy(entry, *from, n + 1);
        memcpy(entry + n + 1, value, length + 1);
        *to++ = entry;
        continue;
      }
    }
    *to++ = *from;
  }
  *to = nullptr;
}

}  // namespace chaos::hooks
