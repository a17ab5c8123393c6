// A cached Redis client: circuit breaker, in-process cache and provenance in one.
//
//   chaos::redis_cache cache{"redis://127.0.0.1:6379", {.l1_fresh = 1s, .breaker = {.recovery_timeout = 500ms}}};
//   auto r = cache.get("item:7");                      // result<std::optional<std::string>>; nullopt = no such key
//   if (r) print(r->value_or("-"), to_string(r.source()), r.age());      // live | cache_fresh | cache_stale
//   cache.set("item:7", "teapot", 60s);
//   auto many = cache.get_many({"a", "b"});            // one round trip
//
// get(): a fresh L1 entry is the answer (l1_fresh = 0: never); else Redis; when that fails or the breaker is open, a
// stale L1 entry with the cause; else the failure. set() and del() change L1 only after Redis has answered; when
// their answer is lost the L1 entry goes, because nobody knows what Redis holds. A get() that was under way while the
// key was written does not put the old value back. A well-formed error reply (WRONGTYPE, ...) is a failure of the
// call, not of the transport: the breaker counts success. Thread-safety: every member, from any thread; one
// connection a call, from a pool. Units: std::chrono. Errors: wrong settings or a wrong url throw
// std::invalid_argument at construction; an unreachable server does not: the calls fail and the breaker opens.
// Failures carry redis_io_error, redis_timeout (kind timeout) or redis_error. Needs hiredis (link -lhiredis);
// chaos::breaker alone does not.
#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "breaker.hpp"
#include "breaker_store.hpp"
#include "bulkhead.hpp"
#include "cache.hpp"
#include "redis/connection.hpp"

namespace chaos {

struct redis_cache_settings {
  std::string name = "redis";
  std::chrono::nanoseconds connect_timeout = std::chrono::milliseconds(200);
  std::chrono::nanoseconds timeout = std::chrono::milliseconds(100);  // of one read or write
  std::uint32_t max_connections = 32;  // calls beyond wait at most `timeout`, then are full
  std::size_t l1_entries = 10'000;
  std::chrono::nanoseconds l1_fresh = std::chrono::seconds(1), l1_stale = std::chrono::hours(1);
  breaker_settings breaker{};
};

class redis_cache {
 public:
  using value_type = std::optional<std::string>;
  using command_type = std::vector<std::string>;

  explicit redis_cache(const std::string& redis_url, redis_cache_settings s = {})
      : pool_(redis_address::parse(redis_url), checked(s).connect_timeout, s.timeout, s.max_connections),
        room_(s.name, {.max_concurrent = s.max_connections, .max_wait = s.timeout}),
        l1_fresh_(s.l1_fresh),
        l1_(s.l1_entries, {.fresh = s.l1_fresh, .stale = s.l1_stale, .clock = s.breaker.clock}),
        breaker_(s.name, std::move(s.breaker)) {}

  result<value_type> get(const std::string& key) {
    if (l1_fresh_.count() > 0)
      if (auto hit = l1_.find(key); hit && hit->fresh)
        return result<value_type>::from_cache(value_type(std::move(hit->value)), true, hit->age);
    const std::uint64_t seen = version(key);
    return finish_get(key, seen, send({"GET", key}));
  }

  // In the order of the keys.
  std::vector<result<value_type>> get_many(const std::vector<std::string>& keys) {
    std::vector<std::optional<result<value_type>>> out(keys.size());
    std::vector<command_type> commands;
    std::vector<std::pair<std::size_t, std::uint64_t>> asked;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (l1_fresh_.count() > 0)
        if (auto hit = l1_.find(keys[i]); hit && hit->fresh) {
          out[i] = result<value_type>::from_cache(value_type(std::move(hit->value)), true, hit->age);
          continue;
        }
      asked.emplace_back(i, version(keys[i]));
      commands.push_back({"GET", keys[i]});
    }
    if (!asked.empty()) {
      auto replies = pipeline(commands);
      for (std::size_t n = 0; n < asked.size(); ++n) {
        const auto& [i, seen] = asked[n];
        out[i] = finish_get(keys[i], seen,
                            replies ? as_result(std::move((*replies)[n])) : result<redis_reply>(replies.error()));
      }
    }
    std::vector<result<value_type>> all;
    for (auto& r : out) all.push_back(std::move(*r));
    return all;
  }

  // ttl 0 = no expiry; below a millisecond counts as one.
  result<void> set(const std::string& key, const std::string& value,
                   std::chrono::nanoseconds ttl = std::chrono::nanoseconds(0)) {
    command_type c{"SET", key, value};
    if (ttl.count() > 0) {
      c.push_back("PX");
      c.push_back(std::to_string(
          std::max<std::int64_t>(1, std::chrono::duration_cast<std::chrono::milliseconds>(ttl).count())));
    }
    auto r = write(key, c, &value);
    if (!r) return r.error();
    return {};
  }
  // True when the key was there.
  result<bool> del(const std::string& key) {
    auto r = write(key, {"DEL", key}, nullptr);
    if (!r) return r.error();
    return r->number > 0;
  }

