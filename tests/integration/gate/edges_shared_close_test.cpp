// slow_close is about the end that a peer sees: what closes one of several descriptors of a connection brings none about.
#include "gate.hpp"

#include <sys/syscall.h>
#include <sys/wait.h>

namespace chaos::gate {
namespace {

using SharedClose = Gate;
constexpr int delay_ms = 300;

TEST_F(SharedClose, OfOneOfTwoIsPrompt) {
  tcp_pair p;
  const auto id = s.set("slow_close " + p.target() + " " + std::to_string(delay_ms) + "ms");
  const int again = dup(p.near);
  ASSERT_GE(again, 0);
  EXPECT_LT(time_of([&] { return close(again); }).ms, delay_ms / 2);
  EXPECT_EQ(s.count(id).fired, 0u);
  EXPECT_TRUE(on_time(time_of([&] { return close(p.near.release()); }).ms, delay_ms));
  EXPECT_EQ(s.count(id).fired, 1u);
}

TEST_F(SharedClose, ByNumberIsAsByName) {  // as libuv closes
  tcp_pair p;
  const auto id = s.set("slow_close " + p.target() + " " + std::to_string(delay_ms) + "ms");
  EXPECT_TRUE(on_time(time_of([&] { return syscall(SYS_close, p.near.release()); }).ms, delay_ms));
  EXPECT_EQ(s.count(id).fired, 1u);
}

TEST_F(SharedClose, OfAListenerIsPrompt) {
  listener l;
  const auto id = s.set("slow_close listen:" + std::to_string(l.port) + " " + std::to_string(delay_ms) + "ms");
  EXPECT_LT(time_of([&] { return close(l.fd.release()); }).ms, delay_ms / 2);
  EXPECT_EQ(s.count(id).fired, 0u);
}

// The parent goes on accepting; the end is its child's.
TEST_F(SharedClose, OfAForkingServerOnlyTheChildIsHeld) {
  listener l;
  const auto id = s.set("slow_close listen:" + std::to_string(l.port) + " " + std::to_string(delay_ms) + "ms");
  const unique_fd far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in to = loopback(l.port);
  ASSERT_EQ(connect(far, generic(to), sizeof to), 0);
  const int made = accept(l.fd, nullptr, nullptr);
  ASSERT_GE(made, 0);
  int go[2];
  ASSERT_EQ(pipe(go), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(l.fd);
    const int moved = dup2(made, 200);  // as inetd and socat do
    close(made);
    char c;
    const double start = monotonic_ms();
    if (read(go[0], &c, 1) != 1) _exit(1);
    const double waited = monotonic_ms() - start;
    if (waited > delay_ms) _exit(2);
    const double closing = time_of([&] { return close(moved); }).ms;
    _exit(closing < delay_ms - early_ms ? 3 : 0);
  }
  EXPECT_LT(time_of([&] { return close(made); }).ms, delay_ms / 2);
  EXPECT_EQ(s.count(id).fired, 0u);
  ASSERT_EQ(write(go[1], "x", 1), 1);
  char c;
  EXPECT_TRUE(on_time(time_of([&] { return recv(far, &c, 1, 0); }).ms, delay_ms));
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(s.count(id).fired, 1u);
  close(go[0]);
  close(go[1]);
}

}  // namespace
}  // namespace chaos::gate
