// observe: nothing is changed; the call is counted and shown.
#pragma once
#include "verdict.hpp"

namespace chaos::effects::observe {

inline void apply(core::fired_rule&, const situation&, verdict&) {}

}  // namespace chaos::effects::observe
