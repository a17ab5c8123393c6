// What rules do to a part of what a stream of stdio moves: the bytes are exact, and the stream says what libc would say.
#include "streams.hpp"

#include <fcntl.h>

#include <csignal>

namespace chaos::gate {
namespace {

// Bits in which two texts of one length differ.
int differing(const std::string& a, const std::string& b) {
  EXPECT_EQ(a.size(), b.size());
  int bits = 0;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) bits += __builtin_popcount(static_cast<unsigned char>(a[i] ^ b[i]));
  return bits;
}

struct FullDisk : Stdio {
  const std::string fresh = folder.path() + "/fresh";
  stream f{fopen(fresh.c_str(), "w")};
  const std::string text = std::string(1000, 'x');
  off_t size_after_closing() {
    f.reset();
    const unique_fd fd = open(fresh.c_str(), O_RDONLY);
    return lseek(fd, 0, SEEK_END);
  }
};

TEST_F(FullDisk, TakesTheBytesOfItemsThatFit) {
  for (const auto& [name, write] : {std::pair{"fwrite", &fwrite}, std::pair{"fwrite_unlocked", &fwrite_unlocked}}) {
    f.reset(fopen(fresh.c_str(), "w"));
    const auto id = s.set("full " + target + " 250B");
    errno = 0;
    EXPECT_EQ(write(text.data(), 100, 10, f.get()), 2u) << name << ": whole items";
    EXPECT_EQ(errno, ENOSPC) << name;
    EXPECT_TRUE(ferror(f.get())) << name;
    EXPECT_EQ(s.count(id).fired, 2u) << name << ": cut, and then refused";
    EXPECT_EQ(fflush(f.get()), 0) << name << ": what was taken has been counted";
    EXPECT_EQ(size_after_closing(), 250) << name;
    s.clear();
  }
}

TEST_F(FullDisk, CountsWhatIsBufferedOnce) {
  const auto id = s.set("full " + target + " 1000B");
  for (int i = 0; i < 4; ++i) {
    for (int k = 0; k < 10; ++k) ASSERT_EQ(fwrite(text.data(), 1, 10, f.get()), 10u);
    for (int k = 0; k < 10; ++k) ASSERT_GE(fputs("0123456789", f.get()), 0);
    if (i % 2) { ASSERT_EQ(fflush(f.get()), 0); }
  }
  EXPECT_EQ(s.count(id).fired, 0u);
  EXPECT_EQ(fwrite(text.data(), 10, 20, f.get()), 20u) << "it is full to the byte";
  EXPECT_EQ(fputs("y", f.get()), EOF);
  EXPECT_EQ(errno, ENOSPC);
  EXPECT_EQ(s.count(id).fired, 1u);
  EXPECT_EQ(size_after_closing(), 1000);
}

TEST_F(FullDisk, TakesThePartOfATextThatFits) {
  const auto id = s.set("full " + target + " 4B");
  EXPECT_EQ(fputs("0123456789", f.get()), EOF);
  EXPECT_EQ(errno, ENOSPC);
  EXPECT_TRUE(ferror(f.get()));
  EXPECT_EQ(s.count(id).fired, 2u);
  EXPECT_EQ(size_after_closing(), 4);
}

TEST_F(FullDisk, CountsWhatLibcFormattedWhenItIsFlushed) {
  const auto id = s.set("full " + target + " 15B");
  EXPECT_EQ(fwrite(text.data(), 1, 10, f.get()), 10u);
  EXPECT_EQ(fprintf(f.get(), "%d", 12345), 5);
  EXPECT_EQ(fflush(f.get()), 0);
  EXPECT_EQ(fprintf(f.get(), "%d", 6), 1);
  EXPECT_EQ(s.count(id).fired, 0u);
  EXPECT_EQ(fflush(f.get()), EOF);
  EXPECT_EQ(errno, ENOSPC);
  EXPECT_EQ(s.count(id).fired, 1u);
}

TEST_F(FullDisk, AppendsAndOverwritesAsAFileDoes) {
  const auto id = s.set("full " + target + " 10B");
  f.reset(fopen(path.c_str(), "r+"));
  EXPECT_EQ(fwrite(text.data(), 1, 23, f.get()), 23u) << "over what is there";
  EXPECT_EQ(s.count(id).fired, 0u);
  EXPECT_EQ(fclose(f.release()), 0);
  f.reset(fopen(path.c_str(), "a"));
  EXPECT_EQ(fwrite(text.data(), 1, 7, f.get()), 7u);
  EXPECT_EQ(fwrite(text.data(), 1, 7, f.get()), 3u);
  EXPECT_EQ(s.count(id).fired, 2u);
  f.reset();
  EXPECT_EQ(lseek(file, 0, SEEK_END), 33);
}

TEST_F(Stdio, AStreamWhoseClosingFailsIsClosed) {
  FILE* const f = fopen(path.c_str(), "a");
  const int number = fileno(f);
  ASSERT_EQ(fwrite("lost", 1, 4, f), 4u);
  const auto id = s.set("error " + target + " EIO --on fclose");
  EXPECT_EQ(fclose(f), EOF);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(fcntl(number, F_GETFD), -1) << "nobody can close it again";
  EXPECT_EQ(lseek(file, 0, SEEK_END), 23);
  EXPECT_EQ(s.count(id).fired, 1u);
}

TEST_F(Stdio, AStreamIsClosedWhenAWaitForThatIsCutShort) {
  struct sigaction quiet{}, before{};
  quiet.sa_handler = [](int) {};
  ASSERT_EQ(sigaction(SIGUSR1, &quiet, &before), 0);
  FILE* const f = fopen(path.c_str(), "a");
  const int number = fileno(f);
  ASSERT_EQ(fwrite("kept", 1, 4, f), 4u);
  const auto id = s.set("pause " + target + " 20s --on fclose");
  std::atomic<bool> over{false};
  std::thread signals([&, self = pthread_self()] {
    EXPECT_TRUE(wait_until([&] { return s.count(id).matched >= 1; }));
    EXPECT_TRUE(wait_until([&] { pthread_kill(self, SIGUSR1); return over.load(); }));
  });
  const int result = fclose(f);
  over = true;
  signals.join();
  sigaction(SIGUSR1, &before, nullptr);
  EXPECT_EQ(result, 0) << "closing is not what failed";
  EXPECT_EQ(fcntl(number, F_GETFD), -1);
  EXPECT_EQ(lseek(file, 0, SEEK_END), 27);
  EXPECT_EQ(s.count(id).fired, 1u);
  EXPECT_EQ(s.events(id).size(), 1u);
}

// --- corrupt

TEST_F(Stdio, CorruptionReachesWhatEveryReadingFormGives) {
  const std::string line = "first line\n";
  const std::pair<const char*, std::string (*)(FILE*)> forms[] = {
      {"fread", [](FILE* f) { std::string b(11, 0); EXPECT_EQ(fread(b.data(), 11, 1, f), 1u); return b; }},
      {"fread_unlocked", [](FILE* f) { std::string b(11, 0); EXPECT_EQ(fread_unlocked(b.data(), 1, 11, f), 11u); return b; }},
      {"fgets", [](FILE* f) { char b[64] = {}; EXPECT_EQ(fgets(b, sizeof b, f), b); return std::string(b, 11); }},
      {"fgets_unlocked", [](FILE* f) { char b[64] = {}; EXPECT_EQ(fgets_unlocked(b, sizeof b, f), b); return std::string(b, 11); }},
      {"getline", [](FILE* f) { char* b = nullptr; std::size_t n = 0; EXPECT_EQ(getline(&b, &n, f), 11); const std::string got(b, 11); free(b); return got; }},
      {"getdelim", [](FILE* f) { char* b = nullptr; std::size_t n = 0; EXPECT_EQ(getdelim(&b, &n, '\n', f), 11); const std::string got(b, 11); free(b); return got; }},
  };
  for (const auto& [name, form] : forms) {
    tcp_pair p;
    const stream from_file(fopen(path.c_str(), "r")), from_peer(fdopen(dup(p.near), "r"));
    put(p.far, line);
    for (const auto& [f, rule] : {std::pair{from_file.get(), target}, std::pair{from_peer.get(), p.target()}}) {
      const auto id = s.set("corrupt " + rule + " --bits 1");
      EXPECT_EQ(differing(form(f), line), 1) << name << " " << rule;
      EXPECT_EQ(s.count(id).fired, 1u) << name;
      EXPECT_EQ(s.count(id).bytes, 11u) << name;
      s.clear();
    }
    EXPECT_EQ(lseek(file, 0, SEEK_END), 23);
    char there[24] = {};
    EXPECT_EQ(pread(file, there, 23, 0), 23);
    EXPECT_STREQ(there, "first line\nsecond line\n") << "the file itself is as it was";
  }
}

TEST_F(Stdio, CorruptionGoesOutOfACopyOfAnySize) {
  tcp_pair p;
  const std::string large(230'000, 'a');
  const stream f(fdopen(dup(p.near), "w"));
  const auto id = s.set("corrupt " + p.target() + " 0.1% --direction up");
  std::thread writer([&] {
    EXPECT_EQ(fwrite(large.data(), 1000, 230, f.get()), 230u);
    EXPECT_GE(fputs("and a text", f.get()), 0);
    EXPECT_EQ(fflush(f.get()), 0);
  });
  std::string got(large.size() + 10, 0);
  EXPECT_EQ(recv(p.far, got.data(), got.size(), MSG_WAITALL), static_cast<ssize_t>(got.size()));
  writer.join();
  const int flipped = differing(got, large + "and a text");
  EXPECT_GT(flipped, 100);
  EXPECT_LT(flipped, 300);
  EXPECT_EQ(large, std::string(230'000, 'a')) << "the caller's own is never written";
  EXPECT_GE(s.count(id).fired, 4u) << "64 KiB at a time, the last of them half of that; and the text, which is too short to be hit each time";
  EXPECT_LE(s.count(id).fired, 5u);
  EXPECT_EQ(s.count(id).bytes, got.size());
}

TEST_F(Stdio, WhatReadsNothingWasNotCorrupted) {
  const stream f(fopen(path.c_str(), "r"));
  fseek(f.get(), 0, SEEK_END);
  const auto id = s.set("corrupt " + target + " --bits 1");
  char b[8];
  EXPECT_EQ(fread(b, 1, 8, f.get()), 0u);
  EXPECT_EQ(fgets(b, 8, f.get()), nullptr);
  EXPECT_EQ(pread(file, b, 8, 100), 0);
  EXPECT_EQ(s.count(id).fired, 0u);
}

// --- connections

TEST_F(Stdio, FreadGoesOnWithWhatIsNotDueYet) {
  tcp_pair p;
  const auto id = delay(p.target(), 30);
  const stream f(fdopen(dup(p.near), "r"));
  const double start = monotonic_ms();
  put(p.far, "abc");
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    put(p.far, "def");
  });
  char b[7] = {};
  EXPECT_EQ(fread(b, 1, 6, f.get()), 6u);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 90)) << "each part has its own time";
  EXPECT_STREQ(b, "abcdef");
  later.join();
  EXPECT_EQ(s.count(id).fired, 2u);
}

