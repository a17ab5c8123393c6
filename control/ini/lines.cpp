#include "lines.hpp"

#include <algorithm>
#include <cstdlib>

namespace chaos::ini {

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

}  // namespace chaos::ini
