// Requests that change something.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>

#include "control/proc/match.hpp"
#include "control/rules/suggest.hpp"
#include "control/rules/values.hpp"
#include "daemon.hpp"
#include "defaults.hpp"

namespace chaos::daemon {

using protocol::command;
using protocol::json;
using rules::problem;
using rules::problem_code;
using rules::result;
using rules::rule_spec;

namespace {

constexpr std::uint64_t resolve_patience_ns = 1'500'000'000;
constexpr std::size_t words_max = 256;

problem bad_request(std::string message) { return {problem_code::bad_request, std::move(message), "", {}}; }

result<std::vector<std::string>> words_in(const json& body) {
  std::vector<std::string> out;
  for (const json& word : body.value("words", json::array())) {
    if (!word.is_string() || out.size() == words_max)
      return bad_request("\"words\" is not a list of at most " + std::to_string(words_max) + " strings");
    out.push_back(word.get<std::string>());
  }
  return out;
}

// "words" or "rule" of an object.
result<rule_spec> spec_in(const json& body) {
  if (body.contains("rule")) return rules::spec_from_json(body["rule"]);
  if (body.contains("words") && !body["words"].is_array()) return bad_request("\"words\" is not a list of strings, such as [\"latency\", \"redis:6379\", \"200ms\"]");
  if (!body.contains("words")) return bad_request("neither \"words\" nor \"rule\" says what is wanted");
  const auto words = words_in(body);
  if (!words) return words.error();
  return rules::spec_from_words(*words);
}

std::int32_t pid_in(const json& body) {
  const json pid = body.value("pid", json());
  if (!pid.is_number_integer()) return 0;
  const auto n = pid.get<std::int64_t>();
  return n > 0 && n <= 4'194'304 ? static_cast<std::int32_t>(n) : 0;
}

}  // namespace

void daemon::handle(client_id who, const protocol::request& request) {
  if (protocol::changes_something(request)) {
    asked_change& asked = asked_[who];
    asked = {asker(who, request.body), protocol::command_table[static_cast<unsigned>(request.what)].name, request.body};
    for (const char* key : {"v", "command", "via"}) asked.request.erase(key);
  }
  try {
    dispatch(who, request);
  } catch (const std::exception& e) {  // a request of a shape that nobody thought of is the asker's trouble, not ours
    spdlog::error("{}: {}", protocol::command_table[static_cast<unsigned>(request.what)].name, e.what());
    answer(who, problem{problem_code::failed, std::string("the request failed inside chaosd: ") + e.what(), "", {}});
  }
}

void daemon::dispatch(client_id who, const protocol::request& request) {
  const json& body = request.body;
  switch (request.what) {
    case command::set: return set(who, body);
    case command::check: return check(who, body);
    case command::apply: return apply(who, body);
    case command::rm:
    case command::pause:
    case command::resume: return change(who, request);
    case command::stop: return stop(who);
    case command::watch: return watch(who, body);
    case command::run_begin: return run_begin(who, body);
    case command::breaker: return breaker(who, body);
    case command::experiment: return experiment_asked(who, body);
    case command::schedule: return schedule_told(who, body);
    case command::expect_attach: return expect_attach(who, body);
    case command::list: return answer(who, list());
    case command::stats: return answer(who, stats());
    case command::ps: return answer(who, ps());
    case command::status: return answer(who, status());
    case command::events: return answer(who, events(body));
    case command::save: return answer(who, save());
    case command::shutdown:
      spdlog::info("shutdown asked for by pid {}", server_.peer_of(who).pid);
      answer(who, json{{"pid", getpid()}, {"ended", rules_.live().size()}});
      return shut_down();
    case command::count: break;
  }
  answer(who, bad_request("no such command"));
}

void daemon::answer(client_id who, const result<json>& outcome, std::vector<std::string> warnings) {
  if (const auto asked = asked_.extract(who))
    audit_.write(asked.mapped().by, asked.mapped().command, std::move(asked.mapped().request), outcome ? nullptr : &outcome.error());
  if (!outcome) return server_.reply(who, protocol::error_reply(outcome.error()));
  for (const std::string& unsaved : {rules_.unsaved(), experiments_unsaved_})
    if (!unsaved.empty()) warnings.push_back(unsaved);
  server_.reply(who, protocol::ok_reply(*outcome, warnings));
}

// The front end of chaosd itself says whom it asks for.
actor daemon::asker(client_id who, const json& body) const {
  const server::peer peer = server_.peer_of(who);
  const json via = body.value("via", json());
  return {peer.uid, peer.pid, peer.pid == getpid() && via.is_string() ? via.get<std::string>() : ""};
}

result<rules::done> daemon::permitted(const std::vector<rule_spec>& specs) {
  if (specs.empty()) return rules::done{};
  if (const auto good = safety_.may_begin(); !good) return good;
  for (const rule_spec& spec : specs) {
    const auto of = experiment_of(spec);
    if (!of) return of.error();
    const experiment* const e = *of;
    if (!e) continue;
    if (e->state == experiment_state::stopping)
      return problem{problem_code::not_allowed, "the experiment " + e->name + " was " + e->stop_reason, e->name, {}};
    if (const auto good = safety_.within_radius({spec}); !good) return good;
  }
  return rules::done{};
}

result<const experiment*> daemon::experiment_of(const rule_spec& spec) {
  if (!spec.has(rules::option::owner_)) return nullptr;
  const auto owner = rules::parse_pid("--owner", spec.get(rules::option::owner_));
  if (!owner) return owner.error();
  const auto pid = static_cast<std::int32_t>(*owner);
  return pid == getpid() ? experiments_.of_pid(pid, spec.get(rules::option::name_)) : experiments_.of_pid(pid);
}

daemon::stack_reach daemon::stacks_within(const rules::compiled_rule& r) const {
  stack_reach out;
  for (const attached_process& p : processes_.living())
    if (proc::means_process(r, {p.pid, p.run, p.comm, p.executable})) ++(p.limits & abi::attach_limits::no_stacks ? out.without : out.with);
  return out;
}

void daemon::install(client_id who, std::vector<rule_spec> specs, std::uint64_t run,
                     std::function<void(const result<std::vector<std::uint32_t>>&, std::vector<std::string>)> then) {
  if (const auto good = permitted(specs); !good) return then(good.error(), {});
  for (rule_spec& spec : specs)
    if (*experiment_of(spec)) fill_in(spec, how_);
  if (how_.dry_run)
    for (rule_spec& spec : specs) spec.options[rules::option::dry_run_] = "true";
  install_job job{who, std::move(specs), run, {}, monotonic_ns() + resolve_patience_ns, std::move(then)};
  for (const rule_spec& spec : job.specs) {
    const auto compiled = rules_.check(spec, run);
    if (!compiled) return job.then(compiled.error(), {});
    if (compiled->owner && start_ticks_of(static_cast<std::int32_t>(compiled->owner)) == 0)
      return job.then(problem{problem_code::not_found, "--owner: there is no process " + std::to_string(compiled->owner),
                              std::to_string(compiled->owner), {}}, {});
    if (compiled->rule.stack_glob && run == 0)
      if (const stack_reach reach = stacks_within(*compiled); reach.without && !reach.with)
        return job.then(problem{problem_code::not_allowed, "--stack looks at call stacks, and no attached process that the rule means was started for that: "
                                                           "chaos-ctl run --stacks -- CMD, or CHAOS_STACKS=1 in its environment", "--stack", {}}, {});
    for (const std::string& name : compiled->hostnames) {
      resolver_.ask(name);
      if (!rules_.knows(name)) job.names.push_back(name);  // else what is known will do until the answer comes
    }
  }
  installs_.push_back(std::move(job));
  install_timer_.at(installs_.front().deadline_ns);  // those who come later do not put off the first
  finish_installs(false);
}

// In the order in which they came, so that a later `set` never overtakes one that waits for a name.
void daemon::finish_installs(bool by_time) {
  while (!installs_.empty()) {
    install_job& front = installs_.front();
    const bool late = by_time && monotonic_ns() >= front.deadline_ns;
    if (!front.names.empty() && !late) {
      if (by_time) install_timer_.at(front.deadline_ns);
      return;
    }
    install_job job = std::move(front);
    installs_.pop_front();
    const auto may = permitted(job.specs);  // while it waited for a name things may have changed
    const auto ids = may ? rules_.add(job.specs, job.run) : may.error();
    std::vector<std::string> warnings;
    if (ids) {
      for (const std::uint32_t id : *ids) {
        const live_rule& r = rules_.live().at(id);
        warnings.insert(warnings.end(), r.compiled.warnings.begin(), r.compiled.warnings.end());
        if (r.compiled.default_end)
          warnings.push_back("rule " + std::to_string(id) + " ends by itself in " +
                             rules::format_duration(how_.default_for_ns.value_or(rules::default_for_ns)) +
                             "; --for DURATION or --forever says otherwise");
        if (r.compiled.rule.stack_glob && r.compiled.rule.run == 0) {
          const stack_reach reach = stacks_within(r.compiled);
          if (reach.without)
            warnings.push_back("--stack: " + std::to_string(reach.without) + " of the attached processes that it means were started without chaos-ctl run --stacks, and the rule does nothing there");
          else if (!reach.with) warnings.push_back("--stack: the rule acts in processes that are started with chaos-ctl run --stacks -- CMD, and none is attached");
        }
        if ((r.compiled.rule.kind == abi::effect::unset || r.compiled.rule.kind == abi::effect::replace) && r.compiled.rule.run == 0)
          warnings.push_back("programs are started with the environment so changed; those that run already are reached in getenv() alone, and "
                             "CPython, the JVM and others took a copy at their start");
        for (const std::string& name : r.compiled.hostnames) {
          const bool unknown = std::find(job.names.begin(), job.names.end(), name) != job.names.end();
          bool resolved = false;
          for (unsigned i = 0; i < r.compiled.rule.term_count; ++i)
            resolved = resolved || r.compiled.rule.terms[i].kind == abi::term_kind::cidr;
          if (unknown || !resolved)
            warnings.push_back("'" + name + "' can not be resolved here" + (unknown ? " (yet)" : "") +
                               ": the rule acts where the target itself looks that name up");
        }
        spdlog::info("rule {} '{}': {}", id, r.compiled.name, rules::normalised_text(r.spec));
      }
      after_change();
      break_live(*ids);
    }
    job.then(ids, std::move(warnings));
  }
  install_timer_.at(0);
}

void daemon::set(client_id who, const json& body) {
  auto spec = spec_in(body);
  if (!spec) return answer(who, spec.error());
  install(who, {std::move(*spec)}, 0, [this, who](const auto& ids, std::vector<std::string> warnings) {
    if (!ids) return answer(who, ids.error());
    const auto at = rules_.live().find(ids->front());
    answer(who, at == rules_.live().end() ? json{{"id", ids->front()}} : rules_.describe(at->second), std::move(warnings));
  });
}

void daemon::check(client_id who, const json& body) {
  const auto spec = spec_in(body);
  if (!spec) return answer(who, spec.error());
  const auto compiled = rules_.check(*spec, 0);
  if (!compiled) return answer(who, compiled.error());
  answer(who, json{{"kind", abi::effect_table[static_cast<unsigned>(spec->kind)].name}, {"target", compiled->target},
                   {"text", rules::normalised_text(*spec)}, {"rule", rules::json_of(*spec)}}, compiled->warnings);
}

void daemon::apply(client_id who, const json& body) {
  const json text = body.value("ini", json());
  if (!text.is_string()) return answer(who, bad_request("\"ini\" is not a string"));
  auto specs = rules::specs_from_ini(text.get<std::string>());
  if (!specs) return answer(who, specs.error());
  if (specs->empty()) return answer(who, problem{problem_code::bad_ini, "there is no [fault NAME] in the text", "", {"[fault NAME]"}});
  for (rule_spec spec : *specs) {
    if (const auto of = experiment_of(spec); of && *of) fill_in(spec, how_);
    if (const auto compiled = rules_.check(spec, 0); !compiled)
      return answer(who, rules::in_fault(text.get_ref<const std::string&>(), spec.get(rules::option::name_), compiled.error()));
  }
  install(who, std::move(*specs), 0, [this, who](const auto& ids, std::vector<std::string> warnings) {
    if (!ids) return answer(who, ids.error());
    json rules = json::array();
    for (const std::uint32_t id : *ids)
      if (const auto at = rules_.live().find(id); at != rules_.live().end()) rules.push_back(rules_.describe(at->second));
    answer(who, json{{"rules", rules}}, std::move(warnings));
  });
}

void daemon::run_begin(client_id who, const json& body) {
  const std::int32_t pid = pid_in(body);
  const std::uint64_t ticks = start_ticks_of(pid);
  if (ticks == 0) return answer(who, problem{problem_code::not_found, "\"pid\" names no process", body.value("pid", json()).dump(), {}});
  const json list = body.value("rules", json::array());
  if (!list.is_array() || list.size() > abi::rule_max) return answer(who, bad_request("\"rules\" is not a list of at most 256"));
  std::vector<rule_spec> specs;
  for (const json& item : list) {
    auto spec = spec_in(item.is_array() ? json{{"words", item}} : item.contains("words") ? item : json{{"rule", item}});
    if (!spec) return answer(who, spec.error());
    specs.push_back(std::move(*spec));
  }
  const std::uint64_t run = rules_.open_run(pid, ticks);
  install(who, std::move(specs), run, [this, who, run, pid, ticks](const auto& ids, std::vector<std::string> warnings) {
    if (!ids) {
      rules_.close_run(run);
      return answer(who, ids.error());
    }
    watch_run({run, pid, ticks});
    answer(who, json{{"run", run}, {"ids", *ids}}, std::move(warnings));
  });
}

void daemon::expect_attach(client_id who, const json& body) {
  const std::int32_t pid = pid_in(body);
  const std::uint64_t ticks = start_ticks_of(pid);
  if (ticks == 0) return answer(who, problem{problem_code::not_found, "\"pid\" names no process", body.value("pid", json()).dump(), {}});
  std::uint64_t patience = 3000;
  if (const json t = body.value("timeout_ms", json()); t.is_number_unsigned()) patience = std::min<std::uint64_t>(t.get<std::uint64_t>(), 3'600'000);
  if (expected_.size() >= abi::attach_max) expected_.erase(expected_.begin());
  expected_.push_back({pid, ticks, monotonic_ns() + patience * 1'000'000, body.value("tell_stderr", json()) == true});
  answer(who, json{{"pid", pid}, {"timeout_ms", patience}});
}

// The rules that a request means: "id", "name", "all", or "words": ids and names, --all, or KIND TARGET.
result<std::vector<std::uint32_t>> daemon::selected(const json& body) const {
  std::vector<std::uint32_t> ids;
  const auto every = [&](auto which) {
    const std::size_t before = ids.size();
    for (const auto& [id, r] : rules_.live())
      if (which(r)) ids.push_back(id);
    return ids.size() > before;
  };
  const auto by_word = [&](const std::string& word) {
    return every([&](const live_rule& r) { return r.compiled.name == word || std::to_string(r.id()) == word; });
  };
  auto words = words_in(body);
  if (!words) return words.error();
  if (body.value("all", json()) == true) words->push_back("--all");
  if (const json id = body.value("id", json()); id.is_number_integer()) words->push_back(id.dump());
  if (const json name = body.value("name", json()); name.is_string()) words->push_back(name.get<std::string>());
  if (words->empty())
    return problem{problem_code::missing_word, "which rule? An id, a name, KIND TARGET or --all is missing", "", {"--all"}};
  if (words->size() == 1 && words->front() == "--all") {
    every([](const live_rule&) { return true; });
    return ids;
  }
  if (const auto kind = rules::find_kind(words->front()); kind && words->size() == 2) {
    const auto target = rules::parse_target((*words)[1]);
    if (!target) return target.error();
    if (!every([&](const live_rule& r) { return r.spec.kind == *kind && r.compiled.target == target->normalised; }))
      return problem{problem_code::not_found, "no rule " + words->front() + " " + (*words)[1] + " is in force", (*words)[1], {}};
    return ids;
  }
  for (const std::string& word : *words) {
    if (by_word(word)) continue;
    std::vector<std::string> known;
    for (const auto& [id, r] : rules_.live()) known.push_back(r.compiled.name);
    const std::string near = rules::nearest(word, known);
    const auto& past = rules_.ended();  // the latest of that name stands last
    if (const auto e = std::find_if(past.rbegin(), past.rend(), [&](const ended_rule& r) { return r.rule.compiled.name == word || std::to_string(r.rule.id()) == word; }); e != past.rend()) {
      const std::uint64_t ago_s = (monotonic_ns() - e->ended_ns) / 1'000'000'000;
      return problem{problem_code::not_found, "rule " + std::to_string(e->rule.id()) + " '" + e->rule.compiled.name + "' is not in force any more: it ended " +
                         (ago_s ? rules::format_duration(ago_s * 1'000'000'000) + " ago" : "just now") + " (" + e->reason + ")", word, known};
    }
    return problem{problem_code::not_found, "no rule '" + word + "' is in force" + (known.empty() ? ", nor any other" : near.empty() ? "" : ": did you mean '" + near + "'?"), word, known};
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

void daemon::change(client_id who, const protocol::request& request) {
  const auto ids = selected(request.body);
  if (!ids) return answer(who, ids.error());
  if (request.what == command::resume)
    if (const auto good = safety_.may_begin(); !good) return answer(who, good.error());
  const auto outcome = request.what == command::rm ? rules_.end(*ids, "removed")
                                                   : rules_.set_paused(*ids, request.what == command::pause);
  if (!outcome) return answer(who, outcome.error());
  spdlog::info("{} {} rules (pid {})", protocol::command_table[static_cast<unsigned>(request.what)].name, ids->size(), server_.peer_of(who).pid);
  after_change();
  if (request.what == command::resume) break_live(*ids);
  answer(who, json{{"ids", *ids}});
}

void daemon::stop(client_id who) {
  const std::size_t n = rules_.live().size();
  stop_experiments("stopped: chaos-ctl stop");
  rules_.end_now([](const live_rule&) { return true; }, "stopped");
  const unsigned breakers = release_breakers("stopped");
  page_.stop_lingering();
  page_.clear_stop();
  spdlog::warn("stop (pid {}): {} rules ended", server_.peer_of(who).pid, n);
  after_change();
  answer(who, json{{"ended", n}, {"breakers", breakers}});
}

void daemon::schedule_told(client_id who, const json& body) {
  if (server_.peer_of(who).pid != getpid()) return answer(who, problem{problem_code::not_allowed, "only chaosd itself says what it started", "", {}});
  const auto text = [&](const char* key) {
    const json value = body.value(key, json());
    return value.is_string() ? value.get<std::string>() : std::string();
  };
  spdlog::info("schedule '{}': {} over HTTP", text("name"), text("action"));
  answer(who, json::object());
}

void daemon::watch(client_id who, const json& body) {
  std::vector<std::string> warnings;
  if (body.value("stacks", json()) == true) {
    stack_watchers_.insert(who);
    page_.want_stacks(true);
    const auto living = processes_.living();
    if (std::none_of(living.begin(), living.end(), [](const attached_process& p) { return !(p.limits & abi::attach_limits::no_stacks); }))
      warnings.push_back("no attached process was started for call stacks: chaos-ctl run --stacks -- CMD, or CHAOS_STACKS=1 in its environment");
  }
  answer(who, json{{"watching", true}}, std::move(warnings));
  server_.make_watcher(who);
  std::uint64_t last = 0;
  if (const json n = body.value("last", json()); n.is_number_unsigned()) last = n.get<std::uint64_t>();
  const auto& recent = timeline_.recent();
  for (std::size_t i = recent.size() - std::min<std::size_t>(recent.size(), last); i < recent.size(); ++i) server_.send_line(who, recent[i]);
  set_pace();
}

void daemon::client_gone(client_id who) {
  runner_gone(who);
  if (stack_watchers_.erase(who) && stack_watchers_.empty()) page_.want_stacks(false);
}

}  // namespace chaos::daemon
