#include "compat.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <thread>

#include "control/rules/options.hpp"

namespace chaos::http {

using protocol::command;
using rules::done;
using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

constexpr auto look_every = std::chrono::milliseconds(100);
constexpr auto answer_patience = std::chrono::seconds(5);
constexpr double duration_default = 30, duration_max = 3600;

struct row {
  const char* name;
  const char* parameter;
  double otherwise, low, high;
  const char* description;
};
constexpr row rows[] = {
#define COMPAT(name, parameter, otherwise, low, high, description) {#name, #parameter, otherwise, low, high, description},
#include "compat.def"
#undef COMPAT
};

const row* find(const std::string& name) {
  for (const row& r : rows)
    if (name == r.name) return &r;
  return nullptr;
}

compat::outcome wrong(std::string message, int status = 400) { return {status, {{"error", true}, {"error_message", std::move(message)}}, {}}; }
compat::outcome good(compat::json resultset) { return {200, {{"error", false}, {"resultset", std::move(resultset)}}, {}}; }

std::string now_text() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  gmtime_r(&now.tv_sec, &parts);
  char text[32], whole[96];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(whole, sizeof whole, "%s.%06ld+00:00", text, now.tv_nsec / 1000);
  return whole;
}

std::string nanoseconds_text(double seconds) { return std::to_string(std::llround(seconds * 1e9)) + "ns"; }

}  // namespace

amount_default default_of(std::string_view experiment, double otherwise, const front_settings& how) {
  if (experiment == "error_injection" && how.default_error_rate) return {*how.default_error_rate, 0};
  if (experiment != "latency_injection" || !how.default_latency) return {otherwise, 0};
  const auto least = static_cast<double>(how.default_latency->least_ns), most = static_cast<double>(how.default_latency->most_ns);
  return {(least + most) / 2e9, (most - least) / 2e9};
}

compat::compat(const front_settings& how, launcher& launch) : how_(how), launch_(launch) {
  std::thread([this] { keep(); }).detach();
}

void compat::keep() {
  for (;;) {
    std::this_thread::sleep_for(look_every);
    const std::lock_guard lock(mutex_);
    for (auto& [name, e] : started_) {
      if (!e.active) continue;
      const json figures = name == "error_injection" ? json{{"requests", e.requests}, {"errors", e.errors}} : json::object();
      const auto answer = e.link->call(command::experiment, {{"action", "progress"}, {"phase", "active"}, {"figures", figures}}, answer_patience);
      const json stop = answer ? answer->result.value("stop", json()) : json(answer.error().message);
      if (stop.is_string()) finish(name, e, "aborted", stop.get<std::string>());
      else if (clock::now() >= e.until) finish(name, e, "completed", "its time was up");
      else e.paused = answer->result.value("paused", json()) == true;
    }
  }
}

void compat::finish(const std::string& name, started& e, const char* verdict, const std::string& reason) {
  e.active = false;
  e.ended = clock::now();
  e.end_time = now_text();
  if (name == "error_injection")
    e.results = {{"total_requests", e.requests}, {"errors_injected", e.errors}, {"actual_error_rate", static_cast<double>(e.errors) / static_cast<double>(std::max<std::uint64_t>(e.requests, 1))}};
  if (name == "resource_exhaustion") {
    e.results = {{"memory_consumed_mb", e.amount}, {"duration_seconds", e.duration_seconds}};
    launch_.stop(e.child);
  }
  // Its rule, if it has one, goes with its entry.
  const auto answer = e.link->call(command::experiment, {{"action", "end"}, {"verdict", verdict}, {"reason", reason}}, answer_patience);
  static_cast<void>(answer);
  e.link.reset();
}

// What programs under the shim are to suffer, if the request names them; and the pressure on memory.
result<done> compat::inject(const std::string& name, const started& e, const json& body, const std::string& remote) {
  if (!body.contains("target") || name == "resource_exhaustion") return done{};
  std::vector<std::string> words;
  if (name == "latency_injection") {
    words = {"latency", body["target"], nanoseconds_text(e.amount)};
    if (e.spread > 0) words.insert(words.end(), {"--jitter", nanoseconds_text(e.spread)});
  } else {
    words = {"error", body["target"], "ECONNRESET", "--probability", std::to_string(e.amount)};  // http_error would spare what is not HTTP
  }
  words.insert(words.end(), {"--name", name, "--for", nanoseconds_text(e.duration_seconds), "--owner", std::to_string(getpid())});
  if (body.contains("process")) words.insert(words.end(), {"--process", body["process"]});
  auto link = protocol::client::connect(how_.session_folder);
  if (!link) return link.error();
  const auto answer = link->call(command::set, {{"words", words}, {"via", remote}}, answer_patience);
  if (!answer) return answer.error();
  return done{};
}

compat::outcome compat::list() const {
  const std::lock_guard lock(mutex_);
  json available = json::array(), active = json::array();
  for (const row& r : rows) available.push_back({{"name", r.name}, {"description", r.description}, {"parameters", {r.parameter, "duration_seconds"}}});
  for (const auto& [name, e] : started_)
    if (e.active) active.push_back({{"name", name}, {"status", "running"}, {"start_time", e.start_time}});
  return good({{"available_experiments", available}, {"active_experiments", active}});
}

