// Files that people name for what chaos-ctl writes.
#pragma once
#include <string>

#include "control/rules/problem.hpp"

namespace chaos::cli {

// write_output: written whole beside it and renamed: a full disk or an interruption leaves the file that was there. A link stays one, the file
// keeps its mode; into what is no file (/dev/stdout, a pipe) the text is written as it is.
// 0, or the errno with which that would fail. Makes no file.
int why_not_writable(const std::string& path);
rules::result<rules::done> write_output(const std::string& path, const std::string& text);

}  // namespace chaos::cli
