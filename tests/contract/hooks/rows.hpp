// One row for each hook of functions.def: how to call it so that it succeeds, and what a rule must be aimed at to fail it.
// `f` is the function under test, libc's own or ours. A hook without a row does not compile.
#pragma once
#include "stage.hpp"

namespace chaos::contract {

struct types {
#define HOOK(symbol, kinds, fails, returns, parameters, ...) using symbol = returns parameters;
#define HOOK_ABI HOOK
#include "chaos/abi/functions.def"
#undef HOOK
#undef HOOK_ABI
};

#define ROW(symbol, aimed_at)                     \
  inline constexpr aim aim_##symbol = aim::aimed_at; \
  inline outcome call_##symbol([[maybe_unused]] types::symbol* f, [[maybe_unused]] stage& s)

// --- making and taking connections
inline outcome connecting(int (*f)(int, const sockaddr*, socklen_t), stage& s) {
  const sockaddr_in to = testing_support::loopback(s.waiting.port);
  return number(f(s.unconnected, testing_support::generic(to), sizeof to));
}
ROW(connect, address) { return connecting(f, s); }
ROW(__connect, address) { return connecting(f, s); }
ROW(accept, listening) { return descriptor(s, f(s.waiting.fd, nullptr, nullptr)); }
ROW(accept4, listening) { return descriptor(s, f(s.waiting.fd, nullptr, nullptr, SOCK_CLOEXEC)); }

// --- bytes in
struct incoming {
  char text[16] = {};
  iovec part[2] = {{text, 2}, {text + 2, 6}};
  msghdr msg{};
  mmsghdr many{};
  incoming() {
    msg.msg_iov = part;
    msg.msg_iovlen = 2;
    many.msg_hdr = msg;
  }
};
ROW(recv, stream) { incoming i; return bytes(f(s.tcp.near, i.text, 8, 0), i.text); }
ROW(recvfrom, datagram) { incoming i; return bytes(f(s.udp.near, i.text, 8, 0, nullptr, nullptr), i.text); }
ROW(recvmsg, stream) { incoming i; return bytes(f(s.tcp.near, &i.msg, 0), i.text); }
ROW(recvmmsg, datagram) {
  incoming i;
  const int n = f(s.udp.near, &i.many, 1, 0, nullptr);
  return number(n, n > 0 ? std::string(i.text, i.many.msg_len) : "");
}
ROW(read, stream) { incoming i; return bytes(f(s.tcp.near, i.text, 8), i.text); }
ROW(readv, stream) { incoming i; return bytes(f(s.tcp.near, i.part, 2), i.text); }
ROW(__read, stream) { incoming i; return bytes(f(s.tcp.near, i.text, 8), i.text); }
ROW(__read_chk, stream) { incoming i; return bytes(f(s.tcp.near, i.text, 8, sizeof i.text), i.text); }
ROW(__recv_chk, stream) { incoming i; return bytes(f(s.tcp.near, i.text, 8, sizeof i.text, 0), i.text); }
ROW(__recvfrom_chk, stream) { incoming i; return bytes(f(s.tcp.near, i.text, 8, sizeof i.text, 0, nullptr, nullptr), i.text); }

// --- bytes out
struct outgoing {
  char text[9] = "goodbye!";
  iovec part[2] = {{text, 3}, {text + 3, 5}};
  msghdr msg{};
  mmsghdr many{};
  outgoing() {
    msg.msg_iov = part;
    msg.msg_iovlen = 2;
    many.msg_hdr = msg;
  }
};
// What arrived at the other end, or stands in the file, belongs to the outcome.
inline outcome sent(stage& s, int at, outcome o) {
  char there[32] = {};
  if (!o.failed && ::recv(at, there, sizeof there - 1, 0) > 0) o.value += std::string(" ") + there;
  (void)s;
  return o;
}
inline outcome stored(int fd, outcome o) {
  char there[64] = {};
  if (!o.failed && ::pread(fd, there, sizeof there - 1, 0) > 0) o.value += std::string(" ") + there;
  return o;
}
ROW(send, stream) { outgoing o; return sent(s, s.tcp.far, number(f(s.tcp.near, o.text, 8, 0))); }
ROW(__send, stream) { outgoing o; return sent(s, s.tcp.far, number(f(s.tcp.near, o.text, 8, 0))); }
ROW(sendto, datagram) { outgoing o; return sent(s, s.udp.far, number(f(s.udp.near, o.text, 8, 0, nullptr, 0))); }
ROW(sendmsg, stream) { outgoing o; return sent(s, s.tcp.far, number(f(s.tcp.near, &o.msg, 0))); }
ROW(sendmmsg, datagram) { outgoing o; return sent(s, s.udp.far, number(f(s.udp.near, &o.many, 1, 0))); }
ROW(write, stream) { outgoing o; return sent(s, s.tcp.far, number(f(s.tcp.near, o.text, 8))); }
ROW(__write, stream) { outgoing o; return sent(s, s.tcp.far, number(f(s.tcp.near, o.text, 8))); }
ROW(writev, stream) { outgoing o; return sent(s, s.tcp.far, number(f(s.tcp.near, o.part, 2))); }
ROW(sendfile, stream) { off_t at = 0; return sent(s, s.tcp.far, number(f(s.tcp.near, s.file, &at, 5))); }
ROW(sendfile64, stream) { off64_t at = 0; return sent(s, s.tcp.far, number(f(s.tcp.near, s.file, &at, 5))); }
ROW(splice, stream) {
  int ends[2];
  if (::pipe(ends) != 0 || ::write(ends[1], "hello", 5) != 5) return {};
  s.made.insert(s.made.end(), ends, ends + 2);
  return sent(s, s.tcp.far, number(f(ends[0], nullptr, s.tcp.near, nullptr, 5, 0)));
}
ROW(copy_file_range, second_file) { off64_t from = 0; return stored(s.second, number(f(s.file, &from, s.second, nullptr, 5, 0))); }

// --- positioned file I/O
ROW(pread, file) { incoming i; return bytes(f(s.file, i.text, 8, 3), i.text); }
ROW(pread64, file) { incoming i; return bytes(f(s.file, i.text, 8, 3), i.text); }
ROW(__pread64, file) { incoming i; return bytes(f(s.file, i.text, 8, 3), i.text); }
ROW(__pread_chk, file) { incoming i; return bytes(f(s.file, i.text, 8, 3, sizeof i.text), i.text); }
ROW(__pread64_chk, file) { incoming i; return bytes(f(s.file, i.text, 8, 3, sizeof i.text), i.text); }
ROW(preadv, file) { incoming i; return bytes(f(s.file, i.part, 2, 3), i.text); }
ROW(preadv64, file) { incoming i; return bytes(f(s.file, i.part, 2, 3), i.text); }
ROW(preadv2, file) { incoming i; return bytes(f(s.file, i.part, 2, s.at, 0), i.text); }
ROW(preadv64v2, file) { incoming i; return bytes(f(s.file, i.part, 2, s.at, 0), i.text); }
ROW(pwrite, file) { outgoing o; return stored(s.file, number(f(s.file, o.text, 8, 3))); }
ROW(pwrite64, file) { outgoing o; return stored(s.file, number(f(s.file, o.text, 8, 3))); }
ROW(__pwrite64, file) { outgoing o; return stored(s.file, number(f(s.file, o.text, 8, 3))); }
ROW(pwritev, file) { outgoing o; return stored(s.file, number(f(s.file, o.part, 2, 3))); }
ROW(pwritev64, file) { outgoing o; return stored(s.file, number(f(s.file, o.part, 2, 3))); }
ROW(pwritev2, file) { outgoing o; return stored(s.file, number(f(s.file, o.part, 2, s.at, 0))); }
ROW(pwritev64v2, file) { outgoing o; return stored(s.file, number(f(s.file, o.part, 2, s.at, 0))); }

// --- waiting
inline outcome polled(int n, const pollfd& p) { return number(n, " " + std::to_string(p.revents)); }
struct one_poll { pollfd p; timespec soon{5, 0}; explicit one_poll(stage& s) : p{s.tcp.near, POLLIN, 0} {} };
ROW(poll, nothing) { one_poll a(s); return polled(f(&a.p, 1, 5000), a.p); }
ROW(__poll, nothing) { one_poll a(s); return polled(f(&a.p, 1, 5000), a.p); }
ROW(__poll_chk, nothing) { one_poll a(s); return polled(f(&a.p, 1, 5000, sizeof a.p), a.p); }
ROW(ppoll, nothing) { one_poll a(s); return polled(f(&a.p, 1, &a.soon, nullptr), a.p); }
ROW(__ppoll_chk, nothing) { one_poll a(s); return polled(f(&a.p, 1, &a.soon, nullptr, sizeof a.p), a.p); }
struct one_select {
  fd_set in;
  timeval soon{5, 0};
  timespec fine{5, 0};
  int n;
  explicit one_select(stage& s) : n(s.tcp.near + 1) {
    FD_ZERO(&in);
    FD_SET(s.tcp.near, &in);
  }
};
ROW(select, nothing) { one_select a(s); return number(f(a.n, &a.in, nullptr, nullptr, &a.soon)); }
ROW(__select, nothing) { one_select a(s); return number(f(a.n, &a.in, nullptr, nullptr, &a.soon)); }
ROW(pselect, nothing) { one_select a(s); return number(f(a.n, &a.in, nullptr, nullptr, &a.fine, nullptr)); }
inline outcome waited(int n, const epoll_event& e, stage& s) {
  return number(n, " " + std::to_string(e.events) + (e.data.fd == s.tcp.near ? " ours" : " another"));
}
ROW(epoll_wait, nothing) { epoll_event e{}; return waited(f(s.epoll, &e, 1, 5000), e, s); }
ROW(epoll_pwait, nothing) { epoll_event e{}; return waited(f(s.epoll, &e, 1, 5000, nullptr), e, s); }
ROW(epoll_pwait2, nothing) { epoll_event e{}; const timespec t{5, 0}; return waited(f(s.epoll, &e, 1, &t, nullptr), e, s); }
ROW(epoll_ctl, nothing) { epoll_event e{}; e.events = EPOLLIN; return number(f(s.epoll, EPOLL_CTL_ADD, s.udp.near, &e)); }
ROW(epoll_create, descriptors) { return descriptor(s, f(1)); }
ROW(epoll_create1, descriptors) { return descriptor(s, f(EPOLL_CLOEXEC)); }

// --- making descriptors
inline outcome pair_made(stage& s, int result, const int* pair) {
  if (result == 0) s.made.insert(s.made.end(), pair, pair + 2);
  return number(result);
}
ROW(socket, descriptors) { return descriptor(s, f(AF_INET, SOCK_STREAM, 0)); }
ROW(socketpair, descriptors) { int p[2]; return pair_made(s, f(AF_UNIX, SOCK_STREAM, 0, p), p); }
ROW(pipe, descriptors) { int p[2]; return pair_made(s, f(p), p); }
ROW(pipe2, descriptors) { int p[2]; return pair_made(s, f(p, O_CLOEXEC), p); }
ROW(eventfd, descriptors) { return descriptor(s, f(0, 0)); }
ROW(timerfd_create, descriptors) { return descriptor(s, f(CLOCK_MONOTONIC, 0)); }
ROW(inotify_init1, descriptors) { return descriptor(s, f(0)); }
ROW(memfd_create, descriptors) { return descriptor(s, f("contract", 0)); }
ROW(dup, descriptors) { return descriptor(s, f(s.file)); }
inline constexpr int far_away = 900;  // a descriptor number that nothing else has
ROW(dup2, descriptors) { return descriptor(s, f(s.file, far_away)); }
ROW(__dup2, descriptors) { return descriptor(s, f(s.file, far_away)); }
ROW(dup3, descriptors) { return descriptor(s, f(s.file, far_away, O_CLOEXEC)); }
ROW(fcntl, descriptors) { return descriptor(s, f(s.file, F_DUPFD_CLOEXEC, far_away)); }
ROW(fcntl64, descriptors) { return descriptor(s, f(s.file, F_DUPFD, far_away)); }
ROW(__fcntl, descriptors) { return f(s.file, F_GETFD, 0) < 0 ? outcome{} : descriptor(s, f(s.file, F_DUPFD_CLOEXEC, far_away)); }

// --- ending descriptors
inline outcome ended(int fd, outcome o) {
  if (!o.failed) o.value += ::fcntl(fd, F_GETFD) < 0 ? " closed" : " open";
  return o;
}
ROW(close, stream) { const int fd = s.tcp.near; const outcome o = ended(fd, number(f(fd))); if (!o.failed) s.tcp.near.release(); return o; }
ROW(__close, file) { const int fd = s.file; const outcome o = ended(fd, number(f(fd))); if (!o.failed) s.file.release(); return o; }
ROW(close_range, nothing) { ::dup2(s.file, far_away); return ended(far_away, number(f(far_away, far_away + 3, 0))); }
ROW(closefrom, nothing) { ::dup2(s.file, far_away); f(far_away); return ended(far_away, {}); }
ROW(shutdown, stream) { const outcome o = number(f(s.tcp.near, SHUT_WR)); return o.failed ? o : sent(s, s.tcp.far, o); }
ROW(fclose, stdio) {
  FILE* const stream = s.stream;
  const int fd = fileno(stream);
  s.stream = nullptr;  // whatever it answers
  return ended(fd, number(f(stream)));
}
ROW(closedir, folder_fd) {
  const int fd = dirfd(s.directory);
  const outcome o = ended(fd, number(f(s.directory)));
  if (!o.failed) s.directory = nullptr;
  return o;
}

// --- what a socket is
ROW(bind, nothing) { const sockaddr_in a = testing_support::loopback(0); return number(f(s.unconnected, testing_support::generic(a), sizeof a)); }
ROW(listen, nothing) { return number(f(s.unconnected, 1)); }
ROW(getsockopt, nothing) { int v = 0; socklen_t n = sizeof v; const int r = f(s.tcp.near, SOL_SOCKET, SO_TYPE, &v, &n); return number(r, " " + std::to_string(v)); }
ROW(setsockopt, nothing) { int v = 5; return number(f(s.tcp.near, SOL_SOCKET, SO_RCVLOWAT, &v, sizeof v)); }
ROW(ioctl, nothing) { int n = 0; const int r = f(s.tcp.near, FIONREAD, &n); return number(r, " " + std::to_string(n)); }
ROW(getpeername, nothing) {
  sockaddr_in a{};
  socklen_t n = sizeof a;
  const int r = f(s.tcp.near, reinterpret_cast<sockaddr*>(&a), &n);
  return number(r, ntohs(a.sin_port) == s.tcp.service.port ? " the service" : " somebody else");
}
ROW(getsockname, nothing) {
  sockaddr_in a{};
  socklen_t n = sizeof a;
  const int r = f(s.waiting.fd, reinterpret_cast<sockaddr*>(&a), &n);
  return number(r, ntohs(a.sin_port) == s.waiting.port ? " the listener" : " somebody else");
}

// --- opening and naming files
ROW(open, path) { return descriptor(s, f(s.path.c_str(), O_RDONLY, 0)); }
ROW(open64, fresh) { return descriptor(s, f(s.fresh.c_str(), O_RDWR | O_CREAT, 0640)); }
ROW(__open, path) { return descriptor(s, f(s.path.c_str(), O_RDONLY, 0)); }
ROW(__open64, path) { return descriptor(s, f(s.path.c_str(), O_RDONLY, 0)); }
ROW(__open_2, path) { return descriptor(s, f(s.path.c_str(), O_RDONLY)); }
ROW(__open64_2, path) { return descriptor(s, f(s.path.c_str(), O_RDONLY)); }
ROW(openat, path) { return descriptor(s, f(s.folder_fd, "file", O_RDONLY, 0)); }
ROW(openat64, path) { return descriptor(s, f(s.folder_fd, "file", O_RDONLY, 0)); }
ROW(__openat_2, path) { return descriptor(s, f(s.folder_fd, "file", O_RDONLY)); }
ROW(__openat64_2, path) { return descriptor(s, f(s.folder_fd, "file", O_RDONLY)); }
ROW(creat, fresh) { return descriptor(s, f(s.fresh.c_str(), 0600)); }
ROW(creat64, fresh) { return descriptor(s, f(s.fresh.c_str(), 0600)); }
inline outcome stream_opened(FILE* made) {
  const outcome o = pointer(made);
  if (made) ::fclose(made);
  return o;
}
ROW(fopen, path) { return stream_opened(f(s.path.c_str(), "r")); }
ROW(fopen64, path) { return stream_opened(f(s.path.c_str(), "r")); }
ROW(freopen, path) {
  FILE* const made = f(s.path.c_str(), "r", s.stream);
  return pointer(made, made == s.stream ? "the same stream" : "another");
}
ROW(fdopen, file) {
  FILE* const made = f(s.file, "r");
  const outcome o = pointer(made);
  if (made) { s.file.release(); ::fclose(made); }
  return o;
}
ROW(opendir, folder) {
  DIR* const made = f(s.folder.path().c_str());
  const outcome o = pointer(made);
  if (made) ::closedir(made);
  return o;
}
inline outcome exists(const std::string& path, outcome o) {
  struct stat ignored;
  o.value += ::stat(path.c_str(), &ignored) == 0 ? " there" : " not there";
  return o;
}
ROW(rename, fresh) { return exists(s.fresh, number(f(s.path.c_str(), s.fresh.c_str()))); }
ROW(renameat, fresh) { return exists(s.fresh, number(f(s.folder_fd, "file", s.folder_fd, "fresh"))); }
ROW(unlink, path) { return exists(s.path, number(f(s.path.c_str()))); }
ROW(mkdir, fresh) { return exists(s.fresh, number(f(s.fresh.c_str(), 0700))); }

// --- file contents through stdio, and sizes
ROW(fread, stdio) { incoming i; const std::size_t n = f(i.text, 1, 5, s.stream); return items(n, i.text); }
ROW(__fread_chk, stdio) { incoming i; const std::size_t n = f(i.text, sizeof i.text, 1, 5, s.stream); return items(n, i.text); }
ROW(fwrite, stdio) { const outcome o = items(f("goodbye", 1, 7, s.stream)); ::fflush(s.stream); return stored(s.file, o); }
ROW(fgets, stdio) { incoming i; char* const got = f(i.text, 6, s.stream); return pointer(got, i.text); }
ROW(fputs, stdio) { const int r = f("bye", s.stream); const outcome o = number(r < 0 ? -1 : 0); ::fflush(s.stream); return stored(s.file, o); }
ROW(getline, stdio) {
  char* line = nullptr;
  std::size_t room = 0;
  const ssize_t n = f(&line, &room, s.stream);
  const outcome o = bytes(n, line);
  ::free(line);
  return o;
}
ROW(fflush, stdio) { ::fputs("bye", s.stream); return stored(s.file, number(f(s.stream))); }
ROW(__fgets_chk, stdio) { incoming i; char* const got = f(i.text, sizeof i.text, 6, s.stream); return pointer(got, i.text); }
inline outcome delimited(ssize_t (*f)(char**, std::size_t*, int, FILE*), stage& s) {
  char* line = nullptr;
  std::size_t room = 0;
  const ssize_t n = f(&line, &room, ' ', s.stream);
  const outcome o = bytes(n, line);
  ::free(line);
  return o;
}
ROW(getdelim, stdio) { return delimited(f, s); }
ROW(__getdelim, stdio) { return delimited(f, s); }
ROW(fread_unlocked, stdio) { incoming i; const std::size_t n = f(i.text, 1, 5, s.stream); return items(n, i.text); }
ROW(__fread_unlocked_chk, stdio) { incoming i; const std::size_t n = f(i.text, sizeof i.text, 1, 5, s.stream); return items(n, i.text); }
ROW(fwrite_unlocked, stdio) { const outcome o = items(f("goodbye", 1, 7, s.stream)); ::fflush(s.stream); return stored(s.file, o); }
ROW(fgets_unlocked, stdio) { incoming i; char* const got = f(i.text, 6, s.stream); return pointer(got, i.text); }
ROW(__fgets_unlocked_chk, stdio) { incoming i; char* const got = f(i.text, sizeof i.text, 6, s.stream); return pointer(got, i.text); }
ROW(fputs_unlocked, stdio) { const int r = f("bye", s.stream); const outcome o = number(r < 0 ? -1 : 0); ::fflush(s.stream); return stored(s.file, o); }
ROW(fflush_unlocked, stdio) { ::fputs("bye", s.stream); return stored(s.file, number(f(s.stream))); }
ROW(__uflow, stdio) { return number(f(s.stream)); }
ROW(__overflow, stdio) { const outcome o = number(f(s.stream, 'X')); ::fflush(s.stream); return stored(s.file, o); }
inline outcome sized(int fd, outcome o) {
  struct stat st {};
  ::fstat(fd, &st);
  o.value += " " + std::to_string(st.st_size);
  return o;
}
ROW(fallocate, file) { return sized(s.file, number(f(s.file, 0, 0, 4096))); }
ROW(fallocate64, file) { return sized(s.file, number(f(s.file, 0, 0, 4096))); }
ROW(posix_fallocate, file) { return sized(s.file, code(f(s.file, 0, 4096))); }
ROW(posix_fallocate64, file) { return sized(s.file, code(f(s.file, 0, 4096))); }
ROW(ftruncate, file) { return sized(s.file, number(f(s.file, 3))); }
ROW(ftruncate64, file) { return sized(s.file, number(f(s.file, 3))); }
ROW(fsync, file) { return number(f(s.file)); }
ROW(fdatasync, file) { return number(f(s.file)); }

// --- names
ROW(getaddrinfo, name) {
  addrinfo* list = nullptr;
  const outcome o = code(f("127.0.0.1", "80", nullptr, &list));
  if (list) ::freeaddrinfo(list);
  return o;
}
ROW(getnameinfo, name) {
  const sockaddr_in a = testing_support::loopback(80);
  char host[64] = {};
  outcome o = code(f(testing_support::generic(a), sizeof a, host, sizeof host, nullptr, 0, 0));
  o.value += std::string(" ") + host;
  return o;
}
inline outcome host_found(const hostent* found) { return pointer(found, found ? found->h_name : ""); }
struct reentrant {
  hostent into{};
  char room[1024];
  hostent* out = nullptr;
  int h_error = -2;
  outcome came_to(int result) const {
    return {!out, out ? 0 : result, std::to_string(result) + " " + std::to_string(h_error) + " " + (out ? out->h_name : "null")};
  }
};
ROW(gethostbyname, name) { return host_found(f("127.0.0.1")); }
ROW(gethostbyname2, name) { return host_found(f("127.0.0.1", AF_INET)); }
ROW(gethostbyname_r, name) { reentrant r; return r.came_to(f("127.0.0.1", &r.into, r.room, sizeof r.room, &r.out, &r.h_error)); }
ROW(gethostbyname2_r, name) { reentrant r; return r.came_to(f("127.0.0.1", AF_INET, &r.into, r.room, sizeof r.room, &r.out, &r.h_error)); }
inline const in_addr here_v4 = testing_support::loopback(0).sin_addr;
ROW(gethostbyaddr, name) { return host_found(f(&here_v4, sizeof here_v4, AF_INET)); }
ROW(gethostbyaddr_r, name) { reentrant r; return r.came_to(f(&here_v4, sizeof here_v4, AF_INET, &r.into, r.room, sizeof r.room, &r.out, &r.h_error)); }
inline outcome answered(int result) { return {result < 0, 0, result < 0 ? "no answer" : "answer"}; }
ROW(res_query, name) { testing_support::name_server n; unsigned char a[512]; return answered(f("127.0.0.1", 1, 1, a, sizeof a)); }
ROW(res_search, name) { testing_support::name_server n; unsigned char a[512]; return answered(f("127.0.0.1", 1, 1, a, sizeof a)); }
ROW(res_nquery, name) { testing_support::name_server n; unsigned char a[512]; return answered(f(&_res, "127.0.0.1", 1, 1, a, sizeof a)); }
ROW(res_nsearch, name) { testing_support::name_server n; unsigned char a[512]; return answered(f(&_res, "127.0.0.1", 1, 1, a, sizeof a)); }

// --- memory
ROW(malloc, memory) { return memory(s, f(odd_size)); }
ROW(calloc, memory) { return memory(s, f(odd_size, 1)); }
ROW(realloc, memory) { return memory(s, f(nullptr, odd_size)); }
ROW(reallocarray, memory) { return memory(s, f(nullptr, odd_size, 1)); }
ROW(posix_memalign, memory) {
  void* p = nullptr;
  const outcome o = code(f(&p, 256, odd_size));
  if (p) s.taken.push_back(p);
  return o;
}
ROW(aligned_alloc, memory) { return memory(s, f(256, odd_size), 256); }
ROW(memalign, memory) { return memory(s, f(256, odd_size), 256); }
ROW(valloc, memory) { return memory(s, f(odd_size), 4096); }
ROW(pvalloc, memory) { return memory(s, f(odd_size), 4096); }
ROW(free, nothing) { f(::malloc(100)); return {}; }

// --- environment, and system calls by number
ROW(getenv, variable) { const char* const v = f("PATH"); return pointer(v, v ? v : ""); }
ROW(secure_getenv, variable) { const char* const v = f("PATH"); return pointer(v, v ? v : ""); }
ROW(syscall, nothing) { return number(f(SYS_getpid, 0, 0, 0, 0, 0, 0) == ::getpid()); }

#undef ROW

struct row {
  const char* name;
  aim aimed_at;
  outcome (*call)(void* f, stage& s);
};
inline constexpr row rows[] = {
#define HOOK(symbol, ...) \
  {#symbol, aim_##symbol, [](void* f, stage& s) { return call_##symbol(reinterpret_cast<types::symbol*>(f), s); }},
#define HOOK_ABI HOOK
#include "chaos/abi/functions.def"
#undef HOOK
#undef HOOK_ABI
};

}  // namespace chaos::contract
