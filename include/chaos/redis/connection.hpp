// One connection to Redis and the pool it lives in, over hiredis (0.14 or later).
//
// A connection whose answer did not come in time is never used again: the answer may still come, and would be taken
// for that of the next command. An idle connection that has become readable has been closed by the server (or worse)
// and is dropped before use. hiredis writes with write(2): SIGPIPE is kept from the program around each use.
// Thread-safety: the pool; a connection belongs to one thread at a time. A child of fork() starts with an empty pool.
// Units: std::chrono. Errors: redis_io_error (transport), redis_timeout.
#pragma once
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../failure.hpp"

namespace chaos {

class redis_io_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
class redis_timeout : public timeout_error {
 public:
  using timeout_error::timeout_error;
};
// What Redis itself answered: an error reply. The transport works.
class redis_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// redis://[:password@]host[:port][/db] or unix:///path/to/socket
struct redis_address {
  std::string host = "127.0.0.1", path, password;
  int port = 6379, db = 0;

  static redis_address parse(const std::string& url) {
    const auto no = [&](const std::string& what) {
      return std::invalid_argument("redis_url \"" + url + "\": " + what +
                                   "; expected redis://[:password@]host[:port][/db] or unix:///path");
    };
    const auto number = [&](std::string_view text, const char* what, int most) {
      int n = 0;
      for (const char c : text) {
        if (c < '0' || c > '9' || (n = n * 10 + (c - '0')) > most)
          throw no(std::string(what) + " is \"" + std::string(text) + "\"");
      }
      if (text.empty()) throw no(std::string(what) + " is empty");
      return n;
    };
    redis_address a;
    std::string_view rest = url;
    if (rest.substr(0, 7) == "unix://") {
      a.path = rest.substr(7);
      if (a.path.empty() || a.path[0] != '/') throw no("the path is not absolute");
      return a;
    }
    if (rest.substr(0, 8) != "redis://") throw no("the scheme is unknown");
    rest.remove_prefix(8);
    if (const auto at = rest.rfind('@'); at != rest.npos) {
      if (rest.empty() || rest[0] != ':') throw no("user names are not supported");
      a.password = rest.substr(1, at - 1);
      rest.remove_prefix(at + 1);
    }
    if (const auto slash = rest.find('/'); slash != rest.npos) {
      if (slash + 1 < rest.size()) a.db = number(rest.substr(slash + 1), "db", 65535);
      rest = rest.substr(0, slash);
    }
    if (!rest.empty() && rest[0] == '[') {
      const auto close = rest.find(']');
      if (close == rest.npos) throw no("the address has no ]");
      a.host = rest.substr(1, close - 1);
      rest.remove_prefix(close + 1);
      if (!rest.empty() && rest[0] != ':') throw no("after the address comes neither : nor /");
      if (!rest.empty()) a.port = number(rest.substr(1), "port", 65535);
    } else {
      const auto colon = rest.find(':');
      a.host = rest.substr(0, colon);
      if (colon != rest.npos) a.port = number(rest.substr(colon + 1), "port", 65535);
    }
    if (a.host.empty()) throw no("the host is empty");
    if (a.port == 0) throw no("port is 0");
    return a;
  }
};

struct redis_reply {
  enum kind_type { nil, text, integer, status, error, array };
  kind_type kind = nil;
  std::string string;
  long long number = 0;
  std::vector<redis_reply> elements;
};

namespace detail {

// Keeps a SIGPIPE of this thread's writes from the program.
class sigpipe_guard {
 public:
  sigpipe_guard() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~sigpipe_guard() {
    const int keep = errno;
    sigset_t pending;
    sigpending(&pending);
    if (!was_pending_ && sigismember(&pending, SIGPIPE)) {
      const timespec now{0, 0};
      while (sigtimedwait(&pipe_, nullptr, &now) < 0 && errno == EINTR) {
      }
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    errno = keep;
  }
  sigpipe_guard(const sigpipe_guard&) = delete;

 private:
  sigset_t pipe_, before_;
  int was_pending_ = 0;
};

inline timeval to_timeval(std::chrono::nanoseconds d) {
  const auto us = std::max<std::int64_t>(1, std::chrono::duration_cast<std::chrono::microseconds>(d).count());
  return {us / 1'000'000, us % 1'000'000};
}

class redis_connection {
 public:
  redis_connection(const redis_address& a, std::chrono::nanoseconds connect_timeout,
                   std::chrono::nanoseconds timeout) {
    const sigpipe_guard guard;
    const timeval limit = to_timeval(connect_timeout);
    context_.reset(a.path.empty() ? redisConnectWithTimeout(a.host.c_str(), a.port, limit)
                                  : redisConnectUnixWithTimeout(a.path.c_str(), limit));
    if (!context_) throw redis_io_error("no memory for a connection");
    const std::string where = a.path.empty() ? a.host + ":" + std::to_string(a.port) : a.path;
    if (context_->err) raise("connect to " + where);
    if (redisSetTimeout(context_.get(), to_timeval(timeout)) != REDIS_OK) raise("connect to " + where);
    if (!a.password.empty()) expect_ok({"AUTH", a.password});
    if (a.db) expect_ok({"SELECT", std::to_string(a.db)});
  }

