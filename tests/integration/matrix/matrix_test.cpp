// Surroundings that break preload libraries: each target runs in them, still works, and a rule still acts on it.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/support/process.hpp"
#include "tests/support/session.hpp"
#include "tests/support/sockets.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/waiting.hpp"

namespace chaos::matrix {
namespace {

using namespace testing_support;

class Matrix : public testing::Test {
 protected:
  temporary_folder folder;
  session s{folder.path()};
  listener service{1024};
  const std::string port = std::to_string(service.port);
  const environment armed = under_shim(folder.path());

  std::uint32_t refuse() { return s.set("error " + service.target() + " ECONNREFUSED --on connect"); }
  environment preloading(const std::string& libraries) {
    environment e = armed;
    e[0] = "LD_PRELOAD=" + libraries;
    return e;
  }
};
#define EXPECT_RAN(o) EXPECT_EQ((o).status, 0) << (o).out << (o).err << ((o).killed ? "killed at its deadline" : "")

TEST_F(Matrix, ARuleActsOnAPlainTarget) {
  const outcome idle = run({TARGET, "dial", port}, armed);
  EXPECT_EQ(idle.out, "connected\n");
  const auto id = refuse();
  const outcome o = run({TARGET, "dial", port}, armed);
  EXPECT_RAN(o);
  EXPECT_EQ(o.out, "refused\n");
  EXPECT_EQ(s.count(id).fired, 1u);
}

TEST_F(Matrix, ARunningTargetIsReachedAndLetGo) {
  program p({TARGET, "wait", port}, armed);
  p.send("\n");
  EXPECT_EQ(p.line(), "connected");
  EXPECT_TRUE(s.attached(p.pid()));
  const auto id = refuse();
  p.send("\n");
  EXPECT_EQ(p.line(), "refused");
  s.remove(id);
  p.send("\n");
  EXPECT_EQ(p.line(), "connected");
  refuse();
  s.end_lease();  // the daemon is gone
  p.send("\n");
  EXPECT_EQ(p.line(), "connected");
  EXPECT_EQ(p.finish().status, 0);
  EXPECT_EQ(s.report().session.lease_lapses.load(), 1u);
}

TEST_F(Matrix, AnotherLibrarysConstructorComesFirst) {
  const auto id = refuse();
  for (const bool ours_first : {true, false}) {
    const std::string both = ours_first ? std::string(library) + " " EARLY : std::string(EARLY) + " " + library;
    const outcome o = run({TARGET, "dial", port}, preloading(both));
    EXPECT_RAN(o);
    EXPECT_EQ(o.err, "early works\n");
    EXPECT_EQ(o.out, "refused\n");
  }
  EXPECT_EQ(s.count(id).fired, 2u);
}

TEST_F(Matrix, AMallocThatCallsBack) {
  const auto id = refuse(), seen = s.set("observe malloc");
  for (const bool ours_first : {true, false}) {
    const std::string both = ours_first ? std::string(library) + " " CALLBACK : std::string(CALLBACK) + " " + library;
    const outcome works = run({TARGET, "works"}, preloading(both)), o = run({TARGET, "dial", port}, preloading(both));
    EXPECT_RAN(works);
    EXPECT_EQ(works.out, "works\n") << works.err;
    EXPECT_EQ(works.err, "called back\n");
    EXPECT_EQ(o.out, "refused\n");
  }
  EXPECT_EQ(s.count(id).fired, 2u);
  EXPECT_GT(s.count(seen).fired, 0u);
}

TEST_F(Matrix, AModuleThatPrefersItsOwnLibraries) {
  EXPECT_EQ(run({TARGET, "module", port, MODULE}, armed).out, "connected\n");
  const auto id = refuse();
  EXPECT_EQ(run({TARGET, "module", port, MODULE}, armed).out, "refused\n");
  EXPECT_EQ(s.count(id).fired, 1u);
}

TEST_F(Matrix, ForksThreadsAndSignals) {
  const auto id = refuse();
  const outcome o = run({TARGET, "forks", port}, armed);
  EXPECT_RAN(o);
  EXPECT_EQ(o.out, "40 children good, ticked\n");
  EXPECT_GE(s.count(id).fired, 40u);
}

TEST_F(Matrix, ForkedChildrenHaveAnIdentityOfTheirOwn) {
  const auto id = refuse();
  const outcome o = run({"/bin/sh", "-c", std::string(TARGET) + " dial " + port + "; " + TARGET + " dial " + port + " & wait"}, armed);
  EXPECT_EQ(o.out, "refused\nrefused\n");
  const auto events = s.events(id);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_NE(events[0].pid, events[1].pid);
}

TEST_F(Matrix, VforkedChildrenLeaveTheirParentAlone) {
  const auto id = refuse();
  const outcome o = run({TARGET, "vforks", port}, armed);
  EXPECT_RAN(o);
  EXPECT_EQ(o.out, "20 good, refused\n");
  EXPECT_EQ(s.count(id).fired, 21u);
}

TEST_F(Matrix, AHeldThreadIsCancelled) {
  const auto id = s.set("latency " + service.target() + " 60s");
  const double start = monotonic_ms();
  program p({TARGET, "cancel", port}, armed);
  const unique_fd peer = accept(service.fd, nullptr, nullptr);
  ASSERT_EQ(send(peer, "x", 1, 0), 1);
  EXPECT_EQ(p.line(), "held");
  EXPECT_TRUE(wait_until([&] { return s.count(id).fired == 1; }));
  p.send("\n");
  const outcome o = p.finish(std::chrono::seconds(8));
  EXPECT_RAN(o);
  EXPECT_EQ(o.out, "cancelled, works\n");
  EXPECT_LT(monotonic_ms() - start, 8000);
}

TEST_F(Matrix, EveryDescriptorClosed) {
  const auto id = refuse();
  const outcome o = run({TARGET, "closefrom", port}, armed);
  EXPECT_RAN(o);
  EXPECT_EQ(o.out, "works refused\n");
  EXPECT_EQ(s.count(id).fired, 1u);
}

TEST_F(Matrix, Chroot) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  const auto id = refuse();
  const outcome o = run({TARGET, "chroot", port}, armed);
  EXPECT_RAN(o);
  EXPECT_EQ(o.out, "works refused\n");
  EXPECT_EQ(s.count(id).fired, 1u);
}

TEST_F(Matrix, AnEmptyEnvironmentIsNotReachedAndNotHarmed) {
  const auto id = refuse();
  const outcome o = run({"/usr/bin/env", "-i", TARGET, "dial", port}, armed);
  EXPECT_RAN(o);
  EXPECT_EQ(o.out, "connected\n") << "LD_PRELOAD is gone: doctor says so";
  EXPECT_EQ(s.count(id).fired, 0u);
}

TEST_F(Matrix, AnOverwrittenEnvironment) {
  const auto id = refuse();
  const outcome o = run({TARGET, "environ", port}, armed);
  EXPECT_RAN(o);
  EXPECT_EQ(o.out, "works refused\n");
  EXPECT_EQ(s.count(id).fired, 1u);
}

TEST_F(Matrix, AThousandThreads) {
  const auto seen = s.set("observe malloc");
  const outcome o = run({TARGET, "threads", "1000"}, armed);
  EXPECT_RAN(o);
  EXPECT_EQ(o.out, "1000 threads 20000 good\n");
  EXPECT_GE(s.count(seen).fired, 40000u);
  EXPECT_EQ(s.count(seen).fired, s.count(seen).matched);
}

TEST_F(Matrix, AnIdleShimMakesNoSystemCallInASandbox) {
  for (const environment& e : {natively(), armed, under_shim(folder.path() + "/none/here")}) {
    const outcome o = run({TARGET, "sandbox"}, e);
    EXPECT_RAN(o);
    EXPECT_EQ(o.out, "works\n");
  }
}

TEST_F(Matrix, Jemalloc) {
  const std::string jemalloc = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2";
  if (access(jemalloc.c_str(), R_OK) != 0) GTEST_SKIP() << "no libjemalloc.so.2";
  const auto id = refuse();
  for (const bool ours_first : {true, false}) {
    const std::string both = ours_first ? library + (" " + jemalloc) : jemalloc + " " + library;
    EXPECT_EQ(run({TARGET, "threads", "20"}, preloading(both)).out, "20 threads 400 good\n");
    const outcome o = run({TARGET, "dial", port}, preloading(both));
    EXPECT_RAN(o);
    EXPECT_EQ(o.out, "refused\n");
  }
  EXPECT_EQ(s.count(id).fired, 2u);
}

TEST_F(Matrix, AProgramWhoseOwnMallocIsNotReadyBeforeItBegins) {
  const auto id = s.set("replace env:HOME_OF_NOBODY something");
  const outcome o = run({UNREADY_MALLOC}, armed);
  EXPECT_RAN(o);
  EXPECT_EQ(o.out, "a variable\n");
  EXPECT_GE(s.count(id).fired, 1u);
}

#ifdef ASAN_TARGET
TEST_F(Matrix, AProgramBuiltWithAsan) {
  const auto id = refuse();
  environment e = armed;
  e.push_back("ASAN_OPTIONS=verify_asan_link_order=0");
  const outcome o = run({ASAN_TARGET, "dial", port}, e), many = run({ASAN_TARGET, "threads", "8"}, e);
  EXPECT_RAN(o);
  EXPECT_EQ(o.out, "refused\n");
  EXPECT_EQ(many.out, "8 threads 160 good\n") << many.err;
  EXPECT_EQ(s.count(id).fired, 1u);
}
#endif
#ifdef TSAN_TARGET
TEST_F(Matrix, AProgramBuiltWithTsan) {
  const auto id = refuse();
  const outcome o = run({TSAN_TARGET, "dial", port}, armed), many = run({TSAN_TARGET, "threads", "8"}, armed);
  EXPECT_RAN(o);
  EXPECT_EQ(o.out, "refused\n");
  EXPECT_EQ(many.out, "8 threads 160 good\n") << many.err;
  EXPECT_EQ(s.count(id).fired, 1u);
}
#endif
#ifdef MUSL_TARGET
TEST_F(Matrix, AProgramBuiltWithMuslIsReachedOrCleanlyRefused) {
  const outcome native = run({MUSL_TARGET, "works"}, natively());
  if (native.status != 0) GTEST_SKIP() << "musl programs do not run here: " << native.err;
  const auto id = refuse();
  const outcome o = run({MUSL_TARGET, "dial", port}, armed);
  if (o.status == 0) {  // loaded, or left out by its loader with a message
    EXPECT_EQ(o.out, s.count(id).fired ? "refused\n" : "connected\n") << o.err;
  } else {
    EXPECT_EQ(o.status, 127) << "its loader refuses: " << o.err;
    EXPECT_NE(o.err.find("libchaos"), std::string::npos) << o.err;
  }
  std::printf("musl: status %d, %s%s", o.status, o.out.c_str(), o.err.c_str());
}
#endif

TEST_F(Matrix, APageOfAnotherVersionLeavesItDormantWithOneLine) {
  const auto id = refuse();
  std::fstream page(s.folder() + "/" + abi::rule_page_name, std::ios::in | std::ios::out | std::ios::binary);
  const std::uint32_t other = abi::abi_version + 1;
  page.seekp(offsetof(abi::rule_page, version));
  page.write(reinterpret_cast<const char*>(&other), sizeof other);
  page.close();
  const outcome o = run({TARGET, "dial", port}, armed);
  EXPECT_RAN(o);
  EXPECT_EQ(o.out, "connected\n");
  EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
  EXPECT_NE(o.err.find("libchaos: "), std::string::npos) << o.err;
  EXPECT_NE(o.err.find("version"), std::string::npos) << o.err;
  EXPECT_EQ(s.count(id).fired, 0u);
}

TEST_F(Matrix, APageThatIsTooShortOrRubbishLeavesItDormant) {
  for (const std::size_t size : {0u, 10u, 100000u}) {
    temporary_folder broken;
    std::filesystem::create_directories(broken.path() + "/default");
    chmod((broken.path() + "/default").c_str(), 0700);
    std::ofstream(broken.path() + "/default/" + abi::rule_page_name) << std::string(size, 'x');
    const outcome o = run({TARGET, "works"}, under_shim(broken.path()));
    EXPECT_RAN(o);
    EXPECT_EQ(o.out, "works\n");
    EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
  }
}

TEST_F(Matrix, NoSessionFolderIsSilentAndHarmless) {
  for (const std::string& dir : {folder.path() + "/none/here", std::string("/dev/null/x"), std::string("/proc")}) {
    const outcome o = run({TARGET, "works"}, under_shim(dir));
    EXPECT_RAN(o);
    EXPECT_EQ(o.out, "works\n");
    EXPECT_EQ(o.err, "") << dir;
  }
}

TEST_F(Matrix, AFolderThatOthersMayWriteIsNotUsed) {
  temporary_folder open;
  chmod(open.path().c_str(), 0777);
  const outcome o = run({TARGET, "works"}, under_shim(open.path()));
  EXPECT_RAN(o);
  EXPECT_EQ(o.out, "works\n");
  EXPECT_FALSE(std::filesystem::exists(open.path() + "/default"));
}

TEST_F(Matrix, ATargetMakesThePagesThatALaterSessionUses) {
  temporary_folder fresh;
  program p({TARGET, "wait", port}, under_shim(fresh.path()));
  p.send("\n");
  EXPECT_EQ(p.line(), "connected");
  session later(fresh.path());
  EXPECT_TRUE(later.attached(p.pid()));
  const auto id = later.set("error " + service.target() + " ECONNREFUSED --on connect");
  p.send("\n");
  EXPECT_EQ(p.line(), "refused");
  EXPECT_EQ(later.count(id).fired, 1u);
}

TEST_F(Matrix, MoreTargetsThanAttachSlotsAreStillReached) {
  for (auto& slot : const_cast<abi::report_page&>(s.report()).attached) slot.pid.store(getpid());  // all taken, by somebody alive
  const auto id = refuse();
  const outcome o = run({TARGET, "dial", port}, armed);
  EXPECT_EQ(o.out, "refused\n");
  EXPECT_EQ(s.count(id).fired, 1u);
  EXPECT_EQ(s.report().session.attach_refused.load(), 1u);
}

}  // namespace
}  // namespace chaos::matrix
