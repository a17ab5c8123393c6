// bandwidth carries its rate to 3 %, from 10 KB/s to 200 MB/s, for readers and writers that block or wait in epoll.
#include "ways.hpp"

#include <algorithm>
#include <array>
#include <memory>

namespace chaos::gate {
namespace {

constexpr double tolerance = 0.03;

struct example {
  const char* rate;
  double bytes_s;
  std::size_t total;
};
// Each carries for some hundred milliseconds; the slow ones for longer, since less is known of few pieces.
const example slow[] = {{"10KB/s", 10e3, 6'000}, {"100KB/s", 100e3, 50'000}, {"1MB/s", 1e6, 500'000}};
const example fast[] = {{"10MB/s", 10e6, 1'500'000}, {"50MB/s", 50e6, 7'500'000}, {"200MB/s", 200e6, 30'000'000}};

struct direction {
  bool up;
  way how;
};
const direction directions[] = {{false, way::blocking}, {false, way::epoll_level}, {true, way::blocking}, {true, way::epoll_level}};
std::string name_of(const direction& d) { return std::string(d.up ? "writer_" : "reader_") + name_of(d.how); }

void write_much(int fd, way how, std::size_t n) {
  waiter w(fd, how, EPOLLOUT);
  const std::string part(1 << 17, 'x');
  for (std::size_t done = 0; done < n && w.ready();) {
    const ssize_t r = send(fd, part.data(), std::min(part.size(), n - done), MSG_NOSIGNAL);
    if (r > 0) done += static_cast<std::size_t>(r);
    else if (errno != EAGAIN) break;
  }
}
std::size_t read_much(int fd, way how, std::size_t n) {
  waiter w(fd, how);
  std::string part(1 << 18, 0);
  std::size_t got = 0;
  while (got < n && w.ready()) {
    const ssize_t r = recv(fd, part.data(), std::min(part.size(), n - got), 0);
    if (r > 0) got += static_cast<std::size_t>(r);
    else if (r == 0 || errno != EAGAIN) break;
  }
  return got;
}

// How many times the rate was carried, on a pair that a rule is set for.
double measured(tcp_pair& p, const example& e, const direction& d) {
  const double start = monotonic_ms();
  std::thread writer([&] { write_much(d.up ? p.near : p.far, d.up ? d.how : way::blocking, e.total); });
  EXPECT_EQ(read_much(d.up ? p.far : p.near, d.up ? way::blocking : d.how, e.total), e.total);
  const double took_s = (monotonic_ms() - start) / 1000;
  writer.join();
  return static_cast<double>(e.total) / took_s / e.bytes_s;
}
std::string rule_for(const tcp_pair& p, const example& e, const direction& d) {
  return "bandwidth " + p.target() + " " + e.rate + (d.up ? " --direction up" : "");
}

double median_of_three(std::array<double, 3> runs) {
  std::sort(runs.begin(), runs.end());
  return runs[1];
}

TEST_F(Gate, SlowRatesAreCarriedTo3PercentInTheMedianOfThree) {  // all at one time: they cost next to nothing
  constexpr std::size_t ways = std::size(slow) * std::size(directions);
  std::array<std::array<double, 3>, ways> runs;
  for (std::size_t run = 0; run < 3; ++run) {
    std::vector<std::unique_ptr<tcp_pair>> pairs;
    std::vector<std::string> rules;
    std::vector<std::uint32_t> ids;
    for (const example& e : slow)
      for (const direction& d : directions) rules.push_back(rule_for(*pairs.emplace_back(std::make_unique<tcp_pair>()), e, d));
    s.set_all(rules, ids);
    std::vector<std::thread> all;
    for (std::size_t i = 0; i < ways; ++i)
      all.emplace_back([&, i] { runs[i][run] = measured(*pairs[i], slow[i / std::size(directions)], directions[i % std::size(directions)]); });
    for (auto& t : all) t.join();
    for (const auto id : ids) EXPECT_GE(s.count(id).fired, 1u);
    s.clear();
  }
  for (std::size_t i = 0; i < ways; ++i)
    EXPECT_NEAR(median_of_three(runs[i]), 1, tolerance) << slow[i / std::size(directions)].rate << " " << name_of(directions[i % std::size(directions)]);
}

// A sender that does not block asks for more than may go at a time: each call counts what it moved, not what it asked for.
TEST_F(Gate, TheCountedTimeIsThatOfTheBytesThatWent) {
  for (const direction& d : directions) {
    tcp_pair p;
    const example e{"1MB/s", 1e6, 300'000};
    const auto id = s.set(rule_for(p, e, d));
    measured(p, e, d);
    EXPECT_NEAR(static_cast<double>(s.count(id).delayed_ns) / 1e9, 0.3, 0.05) << name_of(d);
    s.remove(id);
  }
}

class FastBandwidth : public Gate, public testing::WithParamInterface<direction> {};
INSTANTIATE_TEST_SUITE_P(By, FastBandwidth, testing::ValuesIn(directions), [](const auto& info) { return name_of(info.param); });

TEST_P(FastBandwidth, IsCarriedTo3PercentInTheMedianOfFive) {
  for (const example& e : fast) {
    std::vector<double> runs;
    for (int i = 0; i < 5; ++i) {
      tcp_pair p;
      const auto id = s.set(rule_for(p, e, GetParam()));
      runs.push_back(measured(p, e, GetParam()));
      EXPECT_GE(s.count(id).fired, 1u);
      s.remove(id);
    }
    std::sort(runs.begin(), runs.end());
    EXPECT_NEAR(runs[2], 1, tolerance) << e.rate << ", from " << runs.front() << " to " << runs.back();
    std::printf("%s %s: %.3f of the rate (%.3f to %.3f)\n", name_of(GetParam()).c_str(), e.rate, runs[2], runs.front(), runs.back());
  }
}

}  // namespace
}  // namespace chaos::gate
