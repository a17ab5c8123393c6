// A small PostgreSQL client with deadlines, over libpq's non-blocking interface.
//
// libpq's own connect_timeout counts in whole seconds, and a query has none. A shop that must say 503 within
// milliseconds needs both, so every step waits in poll() with what is left of the call's time.
// Thread-safety: the pool; a connection belongs to one thread at a time. Units: milliseconds.
// Errors: chaos::timeout_error, std::runtime_error with libpq's text. After an error the connection is closed.
#pragma once
#include <libpq-fe.h>
#include <poll.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "chaos/failure.hpp"

namespace shop {

using steady = std::chrono::steady_clock;
using row = std::vector<std::string>;

class pg_connection {
 public:
  pg_connection(const std::string& conninfo, steady::time_point deadline) : pg_(PQconnectStart(conninfo.c_str())) {
    if (!pg_ || PQstatus(pg_.get()) == CONNECTION_BAD) fail();
    if (PQsetnonblocking(pg_.get(), 1) != 0) fail();  // before connecting: libpq would wait without an end to send the first packet
    for (;;) {
      const auto step = PQconnectPoll(pg_.get());
      if (step == PGRES_POLLING_OK) break;
      if (step == PGRES_POLLING_FAILED) fail();
      wait(step == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline);
    }
  }

  std::vector<row> query(const char* sql, const std::vector<std::string>& parameters, steady::time_point deadline) {
    std::vector<const char*> values;
    for (const auto& p : parameters) values.push_back(p.c_str());
    if (!PQsendQueryParams(pg_.get(), sql, static_cast<int>(values.size()), nullptr, values.data(), nullptr, nullptr,
                           0))
      fail();
    for (int left; (left = PQflush(pg_.get())) != 0;) {
      if (left < 0) fail();
      wait(POLLIN | POLLOUT, deadline);
      if (!PQconsumeInput(pg_.get())) fail();
    }
    std::vector<row> rows;
    std::string error;
    for (;;) {
      while (PQisBusy(pg_.get())) {
        wait(POLLIN, deadline);
        if (!PQconsumeInput(pg_.get())) fail();
      }
      const std::unique_ptr<PGresult, decltype(&PQclear)> r(PQgetResult(pg_.get()), PQclear);
      if (!r) break;
      const auto status = PQresultStatus(r.get());
      if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) error = PQresultErrorMessage(r.get());
      for (int i = 0; i < PQntuples(r.get()); ++i) {
        row one;
        for (int c = 0; c < PQnfields(r.get()); ++c) one.emplace_back(PQgetvalue(r.get(), i, c));
        rows.push_back(std::move(one));
      }
    }
    if (!error.empty()) throw std::runtime_error("postgres: " + error);
    return rows;
  }

  // Idle and readable: closed by the server, or out of step.
  bool usable_when_idle() const {
    pollfd p{PQsocket(pg_.get()), POLLIN, 0};
    return PQstatus(pg_.get()) == CONNECTION_OK && ::poll(&p, 1, 0) == 0;
  }

 private:
  [[noreturn]] void fail() const {
    std::string text = pg_ ? PQerrorMessage(pg_.get()) : "no memory";
    while (!text.empty() && text.back() == '\n') text.pop_back();
    throw std::runtime_error("postgres: " + text);
  }
  void wait(short events, steady::time_point deadline) const {
    for (;;) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - steady::now()).count();
      if (left <= 0) throw chaos::timeout_error("postgres: timed out");
      pollfd p{PQsocket(pg_.get()), events, 0};
      const int n = ::poll(&p, 1, static_cast<int>(left));
      if (n > 0) return;
      if (n < 0 && errno != EINTR) throw std::runtime_error("postgres: poll failed");
    }
  }
  struct closer {
    void operator()(PGconn* c) const { PQfinish(c); }
  };
  std::unique_ptr<PGconn, closer> pg_;
};

// At most `size` connections; whoever comes when all are out waits until one is back, half of its time at most: what is left is for
// the query. (With all of it each would get the place when the one before has run out of time, and run out of time with it.)
class pg_pool {
 public:
  // `conninfo` is asked at every query: where it can not tell any more (a configuration that was lost), it throws.
  pg_pool(std::function<std::string()> conninfo, std::chrono::milliseconds timeout, unsigned size)
      : conninfo_(std::move(conninfo)), timeout_(timeout), size_(size) {}

  struct use {
    unsigned size, in_use, idle, waiting;
    std::uint64_t exhausted;  // calls that gave up waiting
  };
  use usage() const {
    const std::lock_guard lock(mutex_);
    return {size_, out_, static_cast<unsigned>(idle_.size()), waiting_, exhausted_};
  }

  std::vector<row> query(const char* sql, const std::vector<std::string>& parameters = {}) {
    const std::string conninfo = conninfo_();
    const auto begin = steady::now(), deadline = begin + timeout_;
    const place mine(*this, begin + timeout_ / 2);
    auto c = connection(conninfo, deadline);
    auto rows = c->query(sql, parameters, deadline);  // throws: the connection is closed with it
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(c));
    return rows;
  }

 private:
  class place {
   public:
    place(pg_pool& pool, steady::time_point deadline) : pool_(pool) {
      std::unique_lock lock(pool.mutex_);
      ++pool.waiting_;
      const bool free = pool.returned_.wait_until(lock, deadline, [&] { return pool.out_ < pool.size_; });
      --pool.waiting_;
      if (!free) {
        ++pool.exhausted_;
        throw chaos::timeout_error("postgres: the pool of " + std::to_string(pool.size_) + " connections is exhausted");
      }
      ++pool.out_;
    }
    ~place() {
      {
        const std::lock_guard lock(pool_.mutex_);
        --pool_.out_;
      }
      pool_.returned_.notify_one();
    }
    place(const place&) = delete;

   private:
    pg_pool& pool_;
  };

  std::unique_ptr<pg_connection> connection(const std::string& conninfo, steady::time_point deadline) {
    for (;;) {
      std::unique_ptr<pg_connection> c;
      {
        const std::lock_guard lock(mutex_);
        if (idle_.empty()) break;
        c = std::move(idle_.back());
        idle_.pop_back();
      }
      if (c->usable_when_idle()) return c;
    }
    return std::make_unique<pg_connection>(conninfo, deadline);
  }

  const std::function<std::string()> conninfo_;
  const std::chrono::milliseconds timeout_;
  const unsigned size_;
  mutable std::mutex mutex_;
  std::condition_variable returned_;
  unsigned out_ = 0, waiting_ = 0;
  std::uint64_t exhausted_ = 0;
  std::vector<std::unique_ptr<pg_connection>> idle_;
};

}  // namespace shop
