// Which classes and functions a rule acts on, and which errnos each of them can return.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "chaos/abi/rule.hpp"
#include "problem.hpp"
#include "targets.hpp"
#include "values.hpp"

namespace chaos::rules {

struct selection {
  abi::class_set classes = 0;
  abi::function_set functions;  // empty: every function of the classes
};

//   functions := name { "," name }        name := a hooked function | a class
struct named_functions {
  abi::class_set classes = 0;            // named as classes
  abi::function_set functions;           // named as functions
  abi::class_set function_classes = 0;   // what those functions can act as
};
result<named_functions> parse_functions(std::string_view what, std::string_view text);

enum class direction { by_kind, up, down, both };

// What the kind does by default for this sort of target, or what --on says, narrowed to what such a target can see and
// to the direction. connect, accept and close have no direction.
result<selection> select(abi::effect kind, target_sort sort, const std::string& on, direction way);

abi::class_set universe_of(target_sort sort);   // the classes in which a target of this sort can be met
std::vector<std::string> function_and_class_names();

// The functions of `chosen` that can return this error when they act in the chosen classes. A function such as write,
// which serves sockets and files, returns here only what a call made for that one purpose returns too.
abi::function_set functions_returning(const selection& chosen, const named_error& error);
std::vector<std::string> possible_errnos(const selection& chosen);

abi::function_set functions_in(const selection& chosen);
bool can_be_torn(abi::function_id f);  // it writes data, of which a part may have got there
bool can_be_late(abi::function_id f);  // the side effect of the call may have happened before its error is reported

}  // namespace chaos::rules
