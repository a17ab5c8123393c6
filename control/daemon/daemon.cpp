#include "daemon.hpp"

#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "control/proc/match.hpp"

namespace chaos::daemon {

namespace {

constexpr std::uint64_t ms = 1'000'000;
constexpr std::uint64_t crowded_pace_ns = 4 * ms, busy_pace_ns = 25 * ms, idle_pace_ns = 250 * ms;
constexpr std::uint64_t crowd = abi::ring_slots / 8;  // so many events in one drain: come back sooner
constexpr std::uint64_t names_again_ns = 30'000 * ms;
constexpr std::uint64_t reap_every = 5;  // lease renewals

std::uint64_t random_seed() {
  std::uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed) seed = monotonic_ns();
  return seed;
}

}  // namespace

daemon::daemon(protocol::session_location where, const settings& how, page_writer page, report_reader report,
               int listening_fd, int signal_fd)
    : where_(std::move(where)),
      how_(how),
      safety_(how_),
      audit_(where_.file("audit.jsonl"), how_.use_syslog),
      page_(std::move(page)),
      report_(std::move(report)),
      state_(where_.file(abi::state_name)),
      rules_(page_, report_, state_, how_.default_for_ns.value_or(rules::default_for_ns)),
      processes_(report_),
      experiments_(how_.experiments_max),
      experiments_file_(where_.file("experiments.json")),
      reports_(where_.folder),
      closer_(loop_, where_.file(abi::closing_socket_name)),
      server_(loop_, listening_fd, [this](client_id who, const protocol::request& r) { handle(who, r); }, [this](client_id who) { client_gone(who); }),
      timeline_(where_.file(abi::timeline_name), [this](std::uint32_t id) { return rules_.names_of(id); },
                [this](const std::string& line) { server_.broadcast(line); }),
      drain_(report_, std::min(timeline::next_ticket(where_.file(abi::timeline_name)), report_.ring_head())),
      resolver_(loop_, [this](const std::string& name, std::vector<rules::ip_address> a) { on_addresses(name, std::move(a)); }),
      live_breaker_(loop_, where_.file(abi::rule_page_name), [this](live_outcome o) { on_broken(std::move(o)); }),
      lease_timer_(loop_, [this] { renew(); }),
      drain_timer_(loop_, [this] { drain_events(); }),
      end_timer_(loop_, [this] { expire(); }),
      name_timer_(loop_, [this] { refresh_names(); }),
      install_timer_(loop_, [this] { finish_installs(true); }),
      breaker_timer_(loop_, [this] { answer_breaker_askers(); }),
      experiment_timer_(loop_, [this] { time_out_experiments(); }),
      signal_fd_(signal_fd),
      started_ns_(monotonic_ns()) {
  std::string trouble;
  const saved_state saved = state_.load(trouble);
  if (!trouble.empty()) {
    notes_.push_back(trouble);
    spdlog::error("{}", trouble);
  }
  restore_experiments();
  const std::uint64_t seed = how_.seed ? *how_.seed : saved.seed ? *saved.seed : random_seed();
  page_.take_over(seed, static_cast<int>(getpid()));
  page_.want_stacks(false);
  page_.set_sinks(sinks_.ports());
  const unsigned back = rules_.restore(saved, seed, how_.restore);
  if (back) {
    notes_.push_back(std::to_string(back) + " rules of a daemon that died came back" +
                     (how_.restore ? "" : ", paused: `chaos-ctl resume --all` puts them in force, `chaos-ctl rm --all` ends them"));
    spdlog::warn("{}", notes_.back());
  }
  if (!back) page_.publish({});
  honour_stop();
  if (const auto may = safety_.may_begin(); !may && !how_.enabled) {
    rules_.end_now([](const live_rule&) { return true; }, "chaosd is not enabled");
    notes_.push_back(may.error().message);
  }
  honour_stop_file();
  if (how_.dry_run) notes_.push_back("chaosd was started with dry_run: rules are matched and counted, and do nothing");
  for (const saved_run& run : std::vector<saved_run>(rules_.runs())) watch_run(run);
  loop_.add(signal_fd_, EPOLLIN, [this](std::uint32_t) {
    signalfd_siginfo info{};
    if (read(signal_fd_, &info, sizeof info) == sizeof info) {
      spdlog::info("signal {}", info.ssi_signo);
      shut_down();
    }
  });
  lease_timer_.every(abi::lease_renewal_ns);
  name_timer_.every(names_again_ns);
  refresh_names();
  after_change();
  std::vector<std::uint32_t> again;
  for (const auto& [id, r] : rules_.live()) again.push_back(id);
  break_live(again);  // under --restore; what is paused breaks nothing
}

daemon::~daemon() {
  loop_.remove(signal_fd_);
  for (const process_watch& w : watches_) {
    loop_.remove(w.fd);
    close(w.fd);
  }
}

void daemon::serves_http(const std::string& url, const std::string& warning) {
  http_ = url;
  spdlog::info("HTTP at {}", url);
  if (warning.empty()) return;
  notes_.push_back(warning);
  spdlog::warn("{}", warning);
}

