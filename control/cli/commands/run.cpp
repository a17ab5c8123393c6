// chaos-ctl run: becomes the target under the shim. What can be known to fail is refused before; what fails silently in
// the loader is found out by a watcher that is nobody's child.
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "../link.hpp"
#include "../local_check.hpp"
#include "../output.hpp"
#include "../pages.hpp"
#include "../reach.hpp"
#include "chaos/abi/session.hpp"

namespace chaos::cli::commands {

namespace {

using rules::problem;
using rules::problem_code;
using rules::result;

constexpr auto attach_max = std::chrono::milliseconds(2000);

// Waits until the shim reports from process `target`, the target ends, or time is up; then says what is missing.
[[noreturn]] void watch_attach(pid_t target, const std::string& folder, const std::string& program, const std::string& library) {
  const int gone = static_cast<int>(syscall(SYS_pidfd_open, target, 0));
  const auto deadline = std::chrono::steady_clock::now() + attach_max;
  for (auto pause = std::chrono::milliseconds(2);; pause = std::min(pause * 2, std::chrono::milliseconds(50))) {
    if (is_attached(folder, target)) _exit(0);
    if (std::chrono::steady_clock::now() >= deadline) break;
    pollfd wait{gone, POLLIN, 0};
    if (gone >= 0 && poll(&wait, 1, static_cast<int>(pause.count())) > 0) _exit(0);  // it ended: its business
    if (gone < 0) {
      if (kill(target, 0) != 0) _exit(0);
      usleep(static_cast<useconds_t>(pause.count() * 1000));
    }
  }
  dprintf(2, "chaos-ctl run: warning: %s (pid %d) did not attach within 2 s: no fault will reach it; see chaos-ctl doctor --pid %d (%s)\n",
          program.c_str(), static_cast<int>(target), static_cast<int>(target), library.c_str());
  _exit(0);
}

void leave_watcher(const std::string& folder, const std::string& program, const std::string& library) {
  const pid_t target = getpid();
  const pid_t first = fork();
  if (first < 0) return;
  if (first > 0) {
    while (waitpid(first, nullptr, 0) < 0 && errno == EINTR) {}
    return;
  }
  if (fork() != 0) _exit(0);
  const int null = open("/dev/null", O_RDWR);
  dup2(null, 0);
  dup2(null, 1);  // whoever waits for the target's output must not wait for us
  closefrom(3);
  watch_attach(target, folder, program, library);
}

// Programs that ask for io_uring are told that the kernel has none, also past libc and before any rule. The filter stays
// for good, with every child, and wants no_new_privs.
bool refuse_io_uring() {
#if defined(__x86_64__)
  constexpr std::uint32_t machine = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
  constexpr std::uint32_t machine = AUDIT_ARCH_AARCH64;
#else
#error "seccomp filter: name the audit architecture"
#endif
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, machine, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{static_cast<unsigned short>(std::size(code)), code};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

// `env -i CMD`: the program that matters starts without our environment.
bool clears_environment(const std::vector<std::string>& words) {
  if (words[0].substr(words[0].rfind('/') + 1) != "env") return false;
  for (std::size_t i = 1; i < words.size() && (words[i][0] == '-' || words[i].find('=') != std::string::npos); ++i)
    if (words[i] == "-" || words[i] == "-i" || words[i] == "--ignore-environment") return true;
  return false;
}

void prepend(const char* name, const std::string& value, const char* separator) {
  const char* const old = std::getenv(name);
  setenv(name, (old && *old ? value + separator + old : value).c_str(), 1);
}

bool stacks_asked_for(const invocation& from) {
  const char* const set = std::getenv(abi::env_stacks);
  return from.has("--stacks") || (set && *set && std::strcmp(set, "0") != 0);
}

result<json> rules_of(const invocation& from) {
  json checked = json::array();
  const auto found = from.options.find("--set");
  if (found == from.options.end()) return checked;
  for (const auto& text : found->second) {
    const auto words = rules::split_words(text);
    if (!words) return words.error();
    const auto spec = rules::spec_from_words(*words);
    if (!spec) return spec.error();
    if (const auto possible = check_rules({&*spec, 1}, true); !possible) return possible.error();
    if (spec->has(rules::option::stack_) && !stacks_asked_for(from))
      return problem{problem_code::not_allowed, "a rule with --stack looks at call stacks, which needs chaos-ctl run --stacks", "--stack", {"--stacks"}};
    checked.push_back(rules::json_of(*spec));
  }
  return checked;
}

}  // namespace

int run(const invocation& from) {
  if (from.words.empty()) return report({problem_code::missing_word, "run needs a program: chaos-ctl run [OPTION]… -- CMD [ARG]…", "", {"CMD"}}, from);
  const auto own_rules = rules_of(from);
  if (!own_rules) return report(own_rules.error(), from);
  if (from.has("--user"))
    if (const auto became = become_user(from.get("--user")); !became) return report(became.error(), from);
  const auto program = examine_program(from.words[0]);
  if (!program) return report(program.error(), from);
  if (const auto* refusal = program->first_refusal())
    return report({problem_code::failed, refusal->text + (refusal->instead.empty() ? "" : "; " + refusal->instead), from.words[0], {}}, from);
  const auto library = find_library();
  if (!library) return report(library.error(), from);
  const auto where = session_of(from);
  if (!where) return report(where.error(), from);
  auto link = daemon_for(from, *where);
  if (!link) return report(link.error(), from);

  for (const auto& f : program->findings)
    if (f.level == severity::limited) warn(f.text + (f.instead.empty() ? "" : "; " + f.instead));
  if (clears_environment(from.words))
    warn("env -i drops LD_PRELOAD, so that no fault reaches what it starts: chaos-ctl run belongs behind it (env -i chaos-ctl run -- …)");
  unsetenv(abi::env_run);
  if (!own_rules->empty()) {
    auto begun = ask_started(*where, {}, *link, protocol::command::run_begin, {{"pid", getpid()}, {"rules", *own_rules}});
    if (!begun) return report(begun.error(), from);
    for (const auto& w : begun->warnings) warn(w);
    setenv(abi::env_run, std::to_string(number(begun->result, "run")).c_str(), 1);
  }
  setenv(abi::env_dir, where->base.c_str(), 1);
  setenv(abi::env_session, where->session.c_str(), 1);
  if (from.has("--stacks")) setenv(abi::env_stacks, "1", 1);
  prepend("LD_PRELOAD", program->needs_asan_first ? program->asan_library + ":" + *library : *library, ":");
  if (from.session == "new" && isatty(2)) note("CHAOS_SESSION=" + where->session);

  if (from.has("--no-io-uring") && !refuse_io_uring())
    return report({problem_code::failed, std::string("--no-io-uring: the kernel takes no seccomp filter: ") + std::strerror(errno), "--no-io-uring", {}}, from);
  leave_watcher(where->folder, from.words[0], *library);
  std::vector<char*> argv;
  for (const auto& word : from.words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  execv(program->chain.front().c_str(), argv.data());
  return report({problem_code::failed, "can not start " + program->chain.front() + ": " + std::strerror(errno), from.words[0], {}}, from);
}

}  // namespace chaos::cli::commands
