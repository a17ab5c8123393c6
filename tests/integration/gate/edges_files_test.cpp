// Writes of vectors to files: which way such a call goes is not to be seen from its arguments.
#include "streams.hpp"

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
