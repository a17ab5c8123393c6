// What is drawn has the share and the shape that was asked for, as the program meets it. Shares lie within 4.5 standard
// deviations of a binomial (7 in a million miss that by chance); shapes pass a Kolmogorov–Smirnov test at 1 in 10,000, on the
// delays that a reader measures: these may be later than drawn by what the scheduler adds.
#include "gate.hpp"

#include <cmath>
#include <vector>

namespace chaos::gate {
namespace {

constexpr double scheduling_ms = 1;

void expect_share(double count, double n, double p, const std::string& of) {
  const double deviation = std::sqrt(n * p * (1 - p));
  EXPECT_NEAR(count, n * p, 4.5 * deviation) << of << ": " << count << " of " << n << " with probability " << p;
}

TEST_F(Gate, AProbabilityIsAShareOfTheCalls) {
  for (const char* const p : {"0.01", "0.1", "50%", "0.9"}) {
    tcp_pair pair;
    const auto id = s.set("error " + pair.target() + " EIO --force --on recv --probability " + std::string(p));
    const double want = std::string(p) == "50%" ? 0.5 : std::stod(p);
    constexpr int calls = 10'000;
    put(pair.far, std::string(calls, 'x'));
    int failed = 0;
    for (int i = 0; i < calls; ++i) {
      char c;
      failed += recv(pair.near, &c, 1, 0) < 0;
    }
    expect_share(failed, calls, want, "calls that failed");
    EXPECT_EQ(s.count(id).fired, static_cast<std::uint64_t>(failed));
    EXPECT_EQ(s.count(id).matched, static_cast<std::uint64_t>(calls));
    s.clear();
  }
}

TEST_F(Gate, AToxicityIsAShareOfTheConnectionsAllOrNothing) {
  const listener service(512);
  const auto id = s.set("error " + service.target() + " EPIPE --on send --toxicity 30%");
  constexpr int connections = 1000;
  int hit = 0;
  for (int i = 0; i < connections; ++i) {
    const unique_fd fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in to = loopback(service.port);
    ASSERT_EQ(connect(fd, generic(to), sizeof to), 0);
    const unique_fd peer = accept(service.fd, nullptr, nullptr);
    int failed = 0;
    for (int k = 0; k < 3; ++k) failed += send(fd, "x", 1, MSG_NOSIGNAL) < 0;
    EXPECT_TRUE(failed == 0 || failed == 3) << failed;
    hit += failed == 3;
  }
  expect_share(hit, connections, 0.3, "connections that were hit");
  EXPECT_EQ(s.count(id).fired, static_cast<std::uint64_t>(3 * hit));
}

TEST_F(Gate, LossAndDuplicationAreShares) {
  const struct { const char* rule; double p; bool twice; bool independent; } kinds[] = {
      {"loss {} 3%", 0.03, false, true},
      {"loss {} 40%", 0.4, false, true},
      {"loss {} 20% --correlation 50%", 0.2, false, false},
      {"loss {} --model gemodel:5%,45%,100%,0%", 0.1, false, false},  // p / (p + r) of the time in the bad state, where all is lost
      {"duplicate {} 25%", 0.25, true, true},
  };
  for (const auto& k : kinds) {
    udp_pair p;
    std::string rule = k.rule;
    const auto id = s.set(rule.replace(rule.find("{}"), 2, p.target()));
    set_nonblocking(p.near);
    constexpr int rounds = 200, each = 50;
    int got = 0;
    for (int i = 0; i < rounds; ++i) {
      for (int j = 0; j < each; ++j) put(p.far, "x");
      for (char c; recv(p.near, &c, 1, 0) == 1;) ++got;
    }
    constexpr int n = rounds * each;
    const int changed = k.twice ? got - n : n - got;
    EXPECT_EQ(s.count(id).fired, static_cast<std::uint64_t>(changed)) << k.rule;
    // Draws that hang together tell less: of a two-state chain with correlation 0.5 a third as much.
    expect_share(k.independent ? changed : changed / 3.0, k.independent ? n : n / 3.0, k.p, k.rule);
    s.clear();
  }
}

// A share of the bytes is of many calls none: those were not injected into, and nothing else says so.
TEST_F(Gate, CallsInWhichNothingWasFlippedDoNotCount) {
  for (const bool up : {false, true}) {
    tcp_pair p;
    const auto id = s.set("corrupt " + p.target() + " 0.01" + (up ? " --direction up" : ""));
    std::size_t changed = 0;
    for (int n = 0; n < 500; ++n) {
      char b[10];
      put(up ? p.near : p.far, std::string(10, 'x'));
      ASSERT_EQ(recv(up ? p.far : p.near, b, sizeof b, MSG_WAITALL), 10);
      changed += std::string(b, 10) != std::string(10, 'x');
    }
    EXPECT_GT(changed, 15u);  // 48 calls, ± 5 standard deviations
    EXPECT_LT(changed, 85u);
    EXPECT_EQ(s.count(id).matched, 500u);
    EXPECT_EQ(s.count(id).fired, changed);
    EXPECT_EQ(s.events(id).size(), changed);
    s.remove(id);
  }
}

TEST_F(Gate, CorruptionIsAShareOfTheBytes) {
  for (const double p : {0.001, 0.02}) {
    tcp_pair pair;
    const auto id = s.set("corrupt " + pair.target() + " " + std::to_string(p));
    constexpr std::size_t total = 200'000;
    std::thread peer([&] {
      for (std::size_t sent = 0; sent < total; sent += 10'000) put(pair.far, std::string(10'000, 'x'));
    });
    std::size_t got = 0, changed = 0;
    while (got < total) {
      char b[8192];
      const ssize_t n = recv(pair.near, b, sizeof b, 0);
      if (n <= 0) break;
      got += static_cast<std::size_t>(n);
      for (ssize_t i = 0; i < n; ++i) {
        if (b[i] == 'x') continue;
        ++changed;
        EXPECT_EQ(__builtin_popcount(static_cast<unsigned char>(b[i] ^ 'x')), 1);
      }
    }
    peer.join();
    ASSERT_EQ(got, total);
    expect_share(static_cast<double>(changed), total, p, "bytes changed");
    EXPECT_GE(s.count(id).fired, 1u);
    s.clear();
  }
}

double normal_share(double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); }
// The share of netem's pareto variate below s: u^(-1/3) moved by 1.5 and scaled by 4/3, at most 4.
double pareto_share(double s) { return s >= 4 ? 1 : s <= -2.0 / 3 ? 0 : 1 - std::pow(1.5 + 0.75 * s, -3); }

