// The health check asks in bounded time, whatever it meets.
#include "control/schedule/health.hpp"

#include <gtest/gtest.h>

#include "tests/support/dripping_server.hpp"

namespace {

using namespace chaos::schedule;
using namespace std::chrono_literals;
using chaos::testing_support::dripping_server;

TEST(ScheduleHealth, AnAnswerThatNeverEndsIsNone) {
  for (const auto& [beginning, piece] : {std::pair{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"}, {"HTTP/1.1 200 OK\r\n", "X: y\r\n"}, {"HTTP/1.1 200 OK\r\n\r\n", "x"}}) {
    const dripping_server server(beginning, piece);
    const auto began = std::chrono::steady_clock::now();
    EXPECT_FALSE(is_well("http://127.0.0.1:" + std::to_string(server.port) + "/", 200ms));
    post_json("http://127.0.0.1:" + std::to_string(server.port) + "/", "{}", 200ms);
    EXPECT_LT(std::chrono::steady_clock::now() - began, 5s);
  }
}

}  // namespace
