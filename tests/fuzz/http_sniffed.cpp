// What passes on a connection that a rule about HTTP follows, inside the program: the shim reads bytes of peers that it knows
// nothing of. In whatever pieces they come: one opinion of where messages begin and end, nothing read outside, and never a stop.
//
// The first byte says whether they are requests (even) or responses, and how the connection is met.
#include <memory>
#include <vector>

#include "fuzz.hpp"
#include "preload/core/http.hpp"

namespace {

using namespace chaos;
using core::http::parser;
using core::http::step;

struct event {
  step what;
  std::size_t end;
  unsigned status;
  std::string path;
  bool operator==(const event&) const = default;
};

std::vector<event> opinion(bool responses, std::string_view bytes, std::size_t piece) {
  std::vector<event> found;
  parser p(responses);
  for (std::size_t at = 0; at < bytes.size() && !p.over();) {
    const std::size_t n = std::min(piece, bytes.size() - at);
    const std::unique_ptr<char[]> part(new char[n]);  // of this size exactly: a sanitizer sees the end
    std::memcpy(part.get(), bytes.data() + at, n);
    for (std::size_t done = 0, taken = 0; done < n && !p.over(); done += taken) {
      const step s = p.take(part.get() + done, n - done, taken);
      fuzz::require(taken <= n - done, "it takes no more than there is");
      fuzz::require(taken > 0 || s == step::left_alone, "it goes on");
      if (s == step::more) fuzz::require(taken == n - done, "what is not complete was taken whole");
      if (s == step::start_line || s == step::message)
        found.push_back({s, at + done + taken, responses ? p.status() : 0, s == step::start_line && !responses ? p.path() : ""});
      if (s == step::left_alone) found.push_back({s, 0, 0, ""});
    }
    at += n;
  }
  return found;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const bool responses = data[0] & 1;
  const std::string_view bytes = fuzz::text_of(data + 1, std::min<std::size_t>(size - 1, 8192));
  const auto whole = opinion(responses, bytes, bytes.size());
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{100}}) fuzz::require(opinion(responses, bytes, piece) == whole, "pieces change nothing");

  core::http::conversation both(data[0] & 2 ? core::http::side::client : data[0] & 4 ? core::http::side::server : core::http::side::unknown);
  for (std::size_t at = 0; at < bytes.size();) {  // both directions in turn, in pieces that the bytes themselves give
    const std::size_t n = std::min<std::size_t>(1 + static_cast<unsigned char>(bytes[at]), bytes.size() - at);
    const auto way = at % 2 ? core::http::way::in : core::http::way::out;
    const auto note = [](const parser& p, auto&) { fuzz::require(std::strlen(p.path()) <= parser::path_max, "a path has its bound"); };
    both.announce(way, bytes.data() + at, n, note);
    both.pass(way, bytes.data() + at, n, note);
    at += n;
  }
  return 0;
}
