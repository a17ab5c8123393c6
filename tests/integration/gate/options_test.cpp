// Every option of a rule as the program under it meets it: what is spared, what is hit, what is counted. options.def says
// which there are; one that has no row here, and is not shown elsewhere, fails.
#include "channels.hpp"
#include "ways.hpp"

#include <dlfcn.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <array>
#include <cmath>
#include <fstream>
#include <map>
#include <set>

#include "control/rules/options.hpp"

namespace chaos::gate {
namespace {

// What is shown by other tests, and where.
const std::map<std::string, const char*> elsewhere = {
    {"name", "e2e.commands"}, {"for", "e2e.promise_2_ends"}, {"forever", "e2e.commands"}, {"owner", "e2e.promise_2_ends"}, {"everything", "e2e.bad_input"},
    {"force", "gate.kinds"}, {"seed", "promise_5, unit/control/compile_test"}, {"stack", "stacks"}, {"probability", "chance_test"}, {"toxicity", "chance_test"},
    {"jitter", "chance_test"}, {"distribution", "chance_test"}, {"percentiles", "chance_test"}, {"model", "chance_test"},
    {"bits", "gate.kinds"}, {"average_size", "gate.edges.slicer"}, {"size_variation", "promise_3"}, {"delay", "gate.edges.slicer"}, {"gap", "gate.kinds"},
    {"torn", "gate.kinds"}, {"exit", "gate.kinds"}, {"signal", "gate.kinds"}, {"how", "down_test"}, {"dry_run", "dry_run_test"}};

class Option : public Gate {
 protected:
  std::uint32_t id = 0;
  tcp_pair p;

  // One letter for each call: X failed with EPIPE, O went through.
  static char sent(int fd, std::size_t n = 1) {
    const std::string text(n, 'x');
    const ssize_t r = send(fd, text.data(), n, MSG_NOSIGNAL);
    return r == static_cast<ssize_t>(n) ? 'O' : r == -1 && errno == EPIPE ? 'X' : '?';
  }
  static std::string sends(int fd, int calls, std::size_t n = 1) {
    std::string out;
    for (int i = 0; i < calls; ++i) out += sent(fd, n);
    return out;
  }
  std::uint32_t failing(const std::string& more, const std::string& target = "") {
    return id = s.set("error " + (target.empty() ? p.target() : target) + " EPIPE --on send " + more);
  }
  // The counter, and an event for each.
  void expect_fired(std::uint64_t n) {
    EXPECT_EQ(s.count(id).fired, n);
    EXPECT_EQ(s.events(id).size(), n);
  }
  // What a child process prints with these calls.
  template <class Work>
  std::string in_a_child(Work work) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
      const std::string out = work();
      _exit(syscall(SYS_write, ends[1], out.data(), out.size()) < 0);
    }
    close(ends[1]);
    std::string out;
    char b[256];
    for (ssize_t n; (n = read(ends[0], b, sizeof b)) > 0;) out.append(b, static_cast<std::size_t>(n));
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
    return out;
  }
};

TEST_F(Option, On) {
  failing("");
  EXPECT_EQ(sent(p.near), 'X');
  EXPECT_EQ(write(p.near, "x", 1), 1) << "another function";
  expect_fired(1);
  s.clear();
  id = s.set("error " + p.target() + " EIO --force --on stream_in");
  put(p.far, "hello");
  EXPECT_EQ(sent(p.near), 'O');
  char c;
  EXPECT_EQ(recv(p.near, &c, 1, 0), -1);
  EXPECT_EQ(read(p.near, &c, 1), -1) << "a class means each of its functions";
  expect_fired(2);
}

TEST_F(Option, Direction) {
  put(p.far, "hhhh");
  const struct { const char* direction; bool in, out; } cases[] = {{"", true, false}, {" --direction down", true, false}, {" --direction up", false, true}, {" --direction both", true, true}};
  for (const auto& c : cases) {
    id = s.set("corrupt " + p.target() + " --bits 1" + c.direction);
    char b[2] = {};
    ASSERT_EQ(recv(p.near, b, 1, 0), 1);
    EXPECT_EQ(b[0] != 'h', c.in) << c.direction << " in";
    ASSERT_EQ(send(p.near, "h", 1, 0), 1);
    ASSERT_EQ(recv(p.far, b, 1, 0), 1);
    EXPECT_EQ(b[0] != 'h', c.out) << c.direction << " out";
    expect_fired(static_cast<unsigned>(c.in) + c.out);
    s.clear();
  }
}

