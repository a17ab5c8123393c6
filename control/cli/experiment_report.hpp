// The forms in which a report of an experiment is written, and the files that they go to.
#pragma once
#include "output.hpp"

namespace chaos::cli {

enum class report_form {
#define REPORT_FORM(name, ending, meaning) name,
#include "report_forms.def"
#undef REPORT_FORM
  count
};

struct report_file {
  std::string path;
  report_form form;
};

rules::result<report_form> form_named(const std::string& name);
// The ending says which form; several files may be asked for. Found out before anything is injected: each can be written.
rules::result<std::vector<report_file>> report_files(const invocation& from);
std::string in_form(const json& report, report_form form);
// False when one could not be written; that is said.
bool write_reports(const json& report, const std::vector<report_file>& files);

}  // namespace chaos::cli
