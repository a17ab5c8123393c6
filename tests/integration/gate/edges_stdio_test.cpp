// Streams of stdio, transfers inside the kernel and reverse look-ups meet the faults of what they act on.
#include "streams.hpp"

#include <netdb.h>
#include <sys/sendfile.h>

#include <vector>

extern "C" {
int __uflow(FILE*);
int __overflow(FILE*, int);
}

namespace chaos::gate {
namespace {

TEST_F(Stdio, EveryReadingFormFailsAsReadingFails) {
  const std::pair<const char*, bool (*)(FILE*)> forms[] = {
      {"fread", [](FILE* f) { char b[4]; return fread(b, 1, 4, f) == 4; }},
      {"fread_unlocked", [](FILE* f) { char b[4]; return fread_unlocked(b, 1, 4, f) == 4; }},
      {"fgets", [](FILE* f) { char b[64]; return fgets(b, sizeof b, f) == b; }},
      {"fgets_unlocked", [](FILE* f) { char b[64]; return fgets_unlocked(b, sizeof b, f) == b; }},
      {"getline", [](FILE* f) { char* b = nullptr; std::size_t n = 0; const bool good = getline(&b, &n, f) == 11; free(b); return good; }},
      {"getdelim", [](FILE* f) { char* b = nullptr; std::size_t n = 0; const bool good = getdelim(&b, &n, ' ', f) == 6; free(b); return good; }},
      {"getc_unlocked", [](FILE* f) { return __getc_unlocked_body(f) == 'f'; }},
  };
  for (const auto& [name, form] : forms) {
    const stream f(fopen(path.c_str(), "r"));
    const auto id = s.set("error " + target + " EIO --on file_io --times 1");
    errno = 0;
    EXPECT_FALSE(form(f.get())) << name;
    EXPECT_EQ(errno, EIO) << name;
    EXPECT_TRUE(ferror(f.get())) << name << ": a program that asks sees no end of file";
    EXPECT_FALSE(feof(f.get())) << name;
    EXPECT_EQ(s.count(id).fired, 1u) << name;
    clearerr(f.get());
    EXPECT_TRUE(form(f.get())) << name << ": nothing was lost";
    s.clear();
  }
}

TEST_F(Stdio, EveryWritingFormFailsAsWritingFails) {
  const std::pair<const char*, bool (*)(FILE*)> forms[] = {
      {"fwrite_unlocked", [](FILE* f) { return fwrite_unlocked("abc", 1, 3, f) == 3; }},
      {"fputs_unlocked", [](FILE* f) { return fputs_unlocked("abc", f) >= 0; }},
      {"fflush_unlocked", [](FILE* f) { return fflush_unlocked(f) == 0; }},
      {"putc_unlocked", [](FILE* f) { return __putc_unlocked_body('a', f) == 'a'; }},
  };
  for (const auto& [name, form] : forms) {
    const stream f(fopen(path.c_str(), "a"));
    const auto id = s.set("error " + target + " ENOSPC --on file_io --times 1");
    errno = 0;
    EXPECT_FALSE(form(f.get())) << name;
    EXPECT_EQ(errno, ENOSPC) << name;
    EXPECT_TRUE(ferror(f.get())) << name;
    EXPECT_EQ(s.count(id).fired, 1u) << name;
    clearerr(f.get());
    EXPECT_TRUE(form(f.get())) << name;
    s.clear();
  }
}

TEST_F(Stdio, OnASocketWaitsForWhatIsDueAndNotForWhatItHas) {
  tcp_pair p;
  const auto id = delay(p.target(), 25);
  const stream f(fdopen(dup(p.near), "r"));
  char b[64];
  double start = monotonic_ms();
  put(p.far, "one\ntwo\n");
  ASSERT_NE(fgets(b, sizeof b, f.get()), nullptr);
  EXPECT_STREQ(b, "one\n");
  EXPECT_TRUE(on_time(monotonic_ms() - start, 25));
  start = monotonic_ms();
  ASSERT_NE(fgets_unlocked(b, sizeof b, f.get()), nullptr) << "libc has it already";
  EXPECT_STREQ(b, "two\n");
  EXPECT_LT(monotonic_ms() - start, 10);
  put(p.far, "abcdx");
  EXPECT_EQ(fread_unlocked(b, 1, 4, f.get()), 4u);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 25));
  EXPECT_EQ(__getc_unlocked_body(f.get()), 'x');
  start = monotonic_ms();
  put(p.far, "z");
  EXPECT_EQ(__getc_unlocked_body(f.get()), 'z');
  EXPECT_TRUE(on_time(monotonic_ms() - start, 25));
  EXPECT_EQ(s.count(id).fired, 3u);
}

TEST_F(Stdio, CorruptionThatCannotReachTheBytesIsNotCounted) {
  tcp_pair p;
  const auto out = s.set("corrupt " + p.target() + " --bits 1 --direction up");
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const unique_fd from(ends[0]), in(ends[1]);
  ASSERT_EQ(write(in, "first", 5), 5);
  EXPECT_EQ(splice(from, nullptr, p.near, nullptr, 5, 0), 5);
  const stream to(fdopen(dup(p.near), "w"));
  fprintf(to.get(), "%d", 12345);  // inside libc
  EXPECT_EQ(fflush(to.get()), 0);
  std::string got(10, 0);
  EXPECT_EQ(recv(p.far, got.data(), 10, MSG_WAITALL), 10);
  EXPECT_EQ(got, "first12345");
  EXPECT_EQ(s.count(out).fired, 0u);
}