TEST_F(Option, When) {
  const std::pair<const char*, const char*> cases[] = {{"3", "OOXOOOOO"}, {"3+", "OOXXXXXX"}, {"3+2", "OOXOXOXO"}, {"3..5", "OOXXXOOO"}, {"3..7+2", "OOXOXOXO"}, {"XOOX", "XOOXXOOX"}};
  for (const auto& [when, expected] : cases) {
    failing("--when " + std::string(when));
    const std::string got = sends(p.near, 8);
    EXPECT_EQ(got, expected) << when;
    expect_fired(static_cast<std::uint64_t>(std::count(got.begin(), got.end(), 'X')));
    s.clear();
  }
}

TEST_F(Option, Scope) {
  const unique_fd other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in to = loopback(p.service.port);
  ASSERT_EQ(connect(other, generic(to), sizeof to), 0);
  const struct { const char* scope; const char* two_connections; const char* thread; const char* child; std::uint64_t fired; } cases[] = {
      {"connection", "OOXX", "O", "O", 2},  // the second call of each connection, whoever makes it
      {"thread", "OXOO", "OX", "OX", 3},    // of each thread; that of the child is another
      {"process", "OXOO", "OO", "OX", 2},
      {"session", "OXOO", "OO", "OO", 1}};
  for (const auto& c : cases) {
    failing("--when 2 --scope " + std::string(c.scope));
    std::string got, thread;
    for (const int fd : {static_cast<int>(p.near), static_cast<int>(other), static_cast<int>(p.near), static_cast<int>(other)}) got += sent(fd);
    EXPECT_EQ(got, c.two_connections) << c.scope;
    std::thread([&] { thread = sends(p.near, static_cast<int>(std::strlen(c.thread))); }).join();
    EXPECT_EQ(thread, c.thread) << c.scope;
    EXPECT_EQ(in_a_child([&] { return sends(p.near, static_cast<int>(std::strlen(c.child))); }), c.child) << c.scope;
    expect_fired(c.fired);
    s.clear();
  }
}

TEST_F(Option, Times) {
  tcp_pair q;
  failing("--times 2", p.target() + "," + q.target());
  EXPECT_EQ(sends(p.near, 4), "XXOO");
  EXPECT_EQ(sends(q.near, 4), "XXOO") << "each connection has its own";
  expect_fired(4);
}

TEST_F(Option, After) {
  failing("--after 250B");
  EXPECT_EQ(sends(p.near, 6, 100), "OOOXXX");
  expect_fired(3);
}

TEST_F(Option, Space) {
  failing("--space 250B");
  EXPECT_EQ(sent(p.near, 100), 'X') << "the first is not kept waiting";
  EXPECT_EQ(sends(p.near, 8, 100), "OOOXOOOX") << "what failed did not pass";
  expect_fired(3);
}

TEST_F(Option, Size) {
  failing("--size 10B..20B");
  std::string got;
  for (const std::size_t n : {9, 10, 20, 21}) got += sent(p.near, n);
  EXPECT_EQ(got, "OXXO");
  expect_fired(2);
}

TEST_F(Option, Process) {
  for (const char* const mine : {"gate_options_test", "*/tests/gate_options_*", "exe"}) {  // base name, path, command name: run as /proc/self/exe
    failing("--process " + std::string(mine));
    EXPECT_EQ(sent(p.near), 'X') << mine;
    expect_fired(1);
    s.clear();
  }
  failing("--process nobody");
  EXPECT_EQ(sent(p.near), 'O');
  expect_fired(0);
}

TEST_F(Option, Pid) {
  failing("--pid " + std::to_string(getpid()));
  EXPECT_EQ(in_a_child([&] { return sends(p.near, 1); }), "O");
  EXPECT_EQ(sent(p.near), 'X');
  expect_fired(1);
}

