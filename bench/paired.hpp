// Paired measurement inside one process: batches of about 30 µs in the order A B B A, many of them, and the median of the
// differences, so that what else the machine does falls out. And the start of a benchmark under libchaos.so.
#pragma once
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

#include "tests/support/session.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/waiting.hpp"

namespace chaos::bench {

struct paired {
  double added_ns, direct_ns, low_ns, high_ns;  // median, median of the second, quartiles of the difference
};

// `between` runs after each batch, outside the timing; a batch has at most so many calls.
template <class A, class B, class Between = void (*)()>
paired compare(A a, B b, int quads = 200, int at_most = 1 << 20, Between between = [] {}) {
  const auto batch = [&](auto& f, int n) {
    const auto from = testing_support::monotonic_ns();
    for (int i = 0; i < n; ++i) f();
    const double per_call = static_cast<double>(testing_support::monotonic_ns() - from) / n;
    between();
    return per_call;
  };
  int n = 1;
  while (n < at_most && batch(b, n) * n < 30'000) n *= 2;
  std::vector<double> difference, direct;
  for (int q = 0; q < quads; ++q) {
    const double a1 = batch(a, n), b1 = batch(b, n), b2 = batch(b, n), a2 = batch(a, n);
    difference.push_back((a1 + a2 - b1 - b2) / 2);
    direct.push_back((b1 + b2) / 2);
  }
  std::sort(difference.begin(), difference.end());
  std::sort(direct.begin(), direct.end());
  return {difference[difference.size() / 2], direct[direct.size() / 2], difference[difference.size() / 4], difference[difference.size() * 3 / 4]};
}

template <class F>
F in_libc(const char* name) {  // the function itself, past the hook
  return reinterpret_cast<F>(dlsym(dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD), name));
}

// Runs `measure` in this program started again under libchaos.so, in a session of its own whose lease is kept.
inline int under_shim(char** argv, int (*measure)(testing_support::session&)) {
  if (std::getenv("CHAOS_BENCH_INSIDE")) {
    testing_support::session& s = testing_support::session::of_this_process();
    std::atomic<bool> over{false};
    std::thread lease([&] {
      while (!over) {
        s.renew_lease();
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
      }
    });
    const int result = measure(s);
    over = true;
    lease.join();
    return result;
  }
  const testing_support::temporary_folder folder;
  const pid_t child = fork();
  if (child == 0) {
    setenv("CHAOS_DIR", folder.path().c_str(), 1);
    setenv("LD_PRELOAD", CHAOS_LIBRARY, 1);
    setenv("CHAOS_BENCH_INSIDE", "1", 1);
    execv("/proc/self/exe", argv);
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

}  // namespace chaos::bench