struct shape {
  const char* name;
  std::string options;
  double (*share)(double ms);  // of the delays that are below
};
const shape shapes[] = {
    {"constant", "20ms", [](double ms) { return ms < 20 ? 0.0 : 1.0; }},
    {"uniform", "20ms --jitter 8ms", [](double ms) { return std::clamp((ms - 12) / 16, 0.0, 1.0); }},
    {"normal", "20ms --jitter 5ms --distribution normal", [](double ms) { return ms < 0 ? 0 : normal_share((ms - 20) / 5); }},
    {"pareto", "15ms --jitter 8ms --distribution pareto", [](double ms) { return pareto_share((ms - 15) / 8); }},
    {"paretonormal", "20ms --jitter 6ms --distribution paretonormal",
     [](double ms) {
       double sum = 0;
       constexpr int steps = 2000;
       for (int i = 0; i < steps; ++i) {
         const double u = (i + 0.5) / steps, pareto = std::min((std::pow(u, -1.0 / 3) - 1.5) * 4 / 3, 4.0);
         sum += normal_share(((ms - 20) / 6 - 0.75 * pareto) / 0.25);
       }
       return ms < 0 ? 0 : sum / steps;
     }},
    {"percentiles", "--percentiles p50=10ms,p90=30ms,p99=40ms",
     [](double ms) { return ms < 10 ? ms / 20 : ms < 30 ? 0.5 + (ms - 10) / 50 : ms < 40 ? 0.9 + (ms - 30) * 0.009 : 1; }},
};

class Shape : public Gate, public testing::WithParamInterface<shape> {};
INSTANTIATE_TEST_SUITE_P(Of, Shape, testing::ValuesIn(shapes), [](const auto& info) { return std::string(info.param.name); });

TEST_P(Shape, OfMeasuredDelaysIsTheOneAskedFor) {
  constexpr int readers = 25, each = 16, n = readers * each;
  const double critical = std::sqrt(-0.5 * std::log(0.5e-4) / n);
  const listener service(readers);
  const auto id = s.set("latency " + service.target() + " " + GetParam().options);
  std::vector<double> late;
  std::mutex m;
  std::vector<std::thread> all;
  for (int i = 0; i < readers; ++i)
    all.emplace_back([&] {
      const unique_fd near = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const sockaddr_in to = loopback(service.port);
      unique_fd far;
      {
        const std::lock_guard one(m);  // so that the one accepted is the one connected
        connect(near, generic(to), sizeof to);
        far = accept(service.fd, nullptr, nullptr);
      }
      for (int k = 0; k < each; ++k) {
        const double start = monotonic_ms();
        char c;
        if (send(far, "x", 1, MSG_NOSIGNAL) != 1 || recv(near, &c, 1, 0) != 1) return;
        const double took = monotonic_ms() - start;
        const std::lock_guard one(m);
        late.push_back(took);
      }
    });
  for (auto& t : all) t.join();
  ASSERT_EQ(late.size(), static_cast<std::size_t>(n));
  EXPECT_EQ(s.count(id).fired, static_cast<std::uint64_t>(n));
  std::sort(late.begin(), late.end());
  double furthest = 0, at = 0;
  for (int i = 0; i < n; ++i) {
    const double ms = late[static_cast<std::size_t>(i)];
    const double above = static_cast<double>(i + 1) / n - GetParam().share(ms + early_ms);      // too many so early
    const double below = GetParam().share(ms - scheduling_ms) - static_cast<double>(i) / n;     // too few, even so late
    if (std::max(above, below) > furthest) {
      furthest = std::max(above, below);
      at = ms;
    }
  }
  EXPECT_LT(furthest, critical) << "at " << at << " ms";
}

}  // namespace
}  // namespace chaos::gate
