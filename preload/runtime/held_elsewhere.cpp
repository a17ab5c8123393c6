#include "held_elsewhere.hpp"

#include "chaos/abi/session.hpp"

namespace chaos {
namespace {

constexpr unsigned looks_most = 4096;

struct search {
  std::uint64_t inode;
  unsigned looks = 0;
};

bool is_it(search& s, std::uint64_t pid, const char* number) {  // "socket:[123]", "pipe:[123]"
  abi::path_buffer path;
  path.add("/proc/").add(pid).add("/fd/").add(number);
  char text[64];
  const long n = sys::read_link(path.text, text, sizeof text);
  ++s.looks;
  long i = 0;
  while (i < n && text[i] != '[') ++i;
  if (i >= n || text[0] == '/') return false;
  std::uint64_t inode = 0;
  for (++i; i < n && text[i] >= '0' && text[i] <= '9'; ++i) inode = inode * 10 + static_cast<unsigned>(text[i] - '0');
  return inode == s.inode;
}

bool has_one(search& s, std::uint64_t pid, int but = -1) {
  abi::path_buffer path;
  path.add("/proc/").add(pid).add("/fd");
  const int folder = sys::open_file(path.text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return false;
  struct entry { std::uint64_t inode; std::int64_t offset; unsigned short length; unsigned char type; char name[1]; };
  alignas(entry) char buffer[2048];
  bool found = false;
  for (long n; !found && s.looks < looks_most && (n = sys::call(SYS_getdents64, folder, buffer, sizeof buffer)) > 0;)
    for (long at = 0; at < n && !found;) {
      const auto* e = reinterpret_cast<const entry*>(buffer + at);
      int number = 0;
      for (const char* p = e->name; *p >= '0' && *p <= '9'; ++p) number = number * 10 + (*p - '0');
      if (e->name[0] != '.' && number != but) found = is_it(s, pid, e->name);
      at += e->length;
    }
  sys::close_fd(folder);
  return found;
}

// Those that the calling thread has forked: a server's own.
bool child_has_one(search& s, std::uint64_t pid) {
  abi::path_buffer path;
  path.add("/proc/").add(pid).add("/task/").add(static_cast<std::uint64_t>(sys::tid())).add("/children");
  const int list = sys::open_file(path.text, O_RDONLY | O_CLOEXEC);
  if (list < 0) return false;
  char text[512];
  std::uint64_t child = 0;
  bool found = false;
  for (long n; !found && s.looks < looks_most && (n = sys::read_from(list, text, sizeof text)) > 0;)
    for (long i = 0; i < n && !found; ++i) {
      if (text[i] >= '0' && text[i] <= '9') { child = child * 10 + static_cast<unsigned>(text[i] - '0'); continue; }
      if (child) found = has_one(s, child);
      child = 0;
    }
  sys::close_fd(list);
  return found;
}

}  // namespace

bool held_elsewhere(const descriptor& d, int fd) {
  search s{d.inode};
  const auto pid = static_cast<std::uint64_t>(sys::pid());
  if (has_one(s, pid, fd) || child_has_one(s, pid)) return true;
  const long parent = sys::call(SYS_getppid);
  return parent > 1 && has_one(s, static_cast<std::uint64_t>(parent));
}

}  // namespace chaos
