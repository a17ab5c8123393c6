// The registry in Prometheus text format, with the names of resilience4j's metrics where they have one.
// Thread-safety: any thread. Errors: std::bad_alloc.
#pragma once
#include <locale>
#include <map>
#include <sstream>
#include <string>
#include <string_view>

#include "registry.hpp"

namespace chaos {
namespace detail {

inline std::string prometheus_escape(std::string_view s) {
  std::string out;
  for (const char c : s) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out;
}

}  // namespace detail

inline std::string breaker_registry::prometheus() {
  const std::vector<breaker_metrics> all = metrics();
  std::vector<std::string> label;
  std::map<std::string, int> seen;  // two breakers of one name must not be one series
  for (const auto& m : all) {
    const int n = ++seen[m.name];
    label.push_back("name=\"" + detail::prometheus_escape(m.name) + "\"" +
                    (n > 1 ? ",instance_number=\"" + std::to_string(n) + "\"" : ""));
  }
  std::ostringstream out;
  out.imbue(std::locale::classic());  // whatever the program calls a decimal point
  const auto family = [&](const char* name, const char* type, const char* help, auto&& rows) {
    out << "# HELP chaos_breaker_" << name << ' ' << help << "\n# TYPE chaos_breaker_" << name << ' ' << type << '\n';
    for (std::size_t i = 0; i < all.size(); ++i)
      rows(all[i], [&](const std::string& more, auto value) {
        out << "chaos_breaker_" << name << '{' << label[i] << more << "} " << value << '\n';
      });
  };
  family("calls_total", "counter", "Calls by verdict.", [](const breaker_metrics& m, auto row) {
    row(",kind=\"successful\"", m.successful);
    row(",kind=\"failed\"", m.failed);
    row(",kind=\"ignored\"", m.ignored);
    row(",kind=\"late\"", m.late_results);
  });
  family("slow_calls_total", "counter", "Slow calls by verdict.", [](const breaker_metrics& m, auto row) {
    row(",kind=\"successful\"", m.slow_successful);
    row(",kind=\"failed\"", m.slow_failed);
  });
  family("not_permitted_calls_total", "counter", "Calls rejected.",
         [](const breaker_metrics& m, auto row) { row("", m.not_permitted); });
  family("fallbacks_total", "counter", "Fallbacks by result.", [](const breaker_metrics& m, auto row) {
    row(",result=\"used\"", m.fallbacks);
    row(",result=\"failed\"", m.fallback_failures);
  });
  family("state", "gauge", "1 for the state the breaker is in.", [](const breaker_metrics& m, auto row) {
    for (unsigned s = 0; s < state_count; ++s)
      row(std::string(",state=\"") + to_string(static_cast<chaos::state>(s)) + "\"",
          static_cast<unsigned>(m.state) == s ? 1 : 0);
  });
  family("failure_rate", "gauge", "Share of failures in the window; -1 with too few calls.",
         [](const breaker_metrics& m, auto row) { row("", m.failure_rate); });
  family("slow_call_rate", "gauge", "Share of slow calls in the window; -1 with too few calls.",
         [](const breaker_metrics& m, auto row) { row("", m.slow_call_rate); });
  family("buffered_calls", "gauge", "Calls in the window.",
         [](const breaker_metrics& m, auto row) { row("", m.buffered_calls); });
  family("transitions_total", "counter", "Transitions by state left and state entered.",
         [](const breaker_metrics& m, auto row) {
           for (unsigned from = 0; from < state_count; ++from)
             for (unsigned to = 0; to < state_count; ++to)
               if (m.transitions[from][to])
                 row(std::string(",from=\"") + to_string(static_cast<chaos::state>(from)) + "\",to=\"" +
                         to_string(static_cast<chaos::state>(to)) + "\"",
                     m.transitions[from][to]);
         });
  family("listener_errors_total", "counter", "Exceptions thrown by listeners.",
         [](const breaker_metrics& m, auto row) { row("", m.listener_errors); });
  return out.str();
}

}  // namespace chaos
