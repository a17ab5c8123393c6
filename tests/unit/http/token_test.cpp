// The token: from a file that nobody else can read, and equal only to itself.
#include "control/http/token.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "tests/support/temporary_folder.hpp"

namespace chaos::http {
namespace {

class HttpToken : public testing::Test {
 protected:
  rules::result<std::string> read(const std::string& text, mode_t mode = 0600) {
    const std::string path = folder_.path() + "/token";
    std::ofstream(path, std::ios::trunc) << text;
    chmod(path.c_str(), mode);
    return read_token(path);
  }
  testing_support::temporary_folder folder_;
};

TEST_F(HttpToken, IsTheFirstLine) {
  EXPECT_EQ(*read("0123456789abcdef\nrest"), "0123456789abcdef");
  EXPECT_EQ(*read("0123456789abcdef\r\n"), "0123456789abcdef");
  EXPECT_EQ(*read("0123456789abcdef", 0400), "0123456789abcdef");
}

TEST_F(HttpToken, IsRefusedWhereOthersCouldReadOrWriteIt) {
  for (const mode_t mode : {0604, 0640, 0602, 0620, 0601, 0777})
    EXPECT_EQ(read("0123456789abcdef\n", mode).error().code, rules::problem_code::not_allowed) << std::oct << mode;
}

TEST_F(HttpToken, IsRefusedWhenItIsNone) {
  EXPECT_FALSE(read(""));
  EXPECT_FALSE(read("\n0123456789abcdef"));
  EXPECT_FALSE(read("0123456789abcde\n"));
  EXPECT_FALSE(read("01234567 89abcdef\n"));
  EXPECT_FALSE(read("0123456789abcd\xc3\xa9\n"));
  EXPECT_FALSE(read(std::string(token_max + 1, 'x')));
  EXPECT_FALSE(read_token(folder_.path()));
  EXPECT_FALSE(read_token(folder_.path() + "/nothing"));
}

TEST(HttpTokens, AreTheSameOnlyWhenAllOfThemIs) {
  EXPECT_TRUE(same_token("0123456789abcdef", "0123456789abcdef"));
  for (const char* other : {"", "0", "0123456789abcde", "0123456789abcdeF", "0123456789abcdefg", "1123456789abcdef"}) EXPECT_FALSE(same_token(other, "0123456789abcdef")) << other;
  EXPECT_FALSE(same_token(std::string("0123456789abcdef\0", 17), "0123456789abcdef"));
}

}  // namespace
}  // namespace chaos::http
