// So many a second, and as many at once; never more for having waited.
#include "control/http/rate.hpp"

#include <gtest/gtest.h>

namespace chaos::http {
namespace {

unsigned admitted(rate_limit& limit, unsigned asked, rate_limit::clock::time_point at) {
  unsigned n = 0;
  for (unsigned i = 0; i < asked; ++i) n += limit.admit(at);
  return n;
}

TEST(HttpRate, IsHeldOverSeconds) {
  rate_limit limit(10);
  const auto start = rate_limit::clock::now();
  EXPECT_EQ(admitted(limit, 100, start), 10u);
  EXPECT_EQ(admitted(limit, 100, start + std::chrono::milliseconds(550)), 5u);
  EXPECT_EQ(admitted(limit, 100, start + std::chrono::hours(1)), 10u);
}

}  // namespace
}  // namespace chaos::http
