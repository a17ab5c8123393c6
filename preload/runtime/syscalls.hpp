// System calls made by hand: before libc is ready, and where libc's own entry is one of our hooks. They set no errno:
// a negative result is -errno. None of them is a cancellation point.
#pragma once
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

namespace chaos::sys {

inline long raw(long n, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
#if defined(__x86_64__)
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = n;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
#else
#error "libchaos: no system call convention for this processor yet"
#endif
}

template <class T> inline long word(T x) {
  if constexpr (__is_same(T, decltype(nullptr))) return 0;
  else return (long)x;
}
template <class... A> inline long call(long n, A... a) { return raw(n, word(a)...); }

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

inline int pid() { return static_cast<int>(call(SYS_getpid)); }
inline int tid() { return static_cast<int>(call(SYS_gettid)); }
inline long write_to(int fd, const void* p, std::size_t n) { return call(SYS_write, fd, p, n); }
inline long read_from(int fd, void* p, std::size_t n) { return call(SYS_read, fd, p, n); }
inline int open_file(const char* path, int flags, unsigned mode = 0) {
  return static_cast<int>(call(SYS_openat, AT_FDCWD, path, flags, mode));
}
inline void close_fd(int fd) { call(SYS_close, fd); }
inline int status_flags(int fd) { return static_cast<int>(call(SYS_fcntl, fd, F_GETFL, 0)); }
inline bool is_nonblocking(int fd) { const int f = status_flags(fd); return f >= 0 && (f & O_NONBLOCK); }
inline long get_option(int fd, int level, int name, void* value, socklen_t* n) { return call(SYS_getsockopt, fd, level, name, value, n); }
inline long set_option(int fd, int level, int name, int value) { return call(SYS_setsockopt, fd, level, name, &value, sizeof value); }
inline long control(int fd, unsigned long request, void* argument) { return call(SYS_ioctl, fd, request, argument); }
inline long read_link(const char* path, char* out, std::size_t room) { return call(SYS_readlinkat, AT_FDCWD, path, out, room); }

// Zeroed memory straight from the kernel; nullptr when there is none.
inline void* pages(std::size_t bytes, bool reserve_only = true) {
  const long p = call(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | (reserve_only ? MAP_NORESERVE : 0), -1, 0);
  return p < 0 && p > -4096 ? nullptr : reinterpret_cast<void*>(p);
}
inline void unmap(void* p, std::size_t bytes) { call(SYS_munmap, p, bytes); }

// The clock is libc's clock_gettime, found at start-up past any interposition by the vdso or by dlsym; see init.cpp.
[[gnu::visibility("hidden")]] extern int (*clock_function)(clockid_t, timespec*);
inline std::uint64_t now_ns() {
  timespec t;
  if (clock_function) clock_function(CLOCK_MONOTONIC, &t);
  else call(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_nsec);
}
inline timespec span(std::uint64_t ns) { return {static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)}; }

// How abi/session.hpp touches the file system from inside a target.
struct session_files {
  static int mkdir(const char* p, unsigned mode) { return static_cast<int>(call(SYS_mkdirat, AT_FDCWD, p, mode)); }
  static bool owner(const char* p, unsigned& uid, unsigned& mode) {
    struct statx s;
    if (call(SYS_statx, AT_FDCWD, p, AT_SYMLINK_NOFOLLOW, STATX_UID | STATX_MODE | STATX_TYPE, &s) != 0) return false;
    uid = s.stx_uid;
    mode = s.stx_mode & 07777;
    return (s.stx_mode & S_IFMT) == S_IFDIR;
  }
  static int create(const char* p) { return open_file(p, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600); }
  static int open(const char* p, bool writable) { return open_file(p, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW); }
  static long size(int fd) {
    struct statx s;
    return call(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_SIZE, &s) == 0 ? static_cast<long>(s.stx_size) : -1;
  }
  static int allocate(int fd, long n) { return static_cast<int>(call(SYS_fallocate, fd, 0, 0, n)); }
  static int write(int fd, const void* p, std::size_t n) { return call(SYS_pwrite64, fd, p, n, 0) == static_cast<long>(n) ? 0 : -1; }
  static int read(int fd, void* p, std::size_t n) { return call(SYS_pread64, fd, p, n, 0) == static_cast<long>(n) ? 0 : -1; }
  static int link(const char* from, const char* to) { return static_cast<int>(call(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0)); }
  static void unlink(const char* p) { call(SYS_unlinkat, AT_FDCWD, p, 0); }
  static void close(int fd) { close_fd(fd); }
  static int pid() { return sys::pid(); }
};

}  // namespace chaos::sys
