#include "live_breaker.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>

#include "chaos/abi/session.hpp"
#include "control/proc/match.hpp"
#include "processes.hpp"

namespace chaos::daemon {

struct live_breaker_shared {
  struct job {
    rules::compiled_rule rule;
    std::vector<attached_process> processes;
    std::string rule_page;
    bool scans = false;                    // breaks nothing yet: which connections are there?
    std::set<std::uint64_t> connections;   // by inode: only these; empty: all that the rule means
  };
  std::mutex mutex;
  std::deque<job> jobs;
  std::vector<live_outcome> outcomes;
  std::set<std::uint32_t> in_force;
  bool working = false;
  int event = -1;
  ~live_breaker_shared() { close(event); }
};

namespace {

constexpr std::size_t threads_max = 4096;      // of one process that are looked at
constexpr std::size_t interrupted_max = 64;    // for one connection
constexpr std::size_t maps_lines_max = 65536;
constexpr std::uint64_t forked_max_ns = 1'000'000'000;  // for the look at every process of the machine
constexpr std::uint64_t stop_patience_ns = 20'000'000;
constexpr useconds_t stop_look_us = 50;
constexpr int event_stop = 128;                // PTRACE_EVENT_STOP; glibc calls it so only in newer versions

// Calls that wait inside a connection whose descriptor is their first argument.
constexpr long waiting_calls[] = {SYS_read,  SYS_readv,  SYS_recvfrom, SYS_recvmsg, SYS_recvmmsg, SYS_splice,
                                  SYS_write, SYS_writev, SYS_sendto,   SYS_sendmsg, SYS_sendmmsg, SYS_sendfile};

struct waiting_thread {
  std::int32_t pid, tid;
  long fd;
};

// Threads that wait in such a call at this moment, whatever the descriptor is.
std::vector<waiting_thread> threads_waiting(std::int32_t pid) {
  std::vector<waiting_thread> out;
  const std::string folder = "/proc/" + std::to_string(pid) + "/task";
  DIR* const d = opendir(folder.c_str());
  if (!d) return out;
  for (std::size_t budget = threads_max; const dirent* entry = budget-- > 0 ? readdir(d) : nullptr;) {
    if (entry->d_name[0] == '.') continue;
    const int fd = openat(dirfd(d), (std::string(entry->d_name) + "/syscall").c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    char text[256];
    const ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) continue;
    text[n] = 0;
    long number = -1;
    unsigned long first = 0;
    if (std::sscanf(text, "%ld %lx", &number, &first) == 2 && std::find(std::begin(waiting_calls), std::end(waiting_calls), number) != std::end(waiting_calls))
      out.push_back({pid, std::atoi(entry->d_name), static_cast<int>(first)});
  }
  closedir(d);
  return out;
}

// Takes threads out of their calls for a moment; the calls begin again by themselves. What did not stop in time stays
// seized until this thread ends, which lets it go.
class interruption {
 public:
  void add(std::int32_t tid) {
    if (seized_.size() >= interrupted_max || ptrace(PTRACE_SEIZE, tid, nullptr, nullptr) != 0) return;
    seized_.push_back({tid, false, 0});
    ptrace(PTRACE_INTERRUPT, tid, nullptr, nullptr);
  }
  void wait() {
    const std::uint64_t deadline = monotonic_ns() + stop_patience_ns;
    for (;;) {
      bool all = true;
      for (thread& t : seized_) {
        if (t.over) continue;
        int status = 0;
        const pid_t got = waitpid(t.tid, &status, __WALL | WNOHANG);
        if (got == t.tid) {
          t.over = true;
          // a signal that came first is handed on; a stop of ours, or of job control, has none to hand on
          t.stopped = WIFSTOPPED(status);
          t.signal = t.stopped && status >> 16 != event_stop ? WSTOPSIG(status) : 0;
        } else if (got < 0) {
          t.over = true;
        } else {
          all = false;
        }
      }
      if (all || monotonic_ns() >= deadline) return;
      usleep(stop_look_us);
    }
  }
  ~interruption() {
    for (const thread& t : seized_)
      if (t.stopped) ptrace(PTRACE_DETACH, t.tid, nullptr, static_cast<long>(t.signal));
  }

