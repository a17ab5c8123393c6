// Text inside HTML and XML.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

namespace chaos::experiment {

// Safe as content and inside either kind of quotes. XML 1.0 has no way to write most control characters: they become spaces.
inline std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
    }
  return out;
}

inline std::string escaped_at(const nlohmann::json& row, const char* key) { return escaped(row.at(key).get<std::string>()); }

}  // namespace chaos::experiment