TEST_F(Stdio, FreadGivesWhatCameBeforeTheEnd) {
  tcp_pair p;
  const auto id = delay(p.target(), 20);
  const stream f(fdopen(dup(p.near), "r"));
  put(p.far, "abc");
  p.far.reset();
  char b[8] = {};
  EXPECT_EQ(fread(b, 2, 3, f.get()), 1u);
  EXPECT_STREQ(b, "abc");
  EXPECT_TRUE(feof(f.get()));
  EXPECT_FALSE(ferror(f.get()));
  EXPECT_EQ(s.count(id).fired, 1u);
}

TEST_F(Stdio, ASlicedWriteIsAWholeOne) {
  tcp_pair p;
  const stream f(fdopen(dup(p.near), "w"));
  const auto id = s.set("slicer " + p.target() + " --average-size 4B --delay 10ms --direction up");
  const double start = monotonic_ms();
  EXPECT_EQ(fwrite("0123456789", 5, 2, f.get()), 2u);
  EXPECT_FALSE(ferror(f.get()));
  EXPECT_GE(monotonic_ms() - start, 20) << "three slices, two gaps";
  EXPECT_EQ(fflush(f.get()), 0);
  char b[11] = {};
  EXPECT_EQ(recv(p.far, b, 10, MSG_WAITALL), 10);
  EXPECT_STREQ(b, "0123456789");
  EXPECT_EQ(s.count(id).fired, 3u);
}