 private:
  struct thread {
    std::int32_t tid;
    bool over;
    int signal;
    bool stopped = false;
  };
  std::vector<thread> seized_;
};

struct holder {
  std::int32_t pid;
  int fd;
};

class descriptor {
 public:
  explicit descriptor(int fd) : fd_(fd) {}
  ~descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;
  operator int() const { return fd_; }

 private:
  int fd_;
};

std::string small_file(const std::string& path, std::size_t most) {
  std::string text(most, '\0');
  const descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const ssize_t n = fd < 0 ? 0 : read(fd, text.data(), text.size());
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return text;
}

bool maps_file(std::int32_t pid, const std::string& file) {
  std::FILE* const maps = std::fopen(("/proc/" + std::to_string(pid) + "/maps").c_str(), "re");
  if (!maps) return false;
  char line[4096];
  bool found = false;
  for (std::size_t budget = maps_lines_max; !found && budget-- > 0 && std::fgets(line, sizeof line, maps);) {
    const char* const path = std::strchr(line, '/');
    found = path && std::strncmp(path, file.c_str(), file.size()) == 0 && path[file.size()] == '\n';
  }
  std::fclose(maps);
  return found;
}

// Processes without an attach slot that carry the shim: forked off while nothing was armed.
void add_forked(const std::string& rule_page, std::vector<attached_process>& all) {
  std::set<std::int32_t> known{getpid()};
  for (const attached_process& p : all) known.insert(p.pid);
  DIR* const d = opendir("/proc");
  if (!d) return;
  const std::uint64_t deadline = monotonic_ns() + forked_max_ns;
  while (const dirent* const entry = monotonic_ns() < deadline ? readdir(d) : nullptr) {
    const int pid = std::atoi(entry->d_name);
    if (pid <= 0 || known.count(pid)) continue;
    const std::string folder = "/proc/" + std::to_string(pid);
    char exe[4096];
    const ssize_t n = readlink((folder + "/exe").c_str(), exe, sizeof exe);
    if (n <= 0 || !maps_file(pid, rule_page)) continue;
    attached_process p;
    p.pid = pid;
    p.start_ticks = start_ticks_of(pid);
    p.executable.assign(exe, static_cast<std::size_t>(n));
    p.comm = small_file(folder + "/comm", 64);
    while (!p.comm.empty() && p.comm.back() == '\n') p.comm.pop_back();
    const std::string run = std::string("\0", 1) + abi::env_run + "=", environment = std::string("\0", 1) + small_file(folder + "/environ", 128 * 1024);
    if (const auto at = environment.find(run); at != std::string::npos) p.run = std::strtoull(environment.c_str() + at + run.size(), nullptr, 10);
    if (p.start_ticks) all.push_back(std::move(p));
  }
  closedir(d);
}

enum class attempt { broken, gone, refused };

attempt break_one(const holder& h, std::uint64_t start_ticks, std::uint64_t inode, const std::vector<waiting_thread>& waiting,
                  const std::vector<holder>& holders, std::string& why) {
  const descriptor process(static_cast<int>(syscall(SYS_pidfd_open, h.pid, 0)));
  if (process < 0 || start_ticks_of(h.pid) != start_ticks) return attempt::gone;
  const descriptor copy(static_cast<int>(syscall(SYS_pidfd_getfd, static_cast<int>(process), h.fd, 0)));
  if (copy < 0) {
    if (errno == EBADF || errno == ESRCH) return attempt::gone;
    why = std::string("pidfd_getfd: ") + std::strerror(errno);
    return attempt::refused;
  }
  struct stat s{};
  int protocol = 0;
  socklen_t n = sizeof protocol;
  if (fstat(copy, &s) != 0 || s.st_ino != inode) return attempt::gone;  // the number means another socket by now
  if (getsockopt(copy, SOL_SOCKET, SO_PROTOCOL, &protocol, &n) != 0 || protocol != IPPROTO_TCP) return attempt::gone;

  tcp_info now{};
  n = sizeof now;
  // Meanwhile a call of the program met the rule, and was counted.
  if (getsockopt(copy, IPPROTO_TCP, TCP_INFO, &now, &n) == 0 && now.tcpi_state == TCP_CLOSE) return attempt::gone;

  interruption moment;
  for (const waiting_thread& t : waiting)
    if (std::any_of(holders.begin(), holders.end(), [&t](const holder& other) { return other.pid == t.pid && other.fd == t.fd; })) moment.add(t.tid);
  moment.wait();
  sockaddr_storage nowhere{};
  nowhere.ss_family = AF_UNSPEC;
  if (connect(copy, reinterpret_cast<const sockaddr*>(&nowhere), sizeof(sockaddr_in)) != 0) {
    why = std::string("connect(AF_UNSPEC): ") + std::strerror(errno);
    return attempt::refused;
  }
  shutdown(copy, SHUT_RDWR);  // as after a RST from there: readable, and behind the ECONNRESET the end
  return attempt::broken;
}

class job_work {
 public:
  job_work(live_breaker_shared& shared, const live_breaker_shared::job& job) : shared_(shared), rule_(job.rule), scans_(job.scans), only_(job.connections), processes_(job.processes) {
    add_forked(job.rule_page, processes_);
  }

