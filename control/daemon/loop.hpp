// The daemon's event loop: epoll, one thread. Handlers never block; what may block (name resolution) has its own thread
// and comes back through a descriptor.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

namespace chaos::daemon {

std::uint64_t monotonic_ns();

class loop {
 public:
  using handler = std::function<void(std::uint32_t events)>;

  loop();
  ~loop();
  loop(const loop&) = delete;
  loop& operator=(const loop&) = delete;

  bool add(int fd, std::uint32_t events, handler h);  // fd stays the caller's, who removes it before closing it
  void modify(int fd, std::uint32_t events);
  void remove(int fd);
  void later(std::function<void()> what) { later_.push_back(std::move(what)); }  // after the others had their turn
  void run();
  void quit() { running_ = false; }

 private:
  int epoll_ = -1;
  bool running_ = true;
  struct entry {
    std::uint32_t use;                  // which of the uses of this number: an event of one before is not for us
    std::shared_ptr<handler> act;       // shared: a handler may remove itself, or the descriptor of another one of the same round
  };
  std::unordered_map<int, entry> handlers_;
  std::uint32_t uses_ = 0;
  std::vector<std::function<void()>> later_;
};

// A timerfd in a loop. `every` and `at` replace what was set before; 0 stops it.
class timer {
 public:
  timer(loop& l, std::function<void()> on_time);
  ~timer();
  timer(const timer&) = delete;
  timer& operator=(const timer&) = delete;
  void every(std::uint64_t interval_ns);
  void at(std::uint64_t monotonic_time_ns);

 private:
  loop& loop_;
  int fd_ = -1;
};

}  // namespace chaos::daemon
