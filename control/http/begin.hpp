// What was just started for somebody: the answer comes when it runs, or says why it does not.
#pragma once
#include <functional>
#include <string>

#include "exchange.hpp"
#include "launcher.hpp"

namespace chaos::http {

// `begun` is asked again and again; true: it has found what it looks for, and has answered.
void answer_when_begun(exchange& x, const launcher::child& child, const std::string& noun, const std::string& name, const std::function<bool()>& begun);

}  // namespace chaos::http