void daemon::run() {
  spdlog::info("chaosd {} serves session '{}' in {}", getpid(), where_.session, where_.folder);
  loop_.run();
  spdlog::info("chaosd {} ends", getpid());
}

void daemon::renew() {
  if (!page_.intact()) {  // somebody truncated it: touching it would kill us, and the lease ends the faults
    spdlog::critical("the rule page was truncated or replaced; ending without touching it");
    _exit(1);
  }
  page_.renew_lease();
  honour_stop();
  honour_stop_file();
  check_expected();
  if (++renewals_ % reap_every == 0) processes_.reap(monotonic_ns());
  set_pace();
}

void daemon::honour_stop() {
  if (!page_.stop_asked()) return;
  stop_experiments("stopped: emergency stop");
  rules_.end_now([](const live_rule&) { return true; }, "emergency stop");
  page_.stop_lingering();
  release_breakers("emergency stop");
  page_.clear_stop();
  spdlog::warn("emergency stop was asked for in the page: every rule ended");
  after_change();
}

void daemon::drain_events() {
  const std::uint64_t now = monotonic_ns(), lost = drain_.lost(), first = drain_.next();
  drain_.run(now, [this, now](std::uint64_t seq, const abi::event& e) {
    if (e.kind == abi::event_kind::injection) {
      rules_.count_event(e.rule);
      if (how_.metrics) delays_.count(e.effect, e.delay_ns);
    }
    timeline_.take(seq, e, now, e.flags & abi::event_flags::stack ? report_.stack(seq) : std::vector<std::string>());
  });
  timeline_.tick(now);
  crowded_ = drain_.next() - first > crowd;
  set_pace();
  if (drain_.lost() != lost) spdlog::debug("{} events were lost", drain_.lost() - lost);
}

void daemon::set_pace() {
  const std::uint64_t pace = crowded_ ? crowded_pace_ns : rules_.any_active() || server_.watchers() ? busy_pace_ns : idle_pace_ns;
  if (pace == pace_ns_) return;
  pace_ns_ = pace;
  drain_timer_.every(pace);
}

void daemon::after_change() {
  end_timer_.at(rules_.next_end_ns());
  watch_owners();
  std::set<std::uint32_t> active;
  for (const auto& [id, r] : rules_.live())
    if (!r.paused()) active.insert(id);
  closer_.in_force(active);
  live_breaker_.in_force(std::move(active));
  set_pace();
}

void daemon::break_live(const std::vector<std::uint32_t>& ids) {
  for (const std::uint32_t id : ids)
    if (const auto at = rules_.live().find(id); at != rules_.live().end() && proc::breaks_live(at->second.compiled.rule))
      live_breaker_.order(at->second.compiled, processes_.living());
}

void daemon::on_broken(live_outcome outcome) {
  const std::uint64_t now = monotonic_ns();
  const auto at = rules_.live().find(outcome.rule);
  for (const live_break& b : outcome.broken) {
    abi::event e{};
    e.time_ns = b.time_ns;
    e.pid = e.tid = b.pid;
    e.rule = outcome.rule;
    e.function = timeline::no_function;
    e.kind = abi::event_kind::injection;
    e.error = ECONNRESET;
    if (at != rules_.live().end()) e.effect = static_cast<std::uint8_t>(at->second.spec.kind);
    b.remote.copy(e.text, sizeof e.text - 1);
    rules_.count_event(outcome.rule);
    timeline_.take(drain_.next() ? drain_.next() - 1 : 0, e, now);
  }
  own_events_ += outcome.broken.size();
  rules_.count_live(outcome.rule, outcome.broken.size(), outcome.unreached, now);
  timeline_.tick(now);
  if (outcome.unreached)
    spdlog::info("rule {}: {} connections broken at once, {} could not be reached ({})", outcome.rule, outcome.broken.size(), outcome.unreached, outcome.why);
}

void daemon::expire() {
  rules_.end_expired(monotonic_ns());
  after_change();
}

void daemon::refresh_names() {
  for (const std::string& name : rules_.hostnames()) resolver_.ask(name);
}

void daemon::on_addresses(const std::string& name, std::vector<rules::ip_address> addresses) {
  if (!addresses.empty()) break_live(rules_.set_address(name, std::move(addresses)));  // unknown for the moment: it keeps what it stood for
  for (install_job& job : installs_) job.names.erase(std::remove(job.names.begin(), job.names.end(), name), job.names.end());
  finish_installs(false);
}

void daemon::shut_down() {
  if (shutting_down_) return;
  shutting_down_ = true;
  for (experiment* e : experiments_.live()) {
    remove_rules_of(*e, "chaosd ended");
    conclude(*e, "aborted", "chaosd ended");
  }
  rules_.end_now([](const live_rule&) { return true; }, "chaosd ended");
  release_breakers("chaosd ended");
  answer_breaker_askers();
  drain_events();
  timeline_.flush();
  page_.publish({});
  page_.stop_lingering();
  page_.end_lease();
  page_.leave();
  if (const auto good = rules_.save(true); !good) spdlog::error("{}", good.error().message);
  unlink(where_.file(abi::socket_name).c_str());
  server_.flush_and_close();
  loop_.quit();
}

}  // namespace chaos::daemon
