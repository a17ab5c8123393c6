// What every INI text of ours has in common before it is looked at: how long it and its lines may be, the environment variables
// that stand in them, and problems that say on which line they are.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "control/rules/problem.hpp"

namespace chaos::ini {

inline constexpr std::size_t line_max = 197;  // inih
inline constexpr std::size_t text_max = 512 * 1024;

using environment = std::function<std::optional<std::string>(const std::string&)>;
environment process_environment();

// `row` with ${NAME} and ${NAME:-default} replaced.
rules::result<std::string> expanded(std::string_view row, const environment& variables);

rules::problem on_line(int line, rules::problem p);  // unless it names a line already

// f(number, row) for each line of the text, without what stands around it (a byte order mark, \r) and with its variables replaced; a
// comment is an empty row. Ends at the first problem, which says on which line it is.
rules::result<rules::done> for_each_row(std::string_view text, const environment& variables, const std::function<rules::result<rules::done>(int line, std::string& row)>& f);

}  // namespace chaos::ini
