#include "settings.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <string_view>
#include <vector>

#include "control/ini/sections.hpp"
#include "control/manual/troff.hpp"
#include "experiments.hpp"

namespace chaos::daemon {

using rules::done;
using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

constexpr setting_row rows[] = {
#define SETTING(name, form, value_help, in_config, help) {#name, setting_form::form, value_help, in_config != 0, help},
#include "settings.def"
#undef SETTING
};

constexpr std::uint64_t experiments_most = experiments::live_max, http_rate_most = 100'000, latency_most_ns = 300'000'000'000;

result<done> put_truth(bool& into, const std::string& what, const std::string& text) {
  if (text != "true" && text != "false")
    return problem{problem_code::bad_value, what + ": '" + text + "' is neither true nor false", text, {"true", "false"}};
  into = text == "true";
  return done{};
}

// `what`: how it is called where it stood.
result<done> put(settings& s, std::string_view name, const std::string& text, const std::string& what) {
  if (name == "session") s.session = text;
  else if (name == "dir") s.dir = text;
  else if (name == "config") s.config = text;
  else if (name == "owner") s.owner = text;
  else if (name == "restore") s.restore = true;
  else if (name == "syslog") s.use_syslog = true;
  else if (name == "foreground") s.foreground = true;
  else if (name == "help") s.help = true;
  else if (name == "version") s.version = true;
  else if (name == "manual") s.manual = true;
  else if (name == "dry_run") s.dry_run = true;
  else if (name == "stop_file") s.stop_file = text;
  else if (name == "http") s.http = text;
  else if (name == "token_file") s.token_file = text;
  else if (name == "experiments") s.experiments = text;
  else if (name == "schedules") s.schedules = text;
  else if (name == "enabled") return put_truth(s.enabled, what, text);
  else if (name == "safety") return put_truth(s.safety, what, text);
  else if (name == "metrics") return put_truth(s.metrics, what, text);
  else if (name == "seed") {
    const auto seed = rules::parse_seed(what, text);
    if (!seed) return seed.error();
    s.seed = *seed;
  } else if (name == "default_for") {
    const auto life = rules::parse_duration(what, text);
    if (!life) return life.error();
    if (*life == 0) return problem{problem_code::bad_value, what + ": 0 would end every rule at once", text, {"10min"}};
    s.default_for_ns = *life;
  } else if (name == "default_latency") {
    const auto range = rules::parse_duration_range(what, text);
    if (!range) return range.error();
    if (range->most_ns > latency_most_ns) return problem{problem_code::bad_value, what + ": " + text + " reaches beyond 5min", text, {"100ms..1s"}};
    s.default_latency = *range;
  } else if (name == "default_error_rate") {
    if (const auto good = rules::parse_probability(what, text); !good) return good.error();
    s.default_error_rate = text;
  } else if (name == "experiments_max") {
    const auto n = rules::parse_count(what, text);
    if (!n) return n.error();
    if (*n > experiments_most) return problem{problem_code::bad_value, what + ": " + text + " is more than " + std::to_string(experiments_most), text, {"5"}};
    s.experiments_max = static_cast<unsigned>(*n);
  } else if (name == "http_rate") {
    const auto n = rules::parse_count(what, text);
    if (!n) return n.error();
    if (*n > http_rate_most) return problem{problem_code::bad_value, what + ": " + text + " is more than " + std::to_string(http_rate_most), text, {"500"}};
    s.http_rate = static_cast<unsigned>(*n);
  } else if (name == "experiment_timeout") {
    const auto longest = rules::parse_duration(what, text);
    if (!longest) return longest.error();
    if (*longest == 0) return problem{problem_code::bad_value, what + ": 0 would end every experiment at once", text, {"5min"}};
    s.experiment_timeout_ns = *longest;
  } else if (name == "max_toxicity") {
    if (const auto good = rules::parse_probability(what, text); !good) return good.error();
    s.max_toxicity = text;
  } else if (name == "only_processes") {
    s.only_processes.clear();
    for (const std::string& glob : rules::split(text, ',')) {
      s.only_processes.emplace_back(rules::trimmed(glob));
      if (const auto good = rules::check_glob(what, s.only_processes.back()); !good) return good.error();
    }
  } else if (name == "ready_fd") {
    const auto fd = rules::parse_seed(what, text);
    if (!fd || *fd > 1'000'000) return problem{problem_code::bad_value, what + ": '" + text + "' is not a descriptor", text, {}};
    if (fcntl(static_cast<int>(*fd), F_GETFD) < 0) return problem{problem_code::bad_value, what + ": descriptor " + text + " is not open", text, {}};
    s.ready_fd = static_cast<int>(*fd);
  }
  return done{};
}

// One key of chaos.ini; what the command line said wins.
result<done> put_configured(settings& s, const std::string& key, const std::string& value) {
  std::vector<std::string> known;
  for (const setting_row& row : rows) {
    if (!row.in_config) continue;
    known.emplace_back(row.name);
    if (row.name != key) continue;
    bool meant = true;
    if (row.form == setting_form::flag)
      if (const auto good = put_truth(meant, key, value); !good) return good;
    return s.said.count(key) || !meant ? done{} : put(s, key, value, key);
  }
  return rules::unknown_word(problem_code::unknown_option, "key", key, known);
}

result<std::string> config_text(const std::string& path) {
  struct stat there{};
  std::ifstream in(path, std::ios::binary);
  if (in && stat(path.c_str(), &there) == 0 && S_ISDIR(there.st_mode)) errno = EISDIR;
  else if (in) return std::string(std::istreambuf_iterator<char>(in), {});
  return problem{problem_code::failed, "can not read " + path + ": " + std::strerror(errno), path, {}};
}

}  // namespace