  live_outcome run() {
    out_.rule = rule_.rule.id;
    for (const attached_process& p : processes_) {
      if (monotonic_ns() > deadline_) break;
      if (proc::means_process(rule_, {p.pid, p.run, p.comm, p.executable})) look_at(p);
    }
    if (scans_) {
      out_.scanned = true;
      for (const auto& [inode, holders] : holders_) out_.connections.insert(inode);
      return std::move(out_);
    }
    for (const auto& [inode, holders] : holders_) {
      if (out_.broken.size() >= live_breaker::breaks_max || monotonic_ns() > deadline_) {
        ++out_.unreached;
        out_.why = "too many connections at once";
        continue;
      }
      if (!wanted()) break;
      break_connection(inode, holders);
    }
    return std::move(out_);
  }

 private:
  const std::map<std::uint64_t, proc::tcp_row>& rows_around(std::int32_t pid) {
    std::uint64_t space = proc::network_namespace(pid);
    if (space == 0) space = ~static_cast<std::uint64_t>(pid);
    const auto [at, fresh] = rows_.try_emplace(space);
    if (fresh)
      for (const proc::tcp_row& row : proc::tcp_rows(pid))
        if (row.connected()) at->second.emplace(row.inode, row);
    return at->second;
  }

  void look_at(const attached_process& p) {
    const auto& rows = rows_around(p.pid);
    std::vector<proc::held_socket> held;
    const bool readable = proc::sockets_of(p.pid, held);
    if (start_ticks_of(p.pid) != p.start_ticks) return;
    ticks_[p.pid] = p.start_ticks;
    for (const proc::held_socket& h : held)
      if (const auto row = only_.empty() || only_.count(h.inode) ? rows.find(h.inode) : rows.end(); row != rows.end() && proc::means_connection(rule_.rule, row->second, h.fd)) {
        holders_[h.inode].push_back({p.pid, h.fd});
        remotes_[h.inode] = proc::text_of(row->second.remote, row->second.remote_port);
      }
    if (readable) return;
    struct stat s{};
    if (stat(("/proc/" + std::to_string(p.pid)).c_str(), &s) != 0) return;
    const bool any = std::any_of(rows.begin(), rows.end(), [&](const auto& row) { return proc::means_connection(rule_.rule, row.second); });
    if (!any) return;
    ++out_.unreached;
    out_.why = "the descriptors of process " + std::to_string(p.pid) + " may not be read";
  }

  void break_connection(std::uint64_t inode, const std::vector<holder>& holders) {
    std::vector<waiting_thread> waiting;
    for (const holder& h : holders) {
      const auto [at, fresh] = waiting_.try_emplace(h.pid);
      if (fresh) at->second = threads_waiting(h.pid);
      for (const waiting_thread& t : at->second)
        if (t.fd == h.fd) waiting.push_back(t);
    }
    bool refused = false;
    for (const holder& h : holders) {
      const attempt outcome = break_one(h, ticks_[h.pid], inode, waiting, holders, out_.why);
      if (outcome == attempt::broken) {
        out_.broken.push_back({h.pid, monotonic_ns(), remotes_[inode]});
        return;
      }
      refused = refused || outcome == attempt::refused;
    }
    out_.unreached += refused;
  }

  bool wanted() const {
    const std::lock_guard lock(shared_.mutex);
    return shared_.in_force.count(rule_.rule.id) != 0;
  }

