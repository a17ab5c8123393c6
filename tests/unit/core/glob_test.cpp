// Globs for names, paths and host names, checked against a plain recursive matcher, and hostile patterns in bounded time.
#include "support.hpp"

#include <chrono>

#include "preload/core/glob.hpp"

namespace chaos::core {
namespace {

struct row {
  const char* pattern;
  const char* text;
  bool name, path;
};

TEST(Glob, ReadsStarsAndQuestionMarksByMode) {
  const row rows[] = {
      {"", "", true, true},
      {"", "a", false, false},
      {"*", "", true, true},
      {"*", "abc", true, true},
      {"*", "a/b", true, false},
      {"?", "/", true, false},
      {"?", "", false, false},
      {"a?c", "abc", true, true},
      {"/var/*/x", "/var/a/x", true, true},
      {"/var/*/x", "/var/a/b/x", true, false},
      {"/var/**", "/var/a/b/x", true, true},
      {"/var/**", "/var", false, false},
      {"/var/**/x", "/var/x", false, true},
      {"/var/**/x", "/var/a/b/x", true, true},
      {"/var/**/x", "/var/a/bx", false, false},
      {"**", "/any/thing", true, true},
      {"**.log", "/a/b.log", true, true},
      {"/a/**/b/**/c", "/a/1/b/2/3/c", true, true},
      {"/a/**/b/**/c", "/a/b/c", false, true},
      {"*.sock", "x.sock", true, true},
      {"*.sock", "x.sock2", false, false},
      {"a*b*c", "aXbYbZc", true, true},
      {"[a]", "a", false, false},  // no character classes
      {"[a]", "[a]", true, true},
  };
  for (const row& r : rows) {
    EXPECT_EQ(glob_match(r.pattern, r.text, glob_mode::name), r.name) << r.pattern << " name " << r.text;
    EXPECT_EQ(glob_match(r.pattern, r.text, glob_mode::path), r.path) << r.pattern << " path " << r.text;
  }
}

TEST(Glob, CountsCaseEverywhereButInHostNames) {
  EXPECT_TRUE(glob_match("*.Example.COM", "www.eXample.com", glob_mode::hostname));
  EXPECT_FALSE(glob_match("*.Example.COM", "www.eXample.com", glob_mode::name));
}

// What the words mean, without regard to time: `*` any run (not '/'), `**` any run, "/**/" whole components.
bool plainly(const char* p, const char* t, bool path, char before = '/') {
  if (!*p) return !*t;
  if (path && p[0] == '*' && p[1] == '*') {
    const bool whole = p[2] == '/' && before == '/';
    const char* rest = p + (whole ? 3 : 2);
    for (const char* at = t;; ++at) {
      if ((!whole || at == t || at[-1] == '/') && plainly(rest, at, path, rest[-1])) return true;
      if (!*at) return false;
    }
  }
  if (*p == '*') {
    for (const char* at = t;; ++at) {
      if (plainly(p + 1, at, path, *p)) return true;
      if (!*at || (path && *at == '/')) return false;
    }
  }
  if (!*t) return false;
  if (*p == '?' ? !(path && *t == '/') : *p == *t) return plainly(p + 1, t + 1, path, *p);
  return false;
}

TEST(Glob, AgreesWithAPlainMatcherOnRandomInput) {
  for (std::uint64_t i = 0; i < 200000; ++i) {
    draws d({99}, i);
    char pattern[10], text[10];
    const std::uint64_t np = d.below(9), nt = d.below(9);
    for (std::uint64_t k = 0; k < np; ++k) pattern[k] = "ab/*?*"[d.below(6)];
    for (std::uint64_t k = 0; k < nt; ++k) text[k] = "ab/a"[d.below(4)];
    pattern[np] = text[nt] = 0;
    ASSERT_EQ(glob_match(pattern, text, glob_mode::name), plainly(pattern, text, false)) << pattern << " on " << text;
    ASSERT_EQ(glob_match(pattern, text, glob_mode::path), plainly(pattern, text, true)) << pattern << " as path on " << text;
  }
}

TEST(Glob, EndsSoonOnHostilePatterns) {
  const std::string text(4000, 'a');
  std::string stars, deep;
  for (int i = 0; i < 200; ++i) stars += "*a", deep += "**a";
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(glob_match((stars + "b").c_str(), text.c_str()));
  EXPECT_FALSE(glob_match((deep + "b").c_str(), text.c_str(), glob_mode::path));
  EXPECT_FALSE(glob_match(("**/" + stars + "b").c_str(), text.c_str(), glob_mode::path));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
}

TEST(BaseName, IsWhatFollowsTheLastSlash) {
  EXPECT_STREQ(base_name("/usr/bin/redis"), "redis");
  EXPECT_STREQ(base_name("redis"), "redis");
  EXPECT_STREQ(base_name("/usr/"), "");
}

}  // namespace
}  // namespace chaos::core
