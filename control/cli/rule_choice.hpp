// What rm, pause and resume share: rules are named by id, name, kind and target, or all of them.
#pragma once
#include "link.hpp"

namespace chaos::cli {

int act_on_rules(const invocation& from, protocol::command what, const char* done_word);

}  // namespace chaos::cli
