// chaos-ctl breaker: the circuit breakers of targets, and what they are told.
#include <chrono>

#include "../link.hpp"
#include "../output.hpp"
#include "chaos/abi/breaker_commands.hpp"

namespace chaos::cli::commands {

namespace {

using rules::problem_code;

std::string since(std::uint64_t changed_ms) {
  const auto now = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count());
  const auto ago = now > changed_ms ? now - changed_ms : 0;
  return human_ns((ago < 10'000 ? ago : ago / 1000 * 1000) * 1'000'000);
}

std::string state_of(const json& b) {
  const std::string state = text_of(b, "state");
  return paint(state == "closed" ? ink::green : state == "open" || state == "forced_open" ? ink::red : ink::yellow, state);
}

int list(const invocation& from) {
  json answer;
  if (const int status = ask(from, protocol::command::breaker, {{"action", "list"}}, answer)) return status;
  if (from.json) {
    print_json(answer);
    return exits::done;
  }
  const json& breakers = array_of(answer, "breakers");
  if (breakers.empty()) print("no breaker: it takes a program that uses chaos/breaker.hpp, started with chaos-ctl run -- CMD\n");
  else {
    table t({"name", ">pid", "process", "state", ">since", ">ok", ">failed", ">rejected", "command"});
    for (const auto& b : breakers)
      t.row({text_of(b, "name"), std::to_string(number(b, "pid")), text_of(b, "process"), state_of(b), since(number(b, "changed_ms")),
             human_count(number(b, "calls_ok")), human_count(number(b, "calls_failed")), human_count(number(b, "rejected")), text_of(b, "command")});
    print(t.text());
  }
  for (const auto& c : array_of(answer, "commands")) {
    bool there = false;
    for (const auto& b : breakers) there = there || text_of(b, "name") == text_of(c, "name");
    if (!there) print("for " + text_of(c, "name") + ", should it come: " + text_of(c, "command") + "\n");
  }
  return exits::done;
}

}  // namespace

int breaker(const invocation& from) {
  std::vector<std::string> actions{"list"};
  for (const auto& row : abi::breaker_command_table) actions.emplace_back(row.name);
  if (from.words.empty())
    return report({problem_code::missing_word, std::string("breaker needs to know what to do: ") + from.command->arguments, "", actions}, from);
  const std::string& action = from.words[0];
  if (action == "list") {
    if (from.words.size() > 1)
      return report({problem_code::unexpected_word, "breaker list takes no further word, but got '" + from.words[1] + "'", from.words[1], {}}, from);
    return list(from);
  }
  if (!abi::find_breaker_command(action)) return report(rules::unknown_word(problem_code::unexpected_word, "breaker action", action, actions), from);
  if (from.words.size() < 2)
    return report({problem_code::missing_word, "breaker " + action + " needs the NAME of a breaker; chaos-ctl breaker list shows them", "", {"NAME"}}, from);
  if (from.words.size() > 2)
    return report({problem_code::unexpected_word, "breaker " + action + " takes one NAME, and '" + from.words[2] + "' is a second", from.words[2], {}}, from);
  json answer;
  if (const int status = ask(from, protocol::command::breaker, {{"action", action}, {"name", from.words[1]}}, answer)) return status;
  if (from.json) {
    print_json(answer);
    return exits::done;
  }
  const std::size_t n = array_of(answer, "pids").size();
  print(text_of(answer, "name") + ": " + action + ", from its next call on, in " + std::to_string(n) + (n == 1 ? " process\n" : " processes\n"));
  return exits::done;
}

}  // namespace chaos::cli::commands
