// chaos-ctl stress: reads the words, starts stress-ng on a leash, and waits.
#include <poll.h>
#include <unistd.h>

#include "../input.hpp"
#include "../output.hpp"
#include "control/rules/values.hpp"
#include "control/stress/running.hpp"

namespace chaos::cli::commands {

namespace {

using rules::problem;
using rules::problem_code;
using rules::result;

result<stress::plan> plan_of(const invocation& from) {
  auto p = stress::plan_from_words(from.words);
  if (!p) return p;
  if (from.has("--for")) {
    const auto length = stress::parse_length("--for", from.get("--for"));
    if (!length) return length.error();
    p->length = *length;
  }
  if (from.has("--path")) {
    if (p->what != stress::stressor::disk) return problem{problem_code::bad_combination, "--path goes with disk", "--path", {"disk"}};
    p->folder = from.get("--path");
  }
  return p;
}

result<pid_t> owner_of(const invocation& from) {
  if (!from.has("--owner")) return getpid();
  const auto pid = rules::parse_pid("--owner", from.get("--owner"));
  if (!pid) return pid.error();
  return static_cast<pid_t>(*pid);
}

}  // namespace

int stress(const invocation& from) {
  const auto plan = plan_of(from);
  if (!plan) return report(plan.error(), from);
  const auto owner = owner_of(from);
  if (!owner) return report(owner.error(), from);
  const auto length = static_cast<std::uint64_t>(plan->length.count());
  if (from.has("--dry-run")) {
    const auto program = stress::find_program();
    if (!program) return report(program.error(), from);
    const auto words = stress::command_line(*plan, *program, plan->folder, 0);
    std::string line;
    for (const auto& w : words) line += (line.empty() ? "" : " ") + w;
    if (from.json) print_json({{"stress", stress::text_of(*plan)}, {"length_ms", length / 1'000'000}, {"command", words}, {"dry_run", true}});
    else print(line + "\n");
    return exits::done;
  }
  const auto& caught = caught_signal();
  auto running = stress::running::start(*plan, *owner);
  if (!running) return report(running.error(), from);
  if (!from.json) note("chaos-ctl: " + stress::text_of(*plan) + " for " + rules::format_duration(length) + (from.has("--for") ? "" : " (--for DURATION says otherwise)") + "; Ctrl-C ends it");
  const auto began = std::chrono::steady_clock::now();
  pollfd over{running->descriptor(), POLLIN, 0};
  while (!caught && poll(&over, 1, 100) <= 0) {}
  if (caught) running->stop();
  const auto why = running->wait();
  const auto took = std::chrono::steady_clock::now() - began;
  if (why == stress::ending::failed) return report({problem_code::failed, "stress-ng ended before its time: " + (running->said().empty() ? "it does not say why" : running->said()), "", {}}, from);
  const char* const ended = stress::ending_names[static_cast<int>(why)];
  if (from.json)
    print_json({{"stress", stress::text_of(*plan)}, {"length_ms", length / 1'000'000}, {"lasted_ms", std::chrono::duration_cast<std::chrono::milliseconds>(took).count()}, {"ended", ended}});
  else
    print(stress::text_of(*plan) + ": " + human_ns(static_cast<std::uint64_t>(std::chrono::nanoseconds(took).count())) + ", " + ended + "\n");
  return why == stress::ending::time_up ? exits::done : exits::failed;
}

}  // namespace chaos::cli::commands
