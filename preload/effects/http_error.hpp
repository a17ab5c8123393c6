// http_error: the response says another status. Decided once for each response, where it begins; hooks/http puts it there.
#pragma once
#include "verdict.hpp"

namespace chaos::effects::http_error {

inline void apply(core::fired_rule& f, const situation&, verdict& v) {
  f.error = f.rule->number;
  if (!f.rule->dry_run && !v.status) v.status = static_cast<std::uint16_t>(f.rule->number);
}

}  // namespace chaos::effects::http_error
