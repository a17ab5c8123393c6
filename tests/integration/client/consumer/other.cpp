#include <chaos/breaker.hpp>
#include <string>

int other(chaos::breaker& b) {
  return b.call([] { return std::string("7"); }).transform([](const std::string& text) { return std::stoi(text); }).or_else([](const chaos::failure&) { return -7; }).value();
}
