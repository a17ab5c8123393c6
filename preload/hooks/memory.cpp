// Allocation: fails only for callers that are neither libc nor the loader. Both abort or corrupt themselves when an
// allocation of theirs fails (dynamic TLS), and that is not a fault anybody asked for.
#include "own.hpp"
#include "preload/runtime/modules.hpp"

namespace chaos::hooks {

bool allocation_fails(abi::function_id self, std::size_t n, const void* caller, int& error) {
  if (inside()) return false;
  inside_scope work;
  bool fails = false;
  const int before = errno;
  if (const rule_view* v = current_view(); v && (v->classes & abi::classes::alloc) && !is_libc_or_loader(caller)) {
    std::uint64_t mask[4];
    core::endpoint e;
    e.memory = true;
    match_endpoint(*v, e, mask);
    decision made;
    decide({.function = self, .acts_as = abi::classes::alloc, .size = n, .bytes = n, .now_ns = sys::now_ns()}, mask, nullptr, -1, *v, caller, made);
    report_fired(made, "malloc", 0, n, caller);
    fails = made.verdict.end == effects::ending::error;
    error = made.verdict.error;
  }
  errno = before;
  work.end();
  return fails;
}

}  // namespace chaos::hooks
