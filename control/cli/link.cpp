#include "link.hpp"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>

#include "chaos/abi/session.hpp"
#include "output.hpp"
#include "pages.hpp"

namespace chaos::cli {

using protocol::client;
using rules::done;
using rules::problem;
using rules::problem_code;
using rules::result;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr milliseconds start_max{10'000};

std::string own_folder() {
  char path[4096];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof path);
  std::string exe(path, n > 0 ? static_cast<std::size_t>(n) : 0);
  return exe.substr(0, exe.rfind('/'));
}

result<std::string> find_beside(const char* env, const char* what, std::initializer_list<const char*> places, int access_mode) {
  if (const char* const given = std::getenv(env); given && *given) {
    if (access(given, access_mode) == 0) return std::string(given);
    return problem{problem_code::failed, std::string(env) + " names " + given + ", which can not be used: " + std::strerror(errno), given, {}};
  }
  const std::string folder = own_folder();
  for (const char* place : places)
    if (const std::string candidate = folder + "/" + place; access(candidate.c_str(), access_mode) == 0) return candidate;
  return problem{problem_code::failed, std::string(what) + " was not found beside " + folder + "/chaos-ctl: set " + env, what, {}};
}

std::string fresh_session_name() {
  std::random_device random;
  static constexpr char digits[] = "abcdefghijklmnopqrstuvwxyz0123456789";
  std::string name = "s" + std::to_string(getpid()) + "-";
  for (int i = 0; i < 6; ++i) name += digits[random() % (sizeof digits - 1)];
  return name;
}

// In the child of a fork. chaosd detaches by itself: own process session, no inherited descriptor. Until it is ready, or
// has said why not, its first process holds `ready`, as standard error and as the descriptor for the good news.
[[noreturn]] void become_daemon(const std::string& program, const session_location& where, const daemon_options& options, int ready) {
  const int null = open("/dev/null", O_RDWR);
  dup2(null, 0);
  dup2(null, 1);
  constexpr int news = 3;
  if (ready == news) fcntl(news, F_SETFD, 0);
  else dup2(ready, news);
  dup2(news, 2);
  closefrom(news + 1);
  for (int s = 1; s < NSIG; ++s) signal(s, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const char* name : {abi::env_run, abi::env_stacks, abi::env_dir, abi::env_session}) unsetenv(name);
  const std::string fd = std::to_string(news);
  std::vector<const char*> argv{program.c_str(), "--dir", where.base.c_str(), "--session", where.session.c_str(), "--ready-fd", fd.c_str()};
  if (options.restore) argv.push_back("--restore");
  argv.push_back(nullptr);
  execv(program.c_str(), const_cast<char* const*>(argv.data()));
  dprintf(2, "can not start %s: %s\n", program.c_str(), std::strerror(errno));
  _exit(1);
}

constexpr std::string_view good_news = "R";

// What the starting daemon said on its pipe until it was ready, closed it, or time was up.
std::string read_readiness(int fd, steady_clock::time_point deadline) {
  std::string said;
  while (said != good_news && said.size() < 4096) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now()).count();
    pollfd wait{fd, POLLIN, 0};
    if (left <= 0 || poll(&wait, 1, static_cast<int>(left)) <= 0) break;
    char chunk[512];
    const ssize_t n = read(fd, chunk, sizeof chunk);
    if (n <= 0) break;
    said.append(chunk, static_cast<std::size_t>(n));
  }
  while (!said.empty() && (said.back() == '\n' || said.back() == ' ')) said.pop_back();
  return said;
}

}  // namespace

result<session_location> session_of(const invocation& from) {
  std::string name = from.session;
  if (name.empty())
    if (const char* const given = std::getenv(abi::env_session)) name = given;
  if (name == "new") {
    const std::string_view command = from.command ? from.command->name : "";
    const bool may = from.command && (from.command->daemon == policy::starts || (command == "daemon" && !from.words.empty() && from.words[0] == "start"));
    if (!may)
      return problem{problem_code::bad_combination, "--session new makes sense only where a daemon may be started: run, set, apply, daemon start", "new", {}};
    name = fresh_session_name();
  }
  return protocol::locate_session(from.dir, name);
}

result<std::string> find_daemon() { return find_beside("CHAOS_DAEMON", "chaosd", {"chaosd", "../bin/chaosd", "../sbin/chaosd"}, X_OK); }

result<std::string> find_library() {
  auto found = find_beside("CHAOS_LIB", "libchaos.so",
                           {"../lib/libchaos.so", "../lib/x86_64-linux-gnu/libchaos.so", "../lib/aarch64-linux-gnu/libchaos.so", "../lib64/libchaos.so", "libchaos.so"},
                           R_OK);
  if (!found) return found;
  char real[PATH_MAX];
  if (!realpath(found->c_str(), real)) return problem{problem_code::failed, *found + ": " + std::strerror(errno), *found, {}};
  if (std::strpbrk(real, " :"))
    return problem{problem_code::failed, std::string("the path of libchaos.so holds a blank or a colon, which LD_PRELOAD can not express: ") + real, real, {}};
  return std::string(real);
}

