#include "process.hpp"

#include <dlfcn.h>

#include <cstring>

#include "busy_word.hpp"
#include "preload/core/glob.hpp"
#include "preload/core/judge.hpp"
#include "preload/core/match.hpp"

namespace chaos {

namespace {
constinit abi::rule_page no_page{};  // all zero: nothing armed, no generation. In .bss, never touched beyond one line
}

constinit const abi::rule_page* page = &no_page;
constinit abi::report_page* report = nullptr;
constinit process_identity self{};
constinit thread_local thread_state this_thread __attribute__((tls_model("initial-exec"))) = {};

bool lease_holds(std::uint64_t now_ns) {
  const std::uint64_t until = page->lease_until_ns.load(std::memory_order_relaxed);
  // A second of grace: `now` may be a little old by here, when this thread was not running while the lease was renewed.
  return now_ns < until && until - now_ns <= abi::lease_ns + 1'000'000'000;
}

namespace {

constinit rule_view views[4]{};
constinit std::atomic<std::uint32_t> latest{0};       // index of the newest view
constinit std::atomic<std::uint32_t> making{0};       // busy word of the thread that makes one
constinit std::atomic<std::uint32_t> lapsed_generation{0};

bool process_is(const char* glob) {
  return core::glob_match(glob, self.executable) || core::glob_match(glob, core::base_name(self.executable)) ||
         core::glob_match(glob, self.comm);
}

bool meant_for_us(const abi::rule& r, const abi::rule_bank& bank) {
  if (r.id == 0 || r.paused) return false;
  if (r.run && r.run != self.run) return false;
  if (r.process_id && r.process_id != static_cast<std::uint32_t>(self.pid)) return false;
  return !r.process_glob || process_is(core::pool_text(bank, r.process_glob));
}

void fill(rule_view& v, std::uint32_t generation, const rule_view& before) {
  const abi::rule_bank& bank = page->banks[generation % 2];
  v.bank = &bank;
  v.classes = 0;
  v.any_arrival = v.any_by_time = v.any_budget = false;
  v.epoch = before.epoch + (!before.classes || generation != before.generation.load(std::memory_order_relaxed) + 1);
  v.newest = 0;
  for (unsigned w = 0; w < 4; ++w) v.mask[w] = v.memory[w] = 0;
  core::endpoint allocation;
  allocation.memory = true;
  const unsigned n = bank.count < abi::rule_max ? bank.count : abi::rule_max;
  bool sockets = false;
  for (unsigned i = 0; i < n; ++i) {
    const abi::rule& r = bank.rules[i];
    if (r.id > v.newest) v.newest = r.id;
    if (!meant_for_us(r, bank)) continue;
    v.mask[i / 64] |= std::uint64_t{1} << (i % 64);
    v.classes |= r.classes;
    if ((r.classes & abi::classes::alloc) && core::target_matches(r, bank, allocation, nullptr)) v.memory[i / 64] |= std::uint64_t{1} << (i % 64);
    if (r.kind == abi::effect::enomem && (r.flags & abi::rule_flags::has_budget)) v.any_budget = true;
    v.classes |= abi::owed_by_arrivals(r.kind, r.classes);
    if (r.flags & abi::rule_flags::http) v.classes |= abi::classes::streams;  // both directions are followed
    if (r.classes & (abi::classes::data | abi::classes::connect | abi::classes::accept)) sockets = true;
    if ((core::of(r.kind) & core::standing_effects) || core::ends_unasked(r)) v.any_by_time = true;
    if ((core::of(r.kind) & (core::datagram_arrival_effects | core::standing_effects)) && (r.classes & (abi::classes::stream_in | abi::classes::datagram_in))) v.any_arrival = true;
  }
  v.asked = v.classes;
  // What the shim itself needs to keep track of descriptors while rules about them are in force.
  if (v.classes & ~(abi::classes::alloc | abi::classes::env | abi::classes::dns | abi::classes::api))
    v.classes |= abi::classes::close | abi::classes::descriptor;
  if (sockets) v.classes |= abi::classes::readiness | abi::classes::option | abi::classes::process;
  v.generation.store(generation, std::memory_order_release);
}

}  // namespace

const rule_view* current_view() {
  renew_after_fork();
  for (unsigned tries = 0; tries < 16; ++tries) {  // the rules may change while they are taken in
    const std::uint32_t generation = page_generation();
    if (generation == 0) return nullptr;
    rule_view* v = &views[latest.load(std::memory_order_acquire) % 4];
    if (v->generation.load(std::memory_order_acquire) == generation) return v->classes ? v : nullptr;
    // Another thread may be at it. It is waited for: a call that went by without would meet no fault.
    if (!take_word(making)) return nullptr;
    const std::uint32_t newest = latest.load(std::memory_order_relaxed);
    if (views[newest % 4].generation.load(std::memory_order_relaxed) != generation) {
      v = &views[(newest + 1) % 4];
      v->generation.store(0, std::memory_order_relaxed);
      fill(*v, generation, views[newest % 4]);
      if (bank_unchanged(*v, generation)) {
        latest.store(newest + 1, std::memory_order_release);
        if (report && self.attach_index)
          report->attached[self.attach_index - 1].generation.store(generation, std::memory_order_relaxed);
      }
    }
    give_word(making);
  }
  return nullptr;
}

void forget_views() {
  for (rule_view& v : views) v.generation.store(0, std::memory_order_relaxed);
}

bool none_is_ours(std::uint32_t generation) {
  const rule_view& v = views[latest.load(std::memory_order_acquire) % 4];
  return generation && v.generation.load(std::memory_order_acquire) == generation && !v.classes;
}

bool rule_in_force(std::uint32_t rule_id, std::uint64_t now_ns) {
  if (!page->armed_classes.load(std::memory_order_relaxed)) return false;
  if (!lease_holds(now_ns)) return false;
  const rule_view* v = current_view();
  if (!v) return false;
  const unsigned n = v->bank->count < abi::rule_max ? v->bank->count : abi::rule_max;
  for (unsigned i = 0; i < n; ++i) {
    const abi::rule& r = v->bank->rules[i];
    if (r.id == rule_id) return (v->mask[i / 64] >> (i % 64) & 1) && (!r.ends_at_ns || now_ns < r.ends_at_ns);
  }
  return false;
}

namespace {
constinit const volatile char* libc_says_single = nullptr;
}

void find_threads() { libc_says_single = static_cast<const volatile char*>(dlsym(RTLD_DEFAULT, "__libc_single_threaded")); }

bool single_threaded() { return libc_says_single && *libc_says_single; }

std::uint32_t thread_ordinal() {
  static constinit std::atomic<std::uint32_t> next{0};
  if (!this_thread.ordinal) this_thread.ordinal = next.fetch_add(1, std::memory_order_relaxed) + 1;
  return this_thread.ordinal;
}

}  // namespace chaos
