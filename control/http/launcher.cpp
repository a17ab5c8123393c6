#include "launcher.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <thread>

namespace chaos::http {

using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

constexpr std::string_view ending = ".ini";
constexpr std::size_t files_max = 1000;

bool plain_name(const std::string& name) {
  return !name.empty() && name.size() <= 64 && name.front() != '.' && name.front() != '-' &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) || c == '.' || c == '_' || c == '-'; });
}

int memory_file(const std::string& content) {  // to be read from its beginning; -1: it could not be made
  const int fd = memfd_create("input", MFD_CLOEXEC);
  if (fd < 0) return -1;
  if (pwrite(fd, content.data(), content.size(), 0) == static_cast<ssize_t>(content.size())) return fd;
  close(fd);
  return -1;
}

}  // namespace

std::vector<std::string> launcher::files(file_kind kind) const {
  std::vector<std::string> names;
  std::error_code error;
  if (folder_of(kind).empty()) return names;
  for (const auto& entry : std::filesystem::directory_iterator(folder_of(kind), error)) {
    const std::string file = entry.path().filename().string();
    if (!file.ends_with(ending) || names.size() == files_max) continue;
    const std::string name = file.substr(0, file.size() - ending.size());
    if (file_of(kind, name)) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

result<std::string> launcher::file_of(file_kind kind, const std::string& name) const {
  const std::string noun = kind == file_kind::experiment ? "experiment" : "schedule";
  if (folder_of(kind).empty())
    return problem{problem_code::not_allowed, "no " + noun + " may be started by its name: chaosd was not given a folder of them (" + noun + "s)", name, {}};
  if (!plain_name(name))
    return problem{problem_code::bad_value, "'" + name.substr(0, 64) + "' is no name of such a file: letters, digits, '.', '_' and '-', not beginning with '.' or '-', at most 64", name, {}};
  const std::string path = folder_of(kind) + "/" + name + std::string(ending);
  struct stat s{};
  if (lstat(path.c_str(), &s) < 0 || !S_ISREG(s.st_mode))
    return problem{problem_code::not_found, "there is no " + noun + " '" + name + "' in the folder", name, {}};
  return path;
}

launcher::child::~child() {
  if (said_ >= 0) close(said_);
}

std::string launcher::child::said() const {
  std::string text(4096, '\0');
  const ssize_t n = pread(said_, text.data(), text.size(), 0);
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

result<launcher::child> launcher::start(const std::vector<std::string>& words, const std::string& input) {
  const std::lock_guard lock(mutex_);
  if (children_.size() >= children_max) return problem{problem_code::too_many, "chaosd runs " + std::to_string(children_max) + " programs for HTTP clients already", "", {}};
  char self[4096];
  const ssize_t n = readlink("/proc/self/exe", self, sizeof self);
  std::string program(self, n > 0 ? static_cast<std::size_t>(n) : 0);
  program = program.substr(0, program.rfind('/')) + "/chaos-ctl";
  std::vector<std::string> all{program, "--dir", how_.base, "--session", how_.session};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> argv;
  for (std::string& w : all) argv.push_back(w.data());
  argv.push_back(nullptr);

  child c{0, memfd_create("chaos-ctl", MFD_CLOEXEC)};
  if (c.said_ < 0) return problem{problem_code::failed, std::string("no memory for what chaos-ctl says: ") + std::strerror(errno), "", {}};
  const int in = memory_file(input);
  if (in < 0) return problem{problem_code::failed, std::string("no memory for what chaos-ctl reads: ") + std::strerror(errno), "", {}};
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, in, 0);
  posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&files, c.said_, 2);
  posix_spawnattr_t how;
  posix_spawnattr_init(&how);
  sigset_t none, every;
  sigemptyset(&none);
  sigfillset(&every);
  posix_spawnattr_setsigmask(&how, &none);
  posix_spawnattr_setsigdefault(&how, &every);
  posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  const int error = posix_spawn(&c.pid, program.c_str(), &files, &how, argv.data(), environ);
  posix_spawnattr_destroy(&how);
  posix_spawn_file_actions_destroy(&files);
  close(in);
  if (error) return problem{problem_code::failed, "can not start " + program + ": " + std::strerror(error), program, {}};
  children_.insert(c.pid);
  std::thread([this, pid = c.pid] {
    siginfo_t info{};  // first without reaping: the pid stays ours until it is out of the list
    while (waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) < 0 && errno == EINTR) {}
    const std::lock_guard over(mutex_);
    children_.erase(pid);
    waitpid(pid, nullptr, 0);
  }).detach();
  return c;
}

bool launcher::runs(pid_t pid) const {
  const std::lock_guard lock(mutex_);
  return children_.count(pid) != 0;
}

void launcher::stop(pid_t pid) {
  const std::lock_guard lock(mutex_);
  if (children_.count(pid)) kill(pid, SIGTERM);
}

}  // namespace chaos::http