TEST_F(Option, Thread) {
  failing("--thread worker-*");
  std::string worker, other;
  std::thread([&] { prctl(PR_SET_NAME, "worker-1"); worker = sends(p.near, 2); }).join();
  std::thread([&] { prctl(PR_SET_NAME, "other"); other = sends(p.near, 2); }).join();
  EXPECT_EQ(worker, "XX");
  EXPECT_EQ(other, "OO");
  expect_fired(2);
}

TEST_F(Option, Caller) {  // the same file, written by the C++ library and by this program
  const temporary_folder folder;
  const auto through_the_library = [&] { return (std::ofstream(folder.path() + "/a") << "text" << std::flush).good(); };
  const auto itself = [&] {
    const unique_fd fd = open((folder.path() + "/b").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    return write(fd, "text", 4) == 4;
  };
  const std::string rule = "error file:" + folder.path() + "/** EIO --on write,writev --times 1 --caller ";
  id = s.set(rule + "libstdc++*");
  EXPECT_FALSE(through_the_library());
  EXPECT_TRUE(itself());
  expect_fired(1);
  s.clear();
  id = s.set(rule + "gate_options_test");
  EXPECT_TRUE(through_the_library());
  EXPECT_FALSE(itself());
  expect_fired(1);
}

// --late: the call was made, and says that it was not.
TEST_F(Option, Late) {
  const temporary_folder folder;
  const std::string file = folder.path() + "/file", files = "file:" + folder.path() + "/**";
  const auto late = [&](const std::string& target, const std::string& error, const std::string& on) {
    s.clear();
    id = s.set("error " + target + " " + error + " --late --times 1 --on " + on);
  };
  const auto fails = [&](auto call, int error) {
    const timed t = time_of(call);
    EXPECT_EQ(t.result, -1);
    EXPECT_EQ(t.error, error);
    expect_fired(1);
  };
  char b[16] = {};
  {
    SCOPED_TRACE("send, sendto, sendmsg, write, writev");
    iovec part{const_cast<char*>("late"), 4};
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    const std::pair<const char*, std::function<long()>> calls[] = {
        {"send", [&] { return send(p.near, "late", 4, 0); }}, {"sendto", [&] { return sendto(p.near, "late", 4, 0, nullptr, 0); }},
        {"sendmsg", [&] { return sendmsg(p.near, &m, 0); }}, {"write", [&] { return write(p.near, "late", 4); }}, {"writev", [&] { return writev(p.near, &part, 1); }}};
    for (const auto& [name, call] : calls) {
      late(p.target(), "ECONNRESET", name);
      fails(call, ECONNRESET);
      EXPECT_EQ(recv(p.far, b, 16, MSG_DONTWAIT), 4) << name << " was not made";
    }
  }
  {
    SCOPED_TRACE("open");
    late(files, "EACCES", "file_open");
    fails([&] { return open(file.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600); }, EACCES);
    EXPECT_EQ(access(file.c_str(), F_OK), 0) << "it was made";
  }
  {
    SCOPED_TRACE("fsync, close");
    const int fd = open(file.c_str(), O_WRONLY | O_CLOEXEC);
    late(files, "EIO", "fsync");
    fails([&] { return fsync(fd); }, EIO);
    late(files, "EIO", "close");
    fails([&] { return close(fd); }, EIO);
    EXPECT_EQ(fcntl(fd, F_GETFD), -1) << "closed";
  }
  {
    SCOPED_TRACE("connect");
    const unique_fd fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in to = loopback(p.service.port);
    late(p.target(), "ETIMEDOUT", "connect");
    fails([&] { return connect(fd, generic(to), sizeof to); }, ETIMEDOUT);
    const unique_fd taken = accept(p.service.fd, nullptr, nullptr);
    EXPECT_GE(taken, 0) << "it was made";
  }
  {
    SCOPED_TRACE("accept");
    s.clear();
    const unique_fd fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in to = loopback(p.service.port);
    ASSERT_EQ(connect(fd, generic(to), sizeof to), 0);
    late("listen:" + std::to_string(p.service.port), "ECONNABORTED", "accept");
    fails([&] { return accept(p.service.fd, nullptr, nullptr); }, ECONNABORTED);
    EXPECT_EQ(recv(fd, b, 1, 0), 0) << "taken, and closed";
  }
}
TEST_F(Option, LateDescriptorsAreClosedFirst) {
  const int before = dup(0);  // the lowest free number
  close(before);
  const temporary_folder folder;
  id = s.set("error file:" + folder.path() + "/** EACCES --late --on file_open");
  const std::string path = folder.path() + "/file";
  EXPECT_EQ(open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600), -1);
  EXPECT_EQ(openat(AT_FDCWD, path.c_str(), O_RDONLY | O_CLOEXEC), -1);
  EXPECT_EQ(creat(path.c_str(), 0600), -1);
  expect_fired(3);
  const int after = dup(0);
  close(after);
  EXPECT_EQ(after, before);
}

