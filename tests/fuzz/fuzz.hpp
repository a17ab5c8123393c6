// What the fuzz targets share: an oracle that says what it found, and an input that is eaten piece by piece.
//
// Every target is a libFuzzer entry point, LLVMFuzzerTestOneInput. With -DCHAOS_FUZZ=ON (clang) libFuzzer drives it; else
// driver.cpp replays its corpus and a fixed number of mutations. An input that once broke something stays in the corpus.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace chaos::fuzz {

inline void require(bool holds, std::string_view what, std::string_view detail = "") {
  if (holds) return;
  std::fprintf(stderr, "fuzz: broken promise: %.*s%s%.*s\n", static_cast<int>(what.size()), what.data(), detail.empty() ? "" : ": ",
               static_cast<int>(detail.size()), detail.data());
  std::abort();
}

class input {
 public:
  input(const std::uint8_t* data, std::size_t size) : at_(data), left_(size) {}
  bool empty() const { return left_ == 0; }

  std::size_t bytes(void* into, std::size_t most) {
    const std::size_t n = std::min(most, left_);
    if (n) std::memcpy(into, at_, n);
    at_ += n;
    left_ -= n;
    return n;
  }
  template <class Number>
  Number number() {  // little endian; what is missing is zero
    Number n{};
    bytes(&n, sizeof n);
    return n;
  }
  std::string text(std::size_t most) {
    std::string out(std::min(most, left_), '\0');
    bytes(out.data(), out.size());
    return out;
  }

 private:
  const std::uint8_t* at_;
  std::size_t left_;
};

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) { return {reinterpret_cast<const char*>(data), size}; }

}  // namespace chaos::fuzz
