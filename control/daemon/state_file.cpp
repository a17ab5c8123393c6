#include "state_file.hpp"

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "chaos/abi/rule.hpp"

namespace chaos::daemon {

using nlohmann::json;
using rules::done;
using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

constexpr int format = 1;

json json_of(const saved_state& state) {
  json rules = json::array(), runs = json::array();
  for (const saved_rule& r : state.rules)
    rules.push_back({{"rule", rules::json_of(r.spec)}, {"id", r.id}, {"slot", r.slot}, {"ends_at_ns", r.ends_at_ns},
                     {"remaining_ns", r.remaining_ns}, {"run", r.run}, {"paused", r.paused}});
  for (const saved_run& r : state.runs) runs.push_back({{"id", r.id}, {"pid", r.pid}, {"start_ticks", r.start_ticks}});
  json out{{"format", format}, {"boot", state.boot}, {"next_id", state.next_id}, {"next_run", state.next_run},
           {"clean", state.clean}, {"rules", rules}, {"runs", runs}};
  if (state.seed) out["seed"] = *state.seed;
  return out;
}

// Throws for a wrong type or a missing key; returns what else is wrong.
std::string read_state(const json& in, saved_state& out) {
  if (in.at("format") != format) return "it has the format " + in.at("format").dump() + ", and this chaosd knows " + std::to_string(format);
  out.boot = in.at("boot").get<std::string>();
  out.next_id = whole<std::uint32_t>(in, "next_id");
  out.next_run = whole<std::uint64_t>(in, "next_run");
  out.clean = in.at("clean").get<bool>();
  if (in.contains("seed")) out.seed = whole<std::uint64_t>(in, "seed");
  for (const json& r : in.at("rules")) {
    auto spec = rules::spec_from_json(r.at("rule"));
    if (!spec) return "a rule in it is not one: " + spec.error().message;
    out.rules.push_back({std::move(*spec), whole<std::uint32_t>(r, "id"), whole<std::uint32_t>(r, "slot"),
                         whole<std::uint64_t>(r, "ends_at_ns"), whole<std::uint64_t>(r, "remaining_ns"),
                         whole<std::uint64_t>(r, "run"), r.at("paused").get<bool>()});
    if (out.rules.back().slot >= abi::rule_max) return "a rule in it has no valid slot";
  }
  for (const json& r : in.at("runs"))
    out.runs.push_back({whole<std::uint64_t>(r, "id"), whole<std::int32_t>(r, "pid"), whole<std::uint64_t>(r, "start_ticks")});
  return "";
}

}  // namespace

std::string boot_id() {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(in, id);
  return id;
}

result<done> state_file::save(const saved_state& state) const {
  const int error = file_.replace(json_of(state));
  if (error == 0) return done{};
  return problem{problem_code::not_saved, "the state could not be written to " + file_.path() + " (" + std::strerror(error) +
                     "): nothing was changed", file_.path(), {}};
}

saved_state state_file::load(std::string& trouble) const {
  saved_state state;
  trouble = file_.load([&](const json& in) { return read_state(in, state); });
  if (trouble.empty()) return state;
  trouble = "the state file " + trouble + ", and the daemon began without rules";
  return {};
}

}  // namespace chaos::daemon
