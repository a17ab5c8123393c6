// Every line of the fault table on every transport that it claims, blocking and not: what the program sees, what is counted
// and what the event says. effects.def claims; a claim without a row here fails.
#include "channels.hpp"
#include "ways.hpp"

#include <netdb.h>
#include <sys/wait.h>

#include <map>
#include <set>

#include "chaos/abi/effects.hpp"
#include "chaos/abi/functions.hpp"

namespace chaos::gate {
namespace {

// What a kind may be aimed at, as test cases name it.
std::set<std::string> claims(const abi::effect_info& e) {
  std::set<std::string> all;
  if (e.targets & abi::target_kinds::to_address)
    for (const over o : all_transports) {
      if (is_stream(o) ? e.traits & abi::traits::datagram_only : e.traits & abi::traits::stream_only) continue;
      for (const char* const mode : {"blocking", "nonblocking"}) all.insert(std::string(e.name) + "_" + name_of(o) + "_" + mode);
    }
  const std::pair<unsigned, const char*> others[] = {{abi::target_kinds::to_file, "file"}, {abi::target_kinds::to_memory, "memory"},
                                                     {abi::target_kinds::to_process, "process"}, {abi::target_kinds::to_dns, "dns"},
                                                     {abi::target_kinds::to_env, "env"}};
  for (const auto& [bit, name] : others)
    if (e.targets & bit) all.insert(std::string(e.name) + "_" + name);
  return all;
}

class Line {
 public:
  session& s = session::of_this_process();
  std::uint32_t id = 0;
  abi::effect kind{};

  // Sets a rule of this kind for `target`; `more` is what follows the target.
  void fault(const std::string& target, const std::string& more = "") {
    id = s.set(std::string(abi::effect_table[static_cast<int>(kind)].name) + " " + target + " " + more);
  }
  // Counter and events agree, and each event says what happened.
  void injected(std::uint64_t times, int error = 0, const std::string& text = "") {
    EXPECT_EQ(s.count(id).fired, times);
    told(error, text);
  }
  void injected_at_least(std::uint64_t times, int error = 0, const std::string& text = "") {
    EXPECT_GE(s.count(id).fired, times);
    told(error, text);
  }
  std::uint64_t decided_delay_ns() {
    std::uint64_t all = 0;
    for (const auto& e : s.events(id)) all += e.delay_ns;
    return all;
  }

