// Hooks that do not go the common road, by family. Each has libc's meaning; `self` is the function it was reached as.
#pragma once
#include <sys/epoll.h>

#include "hook.hpp"
#include "preload/runtime/environment.hpp"

namespace chaos::hooks {

// connect.cpp
int own_connect(abi::function_id self, int fd, const sockaddr* to, socklen_t n);
int own_getpeername(int fd, sockaddr* to, socklen_t* n);

// accept.cpp
struct accepting {
  descriptor* gate = nullptr;  // its connections are delayed
  std::uint64_t began_ns = 0;
  core::reservations reserved;
};
bool before_accept(abi::function_id self, int listener, const void* caller, accepting& a, int& error);
int after_accept(abi::function_id self, int listener, int made, const void* caller, accepting& a);
template <class Real>
[[gnu::always_inline]] inline int own_accept(abi::function_id self, int fd, Real real_call) {
  const void* caller = __builtin_return_address(0);
  int error = 0;
  accepting a;
  if (!before_accept(self, fd, caller, a, error)) { errno = error; return -1; }
  return after_accept(self, fd, real_call(), caller, a);
}

// messages.cpp
void forget_received(const msghdr& m);  // descriptors that came with a message are other things from now on
inline bool may_bring_descriptors(const msghdr* m) { return m && m->msg_control && m->msg_controllen >= CMSG_LEN(sizeof(int)); }
inline ssize_t received(const msghdr* m, ssize_t result) {
  if (result >= 0 && may_bring_descriptors(m)) forget_received(*m);
  return result;
}
int own_recvmmsg(int fd, mmsghdr* v, unsigned n, int flags, timespec* timeout);
int own_sendmmsg(int fd, mmsghdr* v, unsigned n, int flags);

// poll.cpp
int own_poll(abi::function_id self, pollfd* fds, nfds_t n, int timeout);
int own_ppoll(abi::function_id self, pollfd* fds, nfds_t n, const timespec* timeout, const sigset_t* mask);
int own_select(abi::function_id self, int n, fd_set* in, fd_set* out, fd_set* except, timeval* timeout);
int own_pselect(abi::function_id self, int n, fd_set* in, fd_set* out, fd_set* except, const timespec* timeout, const sigset_t* mask);

// epoll.cpp
int own_epoll_wait(abi::function_id self, int fd, epoll_event* events, int room, int timeout, const sigset_t* mask);
int own_epoll_pwait2(abi::function_id self, int fd, epoll_event* events, int room, const timespec* timeout, const sigset_t* mask);
int own_epoll_ctl(int fd, int op, int target, epoll_event* event);
// A set of epoll in another set, or in a poll: its watches hold what is not due; when the first of it is (~0: nothing is held).
bool set_needs_care(int epfd, const rule_view& v, unsigned depth = 0);
std::uint64_t calm_set(abi::function_id self, const void* caller, int epfd, const rule_view& v, unsigned depth = 0);
void release_set(abi::function_id self, const void* caller, int epfd, unsigned depth = 0);
void refire(int fd);          // have the kernel tell again of what is there, in every set that knows fd

// descriptor.cpp
int made_descriptor(frame& f, int made);
int own_close_range(unsigned first, unsigned last, int flags);
void own_closefrom(int first);
int own_getsockopt(int fd, int level, int name, void* value, socklen_t* n);
int own_setsockopt(int fd, int level, int name, const void* value, socklen_t n);
int own_ioctl(int fd, unsigned long request, void* argument);
template <class Real>
int own_fcntl(abi::function_id self, int fd, int command, Real real_call) {
  if (command != F_DUPFD && command != F_DUPFD_CLOEXEC) return real_call();
  const int made = run_slowly<abi::fails::minus_one, int>(self, abi::classes::descriptor, call{.fd2 = fd}, __builtin_return_address(0), real_call);
  if (made >= 0) forget(made);
  return made;
}

// names.cpp
int own_getnameinfo(const sockaddr* from, socklen_t n, char* host, socklen_t host_room, char* service, socklen_t service_room, int flags);
int own_getaddrinfo(const char* host, const char* service, const addrinfo* hints, addrinfo** out);
// The old ways of looking up. What they say of a failure is h_errno, which the reentrant ones return beside an errno.
struct address_text {
  char text[endpoint_text_max] = {};  // empty: no address
  address_text(const void* address, socklen_t n, int family);
};
bool lookup_fails(abi::function_id self, const char* host, const void* caller, int& error);
int as_h_errno(int eai);                 // and errno, where that says that errno says more
void note_host(const char* host, const hostent& found);
bool goes_on_with(const char* host);     // its answer did not fit a moment ago: the same look-up, with more room
void did_not_fit(const char* host);

template <class Real>
hostent* own_host(abi::function_id self, const char* host, const void* caller, Real real_call) {
  int error = 0;
  if (lookup_fails(self, host, caller, error)) {
    h_errno = as_h_errno(error);
    return nullptr;
  }
  hostent* const found = real_call();
  if (found) note_host(host, *found);
  return found;
}

template <class Real>
int own_host_r(abi::function_id self, const char* host, const void* caller, hostent** out, int* h_error, Real real_call) {
  int error = 0;
  if (!goes_on_with(host) && lookup_fails(self, host, caller, error)) {
    *out = nullptr;
    *h_error = as_h_errno(error);
    return *h_error == NETDB_INTERNAL ? errno : *h_error == TRY_AGAIN ? errno = EAGAIN : 0;
  }
  const int result = real_call();
  if (result == ERANGE) did_not_fit(host);
  else if (result == 0 && *out) note_host(host, **out);
  return result;
}

template <class Real>
int own_query(abi::function_id self, res_state state, const char* host, const void* caller, Real real_call) {
  int error = 0;
  if (!lookup_fails(self, host, caller, error)) return real_call();
  h_errno = as_h_errno(error);
  if (state) state->res_h_errno = h_errno;
  return -1;
}

// memory.cpp
bool allocation_fails(abi::function_id self, std::size_t n, const void* caller, int& error);
void note_allocated(void* p);   // for --budget
void note_freed(void* p);
inline int note_aligned(void** out, int error) {
  if (!error) note_allocated(*out);
  return error;
}
long counted_of(void* p);       // as which a block stands in the count
void add_counted(long bytes);

// The old block is none of those that a budget is used up by: the new one takes its place. Where there is none, it stays.
template <class Real>
void* own_realloc(abi::function_id self, void* p, std::size_t n, const void* caller, Real real_call) {
  const long old = counted_of(p);
  if (old) add_counted(-old);
  if (int error = 0; allocation_fails(self, n, caller, error)) {
    if (old) add_counted(old);
    errno = error;
    return nullptr;
  }
  inside_scope work;  // libc's reallocarray calls realloc
  void* const made = real_call();
  work.end();
  if (made) note_allocated(made);
  else if (old && n) add_counted(old);
  return made;
}

// environment.cpp
template <class Real>
char* own_getenv(abi::function_id self, const char* name, Real real_call) {
  char* value = nullptr;
  switch (change_of(self, name, __builtin_return_address(0), value)) {
    case environment_change::unset: return nullptr;
    case environment_change::replaced: return value;
    default: return real_call();
  }
}
long own_syscall(long number, long a, long b, long c, long d, long e, long f);

}  // namespace chaos::hooks
