#include "troff.hpp"

#include <cstdint>
#include <cstdio>

namespace chaos::manual {

std::string plain(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0xC0) {
      const int more = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : 1;
      std::uint32_t code = c & (0x3F >> more);
      for (int k = 0; k < more && i + 1 < text.size(); ++k) code = code << 6 | (static_cast<unsigned char>(text[++i]) & 0x3F);
      char escape[16];
      std::snprintf(escape, sizeof escape, "\\[u%04X]", code);
      out += escape;
    } else if (c == '\\') out += "\\e";
    else if (c == '-') out += "\\-";
    else if (c == '\'') out += "\\(aq";
    else if (c == '`') out += "\\(ga";
    else if (c == '^') out += "\\(ha";
    else if (c == '~') out += "\\(ti";
    else out += text[i];
  }
  if (!out.empty() && out[0] == '.') out.insert(0, "\\&");
  return out;
}

std::string head(const std::string& name, int section, const std::string& summary) {
  return ".TH " + plain(name) + " " + std::to_string(section) + " \"\" \"libchaos " CHAOS_VERSION "\" \"" + (section == 8 ? "System Administration" : "User Commands") + "\"\n.SH NAME\n" + plain(name) + " \\- " + plain(summary) + "\n";
}

std::string entry(const std::string& term, const std::string& text) { return ".TP\n.B " + plain(term) + "\n" + plain(text) + "\n"; }

std::string pairs(const char* title, const std::vector<std::pair<std::string, std::string>>& rows) {
  std::string out = std::string(".SH ") + title + "\n";
  for (const auto& [a, b] : rows) out += entry(a, b);
  return out;
}

}  // namespace chaos::manual