TEST_F(Option, Correlation) {  // each delay is near the one before
  const auto spread = [&](const std::string& more) {
    id = s.set("latency " + p.target() + " 3ms --jitter 2900us " + more);
    std::vector<double> all;
    for (int i = 0; i < 60; ++i) {
      put(p.far, "x");
      char c;
      EXPECT_EQ(recv(p.near, &c, 1, 0), 1);
    }
    for (const auto& e : s.events(id)) all.push_back(static_cast<double>(e.delay_ns));
    EXPECT_EQ(all.size(), 60u);
    expect_fired(60);
    s.clear();
    double steps = 0, away = 0, mean = 0;
    for (const double d : all) mean += d / static_cast<double>(all.size());
    for (std::size_t i = 1; i < all.size(); ++i) steps += std::fabs(all[i] - all[i - 1]), away += std::fabs(all[i] - mean);
    return steps / away;
  };
  const double free = spread(""), tied = spread("--correlation 95%");
  EXPECT_LT(tied, 0.6 * free);
}

// --shared: one bucket for all, in this process and in others.
TEST_F(Option, Shared) {
  constexpr double rate = 400e3;
  constexpr std::size_t each = 60'000;
  for (const bool up : {false, true})
    for (const bool shared : {false, true}) {
      tcp_pair here, there;
      id = s.set("bandwidth 127.0.0.1 400KB/s" + std::string(shared ? " --shared" : "") + (up ? " --direction up --on send" : " --on recv"));
      const auto carry = [&](tcp_pair& c, way w) {
        const std::string text(each, 'x');
        std::thread other([&] {
          if (up) for (std::size_t got = 0; got < each;) { char b[4096]; const long n = syscall(SYS_recvfrom, static_cast<int>(c.far), b, sizeof b, 0, nullptr, nullptr); if (n <= 0) return; got += static_cast<std::size_t>(n); }
          else for (std::size_t done = 0; done < each;) done += static_cast<std::size_t>(std::max(0L, syscall(SYS_sendto, static_cast<int>(c.far), text.data() + done, each - done, 0, nullptr, 0)));
        });
        const bool good = up ? write_by(c.near, w, text) : read_by(c.near, w, each) == text;
        other.join();
        return good;
      };
      const double start = monotonic_ms();
      std::atomic<bool> good{false};
      std::thread one([&] { good = carry(here, way::epoll_level); });
      EXPECT_EQ(in_a_child([&] { return std::string(carry(there, way::blocking) ? "good" : "bad"); }), "good");
      one.join();
      EXPECT_TRUE(good);
      const double took_s = (monotonic_ms() - start) / 1000, due_s = (shared ? 2 : 1) * each / rate;
      EXPECT_NEAR(took_s, due_s, 0.04) << (up ? "up" : "down") << (shared ? " shared" : " each its own");
      EXPECT_GE(s.count(id).fired, 2u);
      s.clear();
    }
}

