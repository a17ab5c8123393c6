// A rule as chaosd describes it in JSON, in the words of the tables that people read.
#pragma once
#include <string>

#include "output.hpp"

namespace chaos::cli {

std::string rule_life(const json& rule);     // "9 min 58 s", "for ever", "ended"
std::string rule_flags(const json& rule);    // "paused, dry run", "never matched"
bool rule_ended(const json& rule);

std::string event_line(const json& event);   // #41 [pid 1234] recv(fd to 127.0.0.1:6379) = delayed 100 ms  (latency-1)
std::string stack_lines(const json& event);  // its call stack, a line each frame; "" without one

}  // namespace chaos::cli
