#include "reception.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <thread>

#include "framing.hpp"

namespace chaos::http {

namespace {

constexpr std::uint64_t of_stream = std::uint64_t{1} << 63;  // marks the events of a connection's stream
constexpr std::size_t chunk_size = 16 * 1024, unsent_max = 64 * 1024;
constexpr std::size_t received_max = head_max + body_max + chunk_size;

std::string remote_of(int fd) {
  sockaddr_storage address{};
  socklen_t n = sizeof address;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address), &n) < 0) return "?";
  char text[INET6_ADDRSTRLEN] = "?";
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return std::string(text) + ":" + std::to_string(ntohs(v4.sin_port));
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
  inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
  return "[" + std::string(text) + "]:" + std::to_string(ntohs(v6.sin6_port));
}

}  // namespace

reception::reception(worker w, double requests_per_second)
    : worker_(std::move(w)), rate_(requests_per_second), epoll_(epoll_create1(EPOLL_CLOEXEC)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (epoll_ < 0 || wake_ < 0) throw std::system_error(errno, std::generic_category(), "no epoll for HTTP");
  epoll_event e{};
  e.events = EPOLLIN;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &e);
  std::thread([this] { receive(); }).detach();
  for (std::size_t i = 0; i < workers; ++i) std::thread([this] { work(); }).detach();
}

void reception::take(int fd) {
  const std::lock_guard lock(mutex_);
  arrived_.push_back(fd);
  eventfd_write(wake_, 1);
}

void reception::work() {
  for (;;) {
    std::unique_lock lock(mutex_);
    work_there_.wait(lock, [&] { return !jobs_.empty(); });
    const job next = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    answer a = worker_(next.request, next.remote);
    lock.lock();
    answered_.emplace_back(next.who, std::move(a));
    eventfd_write(wake_, 1);
  }
}

void reception::receive() {
  for (;;) {
    const auto before = clock::now();
    auto first = before + std::chrono::seconds(1);
    for (const auto& [who, c] : connections_)
      if (c.at != state::working) first = std::min(first, c.deadline);
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(first - before).count();
    epoll_event events[64];
    const int n = epoll_wait(epoll_, events, 64, static_cast<int>(std::max<std::int64_t>(left, 0)));
    for (int i = 0; i < n; ++i) {
      const id who = events[i].data.u64;
      if (who == 0) {
        eventfd_t times = 0;
        eventfd_read(wake_, &times);
        std::vector<int> arrived;
        std::vector<std::pair<id, answer>> answered;
        {
          const std::lock_guard lock(mutex_);
          arrived.swap(arrived_);
          answered.swap(answered_);
        }
        for (const int fd : arrived) admit(fd);
        for (auto& [whom, a] : answered) finish(whom, std::move(a));
      } else if (who & of_stream) {
        pump(who & ~of_stream);
      } else {
        on_event(who, events[i].events);
      }
    }
    time_out(clock::now());
  }
}

void reception::admit(int fd) {
  if (connections_.size() >= connections_max) make_room();
  fcntl(fd, F_SETFL, O_NONBLOCK);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  const int yes = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  const id who = next_++;
  connection& c = connections_[who];
  c.fd = fd;
  c.remote = remote_of(fd);
  c.deadline = clock::now() + head_patience;
  epoll_event e{};
  e.events = EPOLLIN;
  e.data.u64 = who;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &e);
  if (connections_.size() > connections_max) say(who, 503, "as many clients as chaosd serves are connected");
}

// Whoever has been making up a request for longest goes; where nobody is, whose answer has been held back for longest: anybody may
// ask /chaos_experiments/test, and those who do must not keep out who wants to end what they suffer.
void reception::make_room() {
  for (const auto& [who, c] : connections_)
    if (c.at == state::reading || c.at == state::draining) return drop(who);
  for (const auto& [who, c] : connections_)
    if (c.at == state::held) return drop(who);
}

void reception::watch(const connection& c, id who, std::uint32_t events) {
  epoll_event e{};
  e.events = events;
  e.data.u64 = who;
  epoll_ctl(epoll_, EPOLL_CTL_MOD, c.fd, &e);
}

void reception::on_event(id who, std::uint32_t events) {
  const auto at = connections_.find(who);
  if (at == connections_.end()) return;
  connection& c = at->second;
  if (events & (EPOLLHUP | EPOLLERR)) return drop(who);
  switch (c.at) {
    case state::reading: return read_some(who);
    case state::draining: return drain(who);
    case state::streaming: return events & EPOLLRDHUP ? drop(who) : pump(who);
    case state::writing: return write_some(who);
    case state::working:
    case state::held: return;
  }
}

