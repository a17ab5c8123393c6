#include "experiment_report.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>

#include "control/experiment/report.hpp"
#include "experiment_text.hpp"

namespace chaos::cli {

using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

struct form_info {
  const char *name, *ending;
};
constexpr form_info forms[] = {
#define REPORT_FORM(name, ending, meaning) {#name, ending},
#include "report_forms.def"
#undef REPORT_FORM
};

}  // namespace

result<report_form> form_named(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& f : forms) {
    if (name == f.name) return static_cast<report_form>(names.size());
    names.emplace_back(f.name);
  }
  auto p = rules::unknown_word(problem_code::bad_value, "form", name, std::move(names));
  p.message = "--format: " + p.message;
  return p;
}

result<std::vector<report_file>> report_files(const invocation& from) {
  std::vector<report_file> files;
  const auto asked = from.options.find("--report");
  if (asked == from.options.end()) return files;
  for (const auto& path : asked->second) {
    std::vector<std::string> endings;
    for (const auto& f : forms) {
      if (path.ends_with(f.ending)) files.push_back({path, static_cast<report_form>(&f - forms)});
      endings.emplace_back(f.ending);
    }
    if (files.empty() || files.back().path != path) {
      std::string all;
      for (const auto& e : endings) all += (all.empty() ? "" : &e == &endings.back() ? " and " : ", ") + e;
      return problem{problem_code::bad_value, "--report " + path + ": the ending says which form, and is none of " + all, path, endings};
    }
    if (const std::ofstream out(path, std::ios::app); !out.is_open()) return problem{problem_code::failed, "can not write " + path + ": " + std::strerror(errno), path, {}};
  }
  return files;
}

std::string in_form(const json& report, report_form form) {
  switch (form) {
    case report_form::text: return experiment_text(report);
    case report_form::markdown: return experiment::markdown_of(report);
    case report_form::json: return report.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
    case report_form::junit: return experiment::junit_of(report);
    case report_form::html: return experiment::html_of(report);
    case report_form::count: break;
  }
  return "";
}

bool write_reports(const json& report, const std::vector<report_file>& files) {
  bool good = true;
  for (const auto& f : files) {
    std::ofstream out(f.path, std::ios::binary | std::ios::trunc);
    out << in_form(report, f.form);
    out.flush();
    if (out) continue;
    warn("can not write " + f.path + ": " + std::strerror(errno));
    good = false;
  }
  return good;
}

}  // namespace chaos::cli
