#include "receive_threshold.hpp"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "delay_line.hpp"
#include "thresholds.hpp"

namespace chaos {
namespace {

constexpr int grown_buffer_max = 8 * 1024 * 1024;  // stamps_max steps of a flood

void keep_own_threshold(delay_line& line, const descriptor& d, int fd) {
  if (line.threshold) return;
  int present = 1;
  socklen_t length = sizeof present;
  sys::get_option(fd, SOL_SOCKET, SO_RCVLOWAT, &present, &length);
  line.own_threshold = thresholds::note(d.inode, present);
}

}  // namespace

void raise_threshold(descriptor& d, int fd) {
  if (!d.line.load(std::memory_order_acquire) || d.kind != descriptor_kind::tcp || !lock(d)) return;
  delay_line* const line = d.line.load(std::memory_order_acquire);  // unless it was closed meanwhile
  if (!line) return unlock(d);
  int n = 0, buffer = 0;
  socklen_t length = sizeof buffer;
  sys::control(fd, SIOCINQ, &n);
  sys::get_option(fd, SOL_SOCKET, SO_RCVBUF, &buffer, &length);
  keep_own_threshold(*line, d, fd);
  int want = n + 1 + static_cast<int>(line->step);
  // What is held back fills the buffer: over a network as slow as this the kernel would have grown it to the product of
  // bandwidth and delay. It can not know (the program takes what is due at once), so the buffer is doubled for it. One
  // that the program sized itself stays as it is: the kernel then refuses.
  if (n > buffer / 4 && buffer < grown_buffer_max) {
    sys::set_option(fd, SOL_SOCKET, SO_RCVLOWAT, buffer * 2);
    sys::get_option(fd, SOL_SOCKET, SO_RCVBUF, &buffer, &length);
  }
  // Otherwise never above half of the buffer: the kernel clamps there, and a larger value would grow it for good.
  if (buffer > 0 && want > buffer / 2) want = buffer / 2;
  if (want > n) {
    line->threshold = want;
    sys::set_option(fd, SOL_SOCKET, SO_RCVLOWAT, want);
  }
  unlock(d);
}

void wait_beyond(descriptor& d, int fd, unsigned bytes) {
  if (d.kind != descriptor_kind::tcp || !lock(d)) return;
  if (delay_line* const line = line_of(d)) {
    keep_own_threshold(*line, d, fd);
    line->threshold = static_cast<int>(bytes) + 1;
    sys::set_option(fd, SOL_SOCKET, SO_RCVLOWAT, line->threshold);
  }
  unlock(d);
}

void restore_threshold(descriptor& d, int fd) {
  const delay_line* const seen = d.line.load(std::memory_order_acquire);
  if (!seen || !seen->threshold || !lock(d)) return;
  delay_line* const line = d.line.load(std::memory_order_acquire);  // unless it was closed meanwhile
  if (!line) return unlock(d);
  if (line->threshold) sys::set_option(fd, SOL_SOCKET, SO_RCVLOWAT, line->own_threshold > 0 ? line->own_threshold : 1);
  line->threshold = 0;
  thresholds::take_back(d.inode);
  unlock(d);
}

}  // namespace chaos
