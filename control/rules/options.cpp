#include "options.hpp"

#include <algorithm>

namespace chaos::rules {

namespace {

std::string dashed(std::string_view key) {
  std::string flag(key);
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

constexpr const char* directions[] = {"up", "down", "both"};
constexpr const char* scopes[] = {"connection", "thread", "process", "session"};
constexpr const char* distributions[] = {"uniform", "normal", "pareto", "paretonormal"};
constexpr const char* hows[] = {"refuse", "unreachable", "blackhole"};
constexpr const char* oneways[] = {"in", "out"};
constexpr const char* signals[] = {"ABRT", "BUS", "FPE", "HUP", "ILL", "INT", "KILL", "QUIT", "SEGV", "TERM", "USR1", "USR2"};

}  // namespace

std::string flag_of(option o) { return "--" + dashed(info_of(o).name); }

std::string example_of(option o) {
  std::string_view from = info_of(o).example;
  const std::string flag = flag_of(o);
  from.remove_prefix(std::min(from.find(flag), from.size()));
  const std::size_t value = info_of(o).form == option_form::flag ? flag.size() : flag.size() + 1;
  return std::string(from.substr(0, from.find(' ', value)));
}

std::optional<option> find_option(std::string_view key) {
  if (key.substr(0, 2) == "--") key.remove_prefix(2);
  const std::string wanted = dashed(key);
  for (unsigned i = 0; i < option_count; ++i)
    if (dashed(option_table[i].name) == wanted) return static_cast<option>(i);
  return std::nullopt;
}

std::vector<std::string> flags_for(abi::effect kind) {
  std::vector<std::string> flags;
  for (unsigned i = 0; i < option_count; ++i)
    if (takes(kind, static_cast<option>(i))) flags.push_back(flag_of(static_cast<option>(i)));
  return flags;
}

std::span<const char* const> choices_of(option_form form) {
  switch (form) {
    case option_form::direction: return directions;
    case option_form::scope: return scopes;
    case option_form::distribution: return distributions;
    case option_form::how: return hows;
    case option_form::oneway: return oneways;
    case option_form::signal: return signals;
    default: return {};
  }
}

std::optional<abi::effect> find_kind(std::string_view name) {
  for (unsigned i = 0; i < abi::effect_count; ++i)
    if (name == abi::effect_table[i].name) return static_cast<abi::effect>(i);
  return std::nullopt;
}

std::vector<std::string> kind_names() {
  std::vector<std::string> names;
  for (const auto& row : abi::effect_table) names.emplace_back(row.name);
  return names;
}

}  // namespace chaos::rules
