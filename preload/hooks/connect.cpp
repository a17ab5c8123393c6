// Making connections.
#include <string.h>
#include <sys/un.h>

#include "outcome.hpp"
#include "own.hpp"
#include "preload/runtime/connection.hpp"
#include "preload/runtime/delay_line.hpp"
#include "preload/runtime/epoll_sets.hpp"
#include "preload/runtime/names.hpp"
#include "preload/runtime/output_hold.hpp"
#include "preload/runtime/wait.hpp"

namespace chaos::hooks {
namespace {

// How long the kernel itself would try: 6 retries of a SYN, doubling from one second.
constexpr std::uint64_t kernel_patience_ns = 127'000'000'000;

void decide_connect(abi::function_id self, descriptor* d, int fd, const sockaddr* to, socklen_t n, const rule_view& v, const void* caller, char (&text)[112], decision& made) {
  core::endpoint e;
  char path[sizeof(sockaddr_un::sun_path) + 2] = {};
  e.descriptor = fd;
  e.over = d && (d->role & abi::classes::datagrams) ? abi::transport::datagram : abi::transport::stream;
  e.has_remote = parse_address(to, n, e.remote, e.remote_port);
  text[0] = 0;
  if (e.has_remote) {
    describe_address(e.remote, e.remote_port, text, sizeof text);
  } else if (to->sa_family == AF_UNIX && n > offsetof(sockaddr_un, sun_path)) {
    const char* name = reinterpret_cast<const sockaddr_un*>(to)->sun_path;
    const std::size_t length = n - offsetof(sockaddr_un, sun_path);
    if (name[0]) memcpy(path, name, strnlen(name, length));
    else { path[0] = '@'; memcpy(path + 1, name + 1, length - 1); }
    e.unix_path = path;
    memcpy(text, "unix:", 5);
    const std::size_t shown = strnlen(path, sizeof text - 6);
    memcpy(text + 5, path, shown);
    text[5 + shown] = 0;
  }
  std::uint64_t mask[4];
  match_endpoint(v, e, mask);
  decide({.function = self, .acts_as = abi::classes::connect, .now_ns = sys::now_ns()}, mask, d, v, caller, made);
}

int finish(descriptor* d, int fd, const decision& made, const char* text, const void* caller, long result, bool late = false) {
  report_fired(made, text, d ? d->ordinal : 0, 0, caller);
  if (d) d->connecting = result == -EINPROGRESS;
  reclassify(fd);
  if (late && result >= 0) { errno = made.verdict.error; return -1; }
  if (result < 0) { errno = static_cast<int>(-result); return -1; }
  return static_cast<int>(result);
}

// A further call on a socket that is still connecting asks how it goes (hiredis does): no new attempt, no decision.
bool asks_how_it_goes(const descriptor& d, int fd) {
  struct statx s;
  return d.connecting && sys::call(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_INO, &s) == 0 && s.stx_ino == d.inode;
}

std::uint64_t send_deadline(int fd, std::uint64_t now) {
  timeval t{};
  socklen_t n = sizeof t;
  if (sys::get_option(fd, SOL_SOCKET, SO_SNDTIMEO, &t, &n) != 0 || (t.tv_sec == 0 && t.tv_usec == 0)) return 0;
  return now + static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_usec) * 1000;
}

}  // namespace