// --- transfers inside the kernel

using Transfer = Stdio;

TEST_F(Transfer, SendfileMeetsTheFaultsOfTheConnectionAndOfTheFile) {
  tcp_pair p;
  off_t at = 0;
  const auto send_it = [&] { at = 0; return time_of([&] { return sendfile(p.near, file, &at, 10); }); };
  struct { std::string rule; int error; } fails[] = {{"error " + p.target() + " ECONNRESET --times 1", ECONNRESET}, {"io_error " + target + " EIO --times 1", EIO}};
  for (const auto& [rule, error] : fails) {
    const auto id = s.set(rule);
    const timed t = send_it();
    EXPECT_EQ(t.result, -1) << rule;
    EXPECT_EQ(t.error, error) << rule;
    EXPECT_EQ(at, 0);
    EXPECT_EQ(s.count(id).fired, 1u) << rule;
    s.clear();
  }
  for (const std::string& rule : {"latency " + p.target() + " 25ms --direction up", "latency " + target + " 25ms"}) {
    const auto id = s.set(rule);
    const timed t = send_it();
    EXPECT_EQ(t.result, 10) << rule;
    EXPECT_TRUE(on_time(t.ms, 25)) << rule;
    EXPECT_EQ(s.count(id).fired, 1u) << rule;
    s.clear();
  }
  const auto cut = s.set("slicer " + p.target() + " --average-size 4B --direction up");
  EXPECT_EQ(send_it().result, 4);
  EXPECT_EQ(s.count(cut).fired, 1u);
  s.clear();
  std::string got(24, 0);
  EXPECT_EQ(recv(p.far, got.data(), 24, MSG_WAITALL), 24);
  EXPECT_EQ(got, "first linefirst linefirs");
}

// Bits in which what came differs from the file.
int differing(const std::string& a, const std::string& b) {
  EXPECT_EQ(a.size(), b.size());
  int bits = 0;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) bits += __builtin_popcount(static_cast<unsigned char>(a[i] ^ b[i]));
  return bits;
}

TEST_F(Transfer, CorruptionGoesOutOfACopyAndThePositionsMove) {
  tcp_pair p;
  for (const std::string& rule : {"corrupt " + p.target() + " --bits 1 --direction up", "corrupt " + target + " --bits 1"}) {
    const auto id = s.set(rule);
    off_t at = 6;
    EXPECT_EQ(sendfile(p.near, file, &at, 4), 4) << rule;
    EXPECT_EQ(at, 10);
    EXPECT_EQ(lseek(file, 0, SEEK_CUR), 23) << "untouched: the offset was given";
    lseek(file, 0, SEEK_SET);
    EXPECT_EQ(sendfile(p.near, file, nullptr, 5), 5);
    EXPECT_EQ(lseek(file, 0, SEEK_CUR), 5);
    std::string got(9, 0);
    EXPECT_EQ(recv(p.far, got.data(), 9, MSG_WAITALL), 9);
    EXPECT_EQ(differing(got.substr(0, 4), "line"), 1) << rule;
    EXPECT_EQ(differing(got.substr(4), "first"), 1) << rule;
    EXPECT_EQ(s.count(id).fired, 2u) << rule;
    EXPECT_EQ(s.count(id).bytes, 9u) << rule;
    at = 23;
    EXPECT_EQ(sendfile(p.near, file, &at, 4), 0) << "the end of the file";
    EXPECT_EQ(s.count(id).fired, 2u);
    lseek(file, 0, SEEK_END);
    s.clear();
  }
  char there[24] = {};
  EXPECT_EQ(pread(file, there, 23, 0), 23);
  EXPECT_STREQ(there, "first line\nsecond line\n");
}

TEST_F(Transfer, ACopyThatIsNotTakenMovesNothing) {
  tcp_pair p;
  ASSERT_EQ(ftruncate(file, 1 << 20), 0);
  set_nonblocking(p.near);
  const auto of_file = s.set("corrupt " + target + " --bits 1"), of_peer = s.set("corrupt " + p.target() + " --bits 1 --direction up");
  off_t at = 0;
  std::size_t sent = 0;
  unsigned calls = 0;
  for (ssize_t n; (n = sendfile(p.near, file, &at, 1 << 20)) > 0; ++calls) {
    EXPECT_LE(n, 64 << 10);
    sent += static_cast<std::size_t>(n);
    ASSERT_EQ(at, static_cast<off_t>(sent));
    if (at == 1 << 20) at = 0, sent = 0;
  }
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(at, static_cast<off_t>(sent));
  EXPECT_EQ(s.count(of_file).fired, calls) << "the refused one corrupted nothing";
  EXPECT_EQ(s.count(of_peer).fired, calls);
}

