#include "experiments_file.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>

namespace chaos::daemon {

using nlohmann::json;

namespace {

constexpr int table_format = 1;
constexpr std::size_t entries_max = experiments::remember_max + experiments::live_max;

json json_of(const experiment& e, std::uint64_t now_ns) {
  const std::uint64_t until = e.live() ? now_ns : e.ended_ns;
  return {{"id", e.id}, {"name", e.name}, {"title", e.title}, {"hypothesis", e.hypothesis}, {"uid", e.by.uid}, {"pid", e.by.pid}, {"remote", e.by.remote},
          {"state", experiment_state_names[static_cast<int>(e.state)]}, {"dry_run", e.dry_run}, {"began_unix_ms", e.began_unix_ms}, {"elapsed_ms", (until - e.began_ns) / 1'000'000},
          {"phase", e.phase}, {"figures", e.figures}, {"verdict", e.verdict}, {"reason", e.live() ? e.stop_reason : e.reason}, {"removed", e.removed}};
}

// Throws for a wrong type or a missing key.
experiment experiment_from(const json& in) {
  experiment e;
  e.id = whole<std::uint64_t>(in, "id");
  for (const auto& [key, into] : {std::pair{"name", &e.name}, {"title", &e.title}, {"hypothesis", &e.hypothesis}, {"phase", &e.phase}, {"verdict", &e.verdict}, {"reason", &e.reason}})
    *into = in.at(key).get<std::string>().substr(0, experiments::text_max);
  e.by = {whole<std::uint32_t>(in, "uid"), whole<std::int32_t>(in, "pid"), in.at("remote").get<std::string>().substr(0, experiments::text_max)};
  const auto state = std::ranges::find(experiment_state_names, in.at("state").get<std::string>());
  if (state == std::end(experiment_state_names)) throw std::range_error("\"state\" is none that an experiment can have");
  e.state = static_cast<experiment_state>(state - std::begin(experiment_state_names));
  e.dry_run = in.at("dry_run").get<bool>();
  e.began_unix_ms = whole<std::int64_t>(in, "began_unix_ms");
  const auto elapsed_ms = whole<std::uint64_t>(in, "elapsed_ms");
  if (elapsed_ms > std::numeric_limits<std::uint64_t>::max() / 1'000'000) throw std::range_error("\"elapsed_ms\" is no length of an experiment");
  e.ended_ns = elapsed_ms * 1'000'000;  // began_ns is 0: the clock was another one, and only the length is known
  e.figures = in.at("figures");
  if (!e.figures.is_object()) throw std::range_error("\"figures\" is no object");
  e.removed = in.at("removed").get<std::vector<std::string>>();
  return e;
}

std::string read_table(const json& in, saved_experiments& out) {
  if (in.at("format") != table_format) return "it has the format " + in.at("format").dump() + ", and this chaosd knows " + std::to_string(table_format);
  out.begun = whole<std::uint64_t>(in, "begun");
  const json& table = in.at("experiments");
  if (!table.is_array() || table.size() > entries_max) return "\"experiments\" is no list that chaosd would write";
  for (const json& e : table) {
    out.table.push_back(experiment_from(e));
    const std::uint64_t before = out.table.size() > 1 ? std::prev(out.table.end(), 2)->id : 0;
    if (out.table.back().id <= before || out.table.back().id > out.begun) return "the ids in it are not in order";
  }
  return "";
}

}  // namespace

std::string experiments_file::save(const experiments& table, std::uint64_t now_ns) const {
  json list = json::array();
  for (const experiment& e : table.all()) list.push_back(json_of(e, now_ns));
  const int error = file_.replace({{"format", table_format}, {"begun", table.begun()}, {"experiments", list}});
  return error == 0 ? "" : "the table of experiments could not be written to " + file_.path() + " (" + std::strerror(error) + "): a daemon after this one will not know of them";
}

saved_experiments experiments_file::load(std::string& trouble) const {
  saved_experiments saved;
  trouble = file_.load([&](const json& in) { return read_table(in, saved); });
  if (trouble.empty()) return saved;
  trouble = "the table of experiments " + trouble + ", and the table began empty";
  return {};
}

}  // namespace chaos::daemon
