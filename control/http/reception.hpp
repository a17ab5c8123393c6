// The sockets of HTTP clients, on one thread: requests are collected until they are whole, bounded in size and time, and then
// handed to a few workers, so that a slow client costs no worker, and a slow answer no other client. It knows nothing of what
// is asked. For the life of the process.
#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "control/protocol/client.hpp"
#include "rate.hpp"

namespace chaos::http {

struct answer {
  std::string bytes;
  bool keep_alive = false;
  std::chrono::milliseconds delay{0};        // before it goes out
  std::unique_ptr<protocol::client> stream;  // after it, its lines follow as server-sent events
};

class reception {
 public:
  static constexpr std::size_t connections_max = 512, streams_max = 24, workers = 6;
  static constexpr auto head_patience = std::chrono::seconds(5), body_patience = std::chrono::seconds(10), write_patience = std::chrono::seconds(10),
                        idle_patience = std::chrono::seconds(15), drain_patience = std::chrono::seconds(2), heartbeat = std::chrono::seconds(15);
  using worker = std::function<answer(const std::string& request, const std::string& remote)>;

  reception(worker w, double requests_per_second);
  ~reception() = delete;
  reception(const reception&) = delete;

  void take(int fd);  // an accepted connection; any thread

 private:
  using clock = std::chrono::steady_clock;
  using id = std::uint64_t;
  enum class state { reading, working, held, writing, streaming, draining };
  struct connection {
    int fd = -1;
    state at = state::reading;
    std::string remote, in, out;
    clock::time_point deadline;
    bool continued = false;   // was told to go on with its body
    bool keep_alive = false;
    std::unique_ptr<protocol::client> stream;
  };
  struct job {
    id who;
    std::string request, remote;
  };

  void receive();  // the thread
  void work();     // a worker
  void admit(int fd);
  void on_event(id who, std::uint32_t events);
  void read_some(id who);
  void look_for_request(id who);
  void hand_out(id who, std::size_t size);
  void finish(id who, answer a);
  void say(id who, int status, const char* reason, const char* more = "");  // and close
  static bool flush(connection& c);  // false: its client is gone
  void write_some(id who);
  void pump(id who);   // lines of its stream
  void drain(id who);  // what the client still sends is read away, so that the answer is not lost in a reset
  void watch(const connection& c, id who, std::uint32_t events);
  void drop(id who);
  void time_out(clock::time_point now);
  void make_room();

  worker worker_;
  rate_limit rate_;
  int epoll_ = -1, wake_ = -1;
  std::map<id, connection> connections_;  // by age
  id next_ = 1;
  std::size_t streams_ = 0;

  std::mutex mutex_;  // of what follows
  std::condition_variable work_there_;
  std::deque<job> jobs_;
  std::vector<int> arrived_;
  std::vector<std::pair<id, answer>> answered_;
};

}  // namespace chaos::http