  // Any command, past L1. An error reply is a failure with redis_error.
  result<redis_reply> send(const command_type& c) {
    auto all = pipeline({c});
    if (!all) return all.error();
    return as_result(std::move(all->front()));
  }
  // Many commands in one round trip; error replies are replies here (kind error).
  result<std::vector<redis_reply>> pipeline(const std::vector<command_type>& commands) {
    if (commands.empty()) return std::vector<redis_reply>{};
    return room_.call([&] {
      return breaker_.call([&]() -> result<std::vector<redis_reply>> {
        try {
          return pool_.run(commands);
        } catch (const redis_error&) {  // AUTH or SELECT refused: no connection can be had
          return failure{failure_kind::error, {}, std::current_exception(), nullptr};
        } catch (const redis_timeout&) {
          return failure{failure_kind::timeout, {}, std::current_exception(), nullptr};
        }
      });
    });
  }

  breaker& circuit() noexcept { return breaker_; }
  lru_stats l1_stats() const { return l1_.stats(); }
  std::uint64_t connects() const { return pool_.connects(); }

 private:
  using l1_type = lru<std::string, std::string>;

  static const redis_cache_settings& checked(const redis_cache_settings& s) {
    const auto no = [&](const char* field, auto value, const char* right) {
      detail::refuse("redis_cache", s.name, field, value, right);
    };
    if (s.connect_timeout.count() < 1000) no("connect_timeout", s.connect_timeout.count(), "at least 1 us, in ns");
    if (s.timeout.count() < 1000) no("timeout", s.timeout.count(), "at least 1 us, in ns");
    if (s.max_connections < 1 || s.max_connections > 10'000) no("max_connections", s.max_connections, "1 to 10000");
    return s;
  }
  static result<redis_reply> as_result(redis_reply r) {
    if (r.kind != redis_reply::error) return r;
    return failure{failure_kind::error, {}, std::make_exception_ptr(redis_error(r.string)), nullptr};
  }

  // A version for each group of keys: a get() puts into L1 only what it read if nobody wrote in between.
  struct alignas(64) stripe {
    std::mutex mutex;
    std::uint64_t version = 0;
  };
  stripe& stripe_of(const std::string& key) { return stripes_[std::hash<std::string>{}(key) % stripes_.size()]; }
  std::uint64_t version(const std::string& key) {
    std::lock_guard lock(stripe_of(key).mutex);
    return stripe_of(key).version;
  }
  // `value` is what the key holds when the write succeeds; nullptr = nothing.
  result<redis_reply> write(const std::string& key, const command_type& c, const std::string* value) {
    stripe& of = stripe_of(key);
    std::uint64_t mine = 0;
    {
      std::lock_guard lock(of.mutex);
      mine = ++of.version;
    }
    auto r = send(c);
    std::lock_guard lock(of.mutex);
    const bool alone = of.version++ == mine;
    // Not sent: Redis still holds what it held. Sent, or perhaps sent: what L1 holds may be wrong. Two writers at a
    // time: nobody knows whose value Redis took last.
    if (!r && (r.error().kind == failure_kind::open || r.error().kind == failure_kind::full)) return r;
    if (r && alone && value)
      l1_.put(key, *value);
    else
      l1_.erase(key);
    return r;
  }

  result<value_type> finish_get(const std::string& key, std::uint64_t seen, result<redis_reply> r) {
    if (r) {
      std::lock_guard lock(stripe_of(key).mutex);
      const bool current = stripe_of(key).version == seen;
      if (r->kind == redis_reply::nil) {
        if (current) l1_.erase(key);
        return value_type();
      }
      if (current) l1_.put(key, r->string);
      return value_type(std::move(r->string));
    }
    if (auto hit = l1_.find(key)) {
      breaker_.fallback_used(hit->fresh ? "cache_fresh" : "cache_stale");
      return result<value_type>::from_cache(value_type(std::move(hit->value)), hit->fresh, hit->age, r.error());
    }
    return r.error();
  }

  detail::redis_pool pool_;
  bulkhead room_;
  const std::chrono::nanoseconds l1_fresh_;
  l1_type l1_;
  std::array<stripe, 64> stripes_;
  breaker breaker_;
};

// Breaker state in Redis, for breaker_persistence.
class redis_store final : public breaker_state_store {
 public:
  explicit redis_store(const std::string& redis_url, std::string key,
                       std::chrono::nanoseconds timeout = std::chrono::milliseconds(500))
      : pool_(redis_address::parse(redis_url), timeout, timeout, 1), key_(std::move(key)) {
    if (key_.empty()) throw std::invalid_argument("chaos::redis_store: key is empty; expected a name");
  }
  std::optional<std::string> load() override {
    redis_reply r = ask({"GET", key_});
    if (r.kind == redis_reply::nil) return std::nullopt;
    return std::move(r.string);
  }
  void save(const std::string& text) override { ask({"SET", key_, text}); }
  void set_aside(const std::string& corrupt) override {
    ask({"SET", key_ + ":corrupt", corrupt});
    ask({"DEL", key_});
  }

 private:
  redis_reply ask(const std::vector<std::string>& c) {
    redis_reply r = pool_.run({c})[0];
    if (r.kind == redis_reply::error) throw redis_error(r.string);
    return r;
  }
  detail::redis_pool pool_;
  std::string key_;
};

}  // namespace chaos
