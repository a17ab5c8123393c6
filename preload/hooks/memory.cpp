// Allocation: fails only for callers that are neither libc nor the loader. Both abort or corrupt themselves when an
// allocation of theirs fails (dynamic TLS), and that is not a fault anybody asked for.
#include "own.hpp"
#include "preload/runtime/init.hpp"
#include "preload/runtime/modules.hpp"

namespace chaos::hooks {

namespace {
// Bytes allocated and not freed since a budget came into force. Below zero: older memory was given back.
constinit std::atomic<long> outstanding{0};

// The rules that an allocation of so many bytes could meet: nearly always none, and then nothing more is asked.
bool any_means(const rule_view& v, abi::function_id self, std::size_t n) {
  for (unsigned w = 0; w < 4; ++w)
    for (std::uint64_t bits = v.memory[w]; bits; bits &= bits - 1) {
      const abi::rule& r = v.bank->rules[w * 64 + static_cast<unsigned>(__builtin_ctzll(bits))];
      if (n >= r.size_low && n <= r.size_high && (r.functions.empty() || r.functions.has(self))) return true;
    }
  return false;
}

}  // namespace

long counted_of(void* p) {
  if (!p || !usable_size || inside()) return 0;
  const rule_view* v = current_view();
  return v && v->any_budget ? static_cast<long>(usable_size(p)) : 0;
}

void add_counted(long bytes) { outstanding.fetch_add(bytes, std::memory_order_relaxed); }

void note_allocated(void* p) {
  if (const long bytes = counted_of(p)) add_counted(bytes);
}
void note_freed(void* p) {
  if (const long bytes = counted_of(p)) add_counted(-bytes);
}

bool allocation_fails(abi::function_id self, std::size_t n, const void* caller, int& error) {
  if (inside()) return false;
  inside_scope work;
  bool fails = false;
  const int before = errno;
  if (const rule_view* v = current_view(); v && any_means(*v, self, n) && !is_libc_or_loader(caller)) {
    const long total = outstanding.load(std::memory_order_relaxed);
    decision made;
    decide({.function = self, .acts_as = abi::classes::alloc, .size = n, .bytes = n, .outstanding = total > 0 ? static_cast<std::uint64_t>(total) : 0}, v->memory, nullptr, *v, caller, made);
    report_fired(made, "malloc", 0, n, caller);
    fails = made.verdict.end == effects::ending::error;
    error = made.verdict.error;
  }
  errno = before;
  work.end();
  return fails;
}

}  // namespace chaos::hooks
