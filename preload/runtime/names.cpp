#include "names.hpp"

#include <string.h>

#include <atomic>

#include "descriptors.hpp"
#include "preload/core/glob.hpp"

namespace chaos {
namespace {

struct noted {
  std::atomic<std::uint32_t> version;  // odd while being written
  std::uint8_t address[16];
  char name[108];
};
constexpr unsigned noted_max = 256;
constinit noted table[noted_max]{};
constinit std::atomic<std::uint32_t> next{0};

}  // namespace

void note_name(const char* host, const sockaddr* address) {
  std::uint8_t key[16];
  std::uint16_t port;
  const std::size_t n = host ? strlen(host) : 0;
  const socklen_t length = address->sa_family == AF_INET6 ? 28 : 16;
  if (n == 0 || n >= sizeof table[0].name || !parse_address(address, length, key, port)) return;
  for (noted& e : table)
    if (e.version.load(std::memory_order_acquire) && memcmp(e.address, key, 16) == 0 && strcmp(e.name, host) == 0) return;
  noted& e = table[next.fetch_add(1, std::memory_order_relaxed) % noted_max];
  std::uint32_t version = e.version.load(std::memory_order_relaxed);
  if ((version & 1) || !e.version.compare_exchange_strong(version, version + 1, std::memory_order_acquire)) return;
  memcpy(e.address, key, 16);
  memcpy(e.name, host, n + 1);
  e.version.store(version + 2, std::memory_order_release);
}

bool name_matches(const std::uint8_t (&address)[16], const char* glob) {
  for (noted& e : table) {
    const std::uint32_t version = e.version.load(std::memory_order_acquire);
    if (!version || (version & 1) || memcmp(e.address, address, 16) != 0) continue;
    char name[sizeof e.name];
    memcpy(name, e.name, sizeof name);
    name[sizeof name - 1] = 0;
    std::atomic_thread_fence(std::memory_order_acquire);
    if (e.version.load(std::memory_order_relaxed) == version && core::glob_match(glob, name, core::glob_mode::hostname)) return true;
  }
  return false;
}

}  // namespace chaos