void reception::read_some(id who) {
  connection& c = connections_.at(who);
  char chunk[chunk_size];
  const ssize_t n = recv(c.fd, chunk, sizeof chunk, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return drop(who);
  if (c.in.empty()) c.deadline = clock::now() + head_patience;
  c.in.append(chunk, static_cast<std::size_t>(n));
  look_for_request(who);
}

void reception::look_for_request(id who) {
  connection& c = connections_.at(who);
  const framing f = frame(c.in);
  if (f.what == framing::state::refused) return say(who, f.status, f.reason);
  if (f.what == framing::state::whole) return hand_out(who, f.size);
  if (c.in.size() > received_max) return say(who, 413, "the request is too long");
  if (f.expects_continue && !c.continued) {
    c.continued = true;
    constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    c.deadline = clock::now() + body_patience;
    if (send(c.fd, go_on.data(), go_on.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) return drop(who);
  }
}

void reception::hand_out(id who, std::size_t size) {
  connection& c = connections_.at(who);
  if (!rate_.admit()) return say(who, 429, "too many requests a second", "Retry-After: 1\r\n");
  c.at = state::working;
  c.continued = false;
  watch(c, who, 0);
  job next{who, c.in.substr(0, size), c.remote};
  c.in.erase(0, size);
  const std::lock_guard lock(mutex_);
  jobs_.push_back(std::move(next));
  work_there_.notify_one();
}

void reception::finish(id who, answer a) {
  const auto at = connections_.find(who);
  if (at == connections_.end()) return;  // it did not wait
  connection& c = at->second;
  c.out = std::move(a.bytes);
  c.keep_alive = a.keep_alive;
  c.stream = std::move(a.stream);
  if (c.stream && streams_ >= streams_max) {
    c.stream.reset();
    return say(who, 503, "as many event streams as chaosd serves are open");
  }
  if (a.delay.count() > 0) {
    c.at = state::held;
    c.deadline = clock::now() + a.delay;
    return;
  }
  c.at = state::writing;
  c.deadline = clock::now() + write_patience;
  write_some(who);
}

void reception::say(id who, int status, const char* reason, const char* more) {
  connection& c = connections_.at(who);
  const nlohmann::json body{{"error", {{"code", status == 429 || status == 503 ? "too_many" : "bad_request"}, {"message", reason}, {"word", ""}, {"expected", nlohmann::json::array()}}}};
  const std::string text = body.dump() + "\n";
  c.out = "HTTP/1.1 " + std::to_string(status) + " Refused\r\nContent-Type: application/json\r\n" + more + "Content-Length: " + std::to_string(text.size()) +
          "\r\nConnection: close\r\n\r\n" + text;
  c.keep_alive = false;
  c.at = state::writing;
  c.deadline = clock::now() + write_patience;
  write_some(who);
}

bool reception::flush(connection& c) {
  std::size_t sent = 0;
  bool there = true;
  while (sent < c.out.size()) {
    const ssize_t n = send(c.fd, c.out.data() + sent, c.out.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n <= 0) there = false;
    if (!there) break;
    sent += static_cast<std::size_t>(n);
  }
  c.out.erase(0, sent);
  return there;
}

void reception::write_some(id who) {
  connection& c = connections_.at(who);
  if (!flush(c)) return drop(who);
  if (!c.out.empty()) return watch(c, who, EPOLLOUT);
  if (c.stream) {
    c.at = state::streaming;
    c.deadline = clock::now() + heartbeat;
    ++streams_;
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.u64 = who | of_stream;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, c.stream->fd(), &e);
    return pump(who);
  }
  if (!c.keep_alive) {
    shutdown(c.fd, SHUT_WR);
    c.at = state::draining;
    c.deadline = clock::now() + drain_patience;
    watch(c, who, EPOLLIN);
    return;
  }
  c.at = state::reading;
  c.deadline = clock::now() + idle_patience;
  watch(c, who, EPOLLIN);
  if (!c.in.empty()) look_for_request(who);
}

void reception::drain(id who) {
  char rest[chunk_size];
  const ssize_t n = recv(connections_.at(who).fd, rest, sizeof rest, MSG_DONTWAIT);
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) drop(who);
}

// As long as the client takes what is sent; else the lines wait at chaosd, which counts those that it has to leave out.
void reception::pump(id who) {
  const auto at = connections_.find(who);
  if (at == connections_.end() || at->second.at != state::streaming) return;
  connection& c = at->second;
  for (int pass = 0; pass < 64; ++pass) {
    while (c.out.size() < unsent_max) {
      const auto line = c.stream->read_line(std::chrono::milliseconds(0));
      if (!line) break;
      c.out += "data: " + *line + "\n\n";
    }
    if (c.out.empty()) break;
    c.deadline = clock::now() + heartbeat;
    if (!flush(c)) return drop(who);
    if (!c.out.empty()) break;
  }
  if (c.stream->closed() && c.out.empty()) return drop(who);
  epoll_event e{};
  e.events = c.out.empty() ? EPOLLIN : 0u;
  e.data.u64 = who | of_stream;
  epoll_ctl(epoll_, EPOLL_CTL_MOD, c.stream->fd(), &e);
  watch(c, who, EPOLLRDHUP | (c.out.empty() ? 0u : EPOLLOUT));
}

void reception::drop(id who) {
  const auto at = connections_.find(who);
  if (at == connections_.end()) return;
  if (at->second.at == state::streaming) --streams_;
  close(at->second.fd);  // which also takes it out of the epoll set
  connections_.erase(at);
}

void reception::time_out(clock::time_point now) {
  std::vector<id> late;
  for (const auto& [who, c] : connections_)
    if (c.at != state::working && c.deadline <= now) late.push_back(who);
  for (const id who : late) {
    connection& c = connections_.at(who);
    switch (c.at) {
      case state::working: break;
      case state::held:
        c.at = state::writing;
        c.deadline = now + write_patience;
        write_some(who);
        break;
      case state::streaming:
        if (!c.out.empty()) {  // it took nothing for so long
          drop(who);
          break;
        }
        c.deadline = now + heartbeat;
        c.out = ": still here\n\n";
        pump(who);
        break;
      case state::reading:
        if (c.in.empty()) drop(who);
        else say(who, 408, "the request did not arrive in time");
        break;
      case state::draining:
      case state::writing: drop(who); break;
    }
  }
}

}  // namespace chaos::http
