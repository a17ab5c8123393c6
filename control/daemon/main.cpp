// chaosd: start-up in the order that leaves nothing behind when a step fails.
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include "control/http/front.hpp"
#include "control/http/token.hpp"
#include "control/protocol/client.hpp"
#include "control/protocol/standard_streams.hpp"
#include "daemon.hpp"
#include "detach.hpp"

// Exported: a shim that finds this name in the program stays dormant, so that an exported LD_PRELOAD cannot turn the
// controller into its own victim.
extern "C" __attribute__((visibility("default"), used)) const char chaos_controller_marker[] = "chaosd";

namespace {

using chaos::daemon::settings;
using chaos::daemon::starter;
using chaos::protocol::session_location;

int complain(const chaos::rules::problem& p) {
  std::fprintf(stderr, "chaosd: %s\n", p.message.c_str());
  return chaos::rules::problem_table[static_cast<unsigned>(p.code)].exit_status;
}

// --owner: everything from here on belongs to that user.
std::string become(const std::string& user) {
  if (user.empty()) return "";
  const passwd* const entry = getpwnam(user.c_str());
  if (!entry) return "--owner: there is no user '" + user + "'";
  if (entry->pw_uid == geteuid()) return "";
  if (initgroups(user.c_str(), entry->pw_gid) < 0 || setgid(entry->pw_gid) < 0 || setuid(entry->pw_uid) < 0)
    return "--owner: can not become '" + user + "': " + std::strerror(errno);
  return "";
}

void open_log(const session_location& where, bool to_syslog, bool foreground) {
  std::vector<spdlog::sink_ptr> sinks;
  if (to_syslog) {
    sinks.push_back(std::make_shared<spdlog::sinks::syslog_sink_st>("chaosd", LOG_PID, LOG_DAEMON, true));
  } else {
    sinks.push_back(std::make_shared<spdlog::sinks::rotating_file_sink_st>(where.file(chaos::abi::log_name), 1024 * 1024, 2));
  }
  if (foreground) sinks.push_back(std::make_shared<spdlog::sinks::stderr_sink_st>());
  auto log = std::make_shared<spdlog::logger>("chaosd", sinks.begin(), sinks.end());
  log->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
  log->flush_on(spdlog::level::info);
  log->set_error_handler([](const std::string&) {});  // a full disk must not become a stream of complaints
  spdlog::set_default_logger(log);
}

// One daemon a session. Returns the locked descriptor, or -1 when another one has it.
int take_lock(const session_location& where, starter& start) {
  const std::string path = where.file("chaosd.lock");
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) start.fail("chaosd: can not open " + path + ": " + std::strerror(errno));
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
    const std::string pid = std::to_string(getpid()) + "\n";
    if (ftruncate(fd, 0) < 0 || pwrite(fd, pid.data(), pid.size(), 0) < 0) errno = 0;
    return fd;
  }
  close(fd);
  return -1;
}