TEST_F(Transfer, CorruptionOfACopiedRange) {
  const std::string copy = folder.path() + "/copy";
  const unique_fd to = open(copy.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  for (const std::string& which : {path, copy}) {
    const auto id = s.set("corrupt file:" + which + " --bits 1");
    off64_t from = 6, at = 2;
    EXPECT_EQ(copy_file_range(file, &from, to, &at, 4, 0), 4) << which;
    EXPECT_EQ(from, 10);
    EXPECT_EQ(at, 6);
    char b[5] = {};
    EXPECT_EQ(syscall(SYS_pread64, to.operator int(), b, 4, 2), 4);
    EXPECT_EQ(differing(b, "line"), 1) << which;
    EXPECT_EQ(s.count(id).fired, 1u) << which;
    s.clear();
  }
  const auto full = s.set("full file:" + copy + " 4B");
  off64_t from = 0, at = 6;
  EXPECT_EQ(copy_file_range(file, &from, to, &at, 10, 0), 4) << "counted from where it goes";
  EXPECT_EQ(s.count(full).fired, 1u);
}

TEST_F(Transfer, SpliceFromASocketWaitsForWhatIsDue) {
  for (const over o : {over::tcp, over::unix_stream}) {
    channel c(o);
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const unique_fd out(ends[0]), in(ends[1]);
    const auto id = delay(c.target, 25);
    const double start = monotonic_ms();
    c.tell("hello");
    set_nonblocking(c.near);
    EXPECT_EQ(splice(c.near, nullptr, in, nullptr, 100, 0), -1);
    EXPECT_EQ(errno, EAGAIN);
    fcntl(c.near, F_SETFL, 0);
    EXPECT_EQ(splice(c.near, nullptr, in, nullptr, 100, 0), 5);
    EXPECT_TRUE(on_time(monotonic_ms() - start, 25)) << name_of(o);
    EXPECT_EQ(s.count(id).fired, 1u);
    s.clear();
    const auto cut = s.set("slicer " + c.target + " --average-size 3B");
    c.tell("hello");
    EXPECT_EQ(splice(c.near, nullptr, in, nullptr, 100, 0), 3);
    EXPECT_EQ(splice(c.near, nullptr, in, nullptr, 100, 0), 2);
    EXPECT_EQ(s.count(cut).fired, 1u) << "of the rest nothing was cut";
    s.clear();
    const auto broken = s.set("error " + c.target + " ECONNRESET --times 1");
    c.tell("!");
    EXPECT_EQ(splice(c.near, nullptr, in, nullptr, 100, 0), -1);
    EXPECT_EQ(errno, ECONNRESET);
    EXPECT_EQ(s.count(broken).fired, 1u);
    s.clear();
    EXPECT_EQ(splice(c.near, nullptr, in, nullptr, 100, 0), 1);
    char b[16] = {};
    EXPECT_EQ(read(out, b, 16), 11);
    EXPECT_STREQ(b, "hellohello!");
  }
}

TEST_F(Transfer, CopyFileRangeMeetsTheFaultsOfBothFiles) {
  const std::string copy = folder.path() + "/copy";
  const unique_fd to = open(copy.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  for (const std::string& which : {path, copy}) {
    const auto id = s.set("io_error file:" + which + " EIO --times 1");
    off64_t from = 0;
    EXPECT_EQ(copy_file_range(file, &from, to, nullptr, 10, 0), -1) << which;
    EXPECT_EQ(errno, EIO);
    EXPECT_EQ(s.count(id).fired, 1u) << which;
    s.clear();
  }
  const auto full = s.set("full file:" + copy + " 4B");
  off64_t from = 0;
  EXPECT_EQ(copy_file_range(file, &from, to, nullptr, 10, 0), 4);
  EXPECT_EQ(copy_file_range(file, &from, to, nullptr, 6, 0), -1);
  EXPECT_EQ(errno, ENOSPC);
  EXPECT_GE(s.count(full).fired, 1u);
}

// --- reverse look-ups

TEST_F(Stdio, ReverseLookUpsAreMeantByTheAddress) {
  const sockaddr_in a = loopback(80);
  char host[64];
  const auto ask = [&](int flags) { return getnameinfo(generic(a), sizeof a, host, sizeof host, nullptr, 0, flags); };
  const auto id = s.set("dns dns:127.0.0.1 EAI_AGAIN"), other = s.set("dns dns:10.* EAI_FAIL");
  EXPECT_EQ(ask(0), EAI_AGAIN);
  EXPECT_EQ(ask(NI_NUMERICHOST), 0) << "nobody is asked";
  EXPECT_STREQ(host, "127.0.0.1");
  EXPECT_EQ(s.count(id).fired, 1u);
  EXPECT_EQ(s.count(other).fired, 0u);
  s.clear();
  const auto late = s.set("latency dns:127.* 25ms");
  const timed t = time_of([&] { return ask(0); });
  EXPECT_EQ(t.result, 0);
  EXPECT_TRUE(on_time(t.ms, 25));
  EXPECT_EQ(s.count(late).fired, 1u);
}

}  // namespace
}  // namespace chaos::gate
