// The function that holds an address of an ELF image, by the symbol table of its file. Pure: how the file is read is
// behind `Read`. It allocates nothing, and a broken file gives no name.
#pragma once
#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace chaos::core {

inline constexpr std::size_t symbol_name_max = 112;  // with its NUL; longer names are cut

struct function_symbol {
  char name[symbol_name_max];
  std::uint64_t begin;       // address within the file's image
};

// Read: bool(void* into, std::size_t n, std::uint64_t at), false unless all n bytes were there.
template <class Read>
class elf_file {
 public:
  explicit elf_file(Read read) : read_(read) {
    usable_ = read_(&head_, sizeof head_, 0) && std::memcmp(head_.e_ident, ELFMAG, SELFMAG) == 0 && head_.e_ident[EI_CLASS] == ELFCLASS64 &&
              head_.e_ident[EI_DATA] == ELFDATA2LSB;
  }

  // .symtab where there is one (it knows static functions), else .dynsym.
  bool function_at(std::uint64_t address, function_symbol& out) const {
    Elf64_Shdr table, names;
    if (!usable_ || !(section(SHT_SYMTAB, table) || section(SHT_DYNSYM, table)) || !section_at(table.sh_link, names)) return false;
    Elf64_Sym best;
    bool found = false;
    constexpr unsigned at_once = 128;
    Elf64_Sym some[at_once];
    std::uint64_t count = table.sh_size / sizeof(Elf64_Sym);
    if (count > symbols_max) count = symbols_max;
    for (std::uint64_t done = 0; done < count; done += at_once) {
      const std::uint64_t n = count - done < at_once ? count - done : at_once;
      if (!read_(some, n * sizeof some[0], table.sh_offset + done * sizeof some[0])) return false;
      for (std::uint64_t i = 0; i < n; ++i) {
        const Elf64_Sym& s = some[i];
        const unsigned type = ELF64_ST_TYPE(s.st_info);
        if ((type != STT_FUNC && type != STT_GNU_IFUNC) || s.st_shndx == SHN_UNDEF || address < s.st_value || address - s.st_value >= s.st_size) continue;
        if (found && ELF64_ST_BIND(best.st_info) != STB_LOCAL) continue;  // of several names a global one
        best = s;
        found = true;
      }
    }
    if (!found || best.st_name >= names.sh_size) return false;
    std::uint64_t room = names.sh_size - best.st_name;
    if (room > symbol_name_max) room = symbol_name_max;
    if (!read_(out.name, room, names.sh_offset + best.st_name)) return false;
    out.name[room - 1] = 0;
    out.begin = best.st_value;
    return out.name[0] != 0;
  }

 private:
  static constexpr unsigned headers_max = 256;
  static constexpr std::uint64_t symbols_max = 4'000'000;

  bool section_at(unsigned index, Elf64_Shdr& out) const {
    return head_.e_shentsize == sizeof(Elf64_Shdr) && index < head_.e_shnum && read_(&out, sizeof out, head_.e_shoff + index * sizeof out);
  }
  bool section(std::uint32_t type, Elf64_Shdr& out) const {
    for (unsigned i = 0; i < head_.e_shnum && i < headers_max; ++i)
      if (section_at(i, out) && out.sh_type == type) return true;
    return false;
  }

  Read read_;
  Elf64_Ehdr head_{};
  bool usable_ = false;
};

}  // namespace chaos::core
