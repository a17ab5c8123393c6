// What the shop sells: PostgreSQL is the truth, Redis the cache before it, a breaker on both.
//
// Redis first; when it has nothing or does not answer, PostgreSQL; when that does not answer either, the failure, at
// once while the breakers are open. Thread-safety: any thread. Errors: values.
#pragma once
#include <atomic>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>

#include "chaos/redis_cache.hpp"
#include "postgres.hpp"

namespace shop {

struct settings {
  std::string redis = "redis://127.0.0.1:6379";
  std::string postgres;  // empty: what DATABASE_URL says, asked at every query
  unsigned pool = 16;    // connections to PostgreSQL
  std::chrono::milliseconds timeout{100}, recovery{500};
  std::chrono::seconds item_ttl{60};
  std::chrono::seconds l1{0};  // while Redis fails, items that this process sold at most so long ago are sold again; 0: never
  bool resilience = true;  // off: the shop that experiments must find out, see find_unprotected()
};

struct item {
  std::string json;
  const char* from;  // redis, l1 or postgres
};

class catalog {
 public:
  explicit catalog(const settings& s)
      // No L1 unless it is asked for: with both stores down the shop says so rather than sell at yesterday's price.
      : redis_(s.redis, {.connect_timeout = s.timeout,
                         .timeout = s.timeout,
                         .l1_entries = s.l1.count() ? 10'000u : 1u,
                         .l1_fresh = {},
                         .l1_stale = s.l1,
                         .breaker = {.recovery_timeout = s.recovery}}),
        pg_([conninfo = s.postgres] { return conninfo.empty() ? from_environment() : conninfo; },
            s.resilience ? s.timeout : unprotected_timeout, s.pool),
        postgres_("postgres", {.recovery_timeout = s.recovery}),
        ttl_(s.item_ttl),
        cache_(chaos::redis_address::parse(s.redis)) {}

  // nullopt = no such item.
  chaos::result<std::optional<item>> find(int id) {
    const std::string key = "item:" + std::to_string(id);
    auto cached = redis_.get(key);
    if (cached.cause()) log("redis", *cached.cause());
    if (cached && *cached) {
      ++hits_;
      const bool live = cached.source() == chaos::source::live;
      return std::optional<item>({std::move(**cached), live ? "redis" : "l1"});
    }
    ++misses_;
    auto found = postgres_.call([&] { return select(id); });
    if (!found) log("postgres", found.error());
    if (found && *found) static_cast<void>(redis_.set(key, (*found)->json, ttl_));  // the breaker knows how it went
    return found;
  }

  // As it is written too often: no breaker, no time-out to speak of, and an outage of the cache is one of the shop.
  std::optional<item> find_unprotected(int id) {
    const std::string key = "item:" + std::to_string(id);
    chaos::detail::redis_connection cache(cache_, unprotected_timeout, unprotected_timeout);
    if (const auto cached = cache.run({{"GET", key}})[0]; cached.kind == chaos::redis_reply::text) {
      ++hits_;
      return item{cached.string, "redis"};
    }
    ++misses_;
    auto found = select(id);
    if (!found) return found;
    const auto kept = cache.run({{"SETEX", key, std::to_string(ttl_.count()), found->json}})[0];
    if (kept.kind == chaos::redis_reply::error) throw std::runtime_error("redis: " + kept.string);
    return found;
  }

  // Makes and fills the table; for demonstrations and tests.
  void create(int items) {
    pg_.query("create table if not exists items (id int primary key, name text not null, price_cents int not null)");
    pg_.query(
        "insert into items select i, 'thing ' || i, i * 100 from generate_series(1, $1::int) i on conflict do "
        "nothing",
        {std::to_string(items)});
  }

  std::uint64_t cache_hits() const { return hits_; }
  std::uint64_t cache_misses() const { return misses_; }  // an unreachable cache knows nothing, too
  pg_pool::use pool() const { return pg_.usage(); }
  chaos::breaker& redis_circuit() { return redis_.circuit(); }
  chaos::breaker& postgres_circuit() { return postgres_; }

 private:
  static constexpr std::chrono::milliseconds unprotected_timeout{60'000};

  // What a breaker rejects has been told when it happened.
  static void log(const char* who, const chaos::failure& why) {
    if (why.kind == chaos::failure_kind::open) return;
    std::clog << std::string("shop: ") + who + ": " + to_string(why.kind) + ": " + why.message() + "\n" << std::flush;
  }

  static std::string from_environment() {
    const char* const url = std::getenv("DATABASE_URL");
    if (!url || !*url) throw std::runtime_error("configuration: DATABASE_URL is not set");
    return url;
  }

  std::optional<item> select(int id) {
    const auto rows = pg_.query(
        "select json_build_object('id', id, 'name', name, 'price_cents', price_cents)::text from items where id = $1",
        {std::to_string(id)});
    if (rows.empty()) return std::nullopt;
    return item{rows[0][0], "postgres"};
  }

  chaos::redis_cache redis_;
  pg_pool pg_;
  chaos::breaker postgres_;
  const std::chrono::seconds ttl_;
  const chaos::redis_address cache_;
  std::atomic<std::uint64_t> hits_{0}, misses_{0};
};

}  // namespace shop
