/* The event interface of the breaker linter: what any circuit breaker must offer to be driven through the traps that
 * breakers are known to fall into. C, so that a breaker of any language can be behind it. The runner is
 * breaker_lint.hpp.
 *
 *   struct chaos_lint_breaker mine = {.name = "mine", .make = make, .destroy = destroy, .acquire = acquire, ...};
 *
 * Thread-safety: acquire, success, failure, ignore and state are called from several threads when `threads` is not 0.
 * Units: nanoseconds. Errors: make() returns NULL when it cannot. */
#ifndef CHAOS_BREAKER_LINT_H
#define CHAOS_BREAKER_LINT_H
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the breaker under test is to be set to. It opens after failure_threshold failures in a row. A breaker that
 * lacks a setting uses the nearest that it has: that is part of the finding. */
struct chaos_lint_settings {
  uint32_t failure_threshold;
  uint64_t recovery_timeout_ns;
  uint64_t half_open_timeout_ns;
  uint32_t half_open_permits;
  uint32_t success_threshold;
};

enum chaos_lint_state { CHAOS_LINT_CLOSED = 0, CHAOS_LINT_OPEN = 1, CHAOS_LINT_HALF_OPEN = 2 };

struct chaos_lint_breaker {
  const char* name;
  int threads; /* not 0: may be used from several threads at a time */
  void* (*make)(const struct chaos_lint_settings* settings);
  void (*destroy)(void* breaker);
  /* Moves the breaker's clock. */
  void (*advance)(void* breaker, uint64_t ns);
  /* Asks for a call: a token of at least 0, or -1 when it is rejected. Without tokens of its own: return 0. */
  int64_t (*acquire)(void* breaker);
  void (*success)(void* breaker, int64_t token);
  void (*failure)(void* breaker, int64_t token);
  /* A call that ends without a verdict: ignored or cancelled. NULL when the breaker cannot be told. */
  void (*ignore)(void* breaker, int64_t token);
  /* The result of a call that was admitted in an earlier state. NULL when that is told by success and failure. */
  void (*late)(void* breaker, int64_t token, int succeeded);
  int (*state)(void* breaker); /* enum chaos_lint_state */
  /* Calls `told(argument)` at each transition. NULL when the breaker has no listeners. */
  void (*on_transition)(void* breaker, void (*told)(void* argument), void* argument);
};

#ifdef __cplusplus
}
#endif
#endif
