// How chaos-ctl speaks: people get tables and sentences, programs get one JSON document. Colour only on a terminal.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "control/rules/problem.hpp"
#include "invocation.hpp"

namespace chaos::cli {

using json = nlohmann::json;

enum class ink { plain, bold, dim, red, yellow, green, cyan };

// `fd` decides: a terminal gets colour unless NO_COLOR is set or TERM is dumb.
std::string paint(ink colour, std::string_view text, int fd = 1);

std::string human_ns(std::uint64_t ns);     // "200 ms", "1.5 s", "3 min 20 s"
std::string human_bytes(std::uint64_t n);   // "1.2 MB"
std::string human_count(std::uint64_t n);   // "1,234,567"

std::size_t width(std::string_view text);  // in columns: UTF-8 continuation bytes and escape sequences take none

// Columns line up; a column of numbers is set to the right when its heading begins with '>'.
class table {
 public:
  explicit table(std::vector<std::string> headings);
  void row(std::vector<std::string> cells);
  std::string text() const;

 private:
  std::vector<std::string> headings_;
  std::vector<std::vector<std::string>> rows_;
};

void print(std::string_view text);          // standard output; a closed pipe ends us quietly
void print_json(const json& document);      // one document and a newline
void note(std::string_view sentence);       // standard error, for people
void warn(std::string_view sentence);       // the same, marked

// Says what is wrong, underlines the word in what was typed, and returns the exit status that belongs to it.
int report(const rules::problem& p, const invocation& from);

// Reads from JSON that another process wrote: what is missing or of another type becomes the default.
std::uint64_t number(const json& object, const char* key, std::uint64_t otherwise = 0);
std::string text_of(const json& object, const char* key, const std::string& otherwise = "");
bool flag_of(const json& object, const char* key);
const json& array_of(const json& object, const char* key);

}  // namespace chaos::cli