  // Sends all, then reads all.
  std::vector<redis_reply> run(const std::vector<std::vector<std::string>>& commands) {
    const sigpipe_guard guard;
    for (const auto& args : commands) {
      std::vector<const char*> text;
      std::vector<std::size_t> length;
      for (const auto& a : args) {
        text.push_back(a.data());
        length.push_back(a.size());
      }
      if (redisAppendCommandArgv(context_.get(), static_cast<int>(args.size()), text.data(), length.data()) !=
          REDIS_OK)
        raise("send");
    }
    std::vector<redis_reply> replies;
    replies.reserve(commands.size());
    for (std::size_t i = 0; i < commands.size(); ++i) {
      void* raw = nullptr;
      errno = 0;
      if (redisGetReply(context_.get(), &raw) != REDIS_OK || !raw) raise("receive");
      const std::unique_ptr<::redisReply, void (*)(void*)> owned(static_cast<::redisReply*>(raw), freeReplyObject);
      replies.push_back(copy(*owned));
    }
    return replies;
  }

  // Idle and readable: the server has closed it, or sent what nobody asked for.
  bool usable_when_idle() const {
    pollfd p{context_->fd, POLLIN, 0};
    return ::poll(&p, 1, 0) == 0;
  }

 private:
  void expect_ok(const std::vector<std::string>& args) {
    const redis_reply r = run({args})[0];
    if (r.kind == redis_reply::error) throw redis_error(args[0] + ": " + r.string);
  }
  [[noreturn]] void raise(const std::string& doing) const {
    const int number = errno;
    const std::string what = "redis: " + doing + ": ";
    if (context_->err == REDIS_ERR_IO &&
        (number == EAGAIN || number == EWOULDBLOCK || number == ETIMEDOUT || number == EINPROGRESS))
      throw redis_timeout(what + "timed out");
    throw redis_io_error(what + (context_->errstr[0] ? context_->errstr : std::strerror(number)));
  }
  static redis_reply copy(const ::redisReply& r) {
    redis_reply out;
    switch (r.type) {
      case REDIS_REPLY_STRING: out.kind = redis_reply::text; break;
      case REDIS_REPLY_STATUS: out.kind = redis_reply::status; break;
      case REDIS_REPLY_ERROR: out.kind = redis_reply::error; break;
      case REDIS_REPLY_INTEGER: out.kind = redis_reply::integer; break;
      case REDIS_REPLY_ARRAY: out.kind = redis_reply::array; break;
      default: out.kind = redis_reply::nil;
    }
    out.number = r.type == REDIS_REPLY_INTEGER ? r.integer : 0;
    if (r.str && r.type != REDIS_REPLY_ARRAY) out.string.assign(r.str, static_cast<std::size_t>(r.len));
    if (r.type == REDIS_REPLY_ARRAY)
      for (std::size_t i = 0; i < r.elements; ++i) out.elements.push_back(copy(*r.element[i]));
    return out;
  }
  struct closer {
    void operator()(redisContext* c) const { redisFree(c); }
  };
  std::unique_ptr<redisContext, closer> context_;
};

class redis_pool {
 public:
  redis_pool(redis_address a, std::chrono::nanoseconds connect_timeout, std::chrono::nanoseconds timeout,
             std::size_t idle_max)
      : address_(std::move(a)), connect_timeout_(connect_timeout), timeout_(timeout), idle_max_(idle_max) {}

  std::vector<redis_reply> run(const std::vector<std::vector<std::string>>& commands) {
    auto c = take();
    try {
      auto replies = c->run(commands);
      give(std::move(c));
      return replies;
    } catch (...) {
      drop_idle();  // what broke one has most likely broken the others
      throw;
    }
  }
  void drop_idle() noexcept {
    std::vector<std::unique_ptr<redis_connection>> gone;
    std::lock_guard lock(mutex_);
    gone.swap(idle_);
  }
  std::uint64_t connects() const {
    std::lock_guard lock(mutex_);
    return connects_;
  }

 private:
  std::unique_ptr<redis_connection> take() {
    {
      std::lock_guard lock(mutex_);
      if (owner_ != getpid()) {  // the parent uses these sockets: forget them here
        idle_.clear();
        owner_ = getpid();
      }
      while (!idle_.empty()) {
        auto c = std::move(idle_.back());
        idle_.pop_back();
        if (c->usable_when_idle()) return c;
      }
      ++connects_;
    }
    return std::make_unique<redis_connection>(address_, connect_timeout_, timeout_);
  }
  void give(std::unique_ptr<redis_connection> c) {
    std::lock_guard lock(mutex_);
    if (idle_.size() < idle_max_ && owner_ == getpid()) idle_.push_back(std::move(c));
  }

  const redis_address address_;
  const std::chrono::nanoseconds connect_timeout_, timeout_;
  const std::size_t idle_max_;
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<redis_connection>> idle_;
  std::uint64_t connects_ = 0;
  pid_t owner_ = getpid();
};

}  // namespace detail
}  // namespace chaos
