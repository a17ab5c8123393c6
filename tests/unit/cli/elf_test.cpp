// The ELF reader meets files that people and attackers made: it must tell the truth about good ones and survive all others.
#include "control/cli/elf.hpp"

#include <elf.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace chaos::cli;

using bytes = std::vector<unsigned char>;

elf_facts read_bytes(const bytes& content) {
  const int fd = memfd_create("elf", MFD_CLOEXEC);
  EXPECT_GE(fd, 0);
  EXPECT_EQ(write(fd, content.data(), content.size()), static_cast<ssize_t>(content.size()));
  elf_facts facts = read_elf(fd);
  close(fd);
  return facts;
}

bytes file_bytes(const char* path) {
  std::ifstream in(path, std::ios::binary);
  return bytes(std::istreambuf_iterator<char>(in), {});
}

Elf64_Ehdr& header_of(bytes& b) { return *reinterpret_cast<Elf64_Ehdr*>(b.data()); }
Elf64_Phdr* segments_of(bytes& b) { return reinterpret_cast<Elf64_Phdr*>(b.data() + header_of(b).e_phoff); }

TEST(ElfReader, TellsWhatTheTestProgramItselfIs) {
  int error = 0;
  const elf_facts facts = read_elf("/proc/self/exe", error);
  EXPECT_EQ(error, 0);
  EXPECT_EQ(facts.kind, elf_class::elf64);
  EXPECT_EQ(facts.machine, native_machine);
  EXPECT_FALSE(facts.malformed);
  EXPECT_TRUE(facts.dynamic);
  EXPECT_NE(facts.interpreter.find("ld-"), std::string::npos);
  EXPECT_TRUE(facts.imports.contains("memfd_create"));
  EXPECT_FALSE(facts.go);
  EXPECT_NE(std::find(facts.needed.begin(), facts.needed.end(), "libc.so.6"), facts.needed.end());
}

TEST(ElfReader, TellsWhatALibraryDefines) {
  int error = 0;
  const elf_facts facts = read_elf("/lib/x86_64-linux-gnu/libc.so.6", error);
  if (error) GTEST_SKIP() << "no libc at that path";
  EXPECT_TRUE(facts.defines.contains("malloc"));
  EXPECT_TRUE(facts.defines.contains("recv"));
  EXPECT_FALSE(facts.imports.contains("recv"));
}

TEST(ElfReader, SaysWhenThereIsNoFile) {
  int error = 0;
  EXPECT_EQ(read_elf("/nowhere/at/all", error).kind, elf_class::not_elf);
  EXPECT_EQ(error, ENOENT);
  EXPECT_EQ(read_elf("/dev/zero", error).kind, elf_class::not_elf);  // not a regular file: not read at all
}

TEST(ElfReader, TakesTextAndNothingForNoProgram) {
  EXPECT_EQ(read_bytes({}).kind, elf_class::not_elf);
  EXPECT_EQ(read_bytes({'#', '!', '/', 'b'}).kind, elf_class::not_elf);
  EXPECT_EQ(read_bytes(bytes(1000, 'x')).kind, elf_class::not_elf);
}

TEST(ElfReader, Knows32BitPrograms) {
  bytes b(64, 0);
  std::memcpy(b.data(), ELFMAG, SELFMAG);
  b[EI_CLASS] = ELFCLASS32;
  b[EI_DATA] = ELFDATA2LSB;
  EXPECT_EQ(read_bytes(b).kind, elf_class::elf32);
}

TEST(ElfReader, KnowsGoByItsNote) {
  bytes b(256, 0);
  std::memcpy(b.data(), ELFMAG, SELFMAG);
  b[EI_CLASS] = ELFCLASS64;
  b[EI_DATA] = ELFDATA2LSB;
  header_of(b).e_phoff = 64;
  header_of(b).e_phnum = 1;
  header_of(b).e_phentsize = sizeof(Elf64_Phdr);
  segments_of(b)[0].p_type = PT_NOTE;
  segments_of(b)[0].p_offset = 128;
  segments_of(b)[0].p_filesz = 24;
  const Elf64_Nhdr note{4, 8, 4};
  std::memcpy(b.data() + 128, &note, sizeof note);
  std::memcpy(b.data() + 128 + sizeof note, "Go\0", 4);
  EXPECT_TRUE(read_bytes(b).go);
}

TEST(ElfReader, SurvivesEveryTruncation) {
  const bytes whole = file_bytes("/bin/true");
  ASSERT_GT(whole.size(), 1000u);
  for (std::size_t n = 0; n < whole.size(); n += n < 1500 ? 1 : 997) {
    const elf_facts facts = read_bytes(bytes(whole.begin(), whole.begin() + static_cast<long>(n)));
    EXPECT_EQ(facts.kind, n < EI_NIDENT ? elf_class::not_elf : elf_class::elf64) << n;
  }
}

TEST(ElfReader, SurvivesOffsetsAndCountsThatLie) {
  const bytes whole = file_bytes("/bin/true");
  for (const std::uint64_t lie : {std::uint64_t{0}, std::uint64_t{1}, whole.size() - 1, whole.size(), std::uint64_t{1} << 31, std::uint64_t{1} << 63, ~std::uint64_t{0}, ~std::uint64_t{0} - 63}) {
    bytes b = whole;
    header_of(b).e_phoff = lie;
    read_bytes(b);
    b = whole;
    header_of(b).e_shoff = lie;
    read_bytes(b);
    for (int i = 0; i < header_of(b).e_phnum; ++i) {
      for (const auto member : {&Elf64_Phdr::p_offset, &Elf64_Phdr::p_filesz, &Elf64_Phdr::p_vaddr}) {
        b = whole;
        segments_of(b)[i].*member = lie;
        read_bytes(b);
      }
      // every address and size of the dynamic section
      if (segments_of(b)[i].p_type != PT_DYNAMIC) continue;
      b = whole;
      const auto count = segments_of(b)[i].p_filesz / sizeof(Elf64_Dyn);
      const auto at = segments_of(b)[i].p_offset;
      for (std::size_t row = 0; row < count; ++row) {
        b = whole;
        reinterpret_cast<Elf64_Dyn*>(b.data() + at)[row].d_un.d_val = lie;
        read_bytes(b);
      }
    }
  }
  bytes b = whole;
  header_of(b).e_phnum = 65535;
  EXPECT_TRUE(read_bytes(b).malformed);
}

TEST(ElfReader, SurvivesRandomDamageInBoundedTime) {
  const bytes whole = file_bytes("/bin/true");
  std::mt19937 random(20);
  const auto began = std::chrono::steady_clock::now();
  for (int round = 0; round < 2000; ++round) {
    bytes b = whole;
    for (int hits = 0; hits < 24; ++hits) {
      const std::size_t among = random() % 3 ? std::min<std::size_t>(b.size(), 0x1000) : b.size();
      b[random() % among] = static_cast<unsigned char>(random());
    }
    read_bytes(b);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(60));
}

}  // namespace
