#include "elf.hpp"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

namespace chaos::cli {

namespace {

constexpr std::uint64_t header_max = 256;             // program or section headers that are looked at
constexpr std::uint64_t dynamic_max = 4096;           // dynamic entries
constexpr std::uint64_t symbol_max = 1'000'000;       // dynamic symbols
constexpr std::uint64_t string_table_max = 64 << 20;  // bytes of a string table
constexpr std::uint64_t string_max = 4096;            // bytes of a single string
constexpr std::uint64_t note_max = 64 << 10;

struct reader {
  int fd;
  std::uint64_t size = 0;
  elf_facts facts{};
  std::vector<Elf64_Phdr> segments{};

  bool read(std::uint64_t at, void* into, std::uint64_t n) const {
    if (n > size || at > size - n) return false;
    for (auto* p = static_cast<char*>(into); n > 0;) {
      const ssize_t got = pread(fd, p, n, static_cast<off_t>(at));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;
      p += got, at += static_cast<std::uint64_t>(got), n -= static_cast<std::uint64_t>(got);
    }
    return true;
  }

  template <class T>
  std::optional<T> read(std::uint64_t at) const {
    T value;
    return read(at, &value, sizeof value) ? std::optional<T>(value) : std::nullopt;
  }

  template <class T>
  bool read_many(std::uint64_t at, std::uint64_t count, std::vector<T>& into) const {
    if (count > size / sizeof(T)) return false;  // before anything is allocated
    into.resize(count);
    return read(at, into.data(), count * sizeof(T));
  }

  // Where in the file the byte of this address is; nothing when no segment holds it.
  std::optional<std::uint64_t> offset_of(std::uint64_t address) const {
    for (const auto& s : segments)
      if (s.p_type == PT_LOAD && address >= s.p_vaddr && address - s.p_vaddr < s.p_filesz) {
        const std::uint64_t at = s.p_offset + (address - s.p_vaddr);
        if (at >= s.p_offset && at < size) return at;
      }
    return std::nullopt;
  }

  std::string text(std::uint64_t at, std::uint64_t room) const {
    std::string s(std::min({room, string_max, at < size ? size - at : 0}), '\0');
    if (!read(at, s.data(), s.size())) return {};
    s.resize(strnlen(s.data(), s.size()));
    return s;
  }

  void run() {
    unsigned char ident[EI_NIDENT];
    if (!read(0, ident, sizeof ident) || std::memcmp(ident, ELFMAG, SELFMAG) != 0) return;
    facts.kind = ident[EI_CLASS] == ELFCLASS32 ? elf_class::elf32 : elf_class::elf64;
    if (ident[EI_CLASS] == ELFCLASS32) {
      if (const auto head = read<Elf32_Ehdr>(0)) facts.machine = head->e_machine;
      return;
    }
    const auto head = read<Elf64_Ehdr>(0);
    if (ident[EI_CLASS] != ELFCLASS64 || ident[EI_DATA] != ELFDATA2LSB || !head || head->e_phentsize != sizeof(Elf64_Phdr) ||
        head->e_phnum > header_max || !read_many(head->e_phoff, head->e_phnum, segments)) {
      facts.malformed = true;
      segments.clear();
      return;
    }
    facts.machine = head->e_machine;
    for (const auto& s : segments) {
      if (s.p_type == PT_INTERP) {
        facts.interpreter = text(s.p_offset, s.p_filesz);
        if (facts.interpreter.empty()) facts.malformed = true;
      } else if (s.p_type == PT_DYNAMIC) {
        facts.dynamic = true;
        read_dynamic(s);
      } else if (s.p_type == PT_NOTE) {
        read_notes(s);
      }
    }
    read_section_names(*head);
  }

  void read_notes(const Elf64_Phdr& s) {
    for (std::uint64_t at = s.p_offset, end = s.p_offset + std::min(s.p_filesz, note_max); at + sizeof(Elf64_Nhdr) <= end;) {
      const auto note = read<Elf64_Nhdr>(at);
      if (!note) return;
      char name[4] = {};
      if (note->n_namesz == 4 && read(at + sizeof *note, name, 4) && std::memcmp(name, "Go\0", 4) == 0) facts.go = true;
      const auto padded = [](std::uint64_t n) { return (n + 3) & ~std::uint64_t{3}; };
      at += sizeof *note + padded(note->n_namesz) + padded(note->n_descsz);  // 32-bit values: no overflow
    }
  }

  // Only for `.go.buildinfo`, which stays when a Go program is stripped of its notes.
  void read_section_names(const Elf64_Ehdr& head) {
    std::vector<Elf64_Shdr> sections;
    if (head.e_shoff == 0 || head.e_shentsize != sizeof(Elf64_Shdr) || head.e_shnum > header_max ||
        head.e_shstrndx >= head.e_shnum || !read_many(head.e_shoff, head.e_shnum, sections))
      return;
    const auto& names = sections[head.e_shstrndx];
    for (const auto& s : sections)
      if (s.sh_name < names.sh_size && names.sh_offset < size && text(names.sh_offset + s.sh_name, 32) == ".go.buildinfo")
        facts.go = true;
  }

