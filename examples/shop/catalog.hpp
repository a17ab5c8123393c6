// What the shop sells: PostgreSQL is the truth, Redis the cache before it, a breaker on both.
//
// Redis first; when it has nothing or does not answer, PostgreSQL; when that does not answer either, the failure, at
// once while the breakers are open. Thread-safety: any thread. Errors: values.
#pragma once
#include <atomic>
#include <optional>
#include <string>

#include "chaos/redis_cache.hpp"
#include "postgres.hpp"

namespace shop {

struct settings {
  std::string redis = "redis://127.0.0.1:6379";
  std::string postgres = "host=127.0.0.1 dbname=postgres";
  std::chrono::milliseconds timeout{100}, recovery{500};
  std::chrono::seconds item_ttl{60};
};

struct item {
  std::string json;
  const char* from;  // redis or postgres
};

class catalog {
 public:
  explicit catalog(const settings& s)
      // No L1 here: with both stores down the shop says so rather than sell at yesterday's price.
      : redis_(s.redis, {.connect_timeout = s.timeout,
                         .timeout = s.timeout,
                         .l1_entries = 1,
                         .l1_fresh = {},
                         .l1_stale = {},
                         .breaker = {.recovery_timeout = s.recovery}}),
        pg_(s.postgres, s.timeout),
        postgres_("postgres", {.recovery_timeout = s.recovery}),
        ttl_(s.item_ttl) {}

  // nullopt = no such item.
  chaos::result<std::optional<item>> find(int id) {
    const std::string key = "item:" + std::to_string(id);
    if (auto cached = redis_.get(key); cached && *cached) return std::optional<item>({std::move(**cached), "redis"});
    auto found = postgres_.call([&]() -> std::optional<item> {
      const auto rows = pg_.query(
          "select json_build_object('id', id, 'name', name, 'price_cents', price_cents)::text from items where id = "
          "$1",
          {std::to_string(id)});
      if (rows.empty()) return std::nullopt;
      return item{rows[0][0], "postgres"};
    });
    if (found && *found) static_cast<void>(redis_.set(key, (*found)->json, ttl_));  // the breaker knows how it went
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

  chaos::breaker& redis_circuit() { return redis_.circuit(); }
  chaos::breaker& postgres_circuit() { return postgres_; }

 private:
  chaos::redis_cache redis_;
  pg_pool pg_;
  chaos::breaker postgres_;
  const std::chrono::seconds ttl_;
};

}  // namespace shop