 private:
  void told(int error, const std::string& text) {
    const auto events = s.events(id);
    EXPECT_EQ(events.size(), s.count(id).fired) << "each injection is an event";
    std::uint64_t before = 0;
    for (const auto& e : events) {
      EXPECT_EQ(e.effect, static_cast<std::uint8_t>(kind));
      EXPECT_EQ(e.error, error);
      EXPECT_NE(e.tid, 0);
      EXPECT_GE(e.time_ns, before);
      before = e.time_ns;
      if (!text.empty()) { EXPECT_NE(std::string(e.text).find(text), std::string::npos) << e.text; }
    }
  }
};

// A line aimed at a connection.
struct Connection : Line {
  channel c;
  const bool blocks, stream;
  std::string at;  // as events name the connection
  Connection(over o, bool blocking) : c(o), blocks(blocking), stream(is_stream(o)) {
    if (!blocks) set_nonblocking(c.near);
    at = c.target.substr(c.target.starts_with("udp://") ? 6 : 0);
  }
  // What the program gets of what has been told, as a program of its kind asks: in the call, or told by poll.
  timed receive(std::string& got, std::size_t room = 128) {
    got.assign(room, 0);
    const timed t = time_of([&] {
      for (;;) {
        if (!blocks) {
          pollfd p{c.near, POLLIN, 0};
          if (poll(&p, 1, 3000) != 1) { errno = ETIMEDOUT; return ssize_t{-1}; }
        }
        const ssize_t n = recv(c.near, got.data(), room, 0);
        if (blocks || n >= 0 || errno != EAGAIN) return n;
      }
    });
    got.resize(t.result > 0 ? static_cast<std::size_t>(t.result) : 0);
    return t;
  }
  std::string receive() {
    std::string got;
    receive(got);
    return got;
  }
  bool nothing_there(int ms = 20) {
    pollfd p{c.near, POLLIN, 0};
    return poll(&p, 1, ms) == 0;
  }
};

void latency(Connection& l) {
  l.fault(l.c.target, "20ms");
  const double start = monotonic_ms();
  l.c.tell("hello");
  EXPECT_EQ(l.receive(), "hello");
  EXPECT_TRUE(on_time(monotonic_ms() - start, 20));
  l.injected(1, 0, l.at);
  EXPECT_EQ(l.s.count(l.id).delayed_ns, 20'000'000u);
  EXPECT_EQ(l.decided_delay_ns(), 20'000'000u);
  EXPECT_EQ(l.s.count(l.id).bytes, 5u);
}
void error(Connection& l) {
  l.fault(l.c.target, "EIO --force --times 2");
  l.c.tell("hello");
  std::string got;
  const timed in = l.receive(got);
  EXPECT_EQ(in.result, -1);
  EXPECT_EQ(in.error, EIO);
  const timed out = time_of([&] { return send(l.c.near, "x", 1, MSG_NOSIGNAL); });
  EXPECT_EQ(out.result, -1);
  EXPECT_EQ(out.error, EIO);
  l.injected(2, EIO, l.at);
  EXPECT_EQ(l.receive(), "hello") << "what could not be read is still there";
}
void down(Connection& l) {
  const int error = l.stream ? ECONNRESET : ECONNREFUSED;
  l.fault(l.c.target);
  const timed out = time_of([&] { return send(l.c.near, "x", 1, MSG_NOSIGNAL); });
  EXPECT_EQ(out.result, -1);
  EXPECT_EQ(out.error, error);
  l.injected(1, error, l.at);
  if (l.stream) { EXPECT_EQ(l.c.hear(1), "") << "the peer lost the connection as well"; }
}
void loss(Connection& l) {
  if (!l.stream) {
    l.fault(l.c.target, "100% --times 1");
    l.c.tell("lost");
    l.c.tell("next");
    EXPECT_EQ(l.receive(), "next");
    l.injected(1, 0, l.at);
    return;
  }
  l.fault(l.c.target, "5% --times 1");  // as segments go: one of the first is lost, and with it 200, 600, … ms
  double took = 0;
  for (int i = 0; l.s.count(l.id).fired == 0 && i < 500; ++i) {
    const double start = monotonic_ms();
    l.c.tell("x");
    EXPECT_EQ(l.receive(), "x");
    took = monotonic_ms() - start;
  }
  l.injected(1, 0, l.at);
  const double due = static_cast<double>(l.decided_delay_ns()) * 1e-6;
  EXPECT_GE(due, 200);
  EXPECT_TRUE(on_time(took, due));
}
void corrupt(Connection& l) {
  l.fault(l.c.target, "--bits 3");
  const std::string sent(50, 'x');
  l.c.tell(sent);
  const std::string got = l.receive();
  ASSERT_EQ(got.size(), sent.size());
  int flipped = 0;
  for (std::size_t i = 0; i < got.size(); ++i) flipped += __builtin_popcount(static_cast<unsigned char>(got[i] ^ sent[i]));
  EXPECT_TRUE(flipped == 3 || flipped == 1) << flipped;  // the same bit twice is none
  l.injected(1, 0, l.at);
}
void slicer(Connection& l) {
  l.fault(l.c.target, "--average-size 2B");
  l.c.tell("hello!");
  std::string all;
  for (int i = 0; i < 3; ++i) {
    const std::string part = l.receive();
    EXPECT_EQ(part.size(), 2u);
    all += part;
  }
  EXPECT_EQ(all, "hello!");
  l.injected(3, 0, l.at);
}
void reset_peer(Connection& l) {
  l.fault(l.c.target);
  l.c.tell("hello");
  std::string got;
  const timed in = l.receive(got);
  EXPECT_EQ(in.result, -1);
  EXPECT_EQ(in.error, ECONNRESET);
  l.injected(1, ECONNRESET, l.at);
  if (is_tcp(l.c.transport)) {
    char b;
    EXPECT_EQ(syscall(SYS_recvfrom, l.c.far.operator int(), &b, 1, 0, nullptr, nullptr), -1);
    EXPECT_EQ(errno, ECONNRESET) << "a real RST";
  } else {
    EXPECT_EQ(l.c.hear(1), "");
  }
}
void bandwidth(Connection& l) {
  l.fault(l.c.target, "2KB/s");
  const double start = monotonic_ms();
  l.c.tell(std::string(100, 'x'));
  std::string all;
  while (all.size() < 100) {
    const std::string part = l.receive();
    ASSERT_NE(part, "");
    all += part;
  }
  EXPECT_TRUE(on_time(monotonic_ms() - start, 50));
  l.injected(1, 0, l.at);
}
void timeout(Connection& l) {
  l.fault(l.c.target, "50ms");
  l.c.tell("hello");
  const double start = monotonic_ms();
  std::string got = "?";
  const timed in = l.receive(got);
  EXPECT_EQ(in.result, 0) << "closed, and nothing came before";
  EXPECT_TRUE(on_time(monotonic_ms() - start, 50));
  EXPECT_EQ(l.c.hear(1), "");
  l.injected_at_least(1, ETIMEDOUT, l.at);
}
void slow_close(Connection& l) {
  l.fault(l.c.target, "50ms");
  const double start = monotonic_ms();
  l.c.near.reset();
  if (!l.blocks) { EXPECT_LT(monotonic_ms() - start, 20) << "an event loop does not sleep in close"; }
  EXPECT_EQ(l.c.hear(1), "");
  if (!l.blocks && l.s.count(l.id).fired == 0) return;  // closed at once, and not counted: docs/LIMITS.md
  EXPECT_TRUE(on_time(monotonic_ms() - start, 50));
  l.injected(1, 0, l.at);
}
void limit_data(Connection& l) {
  l.fault(l.c.target, "8B");
  l.c.tell("hello");
  EXPECT_EQ(l.receive(), "hello");
  EXPECT_EQ(send(l.c.near, "abcdef", 6, MSG_NOSIGNAL), 3) << "both ways together";
  EXPECT_EQ(l.c.hear(3), "abc");
  EXPECT_EQ(l.receive(), "") << "ended";
  EXPECT_EQ(l.c.hear(1), "");
  l.injected(1, 0, l.at);
}
void duplicate(Connection& l) {
  l.fault(l.c.target, "100% --times 1 --direction both");
  l.c.tell("a");
  l.c.tell("b");
  for (const char* const next : {"a", "a", "b"}) EXPECT_EQ(l.receive(), next);
  l.injected(1, 0, l.at);
  l.s.remove(l.id);
  l.fault(l.c.target, "100% --direction up");
  EXPECT_EQ(send(l.c.near, "c", 1, 0), 1);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(l.c.hear(9), "c");
  l.injected(1, 0, l.at);
}
void reorder(Connection& l) {
  l.fault(l.c.target, "100% --gap 2 --when 1");
  for (const char* const text : {"a", "b", "c", "d"}) l.c.tell(text);
  for (const char* const next : {"b", "c", "a", "d"}) EXPECT_EQ(l.receive(), next);
  l.injected(1, 0, l.at);
  l.s.remove(l.id);
  l.fault(l.c.target, "100%");
  const double start = monotonic_ms();
  l.c.tell("alone");
  EXPECT_EQ(l.receive(), "alone");
  EXPECT_TRUE(on_time(monotonic_ms() - start, 50));
}
void partition(Connection& l) {
  l.fault(l.c.target);
  l.c.tell("hello");
  if (!l.stream) {
    EXPECT_EQ(send(l.c.near, "gone", 4, 0), 4) << "as far as the sender knows";
    if (l.blocks) set_nonblocking(l.c.near);
    EXPECT_TRUE(l.nothing_there());
    l.injected(2, 0, l.at);
    l.s.remove(l.id);
    l.c.tell("again");
    EXPECT_EQ(l.receive(), "again");
    EXPECT_EQ(send(l.c.near, "too", 3, 0), 3);
    EXPECT_EQ(l.c.hear(9), "too") << "and what was lost does not come later";
    return;
  }
  std::thread healer([&] {
    EXPECT_TRUE(wait_until([&] { return l.s.count(l.id).fired > 0; }));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    l.s.remove(l.id);
  });
  std::string got;
  const timed in = l.receive(got);
  healer.join();
  EXPECT_EQ(got, "hello");
  EXPECT_GE(in.ms, 20 - early_ms);
  l.injected_at_least(1, ETIMEDOUT, l.at);
}
void crash(Connection& l) {
  l.fault(l.c.target, "--exit 7");
  const pid_t child = fork();
  if (child == 0) {
    send(l.c.near, "x", 1, MSG_NOSIGNAL);
    _exit(1);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7) << status;
  l.injected(1, 0, l.at);
}
void pause(Connection& l) {
  l.fault(l.c.target, "30ms --on send");
  const timed t = time_of([&] { return send(l.c.near, "x", 1, MSG_NOSIGNAL); });
  EXPECT_EQ(t.result, 1);
  EXPECT_TRUE(on_time(t.ms, 30)) << "whether or not it asked to block";
  l.injected(1, 0, l.at);
  EXPECT_EQ(l.s.count(l.id).delayed_ns, 30'000'000u);
}
void observe(Connection& l) {
  l.fault(l.c.target);
  EXPECT_EQ(send(l.c.near, "abc", 3, MSG_NOSIGNAL), 3);
  l.c.tell("hello");
  EXPECT_EQ(l.receive(), "hello");
  EXPECT_EQ(l.c.hear(3), "abc");
  l.injected(2, 0, l.at);
  EXPECT_EQ(l.s.count(l.id).bytes, 8u);
  EXPECT_EQ(l.s.count(l.id).delayed_ns, 0u);
}

void http_error(Connection& l) {
  l.fault(l.c.target, "503");
  const std::string request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n", answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nok";
  EXPECT_EQ(send(l.c.near, request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
  EXPECT_EQ(l.c.hear(request.size()), request);
  l.c.tell("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  std::string all;
  while (all.size() < answer.size()) {
    const std::string part = l.receive();
    ASSERT_NE(part, "") << all;
    all += part;
  }
  EXPECT_EQ(all, answer);
  l.injected(1, 503, l.at);
}

// A line aimed at the files of a folder.
struct Files : Line {
  temporary_folder folder;
  const std::string path = folder.path() + "/file", target = "file:" + folder.path() + "/**";
  unique_fd fd = open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  Files() { EXPECT_EQ(write(fd, "hello", 5), 5); }
};

void latency(Files& l) {
  l.fault(l.target, "20ms --on pread");
  char b[8];
  const timed t = time_of([&] { return pread(l.fd, b, 8, 0); });
  EXPECT_EQ(t.result, 5);
  EXPECT_TRUE(on_time(t.ms, 20));
  l.injected(1, 0, l.path);
}
void error(Files& l) {
  l.fault(l.target, "EIO");
  char b[8];
  const timed t = time_of([&] { return pread(l.fd, b, 8, 0); });
  EXPECT_EQ(t.result, -1);
  EXPECT_EQ(t.error, EIO);
  l.injected(1, EIO, l.path);
}
void corrupt(Files& l) {
  l.fault(l.target, "--bits 1 --on pread");
  char b[6] = {};
  EXPECT_EQ(pread(l.fd, b, 5, 0), 5);
  EXPECT_STRNE(b, "hello");
  l.injected(1, 0, l.path);
}
void crash(Files& l) {
  l.fault(l.target, "--signal KILL");
  const pid_t child = fork();
  if (child == 0) {
    fsync(l.fd);
    _exit(1);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  l.injected(1, 0, l.path);
}
void pause(Files& l) {
  l.fault(l.target, "30ms --on fsync");
  const timed t = time_of([&] { return fsync(l.fd); });
  EXPECT_EQ(t.result, 0);
  EXPECT_TRUE(on_time(t.ms, 30));
  l.injected(1, 0, l.path);
}
void observe(Files& l) {
  l.fault(l.target);
  EXPECT_EQ(pwrite(l.fd, "abc", 3, 0), 3);
  EXPECT_EQ(fsync(l.fd), 0);
  l.injected(2, 0, l.path);
  EXPECT_EQ(l.s.count(l.id).bytes, 3u);
}
void full(Files& l) {
  l.fault(l.target, "10B");
  const std::string text(16, 'x');
  EXPECT_EQ(write(l.fd, text.data(), 16), 10) << "what still fits";
  const timed t = time_of([&] { return write(l.fd, text.data(), 16); });
  EXPECT_EQ(t.result, -1);
  EXPECT_EQ(t.error, ENOSPC);
  EXPECT_EQ(pwrite(l.fd, "over", 4, 0), 4) << "writing over what is there takes no room";
  EXPECT_EQ(lseek(l.fd, 0, SEEK_END), 15);
  l.injected_at_least(1, ENOSPC, l.path);
}
void io_error(Files& l) {
  l.fault(l.target, "--torn --on write");
  const std::string text(100, 'x');
  const timed t = time_of([&] { return write(l.fd, text.data(), 100); });
  EXPECT_EQ(t.result, -1);
  EXPECT_EQ(t.error, EIO);
  const auto size = lseek(l.fd, 0, SEEK_END);
  EXPECT_GT(size, 5) << "a part of it was written";
  EXPECT_LT(size, 105);
  l.injected(1, EIO, l.path);
}

struct Elsewhere : Line {};

void latency(Elsewhere& l) {
  l.fault("dns:localhost", "20ms");
  addrinfo* found = nullptr;
  const timed t = time_of([&] { return getaddrinfo("localhost", nullptr, nullptr, &found); });
  EXPECT_EQ(t.result, 0);
  EXPECT_TRUE(on_time(t.ms, 20));
  freeaddrinfo(found);
  l.injected(1, 0, "localhost");
}
void dns(Elsewhere& l) {
  l.fault("dns:*.test", "EAI_AGAIN");
  addrinfo* found = nullptr;
  EXPECT_EQ(getaddrinfo("nowhere.test", nullptr, nullptr, &found), EAI_AGAIN);
  l.injected(1, EAI_AGAIN, "nowhere.test");
}
void pause_dns(Elsewhere& l) {
  l.fault("dns:localhost", "30ms");
  addrinfo* found = nullptr;
  const timed t = time_of([&] { return getaddrinfo("localhost", nullptr, nullptr, &found); });
  EXPECT_EQ(t.result, 0);
  EXPECT_TRUE(on_time(t.ms, 30));
  freeaddrinfo(found);
  l.injected(1, 0, "localhost");
}
void observe_dns(Elsewhere& l) {
  l.fault("dns:localhost");
  addrinfo* found = nullptr;
  EXPECT_EQ(getaddrinfo("localhost", nullptr, nullptr, &found), 0);
  freeaddrinfo(found);
  l.injected(1, 0, "localhost");
}
template <class Call>
void crashes(Elsewhere& l, Call call) {
  const pid_t child = fork();
  if (child == 0) {
    call();
    _exit(1);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7) << status;
  l.injected(1);
}
void crash_dns(Elsewhere& l) {
  l.fault("dns:localhost", "--exit 7");
  crashes(l, [] {
    addrinfo* found = nullptr;
    getaddrinfo("localhost", nullptr, nullptr, &found);
  });
}
void crash_process(Elsewhere& l) {
  l.fault("process", "--exit 7 --on socket --everything");
  crashes(l, [] { socket(AF_INET, SOCK_STREAM, 0); });
}
void pause_process(Elsewhere& l) {
  l.fault("process", "30ms --on socket --everything");
  const timed t = time_of([&] { return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); });
  const unique_fd made = static_cast<int>(t.result);
  EXPECT_GE(made, 0);
  EXPECT_TRUE(on_time(t.ms, 30));
  l.injected(1);
}
void emfile(Elsewhere& l) {
  l.fault("process", "2 --everything");
  const unique_fd a = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), b = open("/dev/null", O_RDONLY | O_CLOEXEC);
  EXPECT_GE(a, 0);
  EXPECT_GE(b, 0);
  const timed t = time_of([] { return dup(0); });
  EXPECT_EQ(t.result, -1);
  EXPECT_EQ(t.error, EMFILE);
  l.injected(1, EMFILE);
}
void unset(Elsewhere& l) {
  setenv("CHAOS_TEST_VALUE", "x", 1);
  l.fault("env:CHAOS_TEST_VALUE");
  EXPECT_EQ(getenv("CHAOS_TEST_VALUE"), nullptr);
  l.injected(1, 0, "CHAOS_TEST_VALUE");
}
void replace(Elsewhere& l) {
  setenv("CHAOS_TEST_VALUE", "x", 1);
  l.fault("env:CHAOS_TEST_VALUE", "another");
  EXPECT_STREQ(getenv("CHAOS_TEST_VALUE"), "another");
  l.injected(1, 0, "CHAOS_TEST_VALUE");
}
void observe_env(Elsewhere& l) {
  setenv("CHAOS_TEST_VALUE", "x", 1);
  l.fault("env:CHAOS_TEST_VALUE");
  EXPECT_STREQ(getenv("CHAOS_TEST_VALUE"), "x");
  l.injected(1, 0, "CHAOS_TEST_VALUE");
}
constexpr std::size_t odd_size = 12'345'677;  // that nobody else asks for
void enomem(Elsewhere& l) {
  l.fault("malloc", "--size 12345677B..12345677B");
  void* volatile p = malloc(odd_size);
  EXPECT_EQ(p, nullptr);
  EXPECT_EQ(errno, ENOMEM);
  l.injected(1, ENOMEM);
}
void observe_memory(Elsewhere& l) {
  l.fault("malloc", "--size 12345677B..12345677B");
  void* volatile p = malloc(odd_size);
  EXPECT_NE(p, nullptr);
  free(p);
  l.injected(1);
}

#define ON(scope, kind) {#kind, [](scope& l) { kind(l); }}
const std::map<std::string, void (*)(Connection&)> on_connections = {
    ON(Connection, latency), ON(Connection, error), ON(Connection, down), ON(Connection, loss), ON(Connection, corrupt), ON(Connection, slicer),
    ON(Connection, reset_peer), ON(Connection, bandwidth), ON(Connection, timeout), ON(Connection, slow_close), ON(Connection, limit_data),
    ON(Connection, duplicate), ON(Connection, reorder), ON(Connection, partition), ON(Connection, crash), ON(Connection, pause), ON(Connection, http_error), ON(Connection, observe)};
const std::map<std::string, void (*)(Files&)> on_files = {
    ON(Files, latency), ON(Files, error), ON(Files, corrupt), ON(Files, crash), ON(Files, pause), ON(Files, observe), ON(Files, full), ON(Files, io_error)};
#undef ON
const std::map<std::string, void (*)(Elsewhere&)> elsewhere = {
    {"latency_dns", latency},         {"dns_dns", dns},          {"pause_dns", pause_dns},         {"observe_dns", observe_dns}, {"crash_dns", crash_dns},
    {"crash_process", crash_process}, {"emfile_process", emfile}, {"pause_process", pause_process}, {"unset_env", unset},         {"replace_env", replace},
    {"observe_env", observe_env},     {"enomem_memory", enomem}, {"observe_memory", observe_memory}};

class Kinds : public testing::TestWithParam<abi::effect> {};
TEST_P(Kinds, AreSeenCountedAndTold) {
  const abi::effect kind = GetParam();
  const abi::effect_info& info = abi::effect_table[static_cast<int>(kind)];
  std::set<std::string> open = claims(info);
  const auto run = [&](auto& line, auto scenario, const std::string& name) {
    SCOPED_TRACE(name);
    line.kind = kind;
    scenario(line);
    line.s.clear();
    open.erase(name);
  };
  if (const auto row = on_connections.find(info.name); row != on_connections.end())
    for (const over o : all_transports)
      for (const bool blocks : {true, false}) {
        const std::string name = std::string(info.name) + "_" + name_of(o) + (blocks ? "_blocking" : "_nonblocking");
        if (!open.contains(name)) continue;
        Connection line(o, blocks);
        run(line, row->second, name);
      }
  if (const auto row = on_files.find(info.name); row != on_files.end()) {
    Files line;
    run(line, row->second, std::string(info.name) + "_file");
  }
  for (const auto& [name, scenario] : elsewhere)
    if (open.contains(name)) {
      Elsewhere line;
      run(line, scenario, name);
    }
  for (const auto& name : open) ADD_FAILURE() << "effects.def claims " << name << ", and nothing here shows it";
}
std::vector<abi::effect> every_kind() {
  std::vector<abi::effect> all;
  for (unsigned i = 0; i < abi::effect_count; ++i) all.push_back(static_cast<abi::effect>(i));
  return all;
}
INSTANTIATE_TEST_SUITE_P(Of, Kinds, testing::ValuesIn(every_kind()), [](const auto& i) { return std::string(abi::effect_table[static_cast<int>(i.param)].name); });

}  // namespace
}  // namespace chaos::gate
