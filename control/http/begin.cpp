#include "begin.hpp"

#include <chrono>
#include <thread>

namespace chaos::http {

using rules::problem_code;

namespace {

constexpr auto begins_within = std::chrono::seconds(10);
constexpr auto ask_every = std::chrono::milliseconds(20);

}  // namespace

void answer_when_begun(exchange& x, const launcher::child& child, const std::string& noun, const std::string& name, const std::function<bool()>& begun) {
  for (const auto end = std::chrono::steady_clock::now() + begins_within; std::chrono::steady_clock::now() < end; std::this_thread::sleep_for(ask_every)) {
    const bool over = !x.shared.launch->runs(child.pid);
    if (begun()) return;
    if (!over) continue;
    const std::string said = child.said();
    return x.refuse({problem_code::bad_request, "the " + noun + " does not run: " + (said.empty() ? "it ended" : said), name, {}}, 409);
  }
  x.shared.launch->stop(child.pid);
  x.refuse({problem_code::failed, "the " + noun + " did not begin in time", name, {}});
}

}  // namespace chaos::http
