// Where a request ends: byte by byte it is never whole too early, and what could be read in two ways is refused.
#include "control/http/framing.hpp"

#include <gtest/gtest.h>

#include <string>

namespace chaos::http {
namespace {

using state = framing::state;

int refusal(const std::string& text) {
  const framing f = frame(text);
  return f.what == state::refused ? f.status : 0;
}

TEST(HttpFraming, ARequestIsWholeWithItsLastByte) {
  const std::string request = "POST /v1/rules HTTP/1.1\r\nHost: x\r\ncontent-length: 5\r\n\r\nhello";
  for (std::size_t n = 0; n < request.size(); ++n) EXPECT_EQ(frame(request.substr(0, n)).what, state::more) << n;
  EXPECT_EQ(frame(request).what, state::whole);
  EXPECT_EQ(frame(request + "GET /").size, request.size()) << "what follows is the next one";
}

TEST(HttpFraming, WithoutALengthTheHeadIsAll) {
  const std::string request = "GET / HTTP/1.1\r\n\r\n";
  EXPECT_EQ(frame(request).size, request.size());
}

TEST(HttpFraming, TheSenderMayWaitToBeToldToGoOn) {
  const std::string head = "POST / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
  EXPECT_TRUE(frame(head).expects_continue);
  EXPECT_EQ(frame(head + "{}").what, state::whole);
}

TEST(HttpFraming, WhatCouldBeReadInTwoWaysIsRefused) {
  const std::string line = "POST / HTTP/1.1\r\n";
  EXPECT_EQ(refusal(line + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n"), 400);
  EXPECT_EQ(refusal(line + "Content-Length: 1,1\r\n\r\n"), 400);
  EXPECT_EQ(refusal(line + "Content-Length: -1\r\n\r\n"), 400);
  EXPECT_EQ(refusal(line + "Content-Length: +1\r\n\r\n"), 400);
  EXPECT_EQ(refusal(line + "Content-Length:\r\n\r\n"), 400);
  EXPECT_EQ(refusal(line + "Content-Length : 1\r\n\r\n"), 400);
  EXPECT_EQ(refusal(line + "Content-Length: 1\nX: y\r\n\r\n"), 400);
  EXPECT_EQ(refusal(line + "Transfer-Encoding: chunked\r\n\r\n"), 411);
  EXPECT_EQ(refusal(line + "TRANSFER-ENCODING: identity\r\nContent-Length: 1\r\n\r\n"), 411);
  EXPECT_EQ(refusal(line + " folded: x\r\n\r\n"), 400);
  EXPECT_EQ(refusal(line + "no colon\r\n\r\n"), 400);
  EXPECT_EQ(refusal(line + std::string("X: \0\r\n\r\n", 8)), 400);
}

TEST(HttpFraming, WhatIsTooLongIsRefusedBeforeItIsWhole) {
  EXPECT_EQ(refusal(std::string(request_line_max, 'a')), 414);
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\nX: " + std::string(head_max, 'a')), 431);
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\nContent-Length: " + std::to_string(body_max + 1) + "\r\n\r\n"), 413);
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n"), 413);
  EXPECT_EQ(frame("GET / HTTP/1.1\r\nContent-Length: " + std::to_string(body_max) + "\r\n\r\n").what, state::more);
}

}  // namespace
}  // namespace chaos::http
