#include "framing.hpp"

#include <strings.h>

#include <algorithm>
#include <charconv>
#include <cstring>



namespace chaos::http {

namespace {

bool is(std::string_view text, const char* word) { return text.size() == std::strlen(word) && strncasecmp(text.data(), word, text.size()) == 0; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

framing refused(int status, const char* reason) { return {framing::state::refused, 0, status, reason, false}; }

}  // namespace

framing frame(std::string_view received) {
  constexpr std::string_view end_of_head = "\r\n\r\n";
  if (received.substr(0, request_line_max).find("\r\n") == std::string_view::npos)
    return received.size() >= request_line_max ? refused(414, "the request line is longer than 2 KiB") : framing{};
  const auto end = received.substr(0, head_max).find(end_of_head);
  if (end == std::string_view::npos)
    return received.size() >= head_max ? refused(431, "the head of the request is longer than 16 KiB") : framing{};
  std::string_view head = received.substr(0, end + 2);
  if (std::any_of(head.begin(), head.end(), [](unsigned char c) { return (c < ' ' && c != '\r' && c != '\n' && c != '\t') || c == 127; }))
    return refused(400, "control characters in the head of the request");
  std::size_t length = 0;
  bool has_length = false, expects = false;
  head.remove_prefix(std::min(head.size(), head.find("\r\n") + 2));
  while (!head.empty()) {
    const std::string_view line = head.substr(0, head.find("\r\n"));
    head.remove_prefix(line.size() + 2);
    const auto colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0 || line.find_first_of("\r\n") != std::string_view::npos || line.substr(0, colon).find_first_of(" \t") != std::string_view::npos)
      return refused(400, "a header line that is none");
    const std::string_view name = line.substr(0, colon), value = trimmed(line.substr(colon + 1));
    if (is(name, "transfer-encoding")) return refused(411, "a body needs Content-Length");
    if (is(name, "expect")) expects = is(value, "100-continue");
    if (!is(name, "content-length")) continue;
    if (has_length) return refused(400, "Content-Length twice");
    has_length = true;
    const auto [at, error] = std::from_chars(value.data(), value.data() + value.size(), length);
    if (error == std::errc::result_out_of_range) return refused(413, "the body is longer than 512 KiB");
    if (error != std::errc() || at != value.data() + value.size()) return refused(400, "Content-Length is not a number");
  }
  if (length > body_max) return refused(413, "the body is longer than 512 KiB");
  const std::size_t size = end + end_of_head.size() + length;
  if (received.size() < size) return {framing::state::more, 0, 0, "", expects};
  return {framing::state::whole, size, 0, "", false};
}

}  // namespace chaos::http
