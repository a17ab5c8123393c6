// What was started with closed standard streams must not open its session's files or sockets in their place: what is printed
// would be written into them. Each closed one becomes a descriptor that is there and can not be used, and that no other
// program inherits.
#pragma once
#include <fcntl.h>

namespace chaos::protocol {

inline void occupy_standard_streams() {
  for (int fd = 0; fd < 3; ++fd)
    if (fcntl(fd, F_GETFD) < 0) static_cast<void>(open("/dev/null", (fd == 0 ? O_WRONLY : O_RDONLY) | O_CLOEXEC));  // the lowest that is free: fd
}

}  // namespace chaos::protocol
