#include "running.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <utility>

#include "control/rules/values.hpp"

namespace chaos::stress {

using rules::done;
using rules::problem;
using rules::problem_code;
using rules::result;
using steady = std::chrono::steady_clock;

namespace {

constexpr auto grace = std::chrono::seconds(2);  // between the polite signal and the other one

int open_pidfd(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); }

problem failure(const std::string& what) { return {problem_code::failed, what + ": " + std::strerror(errno), "", {}}; }

int left_ms(steady::time_point until) {
  return static_cast<int>(std::clamp<std::int64_t>(std::chrono::ceil<std::chrono::milliseconds>(until - steady::now()).count(), 0, 1'000'000'000));
}

std::uint64_t memory_available() {
  std::ifstream in("/proc/meminfo");
  std::string name, unit;
  std::uint64_t kib = 0;
  while (in >> name >> kib >> unit)
    if (name == "MemAvailable:") return kib * 1024;
  return UINT64_MAX;
}

// More than there is would be no pressure but the end of somebody else: the kernel chooses whom it kills.
result<done> check_room(const plan& p) {
  std::uint64_t room = UINT64_MAX;
  std::string of;
  if (p.what == stressor::memory) room = memory_available(), of = "memory";
  if (p.what == stressor::disk) {
    struct statvfs disk;
    if (statvfs(p.folder.c_str(), &disk) < 0) return problem{problem_code::failed, "can not write below " + p.folder + ": " + std::strerror(errno), p.folder, {}};
    room = static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize / p.workers, of = "room below " + p.folder + " for each worker";
  }
  if (p.size_bytes <= room) return done{};
  return problem{problem_code::failed, text_of(p) + " is more " + of + " than is available (" + std::to_string(room / 1'000'000) + "MB)", rules::format_size(p.size_bytes), {}};
}

// The first of `count` neighbouring loopback ports that nobody has. Somebody may take one before stress-ng does; it then says so.
result<unsigned> free_ports(unsigned count) {
  for (int attempt = 0; attempt < 50; ++attempt) {
    std::vector<int> held;
    unsigned first = 0;
    for (unsigned i = 0; i < count; ++i) {
      const int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (s < 0) break;
      held.push_back(s);
      sockaddr_in a{};
      a.sin_family = AF_INET;
      a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      a.sin_port = htons(static_cast<std::uint16_t>(first ? first + i : 0));
      socklen_t n = sizeof a;
      if (first + i > 65535 || bind(s, reinterpret_cast<sockaddr*>(&a), n) < 0) break;
      if (i == 0 && getsockname(s, reinterpret_cast<sockaddr*>(&a), &n) == 0) first = ntohs(a.sin_port);
      if (i + 1 == count) {
        for (const int fd : held) close(fd);
        return first;
      }
    }
    for (const int fd : held) close(fd);
  }
  return problem{problem_code::failed, "no " + std::to_string(count) + " neighbouring ports are free", "", {}};
}

// --- in the guard. The caller may have threads: nothing here takes a lock that one of them could hold.

struct orders {
  const std::vector<const char*>&argv, &environment;
  const char* folder;
  int owner_fd, leash, output;
  steady::time_point end;
};

enum : int { owner_at = 3, leash_at, output_at, first_free };

// Only what the guard needs stays open: nobody who waits for the end of our output may wait for it.
void keep_descriptors(const orders& o) {
  const int null = open("/dev/null", O_RDWR);
  for (const int fd : {0, 1, 2}) dup2(null, fd);
  constexpr int out_of_the_way = 16;
  int moved[3], at = 0;
  for (const int fd : {o.owner_fd, o.leash, o.output}) moved[at++] = fcntl(fd, F_DUPFD, out_of_the_way);
  for (at = 0; at < 3; ++at) dup3(moved[at], owner_at + at, O_CLOEXEC);
  closefrom(first_free);
}

[[noreturn]] void become_stress_ng(const orders& o, pid_t guard) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != guard) _exit(126);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  dup2(output_at, 1);
  dup2(output_at, 2);
  execve(o.argv[0], const_cast<char* const*>(o.argv.data()), const_cast<char* const*>(o.environment.data()));
  dprintf(2, "%s: %s\n", o.argv[0], std::strerror(errno));
  _exit(127);
}

// Everything that it started ends: its group, and as their adopted parent we meet those that left it.
void end_all(pid_t stress) {
  kill(-stress, SIGTERM);
  const auto patience = steady::now() + grace;
  for (bool hard = false;;) {
    const pid_t gone = waitpid(-1, nullptr, WNOHANG);
    if (gone < 0 && errno == ECHILD) return;
    if (gone > 0) continue;
    if (steady::now() >= patience || hard) {
      hard = true;
      kill(-stress, SIGKILL);
      char children[4096];
      const int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
      const ssize_t n = read(fd, children, sizeof children - 1);
      close(fd);
      children[n > 0 ? n : 0] = 0;
      for (char* at = children; *at;) {
        char* rest = at;
        const long pid = std::strtol(at, &rest, 10);
        if (rest == at) break;
        kill(static_cast<pid_t>(pid), SIGKILL);
        at = rest + (*rest == ' ');
      }
    }
    usleep(2000);
  }
}

ending watch(pid_t stress, int told, steady::time_point end) {
  pollfd wait[] = {{open_pidfd(stress), POLLIN, 0}, {owner_at, POLLIN, 0}, {leash_at, POLLIN, 0}, {told, POLLIN, 0}};
  for (;;) {
    const int n = poll(wait, std::size(wait), left_ms(end));
    if (n == 0) return ending::time_up;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 || wait[0].revents) return ending::failed;  // before its time
    if (wait[1].revents) return ending::owner_gone;
    char word;
    if (wait[2].revents) return read(leash_at, &word, 1) == 1 ? ending::stopped : ending::owner_gone;
    return ending::stopped;
  }
}

