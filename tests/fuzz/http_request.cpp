// What a client of chaosd's HTTP may send: where requests end is one opinion, whatever the pieces in which they come; each is
// answered by one response, and without the token by nothing that matters. No daemon is there to be asked.
//
// The first byte of an input, times 4 KiB, is how much stands in the place of its first '~': that is how what is too long begins.
#include <nlohmann/json.hpp>

#include "control/http/framing.hpp"
#include "control/http/site.hpp"
#include "fuzz.hpp"

namespace {

using namespace chaos;
using http::framing;

constexpr std::string_view token = "0123456789abcdef0123", nobody = "127.0.0.1:1", go_on = "HTTP/1.1 100 Continue\r\n\r\n", end_of_head = "\r\n\r\n";

bool same(const framing& a, const framing& b) { return a.what == b.what && a.size == b.size && a.status == b.status && std::string_view(a.reason) == b.reason; }

// As it is read piece by piece: what was decided once stays so.
void one_opinion(std::string_view received, const framing& whole) {
  const std::size_t step = received.size() / 256 + 1;
  framing before;
  for (std::size_t n = 0; n < received.size(); n += step) {
    const framing now = http::frame(received.substr(0, n));
    if (before.what != framing::state::more) fuzz::require(same(before, now), "what follows changes nothing");
    else if (now.what == framing::state::whole) fuzz::require(now.size <= n && now.size + step > n, "a request is whole with its last byte");
    before = now;
  }
  if (before.what != framing::state::more) fuzz::require(same(before, whole), "what follows changes nothing");
  if (whole.what == framing::state::more) fuzz::require(received.size() < http::head_max + http::body_max, "what is too long is refused");
  if (whole.what == framing::state::whole) fuzz::require(whole.size <= received.size() && whole.size <= http::head_max + http::body_max, "a request is what was received, and bounded");
  if (whole.what == framing::state::refused) {
    constexpr int statuses[] = {400, 411, 413, 414, 431};
    fuzz::require(std::find(std::begin(statuses), std::end(statuses), whole.status) != std::end(statuses) && *whole.reason, "a refusal says why");
  }
}

// Exactly one, whose length is as it says.
int status_of_one_response(std::string_view text) {
  while (text.starts_with(go_on)) text.remove_prefix(go_on.size());
  fuzz::require(text.starts_with("HTTP/1.1 ") && text.size() > 12, "an answer is a response", text);
  const int status = std::atoi(text.data() + 9);
  fuzz::require(status >= 200 && status < 600, "with a final status", text);
  const auto end = text.find(end_of_head);
  fuzz::require(end != text.npos, "its head ends", text);
  const std::string_view head = text.substr(0, end + 2), body = text.substr(end + end_of_head.size());
  for (const char c : head) fuzz::require(c != '\0', "no header holds what was sent", text);
  const auto length = head.find("\r\nContent-Length: ");
  if (length != head.npos) {
    const auto said = static_cast<std::size_t>(std::strtoull(head.data() + length + 18, nullptr, 10));
    fuzz::require(said == body.size() || body.empty(), "a body has the length that was said, or none for HEAD", text);
  } else {
    fuzz::require(body.empty(), "a body has a length", text);
  }
  return status;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static auto* const site = [] {
    http::front_settings how;
    how.token = token;
    how.session_folder = "/nonexistent/session";
    return new http::site(how);
  }();
  if (size == 0) return 0;
  std::string stream(fuzz::text_of(data + 1, size - 1));
  if (const auto place = stream.find('~'); place != stream.npos) stream.replace(place, 1, data[0] * 4096u, 'x');

  std::string_view rest = stream;
  for (unsigned requests = 0; requests < 8; ++requests) {
    const framing f = http::frame(rest);
    one_opinion(rest, f);
    if (f.what != framing::state::whole) break;
    const std::string request(rest.substr(0, f.size));
    rest.remove_prefix(f.size);
    const http::answer a = site->serve(request, std::string(nobody));
    if (a.bytes.empty()) {
      fuzz::require(!a.keep_alive, "who gets no answer gets no other");
      break;
    }
    const int status = status_of_one_response(a.bytes);
    fuzz::require(!a.stream, "without a daemon there is no stream");
    fuzz::require(a.bytes.size() < 512 * 1024, "an answer is bounded");
    if (status < 300 && request.find(token) == request.npos) {
      const auto body = a.bytes.substr(a.bytes.rfind(end_of_head) + end_of_head.size());
      fuzz::require(body.empty() || body.find("\"active_chaos_experiments\":[]") != body.npos, "only /chaos_experiments/test answers to anybody", a.bytes);
    }
    if (!a.keep_alive) break;
  }
  return 0;
}
