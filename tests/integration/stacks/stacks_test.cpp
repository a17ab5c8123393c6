// Rules with --stack act where the module or function stands on the stack and nowhere else, and a walk finds what libgcc's
// unwinder finds, wherever a call may come from: callbacks, threads, signal handlers, frames without a fixed size, forks.
#include <execinfo.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <thread>

#include "tests/support/session.hpp"
#include "tests/support/temporary_folder.hpp"

extern "C" {
long library_calls(long (*call)(void*), void* with);
long library_calls_quietly(long (*call)(void*), void* with);
}

namespace {

using namespace chaos::testing_support;

int file = -1;

[[gnu::noinline]] long read_once(void*) {
  char byte;
  volatile long n = read(file, &byte, 0);
  return n < 0 ? errno : 0;
}

}  // namespace

extern "C" [[gnu::noinline]] long fetch_order() {
  volatile long error = read_once(nullptr);
  return error;
}
extern "C" [[gnu::noinline]] long fetch_basket() {
  volatile long error = read_once(nullptr);
  return error;
}

namespace {

class Stacks : public testing::Test {
 protected:
  session& s = session::of_this_process();
  temporary_folder folder;
  const std::string path = folder.path() + "/read";
  Stacks() { file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600); }
  ~Stacks() override {
    s.want_stacks(false);
    s.clear();
    close(file);
  }
  std::uint32_t fail(const std::string& options) { return s.set("error file:" + path + " EIO --on read " + options); }
};

TEST_F(Stacks, AFunctionOfTheProgram) {
  const auto id = fail("--stack fetch_order");
  EXPECT_EQ(fetch_order(), EIO);
  EXPECT_EQ(fetch_basket(), 0);
  EXPECT_EQ(fetch_order(), EIO);
  EXPECT_EQ(s.count(id).matched, 2u);
  EXPECT_EQ(s.count(id).fired, 2u);
}

TEST_F(Stacks, AGlobOfFunctions) {
  const auto id = fail("--stack fetch_*");
  EXPECT_EQ(fetch_order(), EIO);
  EXPECT_EQ(fetch_basket(), EIO);
  EXPECT_EQ(read_once(nullptr), 0);
  EXPECT_EQ(s.count(id).fired, 2u);
}

TEST_F(Stacks, AModuleAnywhereOnIt) {
  const auto id = fail("--stack libstack_library.so*");
  EXPECT_EQ(library_calls_quietly(read_once, nullptr), EIO);
  EXPECT_EQ(fetch_order(), 0);
  EXPECT_EQ(s.count(id).fired, 1u);
}

TEST_F(Stacks, AFunctionOfALibrary) {
  const auto id = fail("--stack library_calls_quietly");
  EXPECT_EQ(library_calls_quietly(read_once, nullptr), EIO);
  EXPECT_EQ(library_calls(read_once, nullptr), 0);
  EXPECT_EQ(s.count(id).fired, 1u);
}

TEST_F(Stacks, AStaticFunctionByTheFullSymbolTable) {
  const auto id = fail("--stack quiet_*");
  EXPECT_EQ(library_calls_quietly(read_once, nullptr), EIO);
  EXPECT_EQ(s.count(id).fired, 1u);
}

TEST_F(Stacks, NobodyElsesStack) {
  const auto id = fail("--stack no_such_*");
  EXPECT_EQ(fetch_order(), 0);
  EXPECT_EQ(s.count(id).matched, 0u);
}

TEST_F(Stacks, TogetherWithWhatElseNarrows) {
  const auto id = fail("--stack fetch_order --when 2 --scope process");
  EXPECT_EQ(fetch_basket(), 0);
  EXPECT_EQ(fetch_order(), 0);
  EXPECT_EQ(fetch_basket(), 0);
  EXPECT_EQ(fetch_order(), EIO) << "only calls with that stack are counted";
  EXPECT_EQ(s.count(id).matched, 2u);
}

