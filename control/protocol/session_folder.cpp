#include "session_folder.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace chaos::protocol {

using rules::done;
using rules::problem;
using rules::problem_code;
using rules::result;

int libc_sys::mkdir(const char* path, unsigned mode) { return ::mkdir(path, mode); }

bool libc_sys::owner(const char* path, unsigned& uid, unsigned& mode) {
  struct stat s{};
  if (lstat(path, &s) < 0 || !S_ISDIR(s.st_mode)) return false;
  uid = s.st_uid;
  mode = s.st_mode & 07777;
  return true;
}

int libc_sys::create(const char* path) { return ::open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600); }
int libc_sys::open(const char* path, bool writable) {
  return ::open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW);
}
int libc_sys::read(int fd, void* into, std::size_t n) { return pread(fd, into, n, 0) == static_cast<ssize_t>(n) ? 0 : -1; }
int libc_sys::write(int fd, const void* from, std::size_t n) {
  return pwrite(fd, from, n, 0) == static_cast<ssize_t>(n) ? 0 : -1;
}
long libc_sys::size(int fd) {
  struct stat s{};
  return fstat(fd, &s) < 0 ? -1 : static_cast<long>(s.st_size);
}
int libc_sys::allocate(int fd, long n) {
  const int error = posix_fallocate(fd, 0, n);
  if (error) errno = error;
  return error ? -1 : 0;
}
int libc_sys::link(const char* from, const char* to) { return ::link(from, to); }
// Cleaning up after a failure must not hide it.
void libc_sys::unlink(const char* path) {
  const int before = errno;
  ::unlink(path);
  errno = before;
}
void libc_sys::close(int fd) {
  const int before = errno;
  ::close(fd);
  errno = before;
}
int libc_sys::pid() { return static_cast<int>(getpid()); }

result<session_location> locate_session(const std::string& dir, const std::string& session) {
  const char* const chaos_dir = dir.empty() ? std::getenv(abi::env_dir) : dir.c_str();
  const char* name = session.empty() ? std::getenv(abi::env_session) : session.c_str();
  if (!name || !*name) name = abi::default_session;
  if (!abi::valid_session_name(name))
    return problem{problem_code::bad_value,
                   std::string("'") + name + "' can not be the name of a session: letters, digits, '.', '_' and '-', "
                   "not beginning with '.', at most 64", name, {}};
  const abi::path_buffer base = abi::base_folder<libc_sys>(chaos_dir, geteuid());
  const abi::path_buffer folder = abi::session_folder(base, name);
  if (!folder.ok)
    return problem{problem_code::bad_value, "the session folder's path is longer than " +
                       std::to_string(abi::path_buffer::room) + " bytes", chaos_dir ? chaos_dir : "", {}};
  return session_location{name, base.text, folder.text};
}

result<done> make_session(const session_location& where) {
  abi::path_buffer base, folder;
  base.add(where.base.c_str());
  folder.add(where.folder.c_str());
  const abi::folder_state state = abi::make_session_folder<libc_sys>(base, folder, geteuid());
  const int error = errno;
  // which of the two it was
  const bool at_base = abi::check_folder<libc_sys>(base.text, geteuid()) != abi::folder_state::ready;
  const std::string path = at_base ? where.base : where.folder;
  switch (state) {
    case abi::folder_state::ready: return done{};
    case abi::folder_state::foreign_owner:
      return problem{problem_code::not_allowed, path + " is owned by another user than the effective one (uid " +
                         std::to_string(geteuid()) + "): choose another folder with --dir or CHAOS_DIR", path, {}};
    case abi::folder_state::too_open:
      return problem{problem_code::not_allowed, path + " may be written by others: `chmod go-w " + path + "` first", path, {}};
    default:
      return problem{problem_code::failed, "can not make the session folder " + path + ": " + std::strerror(error), path, {}};
  }
}

}  // namespace chaos::protocol