[[noreturn]] void guard(const orders& o) {
  setsid();  // no signal of a terminal: what the owner does with those is its business
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  keep_descriptors(o);
  sigset_t ends;
  sigemptyset(&ends);
  for (const int s : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&ends, s);
  for (int s = 1; s < NSIG; ++s) signal(s, SIG_DFL);
  sigprocmask(SIG_SETMASK, &ends, nullptr);
  const int told = signalfd(-1, &ends, SFD_CLOEXEC);
  const pid_t self = getpid(), stress = fork();
  if (stress == 0) become_stress_ng(o, self);
  ending why = ending::failed;
  if (stress > 0) {
    setpgid(stress, stress);
    why = watch(stress, told, o.end);
    end_all(stress);
  }
  std::error_code ignored;
  std::filesystem::remove_all(o.folder, ignored);
  _exit(static_cast<int>(why));
}

// What the shim would like to bend is not stress-ng.
std::vector<const char*> clean_environment() {
  std::vector<const char*> kept;
  for (char** at = environ; *at; ++at)
    if (!std::string_view(*at).starts_with("LD_PRELOAD=")) kept.push_back(*at);
  kept.push_back(nullptr);
  return kept;
}

// Of a guard that was killed: its stress-ng is told to end, and may still be writing.
void remove_while_it_is_filled(const std::string& folder) {
  std::error_code left;
  for (int attempt = 0; attempt < 100; ++attempt) {
    std::filesystem::remove_all(folder, left);
    if (!left) return;
    usleep(10'000);
  }
}

}  // namespace

result<std::string> find_program() {
  const char* const path = std::getenv("PATH");
  for (const auto& folder : rules::split(path && *path ? path : "/usr/bin:/bin", ':'))
    if (const std::string candidate = folder + "/stress-ng"; !folder.empty() && access(candidate.c_str(), X_OK) == 0) return candidate;
  return problem{problem_code::failed, "stress-ng was not found in PATH; on Debian: apt-get install stress-ng", "stress-ng", {"stress-ng"}};
}

result<running> running::start(const plan& p, pid_t owner) {
  const auto program = find_program();
  if (!program) return program.error();
  if (const auto room = check_room(p); !room) return room.error();
  unsigned port = 0;
  if (p.what == stressor::network) {
    const auto free = free_ports(p.workers);
    if (!free) return free.error();
    port = *free;
  }
  const int owner_fd = open_pidfd(owner);
  if (owner_fd < 0) return problem{problem_code::failed, "the owner, process " + std::to_string(owner) + ", can not be watched: " + std::strerror(errno), std::to_string(owner), {}};
  running r;
  std::string& folder = r.folder_ = p.folder + "/chaos-stress-XXXXXX";
  int leash[2] = {-1, -1};
  const auto give_up = [&](const std::string& what) {
    const auto why = failure(what);
    close(owner_fd);
    rmdir(folder.c_str());
    return why;
  };
  if (!mkdtemp(folder.data())) return give_up("can not make a folder below " + p.folder);
  r.output_ = memfd_create("stress-ng", MFD_CLOEXEC);
  if (r.output_ < 0 || pipe2(leash, O_CLOEXEC) < 0) return give_up("no room for its output");

  const auto words = command_line(p, *program, folder, port);
  std::vector<const char*> argv;
  for (const auto& w : words) argv.push_back(w.c_str());
  argv.push_back(nullptr);
  const auto environment = clean_environment();
  r.guard_ = fork();
  if (r.guard_ == 0) guard({argv, environment, folder.c_str(), owner_fd, leash[0], r.output_, steady::now() + p.length});
  close(leash[0]);
  r.leash_ = leash[1];
  if (r.guard_ < 0) return give_up("can not start stress-ng");
  close(owner_fd);
  r.guard_fd_ = open_pidfd(r.guard_);
  return r;
}

running::running(running&& other) noexcept
    : guard_(std::exchange(other.guard_, -1)), guard_fd_(std::exchange(other.guard_fd_, -1)), leash_(std::exchange(other.leash_, -1)),
      output_(std::exchange(other.output_, -1)), ending_(other.ending_), said_(std::move(other.said_)), folder_(std::move(other.folder_)) {}

running::~running() {
  stop();
  wait();
  for (const int fd : {guard_fd_, leash_, output_})
    if (fd >= 0) close(fd);
}

void running::stop() {
  if (guard_ > 0 && leash_ >= 0) static_cast<void>(!write(leash_, "s", 1));
}

ending running::wait() {
  if (guard_ <= 0) return ending_;
  int status = 0;
  while (waitpid(guard_, &status, 0) < 0 && errno == EINTR) {}
  guard_ = -1;
  if (WIFSIGNALED(status)) remove_while_it_is_filled(folder_);
  ending_ = WIFEXITED(status) && WEXITSTATUS(status) <= static_cast<int>(ending::failed) ? static_cast<ending>(WEXITSTATUS(status)) : ending::failed;
  if (ending_ == ending::failed && output_ >= 0) {
    char text[2048];
    const ssize_t n = pread(output_, text, sizeof text, 0);
    said_.assign(text, n > 0 ? static_cast<std::size_t>(n) : 0);
    while (!said_.empty() && said_.back() == '\n') said_.pop_back();
  }
  return ending_;
}

}  // namespace chaos::stress