[[gnu::noinline]] void* allocate_order(std::size_t n) {
  void* volatile p = std::malloc(n);
  return p;
}
extern "C" [[gnu::noinline]] void* order_pool(std::size_t n) {
  void* volatile p = allocate_order(n);
  return p;
}

TEST_F(Stacks, Allocations) {
  const auto id = s.set("enomem malloc --stack order_pool");
  void* const failed = order_pool(100);
  void* const good = allocate_order(100);
  s.remove(id);
  EXPECT_EQ(failed, nullptr);
  EXPECT_NE(good, nullptr);
  EXPECT_EQ(s.count(id).fired, 1u);
  std::free(good);
}

TEST_F(Stacks, EveryThreadHasItsOwn) {
  const auto id = fail("--stack fetch_order");
  constexpr unsigned threads = 8, rounds = 500;
  std::atomic<unsigned> wrong{0};
  std::vector<std::thread> all;
  for (unsigned t = 0; t < threads; ++t)
    all.emplace_back([&, t] {
      for (unsigned i = 0; i < rounds; ++i)
        if ((t % 2 ? fetch_order() : fetch_basket()) != (t % 2 ? EIO : 0)) ++wrong;
    });
  for (auto& t : all) t.join();
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(s.count(id).fired, threads / 2 * rounds);
}