  live_breaker_shared& shared_;
  const rules::compiled_rule& rule_;
  const bool scans_;
  const std::set<std::uint64_t>& only_;
  std::vector<attached_process> processes_;
  live_outcome out_;
  const std::uint64_t deadline_ = monotonic_ns() + live_breaker::job_max_ns;
  std::map<std::uint64_t, std::map<std::uint64_t, proc::tcp_row>> rows_;  // by network namespace, by inode
  std::map<std::uint64_t, std::vector<holder>> holders_;                  // by inode
  std::map<std::uint64_t, std::string> remotes_;
  std::map<std::int32_t, std::uint64_t> ticks_;
  std::map<std::int32_t, std::vector<waiting_thread>> waiting_;
};

void break_in_the_background(std::shared_ptr<live_breaker_shared> shared) {
  std::unique_lock lock(shared->mutex);
  while (!shared->jobs.empty()) {
    const live_breaker_shared::job job = std::move(shared->jobs.front());
    shared->jobs.pop_front();
    const bool wanted = shared->in_force.count(job.rule.rule.id) != 0;
    lock.unlock();
    live_outcome outcome;
    if (wanted) outcome = job_work(*shared, job).run();
    lock.lock();
    if (outcome.rule == 0) continue;
    shared->outcomes.push_back(std::move(outcome));
    const std::uint64_t one = 1;
    if (write(shared->event, &one, sizeof one) < 0) break;
  }
  shared->working = false;
}

}  // namespace

live_breaker::live_breaker(loop& l, std::string rule_page, on_outcome told)
    : loop_(l), rule_page_(std::move(rule_page)), told_(std::move(told)), shared_(std::make_shared<live_breaker_shared>()),
      timer_(l, [this] { break_those_due(); }) {
  event_ = shared_->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  loop_.add(event_, EPOLLIN, [this](std::uint32_t) { collect(); });
}

live_breaker::~live_breaker() { loop_.remove(event_); }

void live_breaker::order(rules::compiled_rule rule, std::vector<attached_process> processes) {
  if (!proc::breaks_live(rule.rule)) return;
  const std::lock_guard lock(shared_->mutex);
  shared_->in_force.insert(rule.rule.id);
  const bool later = rule.rule.kind == abi::effect::reset_peer && rule.rule.delay_ns;
  if (later) later_[rule.rule.id] = {monotonic_ns() + rule.rule.delay_ns, rule, {}, processes};
  shared_->jobs.push_back({std::move(rule), std::move(processes), rule_page_, later, {}});
  begin_work();
}

// The mutex is held.
void live_breaker::begin_work() {
  if (shared_->working) return;
  // the loop takes signals through a signalfd: a helper must not be the one that is killed by them
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    std::thread(break_in_the_background, shared_).detach();
    shared_->working = true;
  } catch (const std::system_error&) {
    shared_->jobs.clear();  // no thread to be had: connections break at their next call
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void live_breaker::in_force(std::set<std::uint32_t> ids) {
  const std::lock_guard lock(shared_->mutex);
  std::erase_if(later_, [&ids](const auto& entry) { return ids.count(entry.first) == 0; });
  shared_->in_force = std::move(ids);
}

void live_breaker::set_timer() {
  std::uint64_t next = 0;
  for (const auto& [id, l] : later_)
    if (l.scanned && (!next || l.due_ns < next)) next = l.due_ns;
  timer_.at(next);
}

void live_breaker::break_those_due() {
  {
    const std::lock_guard lock(shared_->mutex);
    const std::uint64_t now = monotonic_ns();
    for (auto at = later_.begin(); at != later_.end();) {
      if (!at->second.scanned || at->second.due_ns > now) { ++at; continue; }
      later_job& l = at->second;
      if (!l.connections.empty()) shared_->jobs.push_back({std::move(l.rule), std::move(l.processes), rule_page_, false, std::move(l.connections)});
      at = later_.erase(at);
    }
    if (!shared_->jobs.empty()) begin_work();
  }
  set_timer();
}

void live_breaker::collect() {
  std::uint64_t n = 0;
  if (read(event_, &n, sizeof n) < 0) return;
  std::vector<live_outcome> outcomes;
  {
    const std::lock_guard lock(shared_->mutex);
    outcomes.swap(shared_->outcomes);
  }
  for (live_outcome& o : outcomes) {
    if (!o.scanned) {
      told_(std::move(o));
    } else if (const auto at = later_.find(o.rule); at != later_.end()) {
      at->second.connections = std::move(o.connections);
      at->second.scanned = true;
      if (at->second.connections.empty() && o.unreached) told_(std::move(o));
    }
  }
  set_timer();
}

}  // namespace chaos::daemon