compat::outcome compat::start(const json& body, const std::string& remote) {
  const json name = body.value("experiment_name", json());
  if (!name.is_string() || name == "") return wrong("Missing required parameter: experiment_name");
  const row* const r = find(name.get<std::string>());
  if (!r) return wrong("Unknown experiment: " + name.get<std::string>());
  const std::vector<std::string> known{"experiment_name", r->parameter, "duration_seconds", "target", "process"};
  for (const auto& [key, value] : body.items())
    if (std::find(known.begin(), known.end(), key) == known.end()) return wrong(rules::unknown_word(problem_code::unknown_option, "parameter", key, known).message);
  for (const char* key : {"target", "process"})
    if (body.contains(key) && !body[key].is_string()) return wrong(std::string(key) + " is not a text");
  started fresh;
  const auto read = [&](const char* key, double otherwise, double low, double high, double& into) {
    const json value = body.value(key, json(otherwise));
    into = value.is_number() ? value.get<double>() : NAN;
    return into >= low && into <= high;
  };
  const amount_default otherwise = default_of(r->name, r->otherwise, how_);
  if (!body.contains(r->parameter)) fresh.spread = otherwise.spread;
  if (!read(r->parameter, otherwise.amount, r->low, r->high, fresh.amount))
    return wrong(std::string(r->parameter) + " is not a number from " + json(r->low).dump() + " to " + json(r->high).dump());
  if (!read("duration_seconds", duration_default, 0.001, duration_max, fresh.duration_seconds)) return wrong("duration_seconds is not a number above 0, at most 3600");

  const std::lock_guard lock(mutex_);
  if (const auto before = started_.find(r->name); before != started_.end() && before->second.active) finish(r->name, before->second, "aborted", "it was started again");
  auto link = protocol::client::connect(how_.session_folder);
  if (!link) return wrong(link.error().message, 503);
  const auto begun = link->call(command::experiment, {{"action", "begin"}, {"name", r->name}, {"title", r->description}, {"longest_ms", std::llround(fresh.duration_seconds * 1000)}, {"via", remote}}, answer_patience);
  if (!begun) return wrong(begun.error().message, begun.error().code == problem_code::too_many ? 409 : 403);
  fresh.dry_run = begun->result.value("dry_run", json()) == true;
  fresh.link.emplace(std::move(*link));
  fresh.active = true;
  fresh.began = clock::now();
  fresh.until = fresh.began + std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(fresh.duration_seconds));
  fresh.start_time = now_text();
  auto injected = inject(r->name, fresh, body, remote);
  if (injected && std::string_view(r->name) == "resource_exhaustion" && !fresh.dry_run) {
    const auto child = launch_.start({"stress", "memory", std::to_string(std::llround(fresh.amount)) + "MB", "--for", nanoseconds_text(fresh.duration_seconds), "--owner", std::to_string(getpid())});
    if (child) fresh.child = child->pid;
    else injected = child.error();
  }
  started& e = started_[r->name] = std::move(fresh);
  if (!injected) {
    finish(r->name, e, "aborted", injected.error().message);
    const std::string why = injected.error().message;
    started_.erase(r->name);
    return wrong(why);
  }
  json told{{"status", "executed"}, {"experiment", r->name}, {"duration_seconds", e.duration_seconds}};
  told[r->parameter] = e.amount;
  if (e.spread > 0) told["delay_range_seconds"] = {e.amount - e.spread, e.amount + e.spread};
  return good(told);
}

compat::outcome compat::stop(const json& body) {
  const json name = body.value("experiment_name", json());
  if (!name.is_string() || name == "") return wrong("Missing required parameter: experiment_name");
  const std::lock_guard lock(mutex_);
  const auto at = started_.find(name.get<std::string>());
  if (at == started_.end()) return wrong("Experiment " + name.get<std::string>() + " not found", 404);
  if (at->second.active) finish(at->first, at->second, "aborted", "it was stopped over HTTP");
  const double took = std::chrono::duration<double>(at->second.ended - at->second.began).count();
  return good({{"status", "stopped"}, {"experiment", at->first}, {"duration", took}, {"results", at->second.results}});
}

compat::outcome compat::status(const std::optional<std::string>& name) const {
  const std::lock_guard lock(mutex_);
  const auto describe = [](const std::string& which, const started& e) {
    return json{{"name", which}, {"description", find(which)->description}, {"status", e.active ? "running" : "completed"}, {"start_time", e.start_time},
                {"end_time", e.active ? json() : json(e.end_time)}, {"results", e.results}};
  };
  if (name) {
    const auto at = started_.find(*name);
    return at == started_.end() ? wrong("Experiment " + *name + " not found", 404) : good(describe(at->first, at->second));
  }
  json all = json::array();
  for (const auto& [which, e] : started_) all.push_back(describe(which, e));
  return good({{"experiments", all}});
}

compat::outcome compat::test() {
  const std::lock_guard lock(mutex_);
  std::chrono::milliseconds delay{0};
  json active = json::array();
  bool failed = false;
  for (auto& [name, e] : started_) {
    if (!e.active || clock::now() >= e.until) continue;
    active.push_back(name);
    if (e.paused || e.dry_run) continue;
    if (name == "latency_injection")
      delay = std::chrono::milliseconds(std::llround(std::uniform_real_distribution<double>(e.amount - e.spread, std::nextafter(e.amount + e.spread, HUGE_VAL))(random_) * 1000));
    if (name == "error_injection") {
      ++e.requests;
      if (std::uniform_real_distribution<double>(0, 1)(random_) < e.amount) {
        ++e.errors;
        failed = true;
      }
    }
  }
  outcome o = failed ? wrong("Chaos experiment: Injected error", 500)
                     : good({{"message", "Test endpoint response"}, {"timestamp", now_text()}, {"active_chaos_experiments", active}});
  o.delay = delay;
  return o;
}

}  // namespace chaos::http
