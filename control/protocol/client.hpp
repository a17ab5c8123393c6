// The other end of chaosd's socket, blocking, with deadlines: for chaos-ctl and for tests.
#pragma once
#include <chrono>
#include <optional>
#include <string>

#include "message.hpp"

namespace chaos::protocol {

class client {
 public:
  // `folder` is the session folder. Fails with no_daemon when nobody accepts there.
  static rules::result<client> connect(const std::string& folder);

  client(client&& other) noexcept;
  client& operator=(client&& other) noexcept;
  ~client();

  // Sends a request and waits for its reply. `no_daemon` when the daemon went away, `failed` when it is silent.
  rules::result<reply> call(command what, json arguments = json::object(),
                            std::chrono::milliseconds patience = std::chrono::seconds(5));

  bool send_line(const std::string& line);
  // The next line without its newline; nothing at the deadline or at the end of the connection (`closed()` tells).
  std::optional<std::string> read_line(std::chrono::milliseconds patience);
  bool closed() const { return closed_; }
  int fd() const { return fd_; }

 private:
  explicit client(int fd) : fd_(fd) {}
  int fd_ = -1;
  bool closed_ = false;
  std::string in_;
};

// Unix socket at folder/control.sock, whatever the length of the folder's path. Returns a descriptor or -errno.
int listen_at(const std::string& folder);   // unlinks what was there: hold the lock
int connect_to(const std::string& folder);

}  // namespace chaos::protocol