TEST_F(Stdio, ALimitIsKeptToTheByte) {
  {
    tcp_pair p;
    const stream f(fdopen(dup(p.near), "r"));
    put(p.far, "0123456789");
    const auto id = s.set("limit_data " + p.target() + " 6B");
    char b[11] = {};
    EXPECT_EQ(fread(b, 1, 10, f.get()), 6u);
    EXPECT_STREQ(b, "012345");
    EXPECT_TRUE(feof(f.get()));
    EXPECT_FALSE(ferror(f.get()));
    EXPECT_EQ(fgets(b, 11, f.get()), nullptr) << "nor what libc had read ahead";
    EXPECT_EQ(s.count(id).fired, 1u);
    s.clear();
  }
  tcp_pair p;
  signal(SIGPIPE, SIG_IGN);
  const stream f(fdopen(dup(p.near), "w"));
  const auto id = s.set("limit_data " + p.target() + " 6B --direction up");
  (void)!fwrite("0123456789", 1, 10, f.get());
  EXPECT_EQ(fflush(f.get()), EOF);
  EXPECT_EQ(errno, EPIPE);
  char b[11] = {};
  EXPECT_EQ(recv(p.far, b, 10, MSG_WAITALL), 6);
  EXPECT_STREQ(b, "012345") << "what was within the limit arrives";
  EXPECT_GE(s.count(id).fired, 1u);
}

TEST_F(Stdio, UpstreamBandwidthIsOfBytes) {
  tcp_pair p;
  const stream f(fdopen(dup(p.near), "w"));
  const auto id = s.set("bandwidth " + p.target() + " 10KB/s --direction up");
  const std::string text(500, 'x');
  const double start = monotonic_ms();
  EXPECT_EQ(fwrite(text.data(), 500, 1, f.get()), 1u);
  EXPECT_TRUE(on_time(monotonic_ms() - start, 50));
  EXPECT_EQ(s.count(id).fired, 1u);
}

}  // namespace
}  // namespace chaos::gate