result<client> start_daemon(const session_location& where, const daemon_options& options, bool* started) {
  if (started) *started = false;
  if (auto there = client::connect(where.folder)) return there;
  auto program = find_daemon();
  if (!program) return program.error();
  if (auto made = protocol::make_session(where); !made) return made.error();
  int ready[2];
  if (pipe2(ready, O_CLOEXEC) < 0) return problem{problem_code::failed, std::string("no pipe for the daemon: ") + std::strerror(errno), "", {}};
  const pid_t child = fork();
  if (child == 0) become_daemon(*program, where, options, ready[1]);
  close(ready[1]);
  if (child < 0) {
    close(ready[0]);
    return problem{problem_code::failed, std::string("can not fork for the daemon: ") + std::strerror(errno), "", {}};
  }
  const auto deadline = steady_clock::now() + start_max;
  const std::string said = read_readiness(ready[0], deadline);
  close(ready[0]);
  if (steady_clock::now() >= deadline) kill(child, SIGKILL);  // it hangs: so must not we
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {}
  // Whether ours won or another's did: what counts is that one answers. A loser ends before the winner listens.
  const auto patience = std::min(deadline, steady_clock::now() + (said == good_news ? milliseconds(3000) : milliseconds(500)));
  for (;;) {
    auto there = client::connect(where.folder);
    if (there) {
      if (started) *started = said == good_news;
      return there;
    }
    if (steady_clock::now() >= patience) {
      std::string why = said.empty() || said == good_news ? "see " + where.file(abi::log_name) : said;
      return problem{problem_code::failed, "chaosd did not start: " + why, "", {}};
    }
    std::this_thread::sleep_for(milliseconds(5));
  }
}

result<protocol::reply> ask_started(const session_location& where, const daemon_options& options, client& link, protocol::command what, protocol::json arguments, bool* started) {
  auto reply = link.call(what, arguments);
  if (reply || reply.error().code != problem_code::no_daemon) return reply;
  auto next = start_daemon(where, options, started);
  if (!next) return next.error();
  link = std::move(*next);
  return link.call(what, std::move(arguments));
}

result<client> daemon_for(const invocation& from, const session_location& where) {
  if (from.command->daemon == policy::starts) return start_daemon(where, {});
  return daemon_that_runs(where);
}

result<client> daemon_that_runs(const session_location& where) {
  auto there = client::connect(where.folder);
  if (there || there.error().code != problem_code::no_daemon) return there;
  problem p = there.error();
  p.message = "no chaosd runs for session " + where.session + " of " + where.base;
  const auto page = look_at_rule_page(where.folder);
  if (page.usable && page.generation != 0) p.message += "; the rules that it left are not in force";
  p.message += " (chaos-ctl set, run, apply and daemon start begin one)";
  if (const auto hint = elsewhere_hint(where); !hint.empty()) p.message += "; " + hint;
  return p;
}

int ask(const invocation& from, protocol::command what, protocol::json arguments, protocol::json& answer, session_location* out) {
  const auto where = session_of(from);
  if (!where) return report(where.error(), from);
  if (out) *out = *where;
  auto link = daemon_for(from, *where);
  if (!link) return report(link.error(), from);
  auto reply = from.command->daemon == policy::starts ? ask_started(*where, {}, *link, what, std::move(arguments)) : link->call(what, std::move(arguments));
  if (!reply) return report(reply.error(), from);
  for (const auto& w : reply->warnings)
    if (!from.json) note("chaos-ctl: " + w);
  if (from.json && !reply->warnings.empty() && reply->result.is_object()) reply->result["warnings"] = reply->warnings;
  answer = std::move(reply->result);
  return exits::done;
}

result<protocol::json> chosen_rules(const invocation& from) {
  if (from.has("--all")) {
    if (!from.words.empty())
      return problem{problem_code::bad_combination, "--all means every rule: '" + from.words[0] + "' can not be named as well", from.words[0], {}};
    return protocol::json{{"all", true}};
  }
  if (from.words.empty())
    return problem{problem_code::missing_word, std::string(from.command->name) + " needs to know which rule: " + from.command->arguments, "", {"ID", "NAME", "KIND TARGET", "--all"}};
  return protocol::json{{"words", from.words}};
}

result<done> become_user(const std::string& name) {
  const passwd* const user = getpwnam(name.c_str());
  if (!user) return problem{problem_code::bad_value, "there is no user '" + name + "'", name, {}};
  if (user->pw_uid == geteuid()) return done{};
  const uid_t uid = user->pw_uid;
  const gid_t gid = user->pw_gid;
  if (geteuid() != 0) return problem{problem_code::not_allowed, "only root may become user " + name, name, {}};
  if (initgroups(name.c_str(), gid) < 0 || setgid(gid) < 0 || setuid(uid) < 0)
    return problem{problem_code::failed, "can not become user " + name + ": " + std::strerror(errno), name, {}};
  return done{};
}

}  // namespace chaos::cli
