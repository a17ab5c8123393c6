// The forms in which a report of an experiment is written, and the files that they go to.
#pragma once
#include "control/experiment/report.hpp"
#include "output.hpp"

namespace chaos::cli {

struct report_file {
  std::string path;
  experiment::report_form form;
};

const experiment::report_form& terminal_form();  // "text", .txt
std::vector<std::string> form_names();
rules::result<experiment::report_form> form_named(const std::string& name);
// The ending says which form; several files may be asked for. Found out before anything is injected: each can be written.
rules::result<std::vector<report_file>> report_files(const invocation& from);
// False when one could not be written; that is said.
bool write_reports(const json& report, const std::vector<report_file>& files);

}  // namespace chaos::cli
