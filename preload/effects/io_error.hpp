// io_error: file I/O fails; with --torn a write puts a drawn part of its data down first.
#pragma once
#include "error.hpp"

namespace chaos::effects::io_error {

inline void apply(core::fired_rule& f, const situation& s, verdict& v) {
  error::apply(f, s, v);
  if (v.ender != &f || !f.rule->torn || s.size < 2) return;
  v.torn = true;
  v.cap = 1 + core::draws(f.key.with(7), f.operation).below(s.size - 1);
}

}  // namespace chaos::effects::io_error
