// Datagrams that others pass. The one that waits is taken out of the kernel's queue and kept here; as long as it waits, the
// kernel's queue is never emptied (the last of it is given without being taken), so that readiness stays the kernel's own.
#pragma once
#include "descriptors.hpp"

namespace chaos {

struct overtaken_datagram {
  std::size_t length;
  int flags;
  sockaddr_storage from;
  socklen_t from_length;
  std::size_t control_length;
  alignas(16) char control[256];
  char data[64 * 1024];
};

bool datagram_behind_head(int fd);                                 // is there another one behind the one at the head?
overtaken_datagram* take_head(const descriptor& d, int fd);        // nullptr: it can not be kept (descriptors travel with it)
void drop_head(int fd);
void drop_overtaken(overtaken_datagram* datagram);

}  // namespace chaos
