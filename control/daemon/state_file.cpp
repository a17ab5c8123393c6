#include "state_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>
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
constexpr std::size_t file_max = 16 * 1024 * 1024;

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

template <class Number>
Number whole(const json& object, const char* key) {  // json::get would turn 1e300 or -1 into some number
  const json& n = object.at(key);
  const bool fits = n.is_number_unsigned() ? std::in_range<Number>(n.get<std::uint64_t>()) : n.is_number_integer() && std::in_range<Number>(n.get<std::int64_t>());
  if (!fits) throw std::range_error(std::string("\"") + key + "\" is no whole number that can stand there");
  return n.get<Number>();
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

// What we write is not deep. Deeper values are dropped: telling of a million brackets would take as many stack frames.
bool shallow(int depth, json::parse_event_t, json&) { return depth < 32; }

bool write_all(int fd, const std::string& text) {
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t n = write(fd, text.data() + at, text.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += static_cast<std::size_t>(n);
  }
  return true;
}

}  // namespace

std::string boot_id() {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(in, id);
  return id;
}

result<done> state_file::save(const saved_state& state) const {
  const std::string temporary = path_ + ".new";
  const std::string text = json_of(state).dump(1, ' ', false, json::error_handler_t::replace) + "\n";
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  bool good = fd >= 0;
  int error = good ? 0 : errno;
  const auto check = [&](bool outcome) {
    if (good && !outcome) error = errno;
    good = good && outcome;
  };
  if (fd >= 0) {
    check(write_all(fd, text));
    if (good) check(fsync(fd) == 0);
    const bool closed = close(fd) == 0;
    check(closed);
  }
  if (good) check(rename(temporary.c_str(), path_.c_str()) == 0);
  if (good) return done{};
  unlink(temporary.c_str());
  return problem{problem_code::not_saved, "the state could not be written to " + path_ + " (" + std::strerror(error) +
                     "): nothing was changed", path_, {}};
}

saved_state state_file::load(std::string& trouble) const {
  saved_state state;
  std::string text;
  {
    std::ifstream in(path_, std::ios::binary);
    if (!in) {
      struct stat s{};
      if (lstat(path_.c_str(), &s) < 0) return state;  // the usual first start
    }
    text.resize(file_max + 1);
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(in.gcount()));
  }
  std::string why = "it is not JSON";
  if (text.size() > file_max) {
    why = "it is larger than " + std::to_string(file_max) + " bytes";
  } else if (const json in = json::parse(text, shallow, false); !in.is_discarded()) {
    try {
      why = read_state(in, state);
    } catch (const std::exception& e) {
      why = e.what();
    }
  }
  if (why.empty()) return state;
  const std::string aside = path_ + ".corrupt-" + std::to_string(std::time(nullptr));
  const bool kept = rename(path_.c_str(), aside.c_str()) == 0;
  trouble = "the state file " + path_ + " can not be read (" + why + "); " +
            (kept ? "it is kept as " + aside : "it could not be kept aside either") + ", and the daemon began without rules";
  return {};
}

}  // namespace chaos::daemon
