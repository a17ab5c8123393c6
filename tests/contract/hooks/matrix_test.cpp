// Every kind put on every function (`--on FUNCTION`), over everything that such a call can be made on: either the rule is
// refused, or it acts. What is counted was seen, what was seen is counted: nothing counts without acting.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <condition_variable>
#include <mutex>
#include <sstream>

#include "chaos/abi/effects.hpp"
#include "chaos/abi/functions.hpp"
#include "rows.hpp"
#include "tests/integration/gate/channels.hpp"
#include "tests/support/process.hpp"
#include "tests/support/session.hpp"

namespace chaos::contract {
namespace {

using abi::effect;
using gate::channel;
using gate::over;
using testing_support::monotonic_ms;
using testing_support::session;

constexpr double noticeable_ms = 10, rescue_ms = 90;  // delays are of 20 ms; a call that has not returned by then is rescued

// What the call is made on, instead of what the row's stage has.
struct surface {
  enum { as_it_is, another_transport, unix_listener, a_file, the_process } what = as_it_is;
  over transport = over::tcp;
  bool nonblocking = false;
  std::string name() const {
    const char* const names[] = {"as it is", "", "unix listener", "a file", "the process"};
    return (what == another_transport ? gate::name_of(transport) : names[what]) + (nonblocking ? ", non-blocking" : "");
  }
};

// A stage on that surface. The row finds it at the descriptors that it knows.
struct scene : stage {
  std::unique_ptr<channel> other;
  std::string unix_path;
  unique_fd unix_caller;
  const surface& on;
  const row& it;

  scene(const row& r, const surface& s, effect kind) : on(s), it(r) {
    if (on.what == surface::another_transport) {
      other = std::make_unique<channel>(on.transport);
      other->tell(it.aimed_at == aim::stdio ? "hello world\n" : "hello");
      replace(tcp.near, other->near), replace(udp.near, other->near);
      if (it.aimed_at == aim::file) replace(file, other->near), at = -1;
      replace(tcp.far, other->far), replace(udp.far, other->far);
      if (it.aimed_at == aim::stdio) {
        ::fclose(stream);
        stream = ::fdopen(::dup(other->near), "r+");
      }
    } else if (on.what == surface::unix_listener) {
      const unique_fd listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_un a{};
      a.sun_family = AF_UNIX;
      unix_path = folder.path() + "/listener";
      std::strncpy(a.sun_path, unix_path.c_str(), sizeof a.sun_path - 1);
      const auto* const address = reinterpret_cast<const sockaddr*>(&a);
      EXPECT_TRUE(::bind(listening, address, sizeof a) == 0 && ::listen(listening, 4) == 0);
      unix_caller = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      EXPECT_EQ(::connect(unix_caller, address, sizeof a), 0);
      replace(waiting.fd, listening);
    } else if (on.what == surface::a_file) {
      const bool writes = std::string(it.name).find("w") == 0 || std::string(it.name).find("s") == 0 || std::string(it.name) == "__write";
      replace(tcp.near, writes ? second : file);
    }
    if (kind == effect::full) {
      if (on.what == surface::as_it_is && (it.aimed_at == aim::file || it.aimed_at == aim::stdio)) { EXPECT_EQ(::ftruncate(file, 0), 0); }
      if (std::string(it.name) == "fclose") ::fputs("what is still to be written", stream);
    }
    const int ours[] = {tcp.near, udp.near, waiting.fd, unconnected}, theirs[] = {tcp.far, udp.far};
    for (const int fd : ours)
      if (on.nonblocking) testing_support::set_nonblocking(fd);
    const timeval soon{0, 40'000};
    for (const int fd : theirs) ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
  }
  std::string target() const {
    if (on.what == surface::the_process) return "process";
    if (on.what == surface::unix_listener) return "unix:" + unix_path;
    return stage::target(it.aimed_at);
  }
  // The peer speaks again, for those who have lost the first.
  void speak() { ::syscall(SYS_sendto, far(), "again", 5, MSG_NOSIGNAL, nullptr, 0); }
  void end() { ::syscall(SYS_shutdown, far(), SHUT_RDWR); }
  int near() const { return it.aimed_at == aim::datagram ? udp.near : it.aimed_at == aim::file ? file : tcp.near; }
  // What arrived at the peer, or stands in the file, and the row does not look at.
  std::string there() const {
    char b[64];
    long n = 0;
    if (on.what == surface::a_file) n = ::pread(tcp.near, b, sizeof b, 0);
    if (on.what == surface::another_transport && (it.aimed_at == aim::stdio || it.aimed_at == aim::file))
      n = ::recv(far(), b, sizeof b, MSG_DONTWAIT);
    return n > 0 ? " " + std::string(b, static_cast<std::size_t>(n)) : "";
  }
  int far() const { return it.aimed_at == aim::datagram ? udp.far : tcp.far; }

 private:
  static void replace(int to, int by) { EXPECT_EQ(::dup2(by, to), to); }
};

std::vector<surface> surfaces_of(unsigned function) {
  const abi::function_info& f = abi::function_table[function];
  const aim a = rows[function].aimed_at;
  std::vector<surface> all{{}};
  if (a == aim::stream || a == aim::datagram || ((a == aim::stdio || a == aim::file) && (f.classes & abi::classes::streams)))
    for (const over o : gate::all_transports)
      for (const bool nonblocking : {false, true})
        if (a != aim::stdio || (gate::is_stream(o) && !nonblocking)) all.push_back({surface::another_transport, o, nonblocking});
  if (a == aim::listening) all.push_back({surface::unix_listener});
  for (std::size_t i = 0, n = all.size(); i < n; ++i)
    if ((a == aim::listening || a == aim::address) && !all[i].nonblocking) all.push_back({all[i].what, all[i].transport, true});
  if (a == aim::stream && (f.classes & (abi::classes::file_io | abi::classes::close))) all.push_back({surface::a_file});
  all.push_back({surface::the_process});
  return all;
}

class Kind : public testing::TestWithParam<unsigned> {
 protected:
  session& s = session::of_this_process();
  const effect kind = static_cast<effect>(GetParam());
  const abi::effect_info& info = abi::effect_table[GetParam()];
  ~Kind() override { s.clear(); }

