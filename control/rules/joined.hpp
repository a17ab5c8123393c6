// Lists of words as people read them.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace chaos::rules {

inline std::string joined(const std::vector<std::string>& words, std::string_view between = ", ") {
  std::string out;
  for (const auto& w : words) (out.empty() ? out : out.append(between)) += w;
  return out;
}

inline std::string spaced(const std::vector<std::string>& words) { return joined(words, " "); }

}  // namespace chaos::rules
