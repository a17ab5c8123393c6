#include <chaos/breaker.hpp>

int other(chaos::breaker& b) {
  return b.call([] { return 7; }).or_else([](const chaos::failure&) { return -7; }).value();
}