  void read_dynamic(const Elf64_Phdr& s) {
    std::vector<Elf64_Dyn> rows;
    if (!read_many(s.p_offset, std::min(s.p_filesz / sizeof(Elf64_Dyn), dynamic_max), rows)) {
      facts.malformed = true;
      return;
    }
    std::uint64_t strings = 0, strings_size = 0, symbols = 0, hash = 0, gnu_hash = 0;
    for (const auto& row : rows) {
      if (row.d_tag == DT_NULL) break;
      if (row.d_tag == DT_STRTAB) strings = row.d_un.d_ptr;
      else if (row.d_tag == DT_STRSZ) strings_size = row.d_un.d_val;
      else if (row.d_tag == DT_SYMTAB) symbols = row.d_un.d_ptr;
      else if (row.d_tag == DT_HASH) hash = row.d_un.d_ptr;
      else if (row.d_tag == DT_GNU_HASH) gnu_hash = row.d_un.d_ptr;
    }
    if (strings == 0) return;  // a static-pie program has a dynamic section too
    const auto strings_at = offset_of(strings);
    std::vector<char> names;
    if (!strings_at || strings_size > string_table_max || !read_many(*strings_at, strings_size, names) || names.empty()) {
      facts.malformed = true;
      return;
    }
    names.back() = 0;  // every string ends inside
    const auto name_at = [&](std::uint64_t i) { return i < names.size() ? std::string(names.data() + i).substr(0, string_max) : std::string(); };
    for (const auto& row : rows) {
      if (row.d_tag == DT_NULL) break;
      if (row.d_tag == DT_NEEDED && facts.needed.size() < dynamic_max) facts.needed.push_back(name_at(row.d_un.d_val));
      if (row.d_tag == DT_RUNPATH || (row.d_tag == DT_RPATH && facts.runpath.empty())) facts.runpath = name_at(row.d_un.d_val);
    }
    const auto symbols_at = offset_of(symbols);
    if (!symbols_at) return;
    const std::uint64_t count = std::min(count_symbols(hash, gnu_hash, symbols, strings), symbol_max);
    std::vector<Elf64_Sym> table;
    if (!read_many(*symbols_at, count, table)) {
      facts.malformed = true;
      return;
    }
    for (std::size_t i = 1; i < table.size(); ++i) {
      const auto& row = table[i];
      const auto visibility = row.st_other & 3;
      std::string name = name_at(row.st_name);
      if (name.empty() || name.size() > 256) continue;  // no libc name is as long; a C++ one would only cost memory
      if (row.st_shndx == SHN_UNDEF) facts.imports.insert(std::move(name));
      else if (ELF64_ST_BIND(row.st_info) != STB_LOCAL && (visibility == STV_DEFAULT || visibility == STV_PROTECTED))
        facts.defines.insert(std::move(name));
    }
  }

  std::uint64_t count_symbols(std::uint64_t hash, std::uint64_t gnu_hash, std::uint64_t symbols, std::uint64_t strings) const {
    if (hash)
      if (const auto at = offset_of(hash))
        if (const auto chains = read<std::uint32_t>(*at + 4)) return *chains;
    std::uint64_t counted = 0;
    if (gnu_hash) {
      const auto at = offset_of(gnu_hash);
      struct { std::uint32_t buckets, first, bloom, shift; } head;
      std::vector<std::uint32_t> buckets;
      if (at && read(*at, &head, sizeof head)) {
        const std::uint64_t buckets_at = *at + sizeof head + std::uint64_t{8} * head.bloom;
        if (read_many(buckets_at, head.buckets, buckets)) {
          const std::uint32_t last = buckets.empty() ? 0 : *std::ranges::max_element(buckets);
          if (last < head.first) counted = head.first;  // nothing is defined: all are imports
          else
            for (std::uint64_t i = last; i < symbol_max; ++i) {
              const auto chain = read<std::uint32_t>(buckets_at + 4 * head.buckets + 4 * (i - head.first));
              if (!chain) break;
              if (*chain & 1) {
                counted = i + 1;
                break;
              }
            }
        }
      }
    }
    // Where the hash counts nothing (only imports), the string table lies behind the symbols by custom.
    if (counted <= 1 && strings > symbols) counted = (strings - symbols) / sizeof(Elf64_Sym);
    return counted;
  }
};

}  // namespace

elf_facts read_elf(int fd) {
  struct stat s{};
  if (fstat(fd, &s) < 0 || !S_ISREG(s.st_mode)) return {};
  reader r{fd, static_cast<std::uint64_t>(s.st_size)};
  r.run();
  return std::move(r.facts);
}

elf_facts read_elf(const std::string& path, int& error) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  error = fd < 0 ? errno : 0;
  if (fd < 0) return {};
  elf_facts facts = read_elf(fd);
  close(fd);
  return facts;
}

}  // namespace chaos::cli
