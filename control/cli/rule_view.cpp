#include "rule_view.hpp"

#include <algorithm>
#include <cstring>

#include "chaos/abi/functions.hpp"

#include "control/rules/joined.hpp"

namespace chaos::cli {

namespace {

using rules::joined;

const abi::function_info* function_of(const std::string& name) {
  for (const auto& row : abi::function_table)
    if (name == row.name) return &row;
  return nullptr;
}

// What a call is about: a descriptor, a path, a name, memory.
std::string subject(const std::string& function, const std::string& target) {
  const auto* const row = function_of(function);
  if (!row) return target;
  using namespace abi::classes;
  if (row->classes & alloc) return "";
  if (row->classes & (dns | env | file_open)) return target.empty() ? "" : '"' + target + '"';
  if (target.empty()) return "fd";
  return target[0] == '/' && !(row->classes & data & ~file_io) ? '"' + target + '"' : "fd to " + target;
}

std::string failure(const std::string& function, const std::string& name) {
  const auto* const row = function_of(function);
  const auto how = row ? row->how : abi::fails::minus_one;
  switch (how) {
    case abi::fails::null: return "NULL " + name;
    case abi::fails::code:
    case abi::fails::eai: return name;
    case abi::fails::eof: return "EOF " + name;
    case abi::fails::zero_items: return "0 " + name;
    default: return "-1 " + name;
  }
}

}  // namespace

bool rule_ended(const json& rule) { return text_of(rule, "state") == "ended"; }

std::string rule_life(const json& rule) {
  if (rule_ended(rule)) return "ended";
  const auto found = rule.find("remaining_ms");
  if (found == rule.end() || found->is_null() || (found->is_number_integer() && found->get<std::int64_t>() < 0)) return "for ever";
  const std::uint64_t ms = number(rule, "remaining_ms");
  constexpr std::uint64_t precise_below_ms = 10'000;
  return human_ns(ms < precise_below_ms ? ms * 1'000'000 : (ms / 1000 + (ms % 1000 != 0)) * 1'000'000'000);
}

std::string rule_flags(const json& rule) {
  std::vector<std::string> flags;
  if (flag_of(rule, "paused")) flags.push_back(paint(ink::yellow, "paused"));
  if (flag_of(rule, "dry_run")) flags.push_back(paint(ink::cyan, "dry run"));
  if (const auto n = number(rule, "broken_live")) flags.push_back(human_count(n) + " broken at once");
  if (const auto n = number(rule, "unreached_live")) flags.push_back(paint(ink::yellow, human_count(n) + " at the next call"));
  if (number(rule, "matched") == 0) flags.push_back(paint(ink::red, "never matched"));
  return joined(flags, ", ");
}

std::string event_line(const json& e) {
  const std::string function = text_of(e, "function"), effect = text_of(e, "effect"), kind = text_of(e, "kind");
  const std::string error = text_of(e, "errno");
  const std::uint64_t delay = number(e, "delay_ns"), bytes = number(e, "bytes");
  if (flag_of(e, "aggregated"))
    return paint(ink::dim, "and " + human_count(number(e, "count")) + " more within this second  (" + text_of(e, "rule_name", text_of(e, "rule")) + ")");
  std::string line = paint(ink::dim, '#' + std::to_string(number(e, "seq")) + " [pid " + std::to_string(number(e, "pid")) + "]") + ' ';
  if (kind == "annotation") {
    line += paint(ink::cyan, "-- " + text_of(e, "category") + ": " + text_of(e, "text") + " --");
    const json& after = array_of(e, "after");
    if (after.size() == 2 && after[0].is_number_unsigned() && after[1].is_number_unsigned()) {
      const std::string first = '#' + after[0].dump(), last = '#' + after[1].dump();
      const std::uint64_t span = after[1].get<std::uint64_t>() - after[0].get<std::uint64_t>() + 1, count = number(e, "after_count", span);
      line += paint(ink::red, " opened after " + first + (span > 1 ? "–" + last : "") + (count < span ? " (" + human_count(count) + " injections)" : ""));
    }
    return line;
  }
  if (const std::string message = text_of(e, "message"); !message.empty()) return paint(ink::yellow, "-- " + message + " --");
  if (kind == "attach" || kind == "lapse" || kind == "released") {
    static constexpr std::pair<const char*, const char*> said[] = {
        {"attach", "attached"}, {"lapse", "lease lapsed: no daemon renews it, all rules are off"}, {"released", "held data was let go"}};
    for (const auto& [name, text] : said)
      if (kind == name) return line + paint(ink::yellow, std::string("-- ") + text + " --");
  }
  if (function == "live") line += paint(ink::bold, "connection to " + text_of(e, "target")) + " = ";
  else line += paint(ink::bold, function) + '(' + subject(function, text_of(e, "target")) + ") = ";
  std::vector<std::string> did;
  if (!error.empty() && error != "0") did.push_back(paint(ink::red, failure(function, error)));
  if (const auto status = number(e, "status")) did.push_back(paint(ink::red, "status " + std::to_string(status)));
  if (delay) did.push_back(paint(ink::yellow, "delayed " + human_ns(delay)));
  if (effect == "corrupt") did.push_back(paint(ink::yellow, "corrupted, " + human_bytes(bytes)));
  if (effect == "slicer") did.push_back("sliced to " + human_bytes(bytes));
  if (effect == "observe") did.push_back("observed, " + human_bytes(bytes));
  if (did.empty()) did.push_back(effect == "loss" ? paint(ink::red, "lost") : effect);
  line += joined(did, ", ");
  if (flag_of(e, "dry_run")) line += paint(ink::cyan, " [dry run]");
  return line + "  " + paint(ink::dim, "(" + text_of(e, "rule_name", text_of(e, "rule")) + ")");
}

std::string stack_lines(const json& e) {
  std::string lines;
  for (const auto& frame : array_of(e, "stack"))
    if (frame.is_string()) {
      std::string text = frame.get<std::string>();  // of the target's making
      std::replace_if(text.begin(), text.end(), [](unsigned char c) { return c < 32 || c == 127; }, '?');
      lines += "    " + paint(ink::dim, text) + "\n";
    }
  return lines;
}

}  // namespace chaos::cli
