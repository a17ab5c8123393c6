// The bearer token: read from a file that nobody else can read, compared in constant time.
#pragma once
#include <string>
#include <string_view>

#include "control/rules/problem.hpp"

namespace chaos::http {

inline constexpr std::size_t token_min = 16, token_max = 4096;

// The first line of the file. Refused: a file that others than its owner can read or write, a short token, blanks in it.
rules::result<std::string> read_token(const std::string& path);

// Takes as long for a token that is almost right as for one that is all wrong.
bool same_token(std::string_view given, std::string_view right);

}  // namespace chaos::http
