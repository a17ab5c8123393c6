// Writes of vectors to files: which way such a call goes is not to be seen from its arguments.
#include "streams.hpp"

#include <sys/resource.h>

namespace chaos::gate {
namespace {

using Files = Stdio;

struct vector_write {
  const char* name;
  ssize_t (*call)(int fd, const iovec* v, int n, off_t at);
};
const vector_write vector_writes[] = {
    {"writev", [](int fd, const iovec* v, int n, off_t at) { lseek(fd, at, SEEK_SET); return writev(fd, v, n); }},
    {"pwritev", [](int fd, const iovec* v, int n, off_t at) { return pwritev(fd, v, n, at); }},
    {"pwritev64", [](int fd, const iovec* v, int n, off_t at) { return pwritev64(fd, v, n, at); }},
    {"pwritev2", [](int fd, const iovec* v, int n, off_t at) { return pwritev2(fd, v, n, at, 0); }},
    {"pwritev64v2", [](int fd, const iovec* v, int n, off_t at) { return pwritev64v2(fd, v, n, at, 0); }},
};

TEST_F(Files, AVectorIsCorruptedInACopyAndNotInTheCallersHands) {
  for (const auto& [name, call] : vector_writes) {
    char a[] = "hello, ", b[] = "world";
    const iovec v[2] = {{a, 7}, {b, 5}};
    const auto id = s.set("corrupt " + target + " --bits 1");
    EXPECT_EQ(call(file, v, 2, 0), 12) << name;
    EXPECT_STREQ(a, "hello, ") << name;
    EXPECT_STREQ(b, "world") << name;
    EXPECT_EQ(s.count(id).fired, 1u) << name;
    EXPECT_EQ(s.count(id).bytes, 12u) << name;
    s.clear();
    char there[13] = {};
    EXPECT_EQ(pread(file, there, 12, 0), 12);
    int flipped = 0;
    for (int i = 0; i < 12; ++i) flipped += __builtin_popcount(static_cast<unsigned char>(there[i] ^ "hello, world"[i]));
    EXPECT_EQ(flipped, 1) << name;
  }
}

TEST_F(Files, AVectorFillsADisk) {
  for (const auto& [name, call] : vector_writes) {
    ASSERT_EQ(ftruncate(file, 23), 0);
    char a[] = "hello, ", b[] = "world";
    const iovec v[2] = {{a, 7}, {b, 5}};
    const auto id = s.set("full " + target + " 10B");
    EXPECT_EQ(call(file, v, 2, 0), 12) << name << ": over what is there";
    EXPECT_EQ(s.count(id).fired, 0u) << name;
    EXPECT_EQ(call(file, v, 2, 23), 10) << name;
    EXPECT_EQ(call(file, v, 2, 33), -1) << name;
    EXPECT_EQ(errno, ENOSPC) << name;
    EXPECT_EQ(s.count(id).fired, 2u) << name;
    s.clear();
  }
}

// A write that fails for another reason, or writes less, has not filled the disk.
TEST_F(Files, WhatWasNotWrittenFillsNoDisk) {
  const std::string text(20, 'x');
  std::vector<std::uint32_t> ids;
  s.set_all({"full " + target + " 10B", "error " + target + " EIO --on pwrite64 --times 1"}, ids);
  EXPECT_EQ(pwrite64(file, text.data(), 8, 23), -1);
  EXPECT_EQ(errno, EIO) << "by another rule";
  const void* volatile nowhere = reinterpret_cast<const void*>(1);
  EXPECT_EQ(pwrite64(file, nowhere, 8, 23), -1);
  EXPECT_EQ(errno, EFAULT);
  EXPECT_EQ(s.count(ids[0]).fired, 0u);
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{23 + 4, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  EXPECT_EQ(pwrite64(file, text.data(), 8, 20), 7) << "three of them over what is there";
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(pwrite64(file, text.data(), 8, 27), 6);
  EXPECT_EQ(pwrite64(file, text.data(), 8, 33), -1);
  EXPECT_EQ(errno, ENOSPC);
  EXPECT_EQ(s.count(ids[0]).fired, 2u);
  EXPECT_EQ(s.count(ids[1]).fired, 1u);
}

TEST_F(Files, AVectorThatIsReadIsCorruptedWhereItCame) {
  char a[8] = {}, b[8] = {};
  const iovec v[2] = {{a, 5}, {b, 5}};
  const auto id = s.set("corrupt " + target + " --bits 1");
  EXPECT_EQ(preadv(file, v, 2, 0), 10);
  EXPECT_NE(std::string(a) + b, "first line");
  EXPECT_EQ(s.count(id).fired, 1u);
}

}  // namespace
}  // namespace chaos::gate
