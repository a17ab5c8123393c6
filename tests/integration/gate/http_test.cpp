// HTTP messages on real connections: another status for those that a rule means, every other byte as it was, whoever reads
// or writes in whatever pieces; afterwards the connection is in step.
#include "gate.hpp"

#include <random>
#include <vector>

namespace chaos::gate {
namespace {

struct exchange {
  std::string path, response, faulty;  // what the server says, and what is made of it under http_error 503
  const char* method = "GET";
  std::string request() const { return std::string(method) + " " + path + " HTTP/1.1\r\nHost: x\r\n" + (body.empty() ? "" : "Content-Length: " + std::to_string(body.size()) + "\r\n") + "\r\n" + body; }
  std::string body{};
  unsigned faults = 1;
};

const std::string sorry = "HTTP/1.1 503 Service Unavailable\r\n";
const std::vector<exchange> samples = {
    {"/api/a", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", sorry + "Content-Length: 5\r\n\r\nhello"},
    {"/other", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes", "GET", "", 0},
    {"/api/chunked?q", "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n11\r\nHTTP/1.1 200 OK\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
     sorry + "Transfer-Encoding: chunked\r\n\r\n11\r\nHTTP/1.1 200 OK\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
    {"/api/empty", "HTTP/1.1 204 No Content\r\n\r\n", sorry + "Content-Length: 0\r\n\r\n", "DELETE"},
    {"/api/same", "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nContent-Length: 9\r\n\r\n", sorry + "Content-Length: 0\r\n\r\n"},
    {"/api/head", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", sorry + "Content-Length: 99\r\n\r\n", "HEAD"},
    {"/api/wait", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 100 Continue\r\n\r\n" + sorry + "Content-Length: 2\r\n\r\nok", "POST", "some body"},
    {"/elsewhere/api/", "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "GET", "", 0},
};

// Reads until `size` bytes came, in pieces of at most `piece`.
using reader = std::string (*)(int fd, std::size_t size, std::size_t piece);
std::string read_blocking(int fd, std::size_t size, std::size_t piece) {
  std::string got;
  std::vector<char> room(piece);
  while (got.size() < size) {
    const ssize_t n = recv(fd, room.data(), std::min(piece, size - got.size()), 0);
    if (n <= 0) return got + (n ? " error " + std::to_string(errno) : " end");
    got.append(room.data(), static_cast<std::size_t>(n));
  }
  return got;
}
std::string read_in_parts(int fd, std::size_t size, std::size_t piece) {
  std::string got;
  std::vector<char> a(piece), b(piece);
  for (bool message = false; got.size() < size; message = !message) {
    iovec parts[2] = {{a.data(), 1 + piece / 3}, {b.data(), piece}};
    msghdr m{};
    m.msg_iov = parts;
    m.msg_iovlen = 2;
    const ssize_t n = message ? recvmsg(fd, &m, 0) : readv(fd, parts, 2);
    if (n <= 0) return got + (n ? " error " + std::to_string(errno) : " end");
    const auto first = std::min(static_cast<std::size_t>(n), parts[0].iov_len);
    got.append(a.data(), first).append(b.data(), static_cast<std::size_t>(n) - first);
  }
  return got;
}
std::string read_when_ready(int fd, std::size_t size, std::size_t piece, std::uint32_t flags) {
  set_nonblocking(fd);
  const unique_fd set(epoll_create1(0));
  epoll_event e{};
  e.events = EPOLLIN | flags;
  epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
  std::string got;
  std::vector<char> room(piece);
  while (got.size() < size) {
    if (epoll_wait(set, &e, 1, 3000) != 1) return got + " never ready";
    for (ssize_t n; got.size() < size && (n = recv(fd, room.data(), piece, 0)) != -1;) {
      if (n == 0) return got + " end";
      got.append(room.data(), static_cast<std::size_t>(n));
      if (static_cast<std::size_t>(n) < piece && (flags & EPOLLET)) break;  // as nginx does: a short read emptied the queue
    }
  }
  return got;
}
std::string read_by_level(int fd, std::size_t size, std::size_t piece) { return read_when_ready(fd, size, piece, 0); }
std::string read_by_edge(int fd, std::size_t size, std::size_t piece) { return read_when_ready(fd, size, piece, EPOLLET); }

// Writes all of it in pieces, however little the kernel takes.
void write_all(int fd, const std::string& text, std::size_t piece, bool parts = false) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t n = std::min(piece, text.size() - at);
    ssize_t r;
    if (parts && n > 2) {
      iovec v[2] = {{const_cast<char*>(text.data()) + at, n / 2}, {const_cast<char*>(text.data()) + at + n / 2, n - n / 2}};
      r = writev(fd, v, 2);
    } else {
      r = send(fd, text.data() + at, n, MSG_NOSIGNAL);
    }
    if (r < 0 && errno == EAGAIN) {
      pollfd p{fd, POLLOUT, 0};
      ASSERT_EQ(poll(&p, 1, 5000), 1);
      continue;
    }
    ASSERT_GT(r, 0);
    at += static_cast<std::size_t>(r);
  }
}

class Http : public Gate {
 protected:
  std::string api(const tcp_pair& p) const { return "http://" + p.target() + "/api/*"; }
  std::string served(const tcp_pair& p) const { return "http://listen:" + std::to_string(p.service.port) + "/api/*"; }
};

struct way_to_read {
  const char* name;
  reader read;
};
class HttpReader : public Http, public testing::WithParamInterface<way_to_read> {};
INSTANTIATE_TEST_SUITE_P(By, HttpReader, testing::Values(way_to_read{"blocking", read_blocking}, way_to_read{"vector", read_in_parts}, way_to_read{"level", read_by_level}, way_to_read{"edge", read_by_edge}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(HttpReader, SeesAnotherStatusAndStaysInStep) {
  for (const std::size_t sent : {1u, 5u, 64u, 100000u})
    for (const std::size_t piece : {1u, 7u, 40u, 4096u}) {
      tcp_pair p;
      const auto id = s.set("http_error " + api(p) + " 503");
      unsigned faults = 0;
      for (const exchange& e : samples) {
        put(p.near, e.request());
        std::thread service([&] {
          for (std::size_t at = 0; at < e.response.size(); at += sent) put(p.far, e.response.substr(at, sent));
        });
        const std::string got = GetParam().read(p.near, e.faulty.size(), piece);
        service.join();
        ASSERT_EQ(got, e.faulty) << e.path << " sent in " << sent << " read in " << piece;
        faults += e.faults;
        ASSERT_EQ(s.count(id).fired, faults) << e.path;
      }
      ASSERT_EQ(s.events(id).size(), faults);
      s.clear();
    }
}

TEST_P(HttpReader, PipelinedAnswersAreToldApart) {
  tcp_pair p;
  const auto id = s.set("http_error " + api(p) + " 503");
  std::string requests, responses, expected;
  for (int round = 0; round < 3; ++round)
    for (const exchange& e : samples) {
      requests += e.request();
      responses += e.response;
      expected += e.faulty;
    }
  write_all(p.near, requests, requests.size());
  put(p.far, responses);
  EXPECT_EQ(GetParam().read(p.near, expected.size(), 300), expected);
  EXPECT_EQ(s.count(id).fired, 18u);
}

TEST_F(Http, AWriterAnswersAnotherStatusAndStaysInStep) {
  for (const bool nonblocking : {false, true})
    for (const bool parts : {false, true}) {
      tcp_pair p;
      if (nonblocking) set_nonblocking(p.far);
      const auto id = s.set("http_error " + served(p) + " 503");
      unsigned faults = 0;
      for (const exchange& e : samples) {
        put(p.near, e.request());
        std::string asked;
        char room[512];
        while (asked.size() < e.request().size()) {
          pollfd ready{p.far, POLLIN, 0};
          ASSERT_EQ(poll(&ready, 1, 5000), 1);
          const ssize_t n = recv(p.far, room, sizeof room, 0);
          ASSERT_GT(n, 0);
          asked.append(room, static_cast<std::size_t>(n));
        }
        EXPECT_EQ(asked, e.request());
        write_all(p.far, e.response, 100000, parts);
        ASSERT_EQ(read_blocking(p.near, e.faulty.size(), 4096), e.faulty) << e.path;
        faults += e.faults;
        ASSERT_EQ(s.count(id).fired, faults) << e.path;
      }
      s.clear();
    }
}

TEST_F(Http, AWriterWithAFullBufferLosesNothing) {
  tcp_pair p;
  set_nonblocking(p.far);
  const int small = 4096;
  setsockopt(p.far, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
  const auto id = s.set("http_error " + served(p) + " 503");
  std::string responses, expected, requests;
  for (int i = 0; i < 20; ++i) {
    const std::string body(50000 + i, static_cast<char>('a' + i));
    requests += "GET /api/" + std::to_string(i) + " HTTP/1.1\r\n\r\n";
    const std::string rest = "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    responses += "HTTP/1.1 200 OK\r\n" + rest;
    expected += sorry + rest;
  }
  write_all(p.near, requests, requests.size());
  ASSERT_EQ(read_when_ready(p.far, requests.size(), 4096, 0), requests);
  std::thread service([&] { write_all(p.far, responses, 30000); });
  const std::string got = read_blocking(p.near, expected.size(), 65536);
  service.join();
  EXPECT_TRUE(got == expected) << "of " << expected.size() << " bytes " << got.size() << ", the same up to "
                               << std::mismatch(got.begin(), got.end(), expected.begin(), expected.end()).first - got.begin();
  EXPECT_EQ(s.count(id).fired, 20u);
}

TEST_F(Http, WhatIsNotHttpIsLeftAlone) {
  listener service;
  const auto id = s.set("http_error " + service.target() + " 503"), slow = s.set("latency http://" + service.target() + " 200ms");
  struct { unique_fd near{socket(AF_INET, SOCK_STREAM, 0)}, far; } p;
  const sockaddr_in to = loopback(service.port);
  ASSERT_EQ(connect(p.near, generic(to), sizeof to), 0);
  p.far = accept(service.fd, nullptr, nullptr);
  put(p.near, "*1\r\n$4\r\nPING\r\n");
  put(p.far, "+PONG\r\n");
  EXPECT_EQ(read_blocking(p.near, 7, 100), "+PONG\r\n");
  put(p.near, "GET / HTTP/1.1\r\n\r\n");
  put(p.far, "HTTP/1.1 200 OK\r\n\r\n");
  EXPECT_EQ(read_blocking(p.near, 19, 100), "HTTP/1.1 200 OK\r\n\r\n");
  EXPECT_EQ(s.count(id).fired, 0u);
  EXPECT_EQ(s.count(slow).fired, 0u);
}

TEST_F(Http, AfterAnUpgradeNothingIsTouched) {
  tcp_pair p;
  const auto id = s.set("http_error " + api(p) + " 503");
  put(p.near, "GET /api/ws HTTP/1.1\r\nUpgrade: x\r\n\r\n");
  const std::string switched = "HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
  put(p.far, switched);
  EXPECT_EQ(read_blocking(p.near, switched.size(), 4096), switched);
  EXPECT_EQ(s.count(id).fired, 0u);
}

TEST_F(Http, AConnectionThatIsOlderThanTheRuleIsMetAtItsNextRequest) {
  tcp_pair p;
  put(p.near, "GET /api/before HTTP/1.1\r\n\r\n");
  put(p.far, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha");
  char room[100];
  ASSERT_EQ(recv(p.near, room, 38, MSG_WAITALL), 38);
  const auto id = s.set("http_error " + api(p) + " 503");
  put(p.far, "lf");
  EXPECT_EQ(read_blocking(p.near, 4, 100).substr(2), "lf");
  put(p.near, samples[0].request());
  put(p.far, samples[0].response);
  EXPECT_EQ(read_blocking(p.near, samples[0].faulty.size(), 100), samples[0].faulty);
  EXPECT_EQ(s.count(id).fired, 1u);
}

TEST_F(Http, APeekSeesWhatTheReadWillSee) {
  tcp_pair p;
  s.set("http_error " + api(p) + " 503");
  put(p.near, samples[0].request());
  put(p.far, samples[0].response);
  char room[64] = {};
  ASSERT_EQ(recv(p.near, room, 12, MSG_PEEK), 12);
  EXPECT_EQ(std::string(room, 12), sorry.substr(0, 12));
  EXPECT_EQ(read_blocking(p.near, samples[0].faulty.size(), 100), samples[0].faulty);
}

TEST_F(Http, LatencyHoldsMatchingAnswersOnly) {
  tcp_pair p;
  const auto id = s.set("latency " + api(p) + " 60ms");
  for (int round = 0; round < 2; ++round)
    for (const exchange& e : samples) {
      put(p.near, e.request());
      put(p.far, e.response.substr(0, 20));
      put(p.far, e.response.substr(20));
      const timed t = time_of([&] { return read_blocking(p.near, e.response.size(), 4096) == e.response; });
      ASSERT_EQ(t.result, 1) << e.path;
      if (e.faults) { EXPECT_TRUE(on_time(t.ms, 60)) << e.path; }
      else { EXPECT_LT(t.ms, slack_ms) << e.path; }
    }
  EXPECT_EQ(s.count(id).fired, 14u) << "one for each message, interim ones too";
}

TEST_F(Http, LatencyOfRequestsThatAServerReads) {
  tcp_pair p;
  const auto id = s.set("latency " + served(p) + " 60ms");
  for (const exchange& e : samples) {
    const timed t = time_of([&] {
      put(p.near, e.request().substr(0, 8));
      put(p.near, e.request().substr(8));
      return read_blocking(p.far, e.request().size(), 4096) == e.request();
    });
    ASSERT_EQ(t.result, 1);
    if (e.faults) { EXPECT_TRUE(on_time(t.ms, 60)) << e.path; }
    else { EXPECT_LT(t.ms, slack_ms) << e.path; }
  }
  EXPECT_EQ(s.count(id).fired, 6u);
}

TEST_F(Http, OtherKindsMeetMatchingMessagesOnly) {
  tcp_pair p;
  const auto failing = s.set("error " + api(p) + " ECONNRESET --on recv");
  put(p.near, samples[1].request());
  put(p.far, samples[1].response);
  EXPECT_EQ(read_blocking(p.near, samples[1].response.size(), 100), samples[1].response);
  EXPECT_EQ(s.count(failing).fired, 0u);
  put(p.near, samples[0].request());
  put(p.far, samples[0].response);
  char c;
  EXPECT_EQ(recv(p.near, &c, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
  EXPECT_EQ(s.count(failing).fired, 1u);
  EXPECT_EQ(read_blocking(p.near, samples[0].response.size(), 100), samples[0].response) << "once for each message";
  s.clear();
  const auto sending = s.set("error " + api(p) + " EPIPE --on send");
  put(p.near, samples[1].request());
  EXPECT_EQ(send(p.near, samples[0].request().data(), samples[0].request().size(), MSG_NOSIGNAL), -1);
  EXPECT_EQ(errno, EPIPE);
  EXPECT_EQ(s.count(sending).fired, 1u);
}

TEST_F(Http, ExclusionsAndProbabilitiesCountByRequest) {
  tcp_pair p;
  const auto id = s.set("http_error http://" + p.target() + ",!http://" + p.target() + "/api/same 500 --when 2+2");
  std::string statuses;
  for (int round = 0; round < 2; ++round)
    for (const exchange& e : samples) {
      put(p.near, e.request());
      put(p.far, e.response);
      std::string got;
      char room[200];
      while (got.find("\r\n\r\n") == std::string::npos || got.compare(0, 12, "HTTP/1.1 100") == 0) {
        const ssize_t n = recv(p.near, room, sizeof room, 0);
        ASSERT_GT(n, 0);
        got.append(room, static_cast<std::size_t>(n));
        if (got.compare(0, 12, "HTTP/1.1 100") == 0) got.erase(0, 25);
      }
      statuses += got.compare(9, 3, "500") == 0 && e.path != "/elsewhere/api/" ? 'X' : 'O';
      const auto length = got.find("Content-Length: ");
      std::size_t body = length == std::string::npos || std::string(e.method) == "HEAD" ? 0 : std::stoul(got.substr(length + 16));
      if (e.path == "/api/chunked?q") body = 33;
      if (e.path == "/api/same") body = 0;
      const std::size_t have = got.size() - got.find("\r\n\r\n") - 4;
      if (have < body) read_blocking(p.near, body - have, 100);
    }
  EXPECT_EQ(s.count(id).fired, 7u);
  EXPECT_EQ(s.count(id).matched, 14u);
}

// Whatever rules that change no byte are in force, on whatever cuts: each side reads what the other wrote.
TEST_F(Http, RandomConversationsArriveAsTheyWereSent) {
  std::mt19937 random(3);
  for (int round = 0; round < 60; ++round) {
    tcp_pair p;
    s.set("latency " + api(p) + " 1ms --jitter 1ms --probability 50%");
    s.set("slicer " + api(p) + " --average-size 11B --size-variation 10B --direction both");
    s.set("observe " + served(p));
    s.set("slicer " + served(p) + " --average-size 9B --size-variation 8B --direction both --probability 50%");
    std::string requests, responses;
    for (unsigned i = 0; i < 6; ++i) {
      const exchange& e = samples[random() % samples.size()];
      requests += e.request();
      responses += e.response;
    }
    const std::size_t cut = 1 + random() % 90, piece = 1 + random() % 200;
    const reader read = std::vector<reader>{read_blocking, read_in_parts, read_by_level, read_by_edge}[random() % 4];
    std::string asked;
    std::thread service([&] {
      asked = read_blocking(p.far, requests.size(), piece);
      write_all(p.far, responses, cut);
    });
    write_all(p.near, requests, cut);
    const std::string answered = read(p.near, responses.size(), piece);
    service.join();
    ASSERT_EQ(asked, requests);
    ASSERT_EQ(answered, responses);
    s.clear();
  }
}

}  // namespace
}  // namespace chaos::gate
