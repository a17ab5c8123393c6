// The event loop gives events to whom they are meant for.
#include "control/daemon/loop.hpp"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace {

using chaos::daemon::loop;

TEST(Loop, AnEventOfADescriptorThatWasClosedIsNotForTheNextOfItsNumber) {
  loop l;
  int fds[2] = {eventfd(1, EFD_CLOEXEC), eventfd(1, EFD_CLOEXEC)};
  int acted = 0, mistaken = 0;
  const auto closes_the_other = [&](int self) {
    return [&, self](std::uint32_t) {
      if (acted++) return;
      const int other = fds[1 - self];  // has an event in this round, too
      l.remove(other);
      close(other);
      ASSERT_EQ(fds[1 - self] = eventfd(0, EFD_CLOEXEC), other) << "the same number";
      ASSERT_TRUE(l.add(other, EPOLLIN, [&](std::uint32_t) { ++mistaken; }));
      l.later([&] { l.quit(); });
    };
  };
  for (int i : {0, 1}) ASSERT_TRUE(l.add(fds[i], EPOLLIN, closes_the_other(i)));
  l.run();
  EXPECT_EQ(acted, 1);
  EXPECT_EQ(mistaken, 0) << "nothing ever came for it";
  for (const int fd : fds) close(fd);
}

TEST(Loop, ModifiedInterestStaysWithItsHandler) {
  loop l;
  const int fd = eventfd(1, EFD_CLOEXEC);
  int told = 0;
  ASSERT_TRUE(l.add(fd, 0, [&](std::uint32_t) {
    if (++told == 2) l.quit();
  }));
  l.modify(fd, EPOLLIN);
  l.run();
  EXPECT_EQ(told, 2);
  close(fd);
}

}  // namespace
