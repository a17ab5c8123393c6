// Glob matching for names and paths: `?` one character, `*` any run, `**` any run across '/'. With `path` set, `*` and
// `?` stop at '/'. Linear time in practice, no recursion, bounded by the length of both.
#pragma once

namespace chaos::core {

constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

enum class glob_mode { name, path, hostname };  // hostname: case does not count

constexpr bool glob_match(const char* pattern, const char* text, glob_mode mode = glob_mode::name) {
  const bool path = mode == glob_mode::path;
  const auto same = [mode](char a, char b) { return mode == glob_mode::hostname ? lower(a) == lower(b) : a == b; };
  const char* star = nullptr;        // the latest * and where it was last tried
  const char* star_text = nullptr;
  const char* deep = nullptr;        // the latest ** likewise: it can take back what a later * could not match
  const char* deep_text = nullptr;
  bool whole_parts = false;          // it was written "/**/": what follows begins a component
  const char* const begin = pattern;
  for (;;) {
    if (*pattern == '*') {
      if (path && pattern[1] == '*') {
        whole_parts = pattern[2] == '/' && (pattern == begin || pattern[-1] == '/');
        pattern += 2;
        if (whole_parts) ++pattern;  // "a/**/b" also matches "a/b"
        deep = pattern;
        deep_text = text;
        star = nullptr;
        continue;
      }
      star = ++pattern;
      star_text = text;
      continue;
    }
    if (*text && ((*pattern == '?' && !(path && *text == '/')) || (*pattern && same(*pattern, *text)))) {
      ++pattern;
      ++text;
      continue;
    }
    if (!*text && !*pattern) return true;
    if (star && *star_text && !(path && *star_text == '/')) {
      text = ++star_text;
      pattern = star;
      continue;
    }
    if (deep && *deep_text) {
      do ++deep_text;
      while (whole_parts && *deep_text && deep_text[-1] != '/');
      if (whole_parts && deep_text[-1] != '/') return false;
      text = deep_text;
      pattern = deep;
      star = nullptr;
      continue;
    }
    return false;
  }
}

constexpr const char* base_name(const char* path) {
  const char* last = path;
  for (const char* p = path; *p; ++p)
    if (*p == '/') last = p + 1;
  return last;
}

}  // namespace chaos::core
