// The pieces of a manual page.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace chaos::manual {

std::string plain(std::string_view text);  // as troff shows it: its own signs protected, what is not ASCII as \[uXXXX]
std::string head(const std::string& name, int section, const std::string& summary);
std::string entry(const std::string& term, const std::string& text);
std::string pairs(const char* title, const std::vector<std::pair<std::string, std::string>>& rows);  // a section of entries

}  // namespace chaos::manual