int own_connect(abi::function_id self, int fd, const sockaddr* to, socklen_t n) {
  const void* caller = __builtin_return_address(0);
  if (!inside()) heal_held();
  const rule_view* v = inside() ? nullptr : current_view();
  if (!v || !to || n < sizeof to->sa_family || to->sa_family == AF_UNSPEC || !(v->classes & (abi::classes::connect | abi::classes::data))) {
    forget(fd);
    return real.connect(fd, to, n);
  }
  if (descriptor* old = entry_of(fd); old && asks_how_it_goes(*old, fd)) {
    if (const std::uint64_t now = sys::now_ns(); output_held_until(*old, now) > now) { errno = EALREADY; return -1; }
    const int result = real.connect(fd, to, n);
    old->connecting = result != 0 && (errno == EALREADY || errno == EINPROGRESS);
    return result;
  }
  if (entry_of(fd) && entry_of(fd)->early) sets_changed();
  inside_scope work;
  descriptor* d = note_connect(fd, to, n);
  decision made;
  char text[112];
  decide_connect(self, d, fd, to, n, *v, caller, text, made);
  work.end();
  const effects::verdict& what = made.verdict;
  const bool nonblocking = sys::is_nonblocking(fd);
  const bool stream = !d || (d->role & abi::classes::streams);
  shares held;
  add_shares(held, made.judged);

  if (what.end == effects::ending::crash) {
    report_fired(made, text, d ? d->ordinal : 0, 0, caller);
    end_process(made);
  }
  std::int32_t pause_error = 0;
  if (!serve_pause(made, pause_error)) return finish(d, fd, made, text, caller, -pause_error);
  const std::uint64_t from = what.pause_ns ? sys::now_ns() : made.now_ns;  // behind the pause
  std::uint64_t due = what.delay_ns ? from + what.delay_ns : 0;
  if (due && !(nonblocking && stream)) {
    const waited w = hold_for(from, held);
    if (w != waited::due) let_go_early(made, core::delaying_effects, sys::now_ns() - from);
    if (w == waited::interrupted) return finish(d, fd, made, text, caller, -EINTR);
    due = 0;
  }
  switch (what.end) {
    case effects::ending::error:
      if (what.late) break;
      return finish(d, fd, made, text, caller, -what.error);
    case effects::ending::unreachable:
    case effects::ending::reset: return finish(d, fd, made, text, caller, -what.error);
    case effects::ending::refuse:
    case effects::ending::blackhole: {
      const bool blackhole = what.end == effects::ending::blackhole;
      if (nonblocking && d && stream) {
        const long result = redirect(*d, fd, blackhole, what.ender->id);
        if (result != -ENOTSUP) return finish(d, fd, made, text, caller, result);
      }
      if (!blackhole) return finish(d, fd, made, text, caller, -ECONNREFUSED);
      const std::uint64_t own = send_deadline(fd, made.now_ns);
      report_fired(made, text, d ? d->ordinal : 0, 0, caller, abi::event_flags::blocked);
      made.judged.count = 0;
      const waited w = hold_until(own ? own : made.now_ns + kernel_patience_ns, what.ender->id);
      if (w == waited::interrupted) return finish(d, fd, made, text, caller, -EINTR);
      if (w == waited::due) return finish(d, fd, made, text, caller, own ? -EINPROGRESS : -ETIMEDOUT);
      break;  // the rule is gone: the connect goes through
    }
    case effects::ending::close:
    case effects::ending::crash:
    case effects::ending::none: break;
  }
  const int result = real.connect(fd, to, n);
  const int error = errno;
  if (due && d && (result == 0 || error == EINPROGRESS)) {
    // Begun, and not to be seen finished before it is due: waits leave it out until then.
    hold_connect(*d, from, held);
    d->connecting = true;
    report_fired(made, text, d->ordinal, 0, caller, abi::event_flags::gated);
    reclassify(fd);
    errno = EINPROGRESS;
    return -1;
  }
  return finish(d, fd, made, text, caller, result < 0 ? -error : result, what.late && (result == 0 || error == EINPROGRESS));
}

int own_getpeername(int fd, sockaddr* to, socklen_t* n) {
  const int result = real.getpeername(fd, to, n);
  descriptor* d = entry_of(fd);
  if (result != 0 || !d || !to || !n || !d->redirected.load(std::memory_order_acquire)) return result;
  memcpy(to, &d->asked, *n < d->asked_length ? *n : d->asked_length);
  *n = d->asked_length;
  return 0;
}

}  // namespace chaos::hooks
