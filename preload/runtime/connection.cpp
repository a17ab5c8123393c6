#include "connection.hpp"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/un.h>

#include "delay_line.hpp"
#include "epoll_sets.hpp"
#include "output_hold.hpp"

namespace chaos {
namespace {

// Descriptors that hang in a sink or a black hole: those to be looked at when rules have gone.
constexpr unsigned held_max = 1024;
constinit std::atomic<int> held[held_max]{};  // fd + 1
constinit std::atomic<std::uint32_t> held_count{0}, healed_generation{0};

long disconnect(int fd) {
  sockaddr none{};
  none.sa_family = AF_UNSPEC;
  return sys::call(SYS_connect, fd, &none, sizeof none);
}

}  // namespace

void break_connection(descriptor& d, int fd) {
  if (d.kind == descriptor_kind::tcp) {
    disconnect(fd);  // tcp_disconnect sends a RST for a live connection and leaves ECONNRESET pending
    int taken = 0;
    socklen_t n = sizeof taken;
    sys::get_option(fd, SOL_SOCKET, SO_ERROR, &taken, &n);  // this call reports it; the next one finds the end
  } else {
    sys::call(SYS_shutdown, fd, SHUT_RDWR);
  }
  d.broken.store(true, std::memory_order_relaxed);
}

void reset_connection(int fd) {
  disconnect(fd);
  sys::call(SYS_shutdown, fd, SHUT_RDWR);  // says ENOTCONN, and has reads end all the same
}

bool ended_from_outside(const descriptor& d, int fd) {
  if (d.kind != descriptor_kind::tcp || d.broken.load(std::memory_order_relaxed)) return false;
  tcp_info now{};
  socklen_t n = sizeof now;
  return sys::get_option(fd, IPPROTO_TCP, TCP_INFO, &now, &n) == 0 && now.tcpi_state == TCP_CLOSE;
}

long redirect(descriptor& d, int fd, bool blackhole, std::uint32_t rule_id) {
  const abi::sink_ports& sinks = page->sinks;
  sockaddr_storage to{};
  socklen_t n;
  if (d.asked.ss_family == AF_INET) {
    const std::uint16_t port = blackhole ? sinks.blackhole_v4 : sinks.refuse_v4;
    if (!port) return -ENOTSUP;
    auto* in = reinterpret_cast<sockaddr_in*>(&to);
    in->sin_family = AF_INET;
    in->sin_port = __builtin_bswap16(port);
    in->sin_addr.s_addr = __builtin_bswap32(INADDR_LOOPBACK);
    n = sizeof *in;
  } else if (d.asked.ss_family == AF_INET6) {
    auto* in = reinterpret_cast<sockaddr_in6*>(&to);
    in->sin6_family = AF_INET6;
    std::uint16_t port = blackhole ? sinks.blackhole_v6 : sinks.refuse_v6;
    static constexpr std::uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (memcmp(d.remote, mapped, 12) == 0 || !port) {
      port = blackhole ? sinks.blackhole_v4 : sinks.refuse_v4;
      memcpy(&in->sin6_addr, mapped, 12);
      const std::uint8_t loopback[4] = {127, 0, 0, 1};
      memcpy(reinterpret_cast<std::uint8_t*>(&in->sin6_addr) + 12, loopback, 4);
    } else {
      in->sin6_addr.s6_addr[15] = 1;
    }
    if (!port) return -ENOTSUP;
    in->sin6_port = __builtin_bswap16(port);
    n = sizeof *in;
  } else {
    return -ENOTSUP;
  }
  const long result = sys::call(SYS_connect, fd, &to, n);
  if (result == -EINVAL || result == -ENETUNREACH || result == -EAFNOSUPPORT || result == -EADDRNOTAVAIL) {
    disconnect(fd);  // bound to an address from which loopback can not be reached
    return -ENOTSUP;
  }
  d.redirect_rule = rule_id;
  d.redirected.store(true, std::memory_order_release);
  if (blackhole) remember_held(fd);
  return result;
}

bool heal_redirect(descriptor& d, int fd) {
  if (!d.redirected.load(std::memory_order_acquire) || rule_in_force(d.redirect_rule, sys::now_ns())) return false;
  bool expected = true;
  if (!d.redirected.compare_exchange_strong(expected, false, std::memory_order_acq_rel)) return false;
  // Already refused: the program sees that, as it happened. Only a connect that still hangs is sent on its way.
  pollfd p{fd, POLLOUT, 0};
  const timespec none{0, 0};
  if (sys::call(SYS_ppoll, &p, 1, &none, nullptr, 8) > 0) return false;
  disconnect(fd);
  int taken = 0;
  socklen_t n = sizeof taken;
  sys::get_option(fd, SOL_SOCKET, SO_ERROR, &taken, &n);
  sys::call(SYS_connect, fd, &d.asked, d.asked_length);
  return true;
}

void remember_held(int fd) {
  for (auto& slot : held)
    if (slot.load(std::memory_order_relaxed) == fd + 1) return;
  for (auto& slot : held) {
    int free = 0;
    if (slot.compare_exchange_strong(free, fd + 1, std::memory_order_relaxed)) {
      held_count.fetch_add(1, std::memory_order_relaxed);
      return;
    }
  }
}

void heal_held() {
  if (!held_count.load(std::memory_order_relaxed)) return;
  const std::uint32_t generation = page_generation();
  if (lease_holds(sys::now_ns()) && healed_generation.exchange(generation, std::memory_order_relaxed) == generation) return;
  for (auto& slot : held) {
    const int fd = slot.load(std::memory_order_relaxed) - 1;
    if (fd < 0) continue;
    descriptor* d = entry_of(fd);
    const std::uint64_t now = sys::now_ns();
    if (d && (d->redirected.load(std::memory_order_acquire) ? rule_in_force(d->redirect_rule, now) : output_held_until(*d, now) != 0 || in_black_hole(*d, now))) continue;
    int taken = fd + 1;
    if (!slot.compare_exchange_strong(taken, 0, std::memory_order_relaxed)) continue;
    held_count.fetch_sub(1, std::memory_order_relaxed);
    struct statx s;
    if (!d || sys::call(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_INO, &s) != 0 || s.stx_ino != d->inode) continue;
    if (heal_redirect(*d, fd)) reclassify(fd);
    // Who trusts edges got none while the connection was held: putting the registration anew makes one.
    for_each_watch(fd, [](int epfd, watch& w) {
      if (!(w.events & EPOLLONESHOT)) unmask_watch(epfd, w);
    });
  }
}

}  // namespace chaos
