#include "files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace chaos::schedule {

using rules::done;
using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

constexpr std::string_view prefix = "schedule-", lock_ending = ".lock", record_ending = ".json";

problem can_not(const char* what, const std::string& path) { return {problem_code::failed, std::string("can not ") + what + " " + path + ": " + std::strerror(errno), path, {}}; }

std::string lock_path(const std::string& folder, const std::string& name) { return folder + "/" + std::string(prefix) + name + std::string(lock_ending); }

json base_state(const plan& p) {
  return {{"timestamp", static_cast<double>(unix_ms()) / 1000}, {"injected_by", "chaos-ctl schedule"}, {"schedule", p.name}};
}

struct flock whole_file() {
  struct flock all{};
  all.l_type = F_WRLCK;
  all.l_whence = SEEK_SET;
  return all;
}

// Whether somebody holds it, and who says that it is he. Asked without taking it: who looks must not keep out who begins.
void look_at_lock(const std::string& path, known_schedule& into) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  auto other = whole_file();
  into.running = fcntl(fd, F_OFD_GETLK, &other) == 0 && other.l_type != F_UNLCK;
  char text[16] = {};
  if (into.running && pread(fd, text, sizeof text - 1, 0) > 0) into.pid = static_cast<pid_t>(std::strtol(text, nullptr, 10));
  close(fd);
}

}  // namespace

std::int64_t unix_ms() { return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count(); }

std::string line_of(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace) + "\n"; }

result<done> replace_file(const std::string& path, const std::string& text) {
  const std::string fresh = path + ".new-" + std::to_string(getpid());
  const int fd = open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd < 0) return can_not("write", path);
  struct stat before{};
  bool good = true;
  if (stat(path.c_str(), &before) == 0) good = fchmod(fd, before.st_mode & 07777) == 0;  // what lies there keeps its mode
  for (std::size_t at = 0; good && at < text.size();) {
    const ssize_t n = write(fd, text.data() + at, text.size() - at);
    if (n < 0 && errno == EINTR) continue;
    good = n > 0;
    if (good) at += static_cast<std::size_t>(n);
  }
  good = good && fsync(fd) == 0;
  const int why = errno;
  close(fd);
  if (good && rename(fresh.c_str(), path.c_str()) == 0) return done{};
  if (!good) errno = why;
  const auto p = can_not("replace", path);
  unlink(fresh.c_str());
  return p;
}

json state_of(const plan& p, const injection& in) {
  json state = base_state(p);
  state["mode"] = in.what->mode;
  state["delay"] = in.delay_seconds;
  state["scenario"] = in.what->name;
  state["number"] = in.number;
  if (in.where) state["target"] = in.where->name;
  return state;
}

json healthy_state(const plan& p) {
  json state = base_state(p);
  state["mode"] = "healthy";
  state["delay"] = 0;
  return state;
}

result<lock> lock::take(const std::string& folder, const std::string& name) {
  const std::string path = lock_path(folder, name);
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return can_not("make", path);
  auto whole = whole_file();
  if (fcntl(fd, F_OFD_SETLK, &whole) == 0) {
    const std::string self = std::to_string(getpid()) + "\n";
    if (ftruncate(fd, 0) == 0 && pwrite(fd, self.data(), self.size(), 0) == static_cast<ssize_t>(self.size())) return lock(fd);
    auto p = can_not("write", path);
    close(fd);
    return p;
  }
  const bool held = errno == EAGAIN || errno == EACCES;
  auto p = can_not("lock", path);
  close(fd);
  if (held) p = {problem_code::failed, "a schedule of the name " + name + " runs already in this session; chaos-ctl schedule stop " + name + " ends it", name, {}};
  return p;
}

lock::~lock() {
  if (fd_ >= 0) close(fd_);
}

std::string record_path(const std::string& folder, const std::string& name) { return folder + "/" + std::string(prefix) + name + std::string(record_ending); }

std::optional<json> read_record(const std::string& folder, const std::string& name) {
  std::ifstream in(record_path(folder, name));
  std::ostringstream text;
  if (in.is_open()) text << in.rdbuf();
  json record = json::parse(text.str(), nullptr, false);
  return record.is_object() ? std::optional<json>(std::move(record)) : std::nullopt;
}

std::vector<known_schedule> known_schedules(const std::string& folder) {
  std::vector<known_schedule> all;
  std::error_code ignored;
  for (const auto& file : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = file.path().filename();
    if (!name.starts_with(prefix) || !name.ends_with(lock_ending)) continue;
    known_schedule one;
    one.name = name.substr(prefix.size(), name.size() - prefix.size() - lock_ending.size());
    look_at_lock(file.path(), one);
    if (auto record = read_record(folder, one.name)) one.record = std::move(*record);
    all.push_back(std::move(one));
  }
  std::ranges::sort(all, {}, &known_schedule::name);
  return all;
}

}  // namespace chaos::schedule
