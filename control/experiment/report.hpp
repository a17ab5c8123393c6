// What an experiment showed, for people and for programs. The JSON document has everything; the other forms are made of it, so that
// a report that was kept can be shown in any form later.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "control/rules/problem.hpp"
#include "outcome.hpp"

namespace chaos::experiment {

nlohmann::json json_of(const outcome& o);

// Refuses what json_of() can not have made.
rules::result<nlohmann::json> checked_report(nlohmann::json document);
rules::result<nlohmann::json> report_from(const std::string& text);

std::string json_text_of(const nlohmann::json& report);
std::string markdown_of(const nlohmann::json& report);
std::string junit_of(const nlohmann::json& report);  // a test case an expectation, as CI servers read it
std::string html_of(const nlohmann::json& report);   // one page that needs nothing else

struct report_form {
  const char *name, *ending, *type;
  std::string (*text)(const nlohmann::json& report);
};
std::span<const report_form> report_forms();  // report_forms.def

// Pieces that all forms have in common.
std::string headline_of(const nlohmann::json& report);  // "PASS: the hypothesis held"
std::string answers_of(const nlohmann::json& window);   // "200: 12, wrong status 503: 1"
std::string shown(const nlohmann::json& value, unit u);  // "1.5 ms"; "-" for null

}  // namespace chaos::experiment
