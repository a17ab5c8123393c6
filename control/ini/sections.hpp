// An INI text as sections of keys, each with the line on which it stands, so that every message can name it. inih reads the
// lines; here they are looked at before.
//
//   [KIND] or [KIND NAME]     key = value        lines of at most 197 bytes; # or ; begin a comment
//   ${NAME} and ${NAME:-default} stand for environment variables, everywhere but in comments. A key may stand several times.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/rules/problem.hpp"
#include "lines.hpp"

namespace chaos::ini {

struct entry {
  std::string key, value;
  int line;
};

struct section {
  std::string kind, name;  // name: empty when the title is one word
  int line;
  std::vector<entry> entries;
  std::string title() const { return name.empty() ? kind : kind + " " + name; }
};

rules::result<std::vector<section>> read_sections(std::string_view text, const environment& variables);

// Hands the keys of one section to readers; each key is named once, which is also the list of what may stand there.
class keys {
 public:
  using reader = std::function<rules::result<rules::done>(const std::string&)>;
  explicit keys(const section& s) : section_(s) {}
  keys& on(const std::string& name, const reader& read);
  keys& on_each(const std::string& name, const reader& read);  // may stand several times
  rules::result<rules::done> end();                            // the first problem, if there was one

 private:
  void take(const std::string& name, const reader& read, bool several);
  const section& section_;
  std::vector<std::string> known_;
  std::optional<rules::problem> problem_;
};

}  // namespace chaos::ini