std::string flag_of(const setting_row& row) {
  std::string flag = std::string("--") + row.name;
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

result<settings> settings_from(int argc, char** argv) {
  settings s;
  std::vector<std::string> flags;
  for (const setting_row& row : rows) flags.push_back(flag_of(row));
  const auto is_flag = [&](std::string_view word) { return std::find(flags.begin(), flags.end(), word.substr(0, word.find('='))) != flags.end(); };
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto equals = word.find('=');
    const std::string flag = word == "-h" ? "--help" : word.substr(0, equals);
    const auto row = std::find_if(std::begin(rows), std::end(rows), [&](const setting_row& r) { return flag_of(r) == flag; });
    if (row == std::end(rows)) return rules::unknown_word(problem_code::unknown_option, "option", flag, flags);
    std::string text;
    if (row->form != setting_form::flag) {
      if (equals != std::string::npos) text = word.substr(equals + 1);
      else if (i + 1 < argc && !is_flag(argv[i + 1])) text = argv[++i];
      else return problem{problem_code::missing_word, flag + " needs a value: " + row->value_help, flag, {}};
    } else if (equals != std::string::npos) {
      return problem{problem_code::unexpected_word, flag + " takes no value", word, {flag}};
    }
    if (text.empty() && row->form != setting_form::flag) return problem{problem_code::missing_word, flag + ": nothing stands behind it", flag, {}};
    if (const auto good = put(s, row->name, text, flag); !good) return good.error();
    s.said.insert(row->name);
  }
  return s;
}

result<done> read_config(settings& s, const std::string& otherwise) {
  struct stat there{};
  const bool own = s.config.empty();
  if (own && (stat(otherwise.c_str(), &there) < 0 || !S_ISREG(there.st_mode))) return done{};
  if (own) s.config = otherwise;
  const auto text = config_text(s.config);
  if (!text) return text.error();
  const auto at = [&](int line, const problem& p) {
    problem placed = ini::on_line(line, p);
    placed.message = s.config + (placed.message.starts_with("line ") ? ", " : ": ") + placed.message;
    return placed;
  };
  const auto sections = ini::read_sections(*text, ini::process_environment());
  if (!sections) return at(0, sections.error());
  std::map<std::string, int> lines;
  for (const ini::section& section : *sections) {
    if (section.title() != "chaosd")
      return at(section.line, {problem_code::unknown_section, "unknown section [" + section.title() + "]: [chaosd] is expected", section.title(), {"chaosd"}});
    for (const ini::entry& e : section.entries) {
      if (const auto [before, fresh] = lines.emplace(e.key, e.line); !fresh)
        return at(e.line, {problem_code::bad_ini, "the key '" + e.key + "' stands twice; the first is on line " + std::to_string(before->second), e.key, {}});
      if (const auto good = put_configured(s, e.key, e.value); !good) return at(e.line, good.error());
    }
  }
  return done{};
}

std::string usage() {
  std::string out = "chaosd: the control daemon of libchaos. chaos-ctl starts it when it is needed.\n\nusage: chaosd [options]\n";
  for (const setting_row& row : rows) {
    std::string left = "  " + flag_of(row) + (row.form == setting_form::flag ? "" : std::string(" ") + row.value_help);
    left.resize(std::max<std::size_t>(left.size() + 2, 26), ' ');
    out += left + row.help + "\n";
  }
  return out;
}

std::string manual_page() {
  using manual::plain;
  std::string out = manual::head("chaosd", 8, "the control daemon of libchaos");
  out += ".SH SYNOPSIS\n.B chaosd\n[\\fIOPTION\\fR]...\n.SH DESCRIPTION\n" +
         plain("One daemon serves one session: it puts rules in force for the programs under the shim, keeps their lease, counts, writes the timeline, "
               "and keeps the table of experiments. chaos-ctl starts it when it is needed. It returns when its socket answers, with status 0, also when "
               "another daemon serves that session already. When it ends, however that happens, so do its rules.") + "\n.SH OPTIONS\n" +
         plain("Those that are marked may also stand in the section [chaosd] of chaos.ini, with _ for -; the command line wins.") + "\n";
  for (const setting_row& row : rows)
    out += ".TP\n\\fB" + plain(flag_of(row)) + "\\fR" + (row.form == setting_form::flag ? "" : " \\fI" + plain(row.value_help) + "\\fR") + (row.in_config ? " (chaos.ini)" : "") + "\n" + plain(row.help) + "\n";
  out += manual::pairs("FILES", {{"chaos.ini", "where sessions lie: settings, e.g. [chaosd], then http = 127.0.0.1:8080; ${NAME} stands for an environment variable"},
                                 {"SESSION/control.sock", "the control socket; its user and root may use it"},
                                 {"SESSION/state.json", "what outlives a crash"},
                                 {"SESSION/experiments.json", "the table of experiments, for the next daemon"},
                                 {"SESSION/timeline.jsonl", "every injection"},
                                 {"SESSION/audit.jsonl", "who did what"},
                                 {"SESSION/chaosd.log", "its log"}});
  out += manual::pairs("ENVIRONMENT", {{"CHAOS_DIR", "where sessions lie"}, {"CHAOS_SESSION", "the session"}, {"CHAOS_CONFIG", "the INI file"}});
  out += manual::pairs("EXIT STATUS", {{"0", "it serves, or another daemon does"}, {"1", "refused or failed; the reason is on standard error"}, {"2", "a wrong word"}});
  return out + ".SH SEE ALSO\n\\fBchaos\\-ctl\\fR(1), \\fBchaos\\-ctl\\-experiment\\fR(1); docs/http.md, docs/protocol.md\n";
}

}  // namespace chaos::daemon
