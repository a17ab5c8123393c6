// main() of tests that run under libchaos.so: makes a session of its own, runs this program again with the library
// preloaded and keeps the lease until it has ended. The tests themselves set rules and make the calls that these hit.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "process.hpp"
#include "session.hpp"
#include "temporary_folder.hpp"

using namespace chaos::testing_support;

namespace {

int keep_session(char** argv) {
  temporary_folder folder;
  session s(folder.path());
  const pid_t outer = getpid();
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != outer) _exit(1);
    for (const auto& setting : under_shim(folder.path())) {
      const auto at = setting.find('=');
      if (at == std::string::npos) unsetenv(setting.c_str());
      else setenv(setting.substr(0, at).c_str(), setting.c_str() + at + 1, 1);
    }
    setenv("CHAOS_TEST_INSIDE", "1", 1);
    execv("/proc/self/exe", argv);
    std::perror("exec");
    _exit(127);
  }
  for (;;) {
    int status = 0;
    if (waitpid(child, &status, WNOHANG) == child) {
      if (WIFSIGNALED(status)) std::fprintf(stderr, "under the shim: ended by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
      return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
    s.renew_lease();
    usleep(5'000);
  }
}

}  // namespace

int main(int argc, char** argv) {
  bool listing = false;
  for (int i = 1; i < argc; ++i) listing |= std::strcmp(argv[i], "--gtest_list_tests") == 0;
  if (!listing && !std::getenv("CHAOS_TEST_INSIDE")) return keep_session(argv);
  signal(SIGPIPE, SIG_IGN);
  testing::InitGoogleTest(&argc, argv);
  if (!listing && !session::of_this_process().attached(getpid())) {
    std::fprintf(stderr, "libchaos.so is not in this process\n");
    return 1;
  }
  return RUN_ALL_TESTS();
}
