// Where HTTP may be served, and what counts as an address that only this machine reaches.
#include <gtest/gtest.h>

#include "control/http/front.hpp"

namespace chaos::http {
namespace {

TEST(HttpAddress, LoopbackIsTold) {
  for (const char* text : {"127.0.0.1:80", "127.9.8.7:1", "[::1]:80", "localhost:8080", "127.0.0.1:0"}) EXPECT_TRUE(parse_address(text)->loopback) << text;
  for (const char* text : {"0.0.0.0:80", "10.0.0.1:80", "[::]:80", "[::ffff:127.0.0.1]:80", "128.0.0.1:1"}) EXPECT_FALSE(parse_address(text)->loopback) << text;
  EXPECT_EQ(parse_address("[::1]:8080")->host, "::1");
  EXPECT_EQ(parse_address("[::1]:8080")->port, 8080);
}

TEST(HttpAddress, WhatIsNoneIsRefused) {
  for (const char* text : {"", ":", "80", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:-1", "127.0.0.1:65536", "127.0.0.1:80x", "1.2.3:80", "[::1]", "[::1:80", "example.org:80", "127.0.0.1 :80"})
    EXPECT_FALSE(parse_address(text)) << text;
}

TEST(HttpAddress, NothingIsServedWithoutAToken) {
  front_settings how;
  how.address = "127.0.0.1:0";
  EXPECT_EQ(start_front(how).error().code, rules::problem_code::not_allowed);
}

}  // namespace
}  // namespace chaos::http