  std::string rule(const scene& at) const {
    const std::string head = std::string(info.name) + " " + at.target() + " ";
    const std::string tail = std::string(" --on ") + at.it.name + (at.on.what == surface::the_process ? " --everything" : "");
    switch (kind) {
      case effect::error: case effect::dns: {
        std::istringstream names(abi::function_table[&at.it - rows].errnos);
        for (std::string e; names >> e;)
          if (e != "EINTR" && e != "EAGAIN" && s.refusal(head + e + tail).empty()) return head + e + tail;
        return head + (kind == effect::dns ? "EAI_AGAIN" : "EIO") + tail;
      }
      case effect::latency: case effect::pause: case effect::slow_close: case effect::timeout: return head + "20ms" + tail;
      case effect::loss: return head + "--model gemodel:100%,100%,100%,0%" + tail;  // one is lost, the next is not
      case effect::corrupt: return head + "--bits 3" + tail;
      case effect::slicer: return head + "--average-size 2B " + (at.it.aimed_at == aim::stdio ? "--delay 20ms" : "") + tail;  // stdio collects slices
      case effect::bandwidth: return head + "150B/s" + tail;  // 7 ms a byte
      case effect::limit_data: return head + "3B" + tail;
      case effect::duplicate: case effect::reorder: return head + "100%" + tail;
      case effect::full: return head + "0B" + tail;
      case effect::crash: return head + "--exit 7" + tail;
      case effect::replace: return head + "another" + tail;
      case effect::http_error: return head + "503" + tail;
      case effect::enomem: return head + "--size 12345B..12345B" + tail;
      case effect::observe: return head + (at.it.aimed_at == aim::memory ? "--size 12345B..12345B" : "") + tail;
      default: return head + tail;
    }
  }

  struct run { outcome came_to; double ms = 0; bool crashed = false, rescued = false; };

