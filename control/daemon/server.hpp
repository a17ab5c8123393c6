// The control socket: clients, lines in, lines out. It knows nothing of rules. Bounded in clients, in the length of a
// line and in what waits for a slow reader; nobody can hold the loop up.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "control/protocol/message.hpp"
#include "loop.hpp"

namespace chaos::daemon {

using client_id = std::uint64_t;

class server {
 public:
  // One request. It is answered by reply(), now or later; until then no further line of that client is read.
  using handler = std::function<void(client_id, const protocol::request&)>;

  server(loop& l, int listening_fd, handler h, std::function<void(client_id)> gone);  // takes the descriptor
  ~server();
  server(const server&) = delete;
  server& operator=(const server&) = delete;

  void reply(client_id who, const protocol::json& message);
  void reply_line(client_id who, const std::string& line);  // the same as text, with its newline
  void make_watcher(client_id who);          // from now on it gets every broadcast
  void send_line(client_id who, const std::string& line);
  void broadcast(const std::string& line);   // with its newline; a watcher that is too slow misses lines and is told
  unsigned watchers() const { return watchers_; }
  std::size_t clients() const { return clients_.size(); }
  struct peer {
    std::int32_t pid = 0;
    std::uint32_t uid = 0;
  };
  peer peer_of(client_id who) const;
  void flush_and_close();                    // at the end: what is written is written

 private:
  static constexpr std::size_t out_max = 8 * 1024 * 1024;
  static constexpr std::size_t watch_out_max = 1024 * 1024;
  static constexpr std::size_t unread_max = 64 * 1024;  // with so much unread, a client's further requests wait
  static constexpr int turn = 16;                       // requests of one client before the others have theirs

  struct client {
    int fd = -1;
    peer who;
    std::string in, out;
    bool busy = false, handling = false, scheduled = false, watching = false, ending = false;
    std::uint64_t missed = 0;
  };

  void accept_some();
  void refuse_one();
  void on_ready(client_id who, std::uint32_t events);
  void read_lines(client_id who);
  void handle_lines(client_id who);
  bool write_out(client_id who);  // false: the client is gone
  void interest(const client& c);  // what epoll is to tell of it
  void drop(client_id who);
  void queue(client_id who, const std::string& line);

  loop& loop_;
  int listening_, spare_;
  handler handle_;
  std::function<void(client_id)> gone_;
  std::map<client_id, client> clients_;
  client_id next_ = 1;
  unsigned watchers_ = 0;
};

}  // namespace chaos::daemon
