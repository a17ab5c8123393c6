// The load generator is open loop: a server that stalls shows its stall in the latencies of all requests that were due meanwhile.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>

#include "control/experiment/prober.hpp"
#include "tests/support/dripping_server.hpp"

namespace {

using namespace chaos::experiment;
using namespace std::chrono_literals;

// Answers every request of a connection with one text; `stalled`: takes them and says nothing for the time being.
class small_server {
 public:
  explicit small_server(std::string answer, std::string end_of_request) : answer_(std::move(answer)), end_(std::move(end_of_request)) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in here{};
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof here;
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&here), size), 0);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&here), &size);
    listen(listener_, 64);
    port = ntohs(here.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~small_server() {
    over_ = true;
    thread_.join();
    close(listener_);
  }
  int port = 0;
  std::atomic<bool> stalled{false};
  std::atomic<int> accepted{0};

 private:
  void serve() {
    struct connection {
      int fd;
      std::string in;
    };
    std::vector<connection> all;
    while (!over_) {
      std::vector<pollfd> watched{{listener_, POLLIN, 0}};
      for (const auto& c : all) watched.push_back({c.fd, POLLIN, 0});
      poll(watched.data(), watched.size(), 5);
      if (watched[0].revents) all.push_back({accept(listener_, nullptr, nullptr), ""}), ++accepted;
      if (stalled) continue;
      for (std::size_t i = 0; i < all.size(); ++i) {
        char chunk[4096];
        ssize_t n;
        while ((n = recv(all[i].fd, chunk, sizeof chunk, MSG_DONTWAIT)) > 0) all[i].in.append(chunk, static_cast<std::size_t>(n));
        for (std::size_t at; (at = all[i].in.find(end_)) != std::string::npos; all[i].in.erase(0, at + end_.size())) static_cast<void>(send(all[i].fd, answer_.data(), answer_.size(), MSG_NOSIGNAL));
      }
    }
    for (const auto& c : all) close(c.fd);
  }
  const std::string answer_, end_;
  int listener_;
  std::atomic<bool> over_{false};
  std::thread thread_;
};

probe_plan load_on(probe_kind kind, int port) {
  probe_plan p;
  p.name = "l", p.kind = kind, p.load = true, p.connections = 4, p.port = port;
  p.interval = 5ms, p.timeout = 5s;
  p.path.before = "/", p.command.before = "PING";
  return p;
}

struct seen {
  statistics calm, stalled;
};

// 400 ms of calm, then 400 ms in which nothing is answered.
seen stall(const probe_plan& p, small_server& server) {
  const auto began = steady::now();
  prober load(p, began, {});
  const auto since = [&] { return (steady::now() - began).count(); };
  while (since() < 400'000'000) std::this_thread::sleep_for(1ms);
  server.stalled = true;
  const auto from = since();
  while (since() < from + 400'000'000) std::this_thread::sleep_for(1ms);
  server.stalled = false;
  const auto until = since();
  while (load.ended() < static_cast<std::uint64_t>(until / p.interval.count()) && since() < until + 5'000'000'000) std::this_thread::sleep_for(1ms);
  load.stop();
  load.join();
  const auto all = load.samples();
  return {statistics_of(between(all, 100'000'000, from - 50'000'000), 1), statistics_of(between(all, from, until), 1)};
}

void expect_open_loop(const probe_plan& p, small_server& server) {
  const auto s = stall(p, server);
  EXPECT_EQ(s.calm.good, s.calm.samples);
  EXPECT_GE(s.calm.samples, 40u);
  EXPECT_LT(s.calm.p50_ns, 100e6);
  // 80 requests were due meanwhile; four connections would have sent four, and a closed loop would have measured no more
  EXPECT_GE(s.stalled.samples, 70u);
  EXPECT_EQ(s.stalled.good, s.stalled.samples);
  EXPECT_GE(s.stalled.p99_ns, 350e6) << "those that were due first waited for all of it";
  EXPECT_GE(s.stalled.p50_ns, 150e6) << "half of them waited for half of it";
  EXPECT_LE(server.accepted, 4) << "connections stay open";
}

TEST(Load, AStalledHttpServerShowsInTheLatencies) {
  small_server server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "\r\n\r\n");
  expect_open_loop(load_on(probe_kind::http, server.port), server);
}

TEST(Load, AStalledRedisServerShowsInTheLatencies) {
  small_server server("+PONG\r\n", "PING\r\n");
  expect_open_loop(load_on(probe_kind::redis, server.port), server);
}

TEST(Load, WhatCouldNotBeSentInTimeHasTimedOut) {
  small_server server("+PONG\r\n", "PING\r\n");
  server.stalled = true;
  auto p = load_on(probe_kind::redis, server.port);
  p.timeout = 50ms;
  const auto began = steady::now();
  prober load(p, began, {});
  while (load.ended() < 60) std::this_thread::sleep_for(1ms);
  EXPECT_LT(steady::now() - began, 3s) << "a queue of requests that nobody waits for any more is not worked through";
  load.stop();
  load.join();
  for (const auto& s : load.samples()) {
    EXPECT_TRUE(s.timed_out);
    EXPECT_GE(s.latency_ns, 50'000'000);
  }
}

TEST(Load, ARedisErrorAndAWrongAnswerAreTold) {
  small_server refusing("-ERR no\r\n", "PING\r\n");
  const auto one = [](const probe_plan& p) {
    prober load(p, steady::now(), {});
    while (load.ended() < 3) std::this_thread::sleep_for(1ms);
    load.stop();
    load.join();
    return statistics_of(load.samples(), 1).answers.begin()->first;
  };
  EXPECT_EQ(one(load_on(probe_kind::redis, refusing.port)), "error reply");
  small_server pong("+PONG\r\n", "PING\r\n");
  auto p = load_on(probe_kind::redis, pong.port);
  p.expect = "PING";
  EXPECT_EQ(one(p), "wrong answer");
  p.expect = "PON";
  EXPECT_EQ(one(p), "good");
}

TEST(Load, AnAnswerThatNeverEndsHasTimedOut) {
  const std::tuple<probe_kind, const char*, const char*> answers[] = {{probe_kind::http, "HTTP/1.1 200 OK\r\n", "X: y\r\n"},
                                                                      {probe_kind::http, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"},
                                                                      {probe_kind::http, "HTTP/1.1 200 OK\r\n\r\n", "x"},
                                                                      {probe_kind::redis, "$1000000000\r\n", "x"}};
  for (const auto& [kind, beginning, piece] : answers) {
    const chaos::testing_support::dripping_server server(beginning, piece);
    for (const bool load : {true, false}) {
      auto p = load_on(kind, server.port);
      p.load = load, p.timeout = 200ms;
      const auto asker = make_probe(p, {});
      sample s;
      const auto began = steady::now();
      asker->ask(0, began + p.timeout, s);
      EXPECT_STREQ(failure_texts[s.failure], "timed out") << beginning;
      EXPECT_LT(steady::now() - began, 3s) << beginning;
    }
  }
}

}  // namespace
