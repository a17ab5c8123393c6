// A token bucket: so many requests a second, and as many at once.
#pragma once
#include <algorithm>
#include <chrono>

namespace chaos::http {

class rate_limit {
 public:
  using clock = std::chrono::steady_clock;
  explicit rate_limit(double per_second) : per_second_(per_second), left_(per_second) {}

  bool admit(clock::time_point now = clock::now()) {
    left_ = std::min(per_second_, left_ + per_second_ * std::chrono::duration<double>(now - last_).count());
    last_ = now;
    if (left_ < 1) return false;
    left_ -= 1;
    return true;
  }

 private:
  double per_second_, left_;
  clock::time_point last_ = clock::now();
};

}  // namespace chaos::http
