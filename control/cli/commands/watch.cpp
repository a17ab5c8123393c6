// chaos-ctl watch: events as they come, one line each.
#include <charconv>
#include <limits>

#include "../link.hpp"
#include "../rule_view.hpp"

namespace chaos::cli::commands {

namespace {

rules::result<std::uint64_t> count_of(const invocation& from, const char* flag, std::uint64_t otherwise) {
  if (!from.has(flag)) return otherwise;
  const std::string text = from.get(flag);
  std::uint64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size())
    return rules::problem{rules::problem_code::bad_value, std::string(flag) + " needs a whole number, not '" + text + "'", text, {"100"}};
  return n;
}

}  // namespace

int watch(const invocation& from) {
  const auto last = count_of(from, "--last", 0);
  if (!last) return report(last.error(), from);
  auto left = count_of(from, "--count", std::numeric_limits<std::uint64_t>::max());
  if (!left) return report(left.error(), from);
  const auto where = session_of(from);
  if (!where) return report(where.error(), from);
  auto link = daemon_for(from, *where);
  if (!link) return report(link.error(), from);
  json how = json::object();
  if (*last) how["last"] = *last;
  if (from.has("--stacks")) how["stacks"] = true;
  auto begun = link->call(protocol::command::watch, how);
  if (!begun) return report(begun.error(), from);
  for (const auto& w : begun->warnings) warn(w);
  while (*left > 0) {
    const auto line = link->read_line(std::chrono::hours(1));
    if (!line) {
      if (!link->closed()) continue;
      return report({rules::problem_code::no_daemon, "chaosd ended", "", {}}, from);
    }
    if (line->empty()) continue;
    if (from.json) print(*line + "\n");
    else if (const json event = json::parse(*line, nullptr, false); event.is_object())
      print(event_line(event) + "\n" + (from.has("--stacks") ? stack_lines(event) : ""));
    --*left;
  }
  return exits::done;
}

}  // namespace chaos::cli::commands