TEST_F(Stacks, AForkedChildWhileOthersWalk) {
  const auto id = fail("--stack fetch_order");
  std::atomic<bool> over{false};
  std::thread busy([&] { while (!over) fetch_order(); });
  int good = 0;
  constexpr int children = 50;
  for (int i = 0; i < children; ++i) {
    const pid_t child = fork();
    if (child == 0) _exit(fetch_order() == EIO && fetch_basket() == 0 ? 0 : 1);
    int status = -1;
    waitpid(child, &status, 0);
    good += WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  over = true;
  busy.join();
  EXPECT_EQ(good, children);
  EXPECT_GE(s.count(id).fired, static_cast<std::uint64_t>(children));
}

TEST_F(Stacks, StandOnlyInEventsThatAreWatched) {
  const auto id = fail("");
  fetch_order();
  s.want_stacks(true);
  library_calls_quietly(read_once, nullptr);
  s.want_stacks(false);
  fetch_order();
  const auto stacks = s.stacks(id);
  ASSERT_EQ(s.count(id).fired, 3u);
  ASSERT_EQ(stacks.size(), 1u);
  ASSERT_GE(stacks[0].size(), 4u);
  EXPECT_NE(stacks[0][0].find("stacks_test(_ZN"), std::string::npos) << stacks[0][0];
  EXPECT_NE(stacks[0][0].find("read_once"), std::string::npos) << stacks[0][0];
  EXPECT_EQ(stacks[0][1].find("libstack_library.so(quiet_helper+0x"), 0u) << stacks[0][1];
  EXPECT_EQ(stacks[0][2].find("libstack_library.so(library_calls_quietly+0x"), 0u) << stacks[0][2];
}

// --- the walk itself, compared with backtrace()

std::vector<void*> theirs_latest;

[[gnu::noinline]] long read_and_look(void*) {
  char byte;
  volatile long n = read(file, &byte, 0);
  void* frames[64];
  const int count = backtrace(frames, 64);
  theirs_latest.assign(frames, frames + count);
  return n;
}

std::string offset_of(const std::string& frame) { return frame.substr(frame.rfind("+0x") + 1, frame.find(')') - frame.rfind("+0x") - 1); }

class Walk : public Stacks {
 protected:
  // `way` calls read_and_look somehow. The first frame differs by the call site; from its caller on they must be the same.
  void expect_same(const std::function<void()>& way) {
    const auto id = s.set("observe file:" + path + " --on read");
    void* warm[1];
    backtrace(warm, 1);  // loads libgcc_s
    s.want_stacks(true);
    way();
    s.want_stacks(false);
    const auto stacks = s.stacks(id);
    s.remove(id);
    ASSERT_EQ(stacks.size(), 1u);
    const auto& ours = stacks[0];
    ASSERT_GE(ours.size(), 4u);
    char** const names = backtrace_symbols(theirs_latest.data(), static_cast<int>(theirs_latest.size()));
    std::vector<std::string> theirs(names, names + theirs_latest.size());
    std::free(names);
    for (std::size_t i = 1; i < ours.size(); ++i) {
      ASSERT_LT(i, theirs.size());
      const std::string module = ours[i].substr(0, std::min(ours[i].find('('), ours[i].rfind("+0x")));
      EXPECT_NE(theirs[i].find(module + "("), std::string::npos) << i << ": " << ours[i] << " and " << theirs[i];
      if (ours[i].find('(') == std::string::npos || theirs[i].find("(+") != std::string::npos) continue;  // names on one side only
      EXPECT_NE(theirs[i].find(offset_of(ours[i])), std::string::npos) << i << ": " << ours[i] << " and " << theirs[i];
    }
    EXPECT_GE(ours.size() + 1, std::min<std::size_t>(theirs.size(), chaos::abi::stack_frame_max)) << "all of it, or as much as there is room for";
  }
};

TEST_F(Walk, FromMain) { expect_same([] { read_and_look(nullptr); }); }

TEST_F(Walk, ThroughALibrary) { expect_same([] { library_calls_quietly(read_and_look, nullptr); }); }

TEST_F(Walk, ThroughLibcCallingBack) {
  expect_same([] {
    int two[] = {2, 1};
    qsort(two, 2, sizeof two[0], [](const void* a, const void* b) {
      read_and_look(nullptr);
      return *static_cast<const int*>(a) - *static_cast<const int*>(b);
    });
  });
}

TEST_F(Walk, FromAThread) { expect_same([] { std::thread([] { read_and_look(nullptr); }).join(); }); }

TEST_F(Walk, FromASignalHandler) {
  expect_same([] {
    struct sigaction act{}, before{};
    act.sa_handler = [](int) { read_and_look(nullptr); };
    sigaction(SIGUSR1, &act, &before);
    raise(SIGUSR1);
    sigaction(SIGUSR1, &before, nullptr);
  });
}

TEST_F(Walk, FromASignalStack) {
  expect_same([] {
    std::vector<char> room(64 * 1024);
    stack_t there{}, old{};
    there.ss_sp = room.data();
    there.ss_size = room.size();
    sigaltstack(&there, &old);
    struct sigaction act{}, before{};
    act.sa_handler = [](int) { read_and_look(nullptr); };
    act.sa_flags = SA_ONSTACK;
    sigaction(SIGUSR1, &act, &before);
    raise(SIGUSR1);
    sigaction(SIGUSR1, &before, nullptr);
    sigaltstack(&old, nullptr);
  });
}

[[gnu::noinline]] void with_moving_frame(std::size_t n) {
  auto* const room = static_cast<char*>(alloca(n));
  asm volatile("" : : "r"(room) : "memory");
  read_and_look(nullptr);
}
TEST_F(Walk, ThroughAFrameOfNoFixedSize) { expect_same([] { with_moving_frame(static_cast<std::size_t>(getpid() % 7 + 100)); }); }

[[gnu::noinline]] void with_realigned_frame(std::size_t n) {
  alignas(64) volatile char room[256];
  auto* const more = static_cast<char*>(alloca(n));
  room[0] = 1;
  asm volatile("" : : "r"(more), "r"(&room[0]) : "memory");
  read_and_look(nullptr);
}
TEST_F(Walk, ThroughARealignedFrame) { expect_same([] { with_realigned_frame(static_cast<std::size_t>(getpid() % 7 + 100)); }); }

[[gnu::noinline]] long deep(unsigned n) {
  volatile long result = n ? deep(n - 1) : read_and_look(nullptr);
  return result + 1;
}
TEST_F(Walk, AsDeepAsThereIsRoomFor) { expect_same([] { deep(100); }); }

}  // namespace