TEST_F(Option, Oneway) {
  for (const over o : all_transports)
    for (const bool in : {true, false})
      for (const bool blocks : {true, false}) {
        SCOPED_TRACE(name_of(o) + (in ? " in" : " out") + (blocks ? " blocking" : " nonblocking"));
        channel c(o);
        id = s.set("partition " + c.target + " --oneway " + (in ? "in" : "out"));
        if (!blocks) set_nonblocking(c.near);
        if (in) {
          EXPECT_EQ(send(c.near, "goes", 4, MSG_NOSIGNAL), 4);
          EXPECT_EQ(c.hear(4), "goes");
          expect_fired(0);
          c.tell("late");
          pollfd q{c.near, POLLIN, 0};
          char b[8];
          if (is_stream(o)) {
            std::thread healer([&] { EXPECT_TRUE(wait_until([&] { return s.count(id).fired > 0; })); s.remove(id); });
            EXPECT_EQ(read_by(c.near, blocks ? way::blocking : way::poll, 4), "late");
            healer.join();
          } else {
            EXPECT_EQ(recv(c.near, b, 8, MSG_DONTWAIT), -1);
            EXPECT_EQ(errno, EAGAIN);
            EXPECT_EQ(poll(&q, 1, 10), 0);
            expect_fired(1);
          }
          EXPECT_GE(s.count(id).fired, 1u);
          EXPECT_EQ(s.events(id).size(), s.count(id).fired);
        } else {
          c.tell("comes");
          char b[8];
          EXPECT_EQ(recv(c.near, b, 8, 0), 5);
          expect_fired(0);
          if (is_stream(o)) {
            std::thread healer([&] { EXPECT_TRUE(wait_until([&] { return s.count(id).fired > 0; })); s.remove(id); });
            EXPECT_TRUE(write_by(c.near, blocks ? way::blocking : way::poll, "late"));
            healer.join();
            EXPECT_EQ(c.hear(4), "late");
          } else {
            EXPECT_EQ(send(c.near, "gone", 4, 0), 4);
            EXPECT_EQ(syscall(SYS_recvfrom, static_cast<int>(c.far), b, 8, MSG_DONTWAIT, nullptr, nullptr), -1);
          }
          EXPECT_GE(s.count(id).fired, 1u);
          EXPECT_EQ(s.events(id).size(), s.count(id).fired);
        }
        s.clear();
      }
}
TEST_F(Option, OnewayCutsNewConnectionsEitherWay) {
  for (const char* const way : {"in", "out"}) {
    id = s.set("partition " + p.target() + " --oneway " + way);
    const unique_fd fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval soon{0, 20'000};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon);
    const sockaddr_in to = loopback(p.service.port);
    EXPECT_EQ(connect(fd, generic(to), sizeof to), -1) << way;
    EXPECT_EQ(errno, EINPROGRESS);
    expect_fired(1);
    s.clear();
  }
}

TEST_F(Option, Drop) {
  udp_pair u;
  id = s.set("partition " + u.target() + " --drop 30%");
  set_nonblocking(u.near);
  constexpr int n = 4000;
  int got = 0;
  for (int i = 0; i < n; ++i) {
    put(u.far, "x");
    char c;
    got += recv(u.near, &c, 1, 0) == 1;
  }
  EXPECT_NEAR(got, 0.7 * n, 4.5 * std::sqrt(n * 0.3 * 0.7));
  EXPECT_EQ(s.count(id).fired, static_cast<std::uint64_t>(n - got));
  s.clear();
  id = s.set("partition " + p.target() + " --drop 5% --times 1");  // a stream: a retransmission, nothing lost
  double took = 0;
  for (int i = 0; s.count(id).fired == 0 && i < 500; ++i) {
    const double start = monotonic_ms();
    put(p.far, "x");
    char c;
    EXPECT_EQ(recv(p.near, &c, 1, 0), 1);
    took = monotonic_ms() - start;
  }
  EXPECT_GE(took, 199);
  expect_fired(1);
}

TEST_F(Option, ProcessWide) {
  const temporary_folder folder;
  const unique_fd file = open((folder.path() + "/file").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  tcp_pair unconcerned;
  put(unconcerned.far, "xxxxxxxxxxxxxxxx");
  const unique_fd set = epoll_create1(EPOLL_CLOEXEC);
  epoll_event e{};
  e.events = EPOLLIN;
  epoll_ctl(set, EPOLL_CTL_ADD, unconcerned.near, &e);
  char c;
  pollfd q{unconcerned.near, POLLIN, 0};
  const sockaddr_in to = loopback(unconcerned.service.port);
  const std::pair<const char*, std::function<long()>> others[] = {
      {"recv", [&] { return recv(unconcerned.near, &c, 1, 0); }}, {"send", [&] { return send(unconcerned.near, "x", 1, 0); }},
      {"pwrite", [&] { return pwrite(file, "x", 1, 0); }}, {"fsync", [&] { return fsync(file); }},
      {"open", [&] { return close(open("/dev/null", O_RDONLY | O_CLOEXEC)); }}, {"socket", [&] { return close(socket(AF_INET, SOCK_STREAM, 0)); }},
      {"epoll_wait", [&] { epoll_event got; return epoll_wait(set, &got, 1, 1000); }}, {"poll", [&] { return poll(&q, 1, 1000); }},
      {"connect", [&] { const unique_fd fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); return connect(fd, generic(to), sizeof to); }}};
  for (const bool wide : {false, true})
    for (const auto& [name, call] : others) {
      id = s.set("pause " + p.target() + " 60ms --on send" + (wide ? " --process-wide" : ""));
      std::thread paused([&] { EXPECT_EQ(sent(p.near), 'O'); });
      EXPECT_TRUE(wait_until([&] { return s.count(id).matched > 0; }));
      std::this_thread::sleep_for(std::chrono::milliseconds(5));  // it waits by now
      const timed t = time_of(call);
      EXPECT_GE(t.result, 0) << name;
      if (wide) EXPECT_GE(t.ms, 30) << name << " went on while all were to wait";
      else EXPECT_LT(t.ms, 30) << name;
      paused.join();
      expect_fired(1);
      s.clear();
    }
}

TEST_F(Option, BudgetIsOfTheWholeProcess) {
  constexpr std::size_t piece = 1'000'003;
  id = s.set("enomem malloc --budget 10MB --size 1000003B..1000003B");
  std::atomic<int> made{0};
  void* held[4][10] = {};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (void*& m : held[t]) made += (m = malloc(piece)) != nullptr;
    });
  for (auto& t : threads) t.join();
  for (auto& of_thread : held)
    for (void* m : of_thread) free(m);
  EXPECT_GE(made, 9);
  EXPECT_LE(made, 13) << "four may have asked at the same time";
  expect_fired(static_cast<std::uint64_t>(40 - made));
}

