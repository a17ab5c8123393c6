// Sections, keys and variables of INI texts; every message names its line.
#include "control/ini/sections.hpp"

#include <gtest/gtest.h>

namespace {

using namespace chaos::ini;

const environment variables = [](const std::string& name) -> std::optional<std::string> {
  if (name == "PORT") return "8080";
  if (name == "EMPTY") return "";
  if (name == "LINES") return "a\nb";
  return std::nullopt;
};

auto read(std::string_view text) { return read_sections(text, variables); }

std::string error_of(std::string_view text) {
  const auto r = read(text);
  return r ? "" : r.error().message;
}

TEST(Ini, KeepsSectionsKeysAndLines) {
  const auto r = read("# first\n[one]\na = 1\n\nb = x ; a comment\n  and more\n[two NAME]\nc: 3\nc = 4\n");
  ASSERT_TRUE(r) << r.error().message;
  ASSERT_EQ(r->size(), 2u);
  EXPECT_EQ((*r)[0].kind, "one");
  ASSERT_EQ((*r)[0].entries.size(), 2u);
  EXPECT_EQ((*r)[0].entries[0].value, "1");
  EXPECT_EQ((*r)[0].entries[0].line, 3);
  EXPECT_EQ((*r)[0].entries[1].value, "x and more");
  EXPECT_EQ((*r)[0].entries[1].line, 5);
  EXPECT_EQ((*r)[1].kind + "/" + (*r)[1].name, "two/NAME");
  ASSERT_EQ((*r)[1].entries.size(), 2u) << "a key may stand several times";
  EXPECT_EQ((*r)[1].entries[1].value, "4");
  EXPECT_EQ((*r)[1].entries[1].line, 9);
}

TEST(Ini, FillsInVariables) {
  const auto r = read("[s]\na = h:${PORT}/${NONE:-x}\nb = ${EMPTY:-y}\n# ${NONE} in a comment is nothing\n");
  ASSERT_TRUE(r) << r.error().message;
  EXPECT_EQ((*r)[0].entries[0].value, "h:8080/x");
  EXPECT_EQ((*r)[0].entries[1].value, "y");
}

TEST(Ini, SaysWhatIsWrongAndWhere) {
  EXPECT_EQ(error_of("a = 1\n").substr(0, 8), "line 1: ");
  EXPECT_NE(error_of("[s\n").find("line 1: '[s' has no ]"), std::string::npos);
  EXPECT_NE(error_of("[s] x\n").find("behind the section's title"), std::string::npos);
  EXPECT_NE(error_of("[s]\nnothing\n").find("line 2: 'nothing' is neither"), std::string::npos);
  EXPECT_NE(error_of("[s]\n[s]\n").find("line 2: there is a second section [s]; the first is on line 1"), std::string::npos);
  EXPECT_NE(error_of("[s]\n\na = ${NONE}\n").find("line 3: the environment variable NONE is not set"), std::string::npos);
  EXPECT_NE(error_of("[s]\na = ${LINES}\n").find("holds a line break"), std::string::npos);
  EXPECT_NE(error_of("[s]\na = ${1x}\n").find("is not ${NAME}"), std::string::npos);
  EXPECT_NE(error_of("[s]\na = " + std::string(200, 'x') + "\n").find("line 2: longer than 197"), std::string::npos);
  EXPECT_NE(error_of(std::string_view("[s]\na = \0\n", 10)).find("NUL"), std::string::npos);
}

TEST(Ini, KeysAreHandedToTheirReadersOrRefused) {
  const auto good = [](const std::string&) -> chaos::rules::result<chaos::rules::done> { return chaos::rules::done{}; };
  const auto bad = [](const std::string& v) -> chaos::rules::result<chaos::rules::done> { return chaos::rules::problem{chaos::rules::problem_code::bad_value, "no: " + v, v, {}}; };
  const auto r = read("[s]\nalpha = 1\nbeta = 2\nbeta = 3\nempty =\n");
  ASSERT_TRUE(r);
  EXPECT_EQ(keys((*r)[0]).on("alpha", good).on_each("beta", good).end().error().message, "line 5: unknown key of [s] 'empty': expected one of alpha, beta");
  EXPECT_NE(keys((*r)[0]).on("alpha", good).on("beta", good).on("empty", good).end().error().message.find("line 4: the key 'beta' stands twice"), std::string::npos);
  EXPECT_EQ(keys((*r)[0]).on("alpha", bad).on_each("beta", good).on("empty", good).end().error().message, "line 2: no: 1");
  EXPECT_NE(keys((*r)[0]).on("alpha", good).on_each("beta", good).on("empty", good).end().error().message.find("line 5: empty: nothing stands behind it"), std::string::npos);
  EXPECT_NE(keys((*r)[0]).on("alhpa", good).on_each("beta", good).on("empty", good).end().error().message.find("did you mean 'alhpa'"), std::string::npos);
}

}  // namespace
