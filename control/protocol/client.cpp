#include "client.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "chaos/abi/session.hpp"

namespace chaos::protocol {

using rules::problem;
using rules::problem_code;
using rules::result;
using clock = std::chrono::steady_clock;

namespace {

// sun_path holds 107 bytes and session folders may be deeper: the folder is opened, and named through /proc/self/fd.
template <class Use>
int with_address(const std::string& folder, Use use) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string direct = folder + "/" + abi::socket_name;
  int at = -1;
  std::string name = direct;
  if (direct.size() >= sizeof address.sun_path) {
    at = open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (at < 0) return -errno;
    name = "/proc/self/fd/" + std::to_string(at) + "/" + abi::socket_name;
  }
  std::memcpy(address.sun_path, name.c_str(), name.size() + 1);
  const int outcome = use(reinterpret_cast<const sockaddr*>(&address), static_cast<socklen_t>(sizeof address), name.c_str());
  if (at >= 0) close(at);
  return outcome;
}

int close_with(int fd, int error) {
  close(fd);
  return -error;
}

}  // namespace

int listen_at(const std::string& folder) {
  return with_address(folder, [](const sockaddr* address, socklen_t n, const char* name) {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    unlink(name);
    if (bind(fd, address, n) < 0) return close_with(fd, errno);
    if (chmod(name, 0600) < 0) return close_with(fd, errno);
    if (listen(fd, 64) < 0) return close_with(fd, errno);
    return fd;
  });
}

int connect_to(const std::string& folder) {
  return with_address(folder, [](const sockaddr* address, socklen_t n, const char*) {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    // a hung daemon with a full backlog must not hang us
    const timeval patience{1, 0};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (::connect(fd, address, n) < 0) return close_with(fd, errno);
    return fd;
  });
}

result<client> client::connect(const std::string& folder) {
  const int fd = connect_to(folder);
  if (fd >= 0) return client(fd);
  if (fd == -EACCES)
    return problem{problem_code::not_allowed, "not allowed to talk to the chaosd of " + folder, folder, {}};
  return problem{problem_code::no_daemon, "no chaosd answers at " + folder + " (" + std::strerror(-fd) + ")", folder, {}};
}

client::client(client&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), closed_(other.closed_), in_(std::move(other.in_)) {}

client& client::operator=(client&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(closed_, other.closed_);
  std::swap(in_, other.in_);
  return *this;
}

client::~client() {
  if (fd_ >= 0) close(fd_);
}

bool client::send_line(const std::string& line) {
  for (std::size_t at = 0; at < line.size();) {
    const ssize_t n = send(fd_, line.data() + at, line.size() - at, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      closed_ = errno == EPIPE || errno == ECONNRESET;
      return false;
    }
    at += static_cast<std::size_t>(n);
  }
  return true;
}

std::optional<std::string> client::read_line(std::chrono::milliseconds patience) {
  const auto deadline = clock::now() + patience;
  for (std::size_t searched = 0;;) {
    if (const auto end = in_.find('\n', searched); end != std::string::npos) {
      std::string line = in_.substr(0, end);
      in_.erase(0, end + 1);
      return line;
    }
    searched = in_.size();
    if (closed_) return std::nullopt;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - clock::now()).count();
    pollfd wait{fd_, POLLIN, 0};
    const int ready = poll(&wait, 1, left > 0 ? static_cast<int>(left) : 0);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return std::nullopt;
    char chunk[65536];
    const ssize_t n = recv(fd_, chunk, sizeof chunk, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) closed_ = true;
    else in_.append(chunk, static_cast<std::size_t>(n));
  }
}

result<reply> client::call(command what, json arguments, std::chrono::milliseconds patience) {
  const problem gone{problem_code::no_daemon, "chaosd closed the connection before it answered", "", {}};
  const problem silent{problem_code::failed,
                       "chaosd did not answer within " + std::to_string(patience.count()) + " ms", "", {}};
  const bool sent = send_line(to_line(request_json(what, std::move(arguments))));
  if (!sent && !closed_) return silent;
  closed_ = false;  // who refuses a client says why before it closes, and does not read first: that line is there
  const auto line = read_line(patience);
  if (!line) return closed_ ? gone : silent;
  return parse_reply(*line);
}

}  // namespace chaos::protocol