// More rules than one page of them, one after the other, and threads that ask for the first time at one moment.
TEST_F(Option, EveryReplacedValueIsTheRulesOwn) {
  setenv("CHAOS_TEST_REPLACED", "own", 1);
  for (int round = 0; round < 300 && !HasFailure(); ++round) {
    const std::string value = "value-" + std::to_string(round);
    id = s.set("replace env:CHAOS_TEST_REPLACED " + value);
    std::atomic<int> ready{0}, right{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t)
      threads.emplace_back([&] {
        ++ready;
        while (ready < 3) {}
        const char* const got = std::getenv("CHAOS_TEST_REPLACED");
        right += got && value == got;
      });
    for (auto& t : threads) t.join();
    EXPECT_EQ(right, 3) << "round " << round;
    expect_fired(3);
    s.clear();
  }
}

// Each way to get memory, again and again, and to give it back: a budget of two pieces is never used up by one.
TEST_F(Option, ABudgetIsWhatIsHeldAtATime) {
  constexpr std::size_t piece = 1'000'003, room = 2'500'000;
  const std::pair<const char*, void* (*)(void*)> ways[] = {
      {"malloc", [](void* p) { free(p); return malloc(piece); }},
      {"calloc", [](void* p) { free(p); return calloc(1, piece); }},
      {"realloc", [](void* p) { return realloc(p, piece); }},
      {"reallocarray", [](void* p) { return reallocarray(p, 1, piece); }},
      {"posix_memalign", [](void* p) { free(p); void* out = nullptr; return posix_memalign(&out, 64, piece) ? nullptr : out; }},
      {"aligned_alloc", [](void* p) { free(p); return aligned_alloc(64, piece); }},
      {"memalign", [](void* p) { free(p); return memalign(64, piece); }},
      {"valloc", [](void* p) { free(p); return valloc(piece); }},
  };
  for (const auto& [name, get] : ways) {
    id = s.set("enomem malloc --budget " + std::to_string(room) + "B --size 1000003B..2000006B");
    void* volatile held = nullptr;
    for (int i = 0; i < 50; ++i) {
      void* const got = get(held);
      EXPECT_NE(got, nullptr) << name << " " << i;
      held = got;
    }
    expect_fired(0);
    void* volatile second = malloc(piece);
    EXPECT_NE(second, nullptr) << name;
    for (int i = 1; i <= 5; ++i) {
      void* volatile third = malloc(piece);
      EXPECT_EQ(third, nullptr) << name << ": two are held";
      void* volatile larger = realloc(second, 2'000'006);
      EXPECT_EQ(larger, nullptr) << name << ": one stays beside it";
      expect_fired(static_cast<std::uint64_t>(2 * i));
    }
    free(held);
    free(second);
    s.clear();
  }
}

