// What an ELF file says about itself, read from an untrusted file: every offset is checked against the file, every count
// is bounded, nothing is mapped (a file may shrink under a mapping). It must never crash, hang or allocate without
// bound, whatever the bytes; a file that contradicts itself gives `malformed` and whatever was sound.
#pragma once
#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace chaos::cli {

enum class elf_class { not_elf, elf32, elf64 };

struct elf_facts {
  elf_class kind = elf_class::not_elf;
  bool malformed = false;
  std::uint16_t machine = 0;          // EM_…
  bool dynamic = false;               // has PT_DYNAMIC
  std::string interpreter;            // PT_INTERP; empty: none
  std::vector<std::string> needed;    // DT_NEEDED
  std::string runpath;                // DT_RUNPATH or DT_RPATH
  std::set<std::string> imports;      // undefined dynamic symbols
  std::set<std::string> defines;      // defined, visible dynamic symbols
  bool go = false;                    // built by the Go toolchain
};

inline constexpr std::uint16_t native_machine =
#if defined(__x86_64__)
    62;  // EM_X86_64
#elif defined(__aarch64__)
    183;  // EM_AARCH64
#else
    0;
#endif

// `error` is an errno when the file could not be opened or read at all.
elf_facts read_elf(const std::string& path, int& error);
elf_facts read_elf(int fd);

}  // namespace chaos::cli
