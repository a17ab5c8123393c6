#include "experiment_report.hpp"

#include <cstring>

#include "experiment_text.hpp"
#include "output_file.hpp"

namespace chaos::cli {

using experiment::report_form;
using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

std::vector<report_form> forms() {
  std::vector<report_form> all{terminal_form()};
  const auto more = experiment::report_forms();
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace

const report_form& terminal_form() {
  static constexpr report_form text{"text", ".txt", "text/plain; charset=utf-8", experiment_text};
  return text;
}

std::vector<std::string> form_names() {
  std::vector<std::string> names;
  for (const auto& f : forms()) names.emplace_back(f.name);
  return names;
}

result<report_form> form_named(const std::string& name) {
  for (const auto& f : forms())
    if (name == f.name) return f;
  auto p = rules::unknown_word(problem_code::bad_value, "form", name, form_names());
  p.message = "--format: " + p.message;
  return p;
}

result<std::vector<report_file>> report_files(const invocation& from) {
  std::vector<report_file> files;
  const auto asked = from.options.find("--report");
  if (asked == from.options.end()) return files;
  for (const auto& path : asked->second) {
    std::vector<std::string> endings;
    for (const auto& f : forms()) {
      if (path.ends_with(f.ending)) files.push_back({path, f});
      endings.emplace_back(f.ending);
    }
    if (files.empty() || files.back().path != path) {
      std::string all;
      for (const auto& e : endings) all += (all.empty() ? "" : &e == &endings.back() ? " and " : ", ") + e;
      return problem{problem_code::bad_value, "--report " + path + ": the ending says which form, and is none of " + all, path, endings};
    }
    if (const int error = why_not_writable(path)) return problem{problem_code::failed, "can not write " + path + ": " + std::strerror(error), path, {}};
  }
  return files;
}

bool write_reports(const json& report, const std::vector<report_file>& files) {
  bool good = true;
  for (const auto& f : files) {
    const auto written = write_output(f.path, f.form.text(report));
    if (written) continue;
    warn(written.error().message);
    good = false;
  }
  return good;
}

}  // namespace chaos::cli
