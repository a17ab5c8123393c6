// main() of tests that run under libchaos.so: makes a session of its own, runs this program again with the library
// preloaded and keeps the lease until it has ended. The tests themselves set rules and make the calls that these hit. Cases in
// which something was late, and nothing else, are tried again, in a session of their own: at most `tries` times in all.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "lateness.hpp"
#include "process.hpp"
#include "session.hpp"
#include "temporary_folder.hpp"

using namespace chaos::testing_support;

namespace {

constexpr int tries = 3;
constexpr const char* late_file = "CHAOS_TEST_LATE";

// `late`: a filter of the cases to be tried again, if they are all that failed.
int keep_session(char** argv, std::string& late) {
  temporary_folder folder;
  const std::string told = folder.path() + "/late";
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
    setenv(late_file, told.c_str(), 1);
    execv("/proc/self/exe", argv);
    std::perror("exec");
    _exit(127);
  }
  for (;;) {
    int status = 0;
    if (waitpid(child, &status, WNOHANG) == child) {
      if (WIFSIGNALED(status)) std::fprintf(stderr, "under the shim: ended by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
      std::ifstream cases(told);
      late.assign(std::istreambuf_iterator<char>(cases), {});
      return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
    s.renew_lease();
    usleep(5'000);
  }
}

int try_again(int argc, char** argv) {
  std::vector<char*> words(argv, argv + argc);
  std::string late, filter;
  int status = keep_session(argv, late);
  for (int left = tries - 1; status && left && !late.empty(); --left) {
    std::printf("late, and tried again: %s\n", late.c_str());
    std::fflush(stdout);
    filter = "--gtest_filter=" + late;
    words.resize(static_cast<std::size_t>(argc));
    words.insert(words.end(), {filter.data(), nullptr});
    status = keep_session(words.data(), late);
  }
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  bool listing = false;
  for (int i = 1; i < argc; ++i) listing |= std::strcmp(argv[i], "--gtest_list_tests") == 0;
  if (!listing && !std::getenv("CHAOS_TEST_INSIDE")) return try_again(argc, argv);
  signal(SIGPIPE, SIG_IGN);
  testing::InitGoogleTest(&argc, argv);
  if (!listing && !session::of_this_process().attached(getpid())) {
    std::fprintf(stderr, "libchaos.so is not in this process\n");
    return 1;
  }
  auto* const late = new lateness;  // the list of listeners owns it
  testing::UnitTest::GetInstance()->listeners().Append(late);
  const int status = RUN_ALL_TESTS();
  if (const char* const tell = std::getenv(late_file); tell && !late->cases().empty()) std::ofstream(tell) << late->cases();
  return status;
}
