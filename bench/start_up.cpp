// What the shim adds to the start of a program, and to its memory: /bin/true natively and preloaded in turn, A B B A, and
// `cat` that waits for input. Prints rows of a Markdown table.
//
//   build/release/bin/bench_start_up [quads]
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/process.hpp"
#include "tests/support/session.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/waiting.hpp"

using namespace chaos::testing_support;

namespace {

struct surroundings {
  std::vector<std::string> text;
  std::vector<char*> pointers;
  explicit surroundings(const environment& e) : text(e) {
    text.push_back("PATH=/usr/bin:/bin");
    for (auto& t : text)
      if (t.find('=') != std::string::npos) pointers.push_back(t.data());
    pointers.push_back(nullptr);
  }
};

double start_us(surroundings& e) {
  char name[] = "/bin/true";
  char* argv[] = {name, nullptr};
  pid_t pid = -1;
  const std::uint64_t start = monotonic_ns();
  if (posix_spawn(&pid, name, nullptr, nullptr, argv, e.pointers.data()) != 0) std::abort();
  int status = 0;
  waitpid(pid, &status, 0);
  if (status != 0) std::abort();
  return static_cast<double>(monotonic_ns() - start) * 1e-3;
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

long resident_kb(const environment& e, const char* what) {
  program p({"/bin/cat"}, e);
  p.send("x\n");
  p.line();
  std::ifstream in("/proc/" + std::to_string(p.pid()) + "/smaps_rollup");
  const std::string wanted = std::string(what) + ":";
  for (std::string word; in >> word;)
    if (word == wanted) {
      long kb = 0;
      in >> kb;
      return kb;
    }
  return -1;
}

}  // namespace

int main(int argc, char** argv) {
  const int quads = argc > 1 ? std::atoi(argv[1]) : 200;
  const temporary_folder folder;
  session s(folder.path());
  surroundings native(natively()), shim(under_shim(folder.path()));
  std::vector<double> added, same, direct;
  for (int i = 0; i < quads; ++i) {
    const double a1 = start_us(shim), b1 = start_us(native), b2 = start_us(native), a2 = start_us(shim);
    added.push_back((a1 + a2 - b1 - b2) / 2);
    same.push_back(b1 - b2);
    direct.push_back((b1 + b2) / 2);
  }
  std::puts("| process | direct | added | reach |\n|---|---|---|---|");
  std::printf("| A/A: start of /bin/true | %.0f us | %+.0f us | 0 |\n", median(direct), median(same));
  std::printf("| start of /bin/true | %.0f us | %+.0f us | ≤ +1000 us |\n", median(direct), median(added));
  const long before = resident_kb(natively(), "Rss"), with = resident_kb(under_shim(folder.path()), "Rss");
  std::printf("| resident memory of an idle target | %ld KiB | %+ld KiB | ≤ +1024 KiB |\n", before, with - before);
  s.set("latency 10.0.0.1:1 1ms");
  s.set("observe file:/nowhere/**");
  const long armed = resident_kb(under_shim(folder.path()), "Rss");
  std::printf("| the same, armed | %ld KiB | %+ld KiB | ≤ +1024 KiB |\n", before, armed - before);
}
