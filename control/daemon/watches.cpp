// Processes that rules depend on: owners, roots of runs, targets that are expected to attach.
#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "daemon.hpp"

namespace chaos::daemon {

// A pidfd in the loop. False when that process is gone already.
bool daemon::watch_process(std::int32_t pid, std::uint64_t start_ticks, std::function<void()> on_end) {
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return false;
  const std::uint64_t ticks = start_ticks_of(pid);
  if (ticks == 0 || (start_ticks != 0 && ticks != start_ticks)) {
    close(fd);
    return false;
  }
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  watches_.push_back({fd, pid});
  loop_.add(fd, EPOLLIN, [this, fd, on_end = std::move(on_end)](std::uint32_t) {
    loop_.remove(fd);
    watches_.erase(std::remove_if(watches_.begin(), watches_.end(), [fd](const process_watch& w) { return w.fd == fd; }), watches_.end());
    close(fd);
    on_end();
  });
  return true;
}

void daemon::watch_owners() {
  std::set<std::int32_t> gone;
  for (const auto& [id, r] : rules_.live()) {
    const auto pid = static_cast<std::int32_t>(r.compiled.owner);
    if (pid == 0 || owner_watches_.count(pid) || gone.count(pid)) continue;
    const auto end = [this, pid] {
      owner_watches_.erase(pid);
      rules_.end_now([pid](const live_rule& rule) { return rule.compiled.owner == static_cast<std::uint32_t>(pid); }, "its owner ended");
      after_change();
    };
    if (watch_process(pid, 0, end)) owner_watches_[pid] = 1;
    else gone.insert(pid);
  }
  if (!gone.empty())
    rules_.end_now([&gone](const live_rule& r) { return gone.count(static_cast<std::int32_t>(r.compiled.owner)) != 0; }, "its owner ended");
}

void daemon::watch_run(const saved_run& run) {
  const std::uint64_t id = run.id;
  const auto end = [this, id] {
    rules_.close_run(id);
    after_change();
  };
  if (!watch_process(run.pid, run.start_ticks, end)) rules_.close_run(id);
}

void daemon::check_expected() {
  const std::uint64_t now = monotonic_ns();
  for (auto at = expected_.begin(); at != expected_.end();) {
    const bool gone = start_ticks_of(at->pid) != at->start_ticks;
    if (gone || processes_.attached(at->pid)) {
      at = expected_.erase(at);  // it attached, or is over
      continue;
    }
    if (now < at->deadline_ns) {
      ++at;
      continue;
    }
    const std::string text = "chaos: process " + std::to_string(at->pid) +
                             " did not attach: no fault can reach it. `chaos-ctl doctor` tells why (static? setuid? LD_PRELOAD dropped?)";
    spdlog::warn("{}", text);
    json line{{"kind", "attach_missing"}, {"pid", at->pid}, {"time_ns", now}, {"message", text}};
    timeline_.say(protocol::to_line(line));
    missing_.push_back(std::move(line));
    if (missing_.size() > 64) missing_.erase(missing_.begin());
    if (at->tell_stderr) tell_target(at->pid, text + "\n");
    at = expected_.erase(at);
  }
}

// On the target's own standard error, if that can be opened without waiting: it is where people look.
void daemon::tell_target(std::int32_t pid, const std::string& text) {
  const std::string path = "/proc/" + std::to_string(pid) + "/fd/2";
  const int fd = open(path.c_str(), O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd < 0) return;
  struct stat s{};
  const bool fit = fstat(fd, &s) == 0 && (S_ISREG(s.st_mode) || S_ISFIFO(s.st_mode) || isatty(fd));
  if (fit && write(fd, text.data(), text.size()) < 0) errno = 0;
  close(fd);
}

}  // namespace chaos::daemon
