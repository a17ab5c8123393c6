#include "lines.hpp"

#include <algorithm>
#include <cstdlib>

#include "control/rules/values.hpp"

namespace chaos::ini {

using rules::done;
using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

bool is_variable(std::string_view text) {
  return !text.empty() && !(text[0] >= '0' && text[0] <= '9') &&
         std::ranges::all_of(text, [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
}

}  // namespace

environment process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* const value = std::getenv(name.c_str());
    return value ? std::optional<std::string>(value) : std::nullopt;
  };
}

problem on_line(int line, problem p) {
  if (line > 0 && !p.message.starts_with("line ")) p.message = "line " + std::to_string(line) + ": " + p.message;
  return p;
}

result<std::string> expanded(std::string_view row, const environment& variables) {
  std::string out;
  for (std::size_t at = 0; at < row.size();) {
    if (row.substr(at, 2) != "${") {
      out += row[at++];
      continue;
    }
    const auto end = row.find('}', at);
    const std::string inside(row.substr(at + 2, end == row.npos ? row.npos : end - at - 2));
    const auto minus = inside.find(":-");
    const std::string name = inside.substr(0, minus);
    if (end == row.npos || !is_variable(name))
      return problem{problem_code::bad_value, "'${" + inside + "' is not ${NAME} or ${NAME:-default}", "${" + inside, {"${NAME}", "${NAME:-default}"}};
    auto value = variables(name);
    if (!value && minus == std::string::npos)
      return problem{problem_code::bad_value, "the environment variable " + name + " is not set, and ${" + name + "} has no default; ${" + name + ":-default} gives one", "${" + name + "}", {"${" + name + ":-default}"}};
    if (!value || (value->empty() && minus != std::string::npos)) value = inside.substr(minus + 2);
    if (value->find_first_of(std::string_view("\n\r\0", 3)) != std::string::npos)
      return problem{problem_code::bad_value, "the environment variable " + name + " holds a line break", "${" + name + "}", {}};
    out += *value;
    at = end + 1;
  }
  return out;
}

result<done> for_each_row(std::string_view text, const environment& variables, const std::function<result<done>(int line, std::string& row)>& f) {
  if (text.size() > text_max) return problem{problem_code::bad_ini, "the file is longer than " + std::to_string(text_max) + " bytes", "", {}};
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  int line = 1;
  for (std::size_t at = 0; at < text.size(); ++line) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view raw = text.substr(at, end - at);
    at = end + 1;
    if (!raw.empty() && raw.back() == '\r') raw.remove_suffix(1);
    if (raw.find('\0') != raw.npos) return on_line(line, {problem_code::bad_ini, "there is a NUL in it", "", {}});
    const auto bare = rules::trimmed(raw);
    std::string row;
    if (!bare.empty() && bare.front() != ';' && bare.front() != '#') {
      auto filled = expanded(raw, variables);
      if (!filled) return on_line(line, filled.error());
      row = std::move(*filled);
    }
    if (row.size() > line_max) return on_line(line, {problem_code::bad_ini, "longer than " + std::to_string(line_max) + " bytes", "", {}});
    if (const auto good = f(line, row); !good) return on_line(line, good.error());
  }
  return done{};
}

}  // namespace chaos::ini
