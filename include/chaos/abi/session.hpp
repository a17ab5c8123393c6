// Where a session lives, and how its two pages come into being. The shim and the daemon run this same code, each over
// its own system calls (a `Sys`): the shim can not call libc's, they are its hooks.
//
// Folder: CHAOS_DIR if set; else /run/user/<euid>/chaos if /run/user/<euid> exists (from the uid, not the environment,
// so that login, cron, sudo and services agree); else /dev/shm/chaos-<euid>. Below it one folder a session
// (CHAOS_SESSION, default "default"), mode 0700, owned by the effective user.
//
// A page is made under a temporary name, allocated in full (a sparse page on a full tmpfs would be a SIGBUS in the
// target), and linked into place, so that nobody sees half of one and two makers agree on one. Never truncated.
#pragma once
#include <cstddef>
#include <cstdint>

#include "report_page.hpp"
#include "rule_page.hpp"

namespace chaos::abi {

inline constexpr const char rule_page_name[] = "rules";
inline constexpr const char report_page_name[] = "report";
inline constexpr const char socket_name[] = "control.sock";
inline constexpr const char state_name[] = "state.json";
inline constexpr const char timeline_name[] = "timeline.jsonl";
inline constexpr const char log_name[] = "chaosd.log";
inline constexpr const char default_session[] = "default";
inline constexpr const char env_dir[] = "CHAOS_DIR";
inline constexpr const char env_session[] = "CHAOS_SESSION";
inline constexpr const char env_run[] = "CHAOS_RUN";          // decimal id of a `run --set` process tree
inline constexpr const char env_stacks[] = "CHAOS_STACKS";

// A path of bounded length without allocation. `ok` turns false when it does not fit.
struct path_buffer {
  static constexpr std::size_t room = 512;
  char text[room] = {};
  std::size_t length = 0;
  bool ok = true;

  constexpr path_buffer& add(const char* s) {
    for (; *s; ++s) {
      if (length + 1 >= room) { ok = false; return *this; }
      text[length++] = *s;
    }
    text[length] = 0;
    return *this;
  }
  constexpr path_buffer& add(std::uint64_t n) {
    char digits[21] = {};
    int at = 20;
    do { digits[--at] = static_cast<char>('0' + n % 10); n /= 10; } while (n);
    return add(digits + at);
  }
};

// Sys needs: static int mkdir(const char*, unsigned mode); static bool owner(const char*, unsigned& uid, unsigned& mode)
// (a folder, not a link; false when there is none); static int create(const char*) (O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC,
// 0600); static int read(int, void*, std::size_t) (from offset 0, 0 when all was read); static int open(const char*, bool writable); static long size(int); static int allocate(int, long);
// static int write(int, const void*, std::size_t) (at offset 0; 0 when all of it was written); static int link(const
// char*, const char*); static void unlink(const char*); static void close(int); static int pid(). Calls return < 0 on
// failure.
template <class Sys>
path_buffer base_folder(const char* chaos_dir, unsigned euid) {
  path_buffer p;
  if (chaos_dir && *chaos_dir) return p.add(chaos_dir);
  unsigned uid = 0, mode = 0;
  if (Sys::owner(path_buffer{}.add("/run/user/").add(euid).text, uid, mode)) return p.add("/run/user/").add(euid).add("/chaos");
  return p.add("/dev/shm/chaos-").add(euid);
}

inline path_buffer session_folder(const path_buffer& base, const char* session) {
  path_buffer p = base;
  return p.add("/").add(session && *session ? session : default_session);
}

// A name that may stand in a path: letters, digits, '.', '_', '-', not beginning with '.', at most 64.
constexpr bool valid_session_name(const char* s) {
  std::size_t n = 0;
  for (; s[n]; ++n) {
    const char c = s[n];
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
    if (!good) return false;
  }
  return n > 0 && n <= 64 && s[0] != '.';
}

enum class folder_state { ready, missing, foreign_owner, too_open, cannot_create };

template <class Sys>
folder_state check_folder(const char* path, unsigned euid) {
  unsigned uid = 0, mode = 0;
  if (!Sys::owner(path, uid, mode)) return folder_state::missing;
  if (uid != euid) return folder_state::foreign_owner;
  return (mode & 022) ? folder_state::too_open : folder_state::ready;  // others may not write; CHAOS_DIR may be readable
}

template <class Sys>
folder_state make_folder(const char* path, unsigned euid) {
  if (Sys::mkdir(path, 0700) < 0 && check_folder<Sys>(path, euid) == folder_state::missing) return folder_state::cannot_create;
  return check_folder<Sys>(path, euid);
}

template <class Sys>
folder_state make_session_folder(const path_buffer& base, const path_buffer& session, unsigned euid) {
  if (!base.ok || !session.ok) return folder_state::cannot_create;
  const folder_state made = make_folder<Sys>(base.text, euid);
  return made == folder_state::ready ? make_folder<Sys>(session.text, euid) : made;
}

enum class page_state { ready, missing, cannot_create, other_version };

// Opens a page; `fd` is valid only when ready. Page is rule_page or report_page.
template <class Sys, class Page>
page_state open_page(const char* path, std::uint64_t magic, bool writable, int& fd, std::uint32_t* found_version = nullptr) {
  fd = Sys::open(path, writable);
  if (fd < 0) return page_state::missing;
  struct { std::uint64_t magic; std::uint32_t version, bytes; } head{};
  const bool read = Sys::read(fd, &head, sizeof head) == 0;
  if (found_version) *found_version = head.version;
  if (read && head.magic == magic && head.version == abi_version && head.bytes == sizeof(Page) &&
      Sys::size(fd) == static_cast<long>(sizeof(Page)))
    return page_state::ready;
  Sys::close(fd);
  fd = -1;
  return page_state::other_version;
}

// Opens a page, making it first when there is none.
template <class Sys, class Page>
page_state make_page(const char* path, std::uint64_t magic, std::uint64_t created_ns, bool writable, int& fd,
                     std::uint32_t* found_version = nullptr) {
  const page_state there = open_page<Sys, Page>(path, magic, writable, fd, found_version);
  if (there != page_state::missing) return there;
  const path_buffer temporary = path_buffer{}.add(path).add(".").add(static_cast<std::uint64_t>(Sys::pid()));
  if (!temporary.ok) return page_state::cannot_create;
  Sys::unlink(temporary.text);  // left by a process of the same pid that died half way
  const int made = Sys::create(temporary.text);
  if (made < 0) return page_state::cannot_create;
  const struct { std::uint64_t magic; std::uint32_t version, bytes; std::uint64_t created_ns; } head{magic, abi_version, sizeof(Page), created_ns};
  const bool good = Sys::allocate(made, sizeof(Page)) == 0 && Sys::write(made, &head, sizeof head) == 0;
  Sys::close(made);
  if (good) Sys::link(temporary.text, path);  // failing because another was faster is as good
  Sys::unlink(temporary.text);
  return good ? open_page<Sys, Page>(path, magic, writable, fd, found_version) : page_state::cannot_create;
}

}  // namespace chaos::abi
