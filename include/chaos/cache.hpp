// A bounded in-process cache that keeps values beyond their freshness, to answer from when the source fails.
//
//   chaos::lru<std::string, std::string> l1{10'000, {.fresh = 5s, .stale = 1h}};
//   l1.put("k", "v");
//   if (auto hit = l1.find("k")) use(hit->value, hit->age, hit->fresh);
//
// Up to `fresh` of age an entry is fresh, then stale up to `stale` of age, then gone. When a shard is full its least
// recently used entry goes. Small caches (below 1,024 entries) have one shard and are exactly LRU; larger ones have
// 16 and are LRU within each. Thread-safety: every member, from any thread; one lock a shard. Units: std::chrono;
// capacity in entries. Errors: wrong settings throw std::invalid_argument naming the field; put() may throw
// std::bad_alloc or what copying a key or value throws, and then the cache is as before. Hazard: fork() while another
// thread is inside leaves that shard locked in the child; use clear caches in children.
#pragma once
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

#include "breaker/clock.hpp"
#include "breaker/settings.hpp"

namespace chaos {

struct lru_settings {
  std::chrono::nanoseconds fresh = std::chrono::seconds(5);
  std::chrono::nanoseconds stale = std::chrono::hours(1);
  const clock_source* clock = nullptr;  // not owned; nullptr = monotonic_ns()
};

struct lru_stats {
  std::uint64_t fresh_hits = 0, stale_hits = 0, misses = 0, evictions = 0, expirations = 0;
};

template <class Key, class Value, class Hash = std::hash<Key>, class Equal = std::equal_to<Key>>
class lru {
 public:
  struct hit {
    Value value;
    std::chrono::nanoseconds age;
    bool fresh;
  };

  explicit lru(std::size_t capacity, lru_settings settings = {}) : settings_(settings) {
    const auto no = [](const char* field, auto value, const char* right) {
      detail::refuse("lru", "", field, value, right);
    };
    if (capacity < 1 || capacity > 1'000'000'000) no("capacity", capacity, "1 to 1000000000 entries");
    if (settings.fresh.count() < 0) no("fresh", settings.fresh.count(), "0 ns or more");
    if (settings.stale < settings.fresh) no("stale", settings.stale.count(), "at least as long as fresh, in ns");
    shard_count_ = capacity < 1024 ? 1 : 16;
    shards_ = std::make_unique<shard[]>(shard_count_);
    for (std::size_t i = 0; i < shard_count_; ++i)
      shards_[i].capacity = capacity / shard_count_ + (i < capacity % shard_count_ ? 1 : 0);
  }

  void put(const Key& key, Value value) {
    shard& s = shard_of(key);
    const std::uint64_t now = now_ns();
    std::lock_guard lock(s.mutex);
    if (auto at = s.index.find(key); at != s.index.end()) {
      at->second->value = std::move(value);
      at->second->put_ns = now;
      s.entries.splice(s.entries.begin(), s.entries, at->second);
      return;
    }
    s.entries.push_front({key, std::move(value), now});
    try {
      s.index.emplace(key, s.entries.begin());
    } catch (...) {
      s.entries.pop_front();
      throw;
    }
    if (s.entries.size() <= s.capacity) return;
    s.index.erase(s.entries.back().key);
    s.entries.pop_back();
    ++s.stats.evictions;
  }

  // Fresh or stale; nothing when there is none or it is older than `stale`.
  std::optional<hit> find(const Key& key) {
    shard& s = shard_of(key);
    const std::uint64_t now = now_ns();
    std::lock_guard lock(s.mutex);
    const auto at = s.index.find(key);
    if (at == s.index.end()) {
      ++s.stats.misses;
      return std::nullopt;
    }
    // Another thread may have put it after we read the clock.
    const std::chrono::nanoseconds age(
        static_cast<std::int64_t>(now > at->second->put_ns ? now - at->second->put_ns : 0));
    if (age > settings_.stale) {
      s.entries.erase(at->second);
      s.index.erase(at);
      ++s.stats.expirations;
      ++s.stats.misses;
      return std::nullopt;
    }
    const bool fresh = age <= settings_.fresh;
    ++(fresh ? s.stats.fresh_hits : s.stats.stale_hits);
    s.entries.splice(s.entries.begin(), s.entries, at->second);
    return hit{at->second->value, age, fresh};
  }

  bool erase(const Key& key) {
    shard& s = shard_of(key);
    std::lock_guard lock(s.mutex);
    const auto at = s.index.find(key);
    if (at == s.index.end()) return false;
    s.entries.erase(at->second);
    s.index.erase(at);
    return true;
  }
  void clear() {
    for (std::size_t i = 0; i < shard_count_; ++i) {
      std::lock_guard lock(shards_[i].mutex);
      shards_[i].index.clear();
      shards_[i].entries.clear();
    }
  }
  std::size_t size() const {
    std::size_t n = 0;
    for (std::size_t i = 0; i < shard_count_; ++i) {
      std::lock_guard lock(shards_[i].mutex);
      n += shards_[i].entries.size();
    }
    return n;
  }
  lru_stats stats() const {
    lru_stats sum;
    for (std::size_t i = 0; i < shard_count_; ++i) {
      std::lock_guard lock(shards_[i].mutex);
      const lru_stats& s = shards_[i].stats;
      sum.fresh_hits += s.fresh_hits;
      sum.stale_hits += s.stale_hits;
      sum.misses += s.misses;
      sum.evictions += s.evictions;
      sum.expirations += s.expirations;
    }
    return sum;
  }

 private:
  struct entry {
    Key key;
    Value value;
    std::uint64_t put_ns;
  };
  struct alignas(64) shard {
    mutable std::mutex mutex;
    std::list<entry> entries;  // most recently used first
    std::unordered_map<Key, typename std::list<entry>::iterator, Hash, Equal> index;
    std::size_t capacity = 0;
    lru_stats stats;
  };

  std::uint64_t now_ns() const noexcept { return settings_.clock ? settings_.clock->now_ns() : monotonic_ns(); }
  // std::hash of an integer is the integer: mixed, so that strided keys spread.
  shard& shard_of(const Key& key) const {
    return shards_[(static_cast<std::uint64_t>(Hash{}(key)) * 0x9e3779b97f4a7c15 >> 32) % shard_count_];
  }

  lru_settings settings_;
  std::size_t shard_count_;
  std::unique_ptr<shard[]> shards_;
};

}  // namespace chaos