// What is used up is the process's: threads share it, and a forked child has its own.
TEST_F(Option, AFullDiskIsFullForEveryThread) {
  const temporary_folder folder;
  id = s.set("full file:" + folder.path() + "/** 50KB");
  const auto fill = [&](const std::string& name) {
    const unique_fd fd = open((folder.path() + "/" + name).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    const std::string piece(1000, 'x');
    for (int i = 0; i < 30; ++i)
      if (write(fd, piece.data(), piece.size()) < 0) break;
    struct stat at {};
    fstat(fd, &at);
    return at.st_size;
  };
  std::atomic<long> all{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) threads.emplace_back([&, t] { all += fill(std::to_string(t)); });
  for (auto& t : threads) t.join();
  EXPECT_EQ(all, 50'000);
  EXPECT_GE(s.count(id).fired, 2u);
  EXPECT_EQ(in_a_child([&] { return std::to_string(fill("child")); }), "30000");
  const unique_fd fd = open((folder.path() + "/other").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  const std::pair<const char*, std::function<long()>> ways[] = {
      {"ftruncate", [&] { return ftruncate(fd, 5000); }}, {"fallocate", [&] { return fallocate(fd, 0, 0, 5000); }},
      {"pwrite", [&] { return pwrite(fd, "x", 1, 4000); }}, {"fsync", [&] { return fsync(fd); }}};
  for (const auto& [name, call] : ways) {
    const timed t = time_of(call);
    EXPECT_EQ(t.result, -1) << name;
    EXPECT_EQ(t.error, ENOSPC) << name;
  }
  EXPECT_EQ(posix_fallocate(fd, 0, 5000), ENOSPC);
  struct stat at {};
  fstat(fd, &at);
  EXPECT_EQ(at.st_size, 0) << "nothing was made longer";
  EXPECT_EQ(ftruncate(fd, 0), 0) << "shorter is always possible";
}
TEST_F(Option, ThreadsThatMeetARuleAtOnceCountTogether) {
  for (int round = 0; round < 100; ++round) {
    failing("--times 1 --scope process");
    std::atomic<int> ready{0}, failed{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&] {
        ++ready;
        while (ready < 4) {}
        failed += sent(p.near) == 'X';
      });
    for (auto& t : threads) t.join();
    EXPECT_EQ(failed, 1) << "round " << round;
    expect_fired(1);
    s.clear();
  }
}
TEST_F(Option, DescriptorsRunOutForEveryThread) {
  id = s.set("emfile process 6 --everything");
  std::atomic<int> made{0}, failed{0};
  std::vector<unique_fd> kept[4];
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 5; ++i) {
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0) ++made, kept[t].emplace_back(fd);
        else failed += errno == EMFILE;
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(made, 6);
  EXPECT_EQ(failed, 14);
  expect_fired(14);
}

TEST_F(Option, AttemptsThatFailOtherwiseUseUpNoDescriptor) {
  listener l;
  const timeval moment{0, 10'000};
  ASSERT_EQ(setsockopt(l.fd, SOL_SOCKET, SO_RCVTIMEO, &moment, sizeof moment), 0);
  std::vector<std::uint32_t> ids;
  s.set_all({"emfile process 3 --everything", "error file:/nowhere/refused EACCES"}, ids);
  id = ids[0];
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(open("/nowhere/at/all", O_RDONLY | O_CLOEXEC), -1);
    EXPECT_EQ(errno, ENOENT);
    EXPECT_EQ(open("/nowhere/refused", O_RDONLY | O_CLOEXEC), -1);
    EXPECT_EQ(errno, EACCES) << "by another rule";
    EXPECT_EQ(fopen("/nowhere/at/all", "re"), nullptr);
    EXPECT_EQ(dup(-1), -1);
    EXPECT_EQ(errno, EBADF);
    EXPECT_EQ(accept(l.fd, nullptr, nullptr), -1);
    EXPECT_EQ(errno, EAGAIN);
  }
  expect_fired(0);
  std::vector<unique_fd> kept;
  for (int i = 0; i < 3; ++i) {
    kept.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_GE(kept.back(), 0);
  }
  EXPECT_EQ(open("/nowhere/at/all", O_RDONLY | O_CLOEXEC), -1);
  EXPECT_EQ(errno, EMFILE);
  expect_fired(1);
}

TEST_F(Option, APairIsTwoDescriptors) {
  id = s.set("emfile process 3 --everything");
  int ends[2], more[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const unique_fd a(ends[0]), b(ends[1]);
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, more), -1);
  EXPECT_EQ(errno, EMFILE);
  const unique_fd last = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_GE(last, 0);
  EXPECT_EQ(dup(0), -1);
  EXPECT_EQ(errno, EMFILE);
  expect_fired(2);
}

