#include "safety.hpp"

#include <fnmatch.h>
#include <sys/stat.h>

#include <algorithm>

#include "control/rules/joined.hpp"
#include "control/rules/values.hpp"

namespace chaos::daemon {

using rules::done;
using rules::option;
using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

using rules::joined;

std::string name_of(const rules::rule_spec& spec) {
  return spec.has(option::name_) ? spec.get(option::name_) : rules::normalised_text(spec);
}

}  // namespace

bool safety::stopped() const {
  struct stat there{};
  return stat(how_.stop_file.c_str(), &there) == 0 && !S_ISDIR(there.st_mode);
}

result<done> safety::may_begin() const {
  if (!how_.enabled)
    return problem{problem_code::not_allowed, "this chaosd was started with enabled = false: nothing is put in force", "", {}};
  if (stopped())
    return problem{problem_code::not_allowed, "the stop file " + how_.stop_file + " is there: nothing begins until it is removed", how_.stop_file, {}};
  return done{};
}

result<done> safety::within_radius(const std::vector<rules::rule_spec>& specs) const {
  if (!how_.safety) return done{};
  const abi::probability most = *rules::parse_probability("max_toxicity", how_.max_toxicity);
  for (const rules::rule_spec& spec : specs) {
    const bool narrowed = spec.has(option::process_) || spec.has(option::pid_) || spec.has(option::toxicity_);
    if (spec.has(option::everything_) && !narrowed)
      return problem{problem_code::not_allowed, "the fault " + name_of(spec) + " would hit everything in every process: --process, --pid or --toxicity must narrow it "
                         "(safety = false of chaosd lifts this)", name_of(spec), {"--process", "--pid", "--toxicity"}};
    const std::string toxicity = spec.has(option::toxicity_) ? spec.get(option::toxicity_) : "100%";
    const auto share = rules::parse_probability("--toxicity", toxicity);
    if (!share) return share.error();
    if (*share > most)
      return problem{problem_code::not_allowed, "the fault " + name_of(spec) + " hits " + toxicity + " of the connections, and the blast radius allows --toxicity " +
                         how_.max_toxicity + " (max_toxicity of chaosd)", toxicity, {"--toxicity " + how_.max_toxicity}};
    if (how_.only_processes.empty()) continue;
    const std::string process = spec.get(option::process_);
    const bool known = std::any_of(how_.only_processes.begin(), how_.only_processes.end(), [&](const std::string& glob) {
      return process == glob || fnmatch(glob.c_str(), process.c_str(), 0) == 0;
    });
    if (process.empty() || !known)
      return problem{problem_code::not_allowed, "the fault " + name_of(spec) + (process.empty() ? " does not say --process" : " is for the process " + process) +
                         ", and the blast radius allows " + joined(how_.only_processes) + " (only_processes of chaosd)", process, how_.only_processes};
  }
  return done{};
}

}  // namespace chaos::daemon
