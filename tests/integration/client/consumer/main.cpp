// Every public header that needs nothing but the standard library, in two translation units.
#include <chaos/annotate.hpp>
#include <chaos/breaker.hpp>
#include <chaos/breaker_lint.hpp>
#include <chaos/breaker_store.hpp>
#include <chaos/bulkhead.hpp>
#include <chaos/cache.hpp>
#include <chaos/retry.hpp>
#include <chaos/timeout.hpp>
#include <iostream>

int other(chaos::breaker& b);

int main() {
  chaos::breaker b("consumer", {.failure_threshold = 1});
  chaos::annotate("consumer", "started");
  const int before = other(b);
  b.try_acquire().failure();
  std::cout << before << ' ' << other(b) << ' ' << to_string(b.state()) << '\n';
}
