#include "loop.hpp"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <system_error>

namespace chaos::daemon {

std::uint64_t monotonic_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_nsec);
}

loop::loop() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  if (epoll_ < 0) throw std::system_error(errno, std::generic_category(), "epoll_create1");
}

loop::~loop() { close(epoll_); }

namespace {
epoll_event event_of(int fd, std::uint32_t use, std::uint32_t events) {
  epoll_event e{};
  e.events = events;
  e.data.u64 = std::uint64_t{use} << 32 | static_cast<std::uint32_t>(fd);
  return e;
}
}  // namespace

bool loop::add(int fd, std::uint32_t events, handler h) {
  epoll_event e = event_of(fd, ++uses_, events);
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &e) < 0) return false;
  handlers_[fd] = {uses_, std::make_shared<handler>(std::move(h))};
  return true;
}

void loop::modify(int fd, std::uint32_t events) {
  const auto found = handlers_.find(fd);
  if (found == handlers_.end()) return;
  epoll_event e = event_of(fd, found->second.use, events);
  epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &e);
}

void loop::remove(int fd) {
  if (handlers_.erase(fd)) epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
}

void loop::run() {
  while (running_) {
    epoll_event events[64];
    const int n = epoll_wait(epoll_, events, 64, later_.empty() ? -1 : 0);
    for (int i = 0; i < n && running_; ++i) {
      const auto found = handlers_.find(static_cast<int>(events[i].data.u64 & 0xffffffff));
      if (found == handlers_.end() || found->second.use != events[i].data.u64 >> 32) continue;
      const auto keep = found->second.act;
      (*keep)(events[i].events);
    }
    std::vector<std::function<void()>> due;
    due.swap(later_);
    for (std::size_t i = 0; i < due.size() && running_; ++i) due[i]();
  }
}

timer::timer(loop& l, std::function<void()> on_time)
    : loop_(l), fd_(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) {
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "timerfd_create");
  const int fd = fd_;
  loop_.add(fd, EPOLLIN, [fd, on_time = std::move(on_time)](std::uint32_t) {
    std::uint64_t times = 0;
    if (read(fd, &times, sizeof times) == sizeof times) on_time();
  });
}

timer::~timer() {
  loop_.remove(fd_);
  close(fd_);
}

namespace {
timespec timespec_of(std::uint64_t ns) {
  return {static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
}
}  // namespace

void timer::every(std::uint64_t interval_ns) {
  const itimerspec when{timespec_of(interval_ns), timespec_of(interval_ns)};
  timerfd_settime(fd_, 0, &when, nullptr);
}

void timer::at(std::uint64_t monotonic_time_ns) {
  const itimerspec when{{0, 0}, timespec_of(monotonic_time_ns)};
  timerfd_settime(fd_, TFD_TIMER_ABSTIME, &when, nullptr);
}

}  // namespace chaos::daemon
