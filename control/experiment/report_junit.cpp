// JUnit XML as CI servers read it: the experiment is a suite, an expectation a test case. A run that came to no verdict is an error.
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "markup.hpp"
#include "report.hpp"

namespace chaos::experiment {

using nlohmann::json;

std::string junit_of(const json& r) {
  std::size_t failures = 0, skipped = 0;
  for (const auto& e : r.at("expectations")) failures += e.at("state") == "fail", skipped += e.at("state") == "not judged";
  const std::string verdict = r.at("verdict");
  const bool error = verdict == verdict_names[static_cast<int>(verdict::not_run)] || verdict == verdict_names[static_cast<int>(verdict::aborted)];
  double seconds = 0;
  for (const auto& p : r.at("phases")) seconds = std::max(seconds, p.at("to_ms").get<double>() / 1000);
  const std::time_t began = r.at("started_unix_ms").get<std::int64_t>() / 1000;
  std::tm parts{};
  gmtime_r(&began, &parts);
  char when[32], took[32];
  std::strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(took, sizeof took, "%.3f", seconds);
  const std::string name = escaped_at(r, "name"), counts = " tests=\"" + std::to_string(r.at("expectations").size() + (error ? 1 : 0)) + "\" failures=\"" + std::to_string(failures) + "\" errors=\"" +
                                                       (error ? "1" : "0") + "\" skipped=\"" + std::to_string(skipped) + "\" time=\"" + took + "\"";
  std::string out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"chaos experiments\"" + counts + ">\n<testsuite name=\"" + name + "\" timestamp=\"" + when + "\"" + counts + ">\n";
  out += "<properties><property name=\"hypothesis\" value=\"" + escaped_at(r, "hypothesis") + "\"/><property name=\"verdict\" value=\"" + escaped(verdict) + "\"/></properties>\n";
  if (error) out += "<testcase classname=\"" + name + "\" name=\"the experiment\"><error type=\"" + escaped(verdict) + "\" message=\"" + escaped_at(r, "reason") + "\"/></testcase>\n";
  for (const auto& e : r.at("expectations")) {
    out += "<testcase classname=\"" + name + "." + escaped_at(e, "window") + "\" name=\"" + escaped_at(e, "text") + "\">";
    if (e.at("state") == "fail")
      out += "<failure type=\"expectation\" message=\"measured " + escaped_at(e, "measured_text") + "\">" + escaped_at(e, "reason") + "</failure>";
    else if (e.at("state") == "not judged") out += "<skipped/>";
    out += "</testcase>\n";
  }
  std::string said;
  for (const auto& n : r.at("notes")) said += escaped(n.get<std::string>()) + "\n";
  return out + "<system-out>" + escaped(r.at("reason").get<std::string>()) + "\n" + said + "</system-out>\n</testsuite>\n</testsuites>\n";
}

}  // namespace chaos::experiment