// The lock is taken: by a daemon that answers or soon will, or by one that ends. Returns the lock if that one has left it.
int follow_other(const session_location& where, starter& start) {
  for (int i = 0; i < 100; ++i) {
    auto other = chaos::protocol::client::connect(where.folder);
    if (other) {
      const auto status = other->call(chaos::protocol::command::status, nlohmann::json::object(), std::chrono::seconds(1));
      if (status) start.already_running("chaosd: session '" + where.session + "' already has a daemon (pid " + status->result.value("pid", nlohmann::json()).dump() + ")");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    if (const int lock = take_lock(where, start); lock >= 0) return lock;
  }
  start.fail("chaosd: session '" + where.session + "' already has a daemon, and it does not answer (see " + where.file("chaosd.lock") + " for its pid)");
}

// Before anything is started: what can not be served is refused where it was asked for.
chaos::rules::result<chaos::rules::done> check_http(const settings& given, std::string& token) {
  using chaos::rules::problem;
  using chaos::rules::problem_code;
  if (given.http.empty()) {
    for (const auto& [name, text] : {std::pair{"--token-file", &given.token_file}, std::pair{"--experiments", &given.experiments}, std::pair{"--schedules", &given.schedules}})
      if (!text->empty()) return problem{problem_code::bad_combination, std::string(name) + " goes with --http ADDRESS:PORT", name, {"--http"}};
    return chaos::rules::done{};
  }
  const auto address = chaos::http::parse_address(given.http);
  if (!address) return address.error();
  if (given.token_file.empty())
    return problem{problem_code::not_allowed, "--http " + given.http + " needs --token-file FILE" + (address->loopback ? "" : ", all the more at an address that others can reach"), given.http, {"--token-file FILE"}};
  const auto read = chaos::http::read_token(given.token_file);
  if (!read) return read.error();
  token = *read;
  for (const auto& [name, folder] : {std::pair{"--experiments: ", &given.experiments}, std::pair{"--schedules: ", &given.schedules}})
    if (!folder->empty() && !std::filesystem::is_directory(*folder)) return problem{problem_code::failed, name + *folder + " is not a folder", *folder, {}};
  return chaos::rules::done{};
}

chaos::http::front_settings front_of(const settings& given, const std::string& token, const session_location& where) {
  chaos::http::front_settings how;
  how.address = given.http;
  how.token = token;
  how.experiments_folder = given.experiments;
  how.schedules_folder = given.schedules;
  how.requests_per_second = given.http_rate;
  how.default_latency = given.default_latency;
  if (!given.default_error_rate.empty())
    how.default_error_rate = std::round(static_cast<double>(*chaos::rules::parse_probability("", given.default_error_rate)) / static_cast<double>(chaos::abi::certain) * 1e9) / 1e9;
  how.metrics = given.metrics;
  how.session_folder = where.folder;
  how.base = where.base;
  how.session = where.session;
  return how;
}

int signals() {
  sigset_t ours;
  sigemptyset(&ours);
  sigaddset(&ours, SIGTERM);
  sigaddset(&ours, SIGINT);
  sigprocmask(SIG_SETMASK, &ours, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGHUP, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a file size limit is an error to report, not a death
  return signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
}

}  // namespace

int main(int argc, char** argv) {
  chaos::protocol::occupy_standard_streams();
  auto given = chaos::daemon::settings_from(argc, argv);
  if (!given) return complain(given.error());
  if (given->help) return std::fputs(chaos::daemon::usage().c_str(), stdout) < 0;
  if (given->manual) return std::fputs(chaos::daemon::manual_page().c_str(), stdout) < 0;
  if (given->version) return std::puts("chaosd " CHAOS_VERSION) < 0;
  if (const std::string why = become(given->owner); !why.empty()) {
    std::fprintf(stderr, "chaosd: %s\n", why.c_str());
    return 1;
  }
  auto where = chaos::protocol::locate_session(given->dir, given->session);
  if (!where) return complain(where.error());
  if (const char* const named = std::getenv("CHAOS_CONFIG"); named && given->config.empty()) given->config = named;
  if (const auto good = chaos::daemon::read_config(*given, where->base + "/chaos.ini"); !good) return complain(good.error());
  if (where->folder.front() != '/') {  // we are about to leave this folder
    char* const here = realpath(".", nullptr);
    if (!here) return complain({chaos::rules::problem_code::failed, "the current folder has no path", "", {}});
    where->base = std::string(here) + "/" + where->base;
    where->folder = std::string(here) + "/" + where->folder;
    std::free(here);
  }
  if (given->stop_file.empty()) given->stop_file = where->base + "/stop";
  for (std::string* path : {&given->stop_file, &given->token_file, &given->experiments, &given->schedules})
    if (!path->empty()) *path = std::filesystem::absolute(*path).string();
  std::string token;
  if (const auto good = check_http(*given, token); !good) return complain(good.error());
  umask(077);
  unsetenv("LD_PRELOAD");

  starter start(given->foreground, given->ready_fd);
  const int signal_fd = signals();
  if (const auto good = chaos::protocol::make_session(*where); !good) start.fail("chaosd: " + good.error().message);
  if (take_lock(*where, start) < 0) follow_other(*where, start);  // held by what stays open until the end
  try {
    open_log(*where, given->use_syslog, given->foreground);
    auto page = chaos::daemon::page_writer::open(*where);
    if (!page) start.fail("chaosd: " + page.error().message);
    auto report = chaos::daemon::report_reader::open(*where);
    if (!report) start.fail("chaosd: " + report.error().message);
    chaos::http::listening serving;
    if (!given->http.empty()) {
      const auto served = chaos::http::start_front(front_of(*given, token, *where));
      if (!served) start.fail("chaosd: " + served.error().message);
      serving = *served;
    }
    const int listening = chaos::protocol::listen_at(where->folder);
    if (listening < 0) start.fail("chaosd: can not listen in " + where->folder + ": " + std::strerror(-listening));
    chaos::daemon::daemon d(*where, *given, std::move(*page), std::move(*report), listening, signal_fd);
    if (!given->http.empty()) d.serves_http(serving.url, serving.warning);
    start.ready();
    d.run();
  } catch (const std::exception& e) {
    spdlog::critical("{}", e.what());
    start.fail(std::string("chaosd: ") + e.what());
  }
  // Not exit(): a helper thread may still hang in a resolver, and must not meet destructors.
  spdlog::default_logger()->flush();
  _exit(0);
}
