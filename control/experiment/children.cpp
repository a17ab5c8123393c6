#include "children.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

namespace chaos::experiment {

namespace {

struct entry {  // getdents64(2)
  std::uint64_t inode;
  std::int64_t next;
  unsigned short length;
  unsigned char type;
  char name[1];
};

pid_t number_in(const char* text) {
  pid_t number = 0;
  for (; *text >= '0' && *text <= '9'; ++text) number = number * 10 + (*text - '0');
  return *text ? 0 : number;
}

pid_t parent_of(const char* name) {
  char path[64] = "/proc/", text[512];
  std::strncat(path, name, 32);
  std::strcat(path, "/stat");
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0) return 0;
  text[n] = 0;
  const char* at = std::strrchr(text, ')');  // "PID (NAME) STATE PARENT …", and a name may hold anything
  if (!at || std::strlen(at) < 5) return 0;
  pid_t parent = 0;
  for (at += 4; *at >= '0' && *at <= '9'; ++at) parent = parent * 10 + (*at - '0');
  return parent;
}

}  // namespace

int listed_children(std::span<pid_t> into) {
  const int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  char text[16 * 1024];
  const ssize_t n = read(fd, text, sizeof text);
  close(fd);
  std::size_t found = 0;
  pid_t number = 0;
  for (ssize_t i = 0; i < n && found < into.size(); ++i) {
    if (text[i] >= '0' && text[i] <= '9') number = number * 10 + (text[i] - '0');
    else if (number) into[found++] = number, number = 0;
  }
  return static_cast<int>(found);
}

int searched_children(std::span<pid_t> into) {
  const int folder = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return -1;
  const pid_t self = getpid();
  std::size_t found = 0;
  alignas(entry) char some[4096];
  for (long n = 0; (n = syscall(SYS_getdents64, folder, some, sizeof some)) > 0;)
    for (long at = 0; at < n && found < into.size();) {
      const auto* const e = reinterpret_cast<const entry*>(some + at);
      at += e->length;
      if (const pid_t pid = number_in(e->name); pid > 0 && parent_of(e->name) == self) into[found++] = pid;
    }
  close(folder);
  return static_cast<int>(found);
}

int children_of_self(std::span<pid_t> into) {
  if (const int listed = listed_children(into); listed >= 0) return listed;
  const int found = searched_children(into);
  return found < 0 ? 0 : found;
}

}  // namespace chaos::experiment
