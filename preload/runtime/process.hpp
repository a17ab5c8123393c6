// What the shim knows of the process it is in: the two pages, who we are, and which rules are meant for us.
#pragma once
#include <atomic>
#include <cstdint>

#include "chaos/abi/report_page.hpp"
#include "chaos/abi/rule_page.hpp"
#include "preload/core/prng.hpp"
#include "syscalls.hpp"

namespace chaos {

// The rule page, or a page of zeros while there is none: hooks load through this pointer without asking.
[[gnu::visibility("hidden")]] extern const abi::rule_page* page;
[[gnu::visibility("hidden")]] extern abi::report_page* report;  // nullptr while there is none

struct process_identity {
  int pid;                       // of the process that last looked
  std::uint64_t executable_hash;
  std::uint32_t ordinal;         // nth process of this executable
  std::uint32_t attach_index;    // slot + 1; 0: none
  std::uint64_t run;
  core::random_key key;          // executable and ordinal, to be mixed with rule, connection, operation
  char executable[512];
  char comm[16];
};
[[gnu::visibility("hidden")]] extern process_identity self;

// The rules that are meant for this process, for one generation of the page.
struct rule_view {
  std::atomic<std::uint32_t> generation;
  abi::class_set classes;        // what they act on, and what the shim has to follow for them
  abi::class_set asked;          // what they act on
  std::uint64_t mask[4];
  std::uint64_t memory[4];       // those about allocations
  std::uint32_t epoch;           // grows with each view before which calls may have gone by unseen, as no rule was meant for us
  std::uint32_t newest;          // the highest id among all rules
  bool any_arrival;              // a rule that delays arriving data: waits must be gated
  bool any_by_time;              // a rule by which a connection ends, or goes on, though nothing happens on it: who waits looks now and then
  bool any_budget;               // a rule that looks at how much is allocated
  const abi::rule_bank* bank;
};

// The view for the page's present generation; nullptr when no rule is meant for us, and in a signal handler that came while
// its thread was just making it. Renews our identity first when we are a forked child.
const rule_view* current_view();

void forget_views();  // in a forked child: what was meant for its parent (--pid) may not be meant for it

// True when these rules were looked at and none is meant for us.
bool none_is_ours(std::uint32_t generation);

inline std::uint32_t page_generation() { return page->generation.load(std::memory_order_acquire); }
// `generation`: the view's, taken before anything was read. A view is made anew after a few changes, and carries another one then.
inline bool bank_unchanged(const rule_view& v, std::uint32_t generation) {
  std::atomic_thread_fence(std::memory_order_acquire);
  return v.bank->generation.load(std::memory_order_relaxed) == generation && v.generation.load(std::memory_order_relaxed) == generation;
}

// True while chaosd lives: its lease has not passed and does not lie further ahead than a lease can.
bool lease_holds(std::uint64_t now_ns);

// Is this rule still in force (not removed, paused, ended, and the lease holds)? For those who wait on its behalf.
bool rule_in_force(std::uint32_t rule_id, std::uint64_t now_ns);

// The pid of the process that last looked, in a MADV_WIPEONFORK page: 0 in a forked child. nullptr while dormant.
[[gnu::visibility("hidden")]] extern std::atomic<int>* fork_witness;

// Pid, attach slot and random keys belong to the process: after a fork they are made anew, on first need.
void renew_after_fork();
// No other thread was ever begun in this process, as far as libc tells (glibc 2.32 and later; else: there may be some).
bool single_threaded();
void find_threads();    // init only

bool in_vfork_child();  // shares our memory: leave tracked state alone

// Thread-local state of ours: initial-exec, 24 bytes.
inline constexpr std::int32_t unknown_tid = -2;  // not asked for yet
struct alignas(8) thread_state {
  std::int32_t tid = unknown_tid;  // of the thread that this is; a forked child differs
  std::uint32_t depth;     // > 0: our own work is going on in this thread, hooks pass through
  std::uint32_t ordinal;   // nth thread that needed one
  std::uint32_t chain;     // place of the trigger states in thread scope; 0: none yet
  std::uint32_t unfinished_lookup;  // mark of the name whose answer did not fit in the room for it; 0: none
};
extern constinit thread_local thread_state this_thread __attribute__((tls_model("initial-exec"), visibility("hidden")));
std::uint32_t thread_ordinal();
inline bool inside() { return this_thread.depth != 0; }
inline int cached_tid() {
  if (this_thread.tid == unknown_tid) this_thread.tid = sys::tid();
  return this_thread.tid;
}

}  // namespace chaos
