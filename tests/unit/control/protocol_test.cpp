// Messages: what a request must be, and replies that come back as they were.
#include "control/protocol/message.hpp"

#include <gtest/gtest.h>

#include "tests/support/parameter_names.hpp"

namespace chaos::protocol {
namespace {

using rules::problem_code;

TEST(Request, IsReadBack) {
  for (unsigned i = 0; i < static_cast<unsigned>(command::count); ++i) {
    const auto r = parse_request(to_line(request_json(static_cast<command>(i), {{"words", {"a"}}})));
    ASSERT_TRUE(r);
    EXPECT_EQ(static_cast<unsigned>(r->what), i);
    EXPECT_EQ(r->body["words"][0], "a");
  }
}

TEST(Request, OfAnotherVersionIsRefusedWhateverItSays) {
  const auto r = parse_request(R"({"v":2,"command":"fly"})");
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, problem_code::version_mismatch);
  EXPECT_EQ(r.error().word, "2");
}

TEST(Request, UnknownCommandsGetASuggestion) {
  const auto r = parse_request(R"({"v":1,"command":"lst"})");
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().message, "unknown command 'lst': did you mean 'list'?");
}

class BadRequest : public testing::TestWithParam<const char*> {};
TEST_P(BadRequest, IsRefused) {
  const auto r = parse_request(GetParam());
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, problem_code::bad_request);
}
INSTANTIATE_TEST_SUITE_P(All, BadRequest, testing::Values("", "{", "[]", "1", "null", "{}", "\"set\"", R"({"v":"1","command":"list"})", R"({"v":1})",
                                                         R"({"v":1,"command":7})", R"({"v":1,"command":"list"} x)", "{\"v\":1,\"command\":\"\xff\"}"), testing_support::parameter_name);

TEST(Request, AMegabyteOfBracketsCostsNothing) { EXPECT_FALSE(parse_request(std::string(1'000'000, '['))); }

TEST(Reply, CarriesErrorsAndWarnings) {
  const rules::problem p{problem_code::bad_target, "no", "w", {"a", "b"}};
  const auto back = parse_reply(to_line(error_reply(p)));
  ASSERT_FALSE(back);
  EXPECT_EQ(back.error().code, p.code);
  EXPECT_EQ(back.error().word, "w");
  EXPECT_EQ(back.error().expected, p.expected);
  const auto fine = parse_reply(to_line(ok_reply({{"id", 1}}, {"careful"})));
  ASSERT_TRUE(fine);
  EXPECT_EQ(fine->result["id"], 1);
  EXPECT_EQ(fine->warnings, std::vector<std::string>{"careful"});
}

TEST(Reply, RubbishIsAProblem) {
  for (const char* text : {"", "x", "{}", "[]", R"({"ok":1})", R"({"ok":false,"error":7})", R"({"ok":false})"}) EXPECT_FALSE(parse_reply(text)) << text;
}

}  // namespace
}  // namespace chaos::protocol