// What --on names is a function; in an event loop the wait sees the data, or the connection, before that is called.
TEST_F(Option, OnFunctionsThatComeAfterAWait) {
  for (const way w : all_ways) {
    tcp_pair q;
    id = s.set("latency " + q.target() + " 30ms --on recv,read");
    const double start = monotonic_ms();
    put(q.far, "hello");
    EXPECT_EQ(read_by(q.near, w, 5), "hello");
    EXPECT_TRUE(on_time(monotonic_ms() - start, 30)) << name_of(w);
    expect_fired(1);
    s.clear();
    const listener service;
    const unique_fd client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in to = loopback(service.port);
    id = s.set("latency listen:" + std::to_string(service.port) + " 30ms --on accept4");
    const double asked = monotonic_ms();
    ASSERT_EQ(connect(client, generic(to), sizeof to), 0);
    waiter waits(service.fd, w);
    unique_fd taken;
    while (waits.ready() && (taken.reset(accept4(service.fd, nullptr, nullptr, SOCK_CLOEXEC)), taken < 0) && errno == EAGAIN) waits.again();
    EXPECT_GE(taken, 0);
    EXPECT_TRUE(on_time(monotonic_ms() - asked, 30)) << name_of(w);
    expect_fired(1);
    s.clear();
  }
}

// The loader and libc abort, or break, when an allocation of theirs fails.
TEST_F(Option, AllocationsOfLibcAndTheLoaderAreSpared) {
  int go[2];
  ASSERT_EQ(pipe(go), 0);
  const pid_t child = fork();
  if (child == 0) {
    char c;
    if (read(go[0], &c, 1) != 1) _exit(9);
    void* volatile mine = malloc(10);
    if (mine || errno != ENOMEM) _exit(1);
    FILE* const f = fopen("/proc/self/comm", "re");
    if (!f) _exit(2);
    char* line = nullptr;
    std::size_t room = 0;
    if (getline(&line, &room, f) <= 0) _exit(3);
    char* volatile copy = strdup("x");
    if (!copy) _exit(4);
    if (!dlopen("libresolv.so.2", RTLD_NOW)) _exit(5);
    _exit(0);
  }
  id = s.set("enomem malloc --pid " + std::to_string(child));
  EXPECT_EQ(write(go[1], "g", 1), 1);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  expect_fired(1);
  close(go[0]);
  close(go[1]);
}

TEST(Options, EachHasATest) {
  std::set<std::string> here;
  const testing::UnitTest& all = *testing::UnitTest::GetInstance();
  for (int i = 0; i < all.total_test_suite_count(); ++i)
    for (int k = 0; k < all.GetTestSuite(i)->total_test_count(); ++k) {
      std::string name;
      for (const char* at = all.GetTestSuite(i)->GetTestInfo(k)->name(); *at; ++at) {
        if (*at >= 'A' && *at <= 'Z' && !name.empty()) name += '_';
        name += static_cast<char>(std::tolower(*at));
      }
      here.insert(name);
    }
  here.insert("budget");
  for (const auto& o : rules::option_table) EXPECT_TRUE(here.contains(o.name) || elsewhere.contains(o.name)) << o.name;
}

}  // namespace
}  // namespace chaos::gate