  // Makes the call; asks again while it is told to come later. Who waits for ever is rescued: the rule goes, the peer speaks.
  run call(scene& at, std::uint32_t id, bool later_is_ours) {
    run r;
    // Up to 80 ms of a bandwidth are asked for: a busy machine must not be taken for a call that waits for ever.
    const double patience_ms = kind == effect::bandwidth && id ? 20 * rescue_ms : rescue_ms;
    void* const f = dlsym(RTLD_DEFAULT, at.it.name);
    std::mutex access;
    std::condition_variable changed;
    bool over = false;
    std::thread rescuer([&] {
      std::unique_lock hold(access);
      if (changed.wait_for(hold, std::chrono::duration<double, std::milli>(patience_ms), [&] { return over; })) return;
      r.rescued = true;
      if (id) s.remove(id);
      at.speak();
      if (changed.wait_for(hold, std::chrono::duration<double, std::milli>(patience_ms), [&] { return over; })) return;
      at.end();
    });
    const double began = monotonic_ms();
    do {
      errno = 0;
      r.came_to = at.it.call(f, at);
      if (!(later_is_ours && r.came_to.failed && r.came_to.error == EAGAIN)) break;
      ::usleep(1000);
    } while (monotonic_ms() - began < patience_ms * 0.8);
    r.ms = monotonic_ms() - began;
    r.came_to.value += at.there();
    {
      const std::scoped_lock hold(access);
      over = true;
    }
    changed.notify_one();
    rescuer.join();
    return r;
  }
  run call_in_child(scene& at) {
    run r;
    const pid_t child = fork();
    if (child == 0) {
      ::alarm(2);
      at.it.call(dlsym(RTLD_DEFAULT, at.it.name), at);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    r.crashed = WIFEXITED(status) && WEXITSTATUS(status) == 7;
    return r;
  }

  // What only shows afterwards: a connection that has ended, a datagram that comes twice, an arrival that is later for what was sent.
  bool seen_later(scene& at) const {
    char b[64];
    const abi::class_set classes = abi::function_table[&at.it - rows].classes;
    const bool reads = (classes & (abi::classes::stream_in | abi::classes::datagram_in)) && !(classes & abi::classes::stream_out);
    const bool delays = kind == effect::latency || kind == effect::loss;
    if (kind == effect::limit_data && at.it.aimed_at == aim::stdio) {  // the line that meets the limit is given whole
      pollfd p{at.near(), 0, 0};
      return ::poll(&p, 1, 0) > 0 && (p.revents & POLLHUP);
    }
    if (kind == effect::duplicate) return ::recv(reads ? at.near() : at.far(), b, sizeof b, MSG_DONTWAIT) > 0;
    if (delays && at.it.aimed_at == aim::address) {
      pollfd p{at.unconnected, POLLOUT, 0};
      const double began = monotonic_ms();
      ::poll(&p, 1, 300);
      return monotonic_ms() - began >= noticeable_ms;
    }
    if (delays && !reads && at.on.nonblocking && at.near() >= 0) {
      while (::recv(at.near(), b, sizeof b, MSG_DONTWAIT) > 0) {}
      at.speak();
      pollfd p{at.near(), POLLIN, 0};
      const double began = monotonic_ms();
      ::poll(&p, 1, 300);
      return monotonic_ms() - began >= noticeable_ms;
    }
    return false;
  }

  // One cell: true when the rule acted here.
  bool acts(unsigned function, const surface& on) {
    const row& it = rows[function];
    for (int attempt = 0;; ++attempt) {
      scene plain(it, on, kind);
      const run native = kind == effect::crash ? run{} : call(plain, 0, false);
      scene at(it, on, kind);
      const std::string words = rule(at);
      const std::uint32_t id = s.set(words);
      const run armed = kind == effect::crash ? call_in_child(at) : call(at, id, native.came_to.error != EAGAIN);
      const bool differs = armed.came_to != native.came_to, slower = armed.ms - native.ms >= (kind == effect::bandwidth ? 4 : noticeable_ms);
      const bool later = kind != effect::crash && seen_later(at);
      const auto counted = s.count(id);
      const auto events = s.events(id).size();
      s.clear();
      const bool seen = differs || slower || armed.crashed || later;
      if (kind == effect::observe) {
        EXPECT_FALSE(differs) << words << ": " << armed.came_to << " instead of " << native.came_to;
        return counted.fired > 0;
      }
      if (seen != (counted.fired > 0) && attempt < 3 && !differs) continue;  // the machine was slow for a moment
      EXPECT_EQ(counted.fired > 0, seen) << words << " over " << on.name() << ": counted " << counted.fired << ", matched " << counted.matched
                                         << "; came to " << armed.came_to << " after " << armed.ms << " ms, without a rule to " << native.came_to
                                         << " after " << native.ms << " ms";
      EXPECT_EQ(events, counted.fired) << words << " over " << on.name() << ": events";
      return counted.fired > 0;
    }
  }
};

TEST_P(Kind, IsRefusedOrActsWhereverItMayBePut) {
  unsigned cells = 0, acted = 0, refused = 0;
  for (unsigned f = 0; f < abi::function_count; ++f) {
    bool taken = false, some = false;
    std::string words;
    for (const surface& on : surfaces_of(f)) {
      scene at(rows[f], on, kind);
      const std::string here = rule(at);
      if (at.target().empty() || !s.refusal(here).empty()) { ++refused; continue; }
      const bool as_process = on.what == surface::the_process;
      if (as_process && (rows[f].aimed_at == aim::memory || rows[f].aimed_at == aim::variable)) ADD_FAILURE() << here << " is taken";
      taken = true;
      words = here;
      ++cells;
      const bool acts_here = acts(f, on);
      some |= acts_here;
      acted += acts_here;
      if (HasFatalFailure()) return;
    }
    if (kind == effect::http_error) continue;  // acts on HTTP alone: gate/http_test
    if (kind == effect::limit_data && rows[f].aimed_at == aim::stdio) continue;  // libc reads ahead, and the connection ends at the next call
    if (taken) { EXPECT_TRUE(some) << words << " is taken, and acts on nothing"; }
  }
  std::printf("%s: %u cells, acted in %u, refused %u\n", info.name, cells, acted, refused);
  EXPECT_GT(cells, 0u);
}

INSTANTIATE_TEST_SUITE_P(Of, Kind, testing::Range(0u, abi::effect_count), [](const auto& i) { return std::string(abi::effect_table[i.param].name); });

}  // namespace
}  // namespace chaos::contract
