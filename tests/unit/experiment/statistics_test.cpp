#include "control/experiment/statistics.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace {

using namespace chaos::experiment;

sample at(std::int64_t due, std::int64_t latency, bool good) {
  sample s;
  s.due_ns = due, s.latency_ns = latency, s.good = good, s.failure = good ? 0 : 3;
  return s;
}

TEST(Statistics, PercentilesAreValuesThatWereMeasured) {
  std::vector<sample> all;
  for (int i = 100; i >= 1; --i) all.push_back(at(i, i * 10, i > 10));
  const auto s = statistics_of(all, 2);
  EXPECT_EQ(s.samples, 100u);
  EXPECT_DOUBLE_EQ(s.success_rate(), 0.9);
  EXPECT_DOUBLE_EQ(s.throughput(), 45);
  EXPECT_DOUBLE_EQ(s.p50_ns, 500);
  EXPECT_DOUBLE_EQ(s.p95_ns, 950);
  EXPECT_DOUBLE_EQ(s.p99_ns, 990);
  EXPECT_DOUBLE_EQ(s.max_ns, 1000);
  EXPECT_DOUBLE_EQ(s.mean_ns, 505);
  EXPECT_EQ(s.answers, (std::map<std::string, std::uint64_t>{{"cut off", 10}, {"good", 90}}));
}

TEST(Statistics, AHistogramIsExactToASixtyFourth) {
  for (std::int64_t v = 1; v < 4'000'000'000'000; v = v * 5 / 4 + 1) {
    const auto upper = histogram::upper_end(histogram::bucket_of(v));
    EXPECT_GE(upper, v);
    EXPECT_LE(upper - v, v / 64 + 1) << v;
    EXPECT_EQ(histogram::bucket_of(upper), histogram::bucket_of(v)) << v;
    EXPECT_GT(histogram::bucket_of(upper + 1), histogram::bucket_of(v)) << v;
  }
  histogram h;
  for (int i = 0; i < 10; ++i) h.record(1'000'000);
  h.record(-5);
  EXPECT_EQ(h.total(), 11u);
  EXPECT_EQ(h.buckets().size(), 2u);
  EXPECT_EQ(h.buckets().begin()->first, 0);
}

TEST(Statistics, NothingMeasuredIsNoNumber) {
  const auto s = statistics_of({}, 1);
  EXPECT_TRUE(std::isnan(s.p50_ns));
  EXPECT_TRUE(std::isnan(s.success_rate()));
}

TEST(Statistics, AWindowIsByDueTime) { EXPECT_EQ(between(std::vector{at(9, 100, true), at(10, 1, true), at(19, 50, true), at(20, 1, true)}, 10, 20).size(), 2u); }

TEST(Recovery, IsWhereTheLastUnbrokenRowBegan) {
  std::vector<sample> all{at(0, 1, true), at(5, 1, true), at(10, 3, true), at(20, 3, false), at(30, 4, true), at(40, 5, true)};
  EXPECT_EQ(recovered_at(all, 10, 3), -1);
  all.push_back(at(50, 1, true));
  EXPECT_EQ(recovered_at(all, 10, 3), 34);
  all.push_back(at(25, 60, true));  // came last, was due earlier
  EXPECT_EQ(recovered_at(all, 10, 3), 85);
  all.push_back(at(60, 1, false));
  EXPECT_EQ(recovered_at(all, 10, 1), -1);
  EXPECT_EQ(recovered_at({}, 0, 1), -1);
}

}  // namespace
