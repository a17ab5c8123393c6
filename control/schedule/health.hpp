// Whether the system is well, before something is done to it.
#pragma once
#include <chrono>
#include <string>

namespace chaos::schedule {

// `check`: http://HOST[:PORT]/PATH (well: 200 to 399), tcp://HOST:PORT (well: it connects), else a command (well: exit status 0).
bool is_well(const std::string& check, std::chrono::nanoseconds timeout);

// POST of a JSON text. "" or why not.
std::string post_json(const std::string& url, const std::string& body, std::chrono::nanoseconds timeout);

}  // namespace chaos::schedule
