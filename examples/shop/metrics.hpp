// What the shop counts, as Prometheus text. Thread-safety: any thread. Units: seconds, as Prometheus has them.
#pragma once
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <sstream>
#include <string>

#include "catalog.hpp"

namespace shop {

class metrics {
 public:
  enum answer { redis, l1, postgres, not_found, unavailable, error, answers };

  void count(answer what, std::chrono::nanoseconds took) {
    ++by_answer_[what];
    std::size_t i = 0;
    while (i < bounds.size() && std::chrono::duration<double>(took).count() > bounds[i]) ++i;
    ++buckets_[i];
    total_ns_ += static_cast<std::uint64_t>(took.count());
  }

  std::string text(const catalog& c) const {
    static constexpr const char* names[] = {"redis", "l1", "postgres", "not_found", "unavailable", "error"};
    std::ostringstream out;
    const auto family = [&](const char* name, const char* type, const char* help) {
      out << "# HELP shop_" << name << ' ' << help << "\n# TYPE shop_" << name << ' ' << type << '\n';
    };
    family("requests_total", "counter", "Item requests by what answered them.");
    for (int i = 0; i < answers; ++i) out << "shop_requests_total{answer=\"" << names[i] << "\"} " << by_answer_[i] << '\n';
    family("request_duration_seconds", "histogram", "Item requests by how long they took.");
    std::uint64_t n = 0;
    for (std::size_t i = 0; i <= bounds.size(); ++i) {
      n += buckets_[i];
      out << "shop_request_duration_seconds_bucket{le=\"";
      if (i < bounds.size()) out << bounds[i];
      else out << "+Inf";
      out << "\"} " << n << '\n';
    }
    out << "shop_request_duration_seconds_sum " << static_cast<double>(total_ns_) / 1e9 << "\nshop_request_duration_seconds_count " << n << '\n';

    const std::uint64_t hits = c.cache_hits(), misses = c.cache_misses();
    family("cache_requests_total", "counter", "Questions to the cache.");
    out << "shop_cache_requests_total{result=\"hit\"} " << hits << "\nshop_cache_requests_total{result=\"miss\"} " << misses << '\n';
    family("cache_hit_ratio", "gauge", "Hits of all questions to the cache so far.");
    out << "shop_cache_hit_ratio " << (hits + misses ? static_cast<double>(hits) / static_cast<double>(hits + misses) : 0) << '\n';

    const auto pool = c.pool();
    family("database_pool_connections", "gauge", "Connections to PostgreSQL, and calls that wait for one.");
    out << "shop_database_pool_connections{state=\"in_use\"} " << pool.in_use << "\nshop_database_pool_connections{state=\"idle\"} " << pool.idle
        << "\nshop_database_pool_connections{state=\"waiting\"} " << pool.waiting << '\n';
    family("database_pool_size", "gauge", "Connections to PostgreSQL that there may be.");
    out << "shop_database_pool_size " << pool.size << '\n';
    family("database_pool_use_ratio", "gauge", "Connections in use of those that there may be.");
    out << "shop_database_pool_use_ratio " << static_cast<double>(pool.in_use) / pool.size << '\n';
    family("database_pool_exhausted_total", "counter", "Calls that found no free connection in time.");
    out << "shop_database_pool_exhausted_total " << pool.exhausted << '\n';
    return out.str();
  }

 private:
  static constexpr std::array bounds{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0};
  std::array<std::atomic<std::uint64_t>, answers> by_answer_{};
  std::array<std::atomic<std::uint64_t>, bounds.size() + 1> buckets_{};
  std::atomic<std::uint64_t> total_ns_{0};
};

}  // namespace shop
