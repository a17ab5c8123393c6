#include "outcome.hpp"

#include <string.h>

#include "moves.hpp"
#include "preload/runtime/connection.hpp"
#include "preload/runtime/http.hpp"
#include "preload/runtime/shares.hpp"

namespace chaos::hooks {

void report_fired_here(frame& f, std::uint64_t bytes, std::uint8_t flags) {
  char room[sizeof abi::event::text];
  const char* text = "";
  std::uint32_t connection = 0;
  std::uint8_t address[16];
  std::uint16_t port = 0;
  if (f.d && f.d->per_call && parse_address(f.c.to ? f.c.to : f.c.from, f.c.to ? f.c.to_len : f.c.from && f.c.from_len ? *f.c.from_len : 0, address, port))
    text = room, describe_address(address, port, room, sizeof room);
  else if (f.d) text = describe(*f.d, f.c.fd, room, sizeof room);
  else if (f.c.path) text = f.c.path;
  if (f.http) {
    if (text != room) strncpy(room, text, sizeof room - 1)[sizeof room - 1] = 0;
    text = room;
    http_describe(*f.d, f.acts_as & in_data ? core::http::way::in : core::http::way::out, room, sizeof room);
  }
  if (f.d) connection = f.d->ordinal;
  report_fired(f.made, text, connection, bytes, f.caller, flags);
}

void take_back_those(frame& f, std::uint32_t which) {
  static_assert(core::fired_max <= 32);
  unsigned kept = 0;
  for (unsigned i = 0; i < f.made.judged.count; ++i) {
    const core::fired_rule& r = f.made.judged.fired[i];
    if (which >> i & 1) core::give_back(r);
    else f.made.judged.fired[kept++] = r;
  }
  f.made.judged.count = kept;
}

void take_back(frame& f, core::effect_set kinds, bool dry_runs_too) {
  std::uint32_t which = 0;
  for (unsigned i = 0; i < f.made.judged.count; ++i)
    if ((core::of(f.made.judged.fired[i].kind) & kinds) && (dry_runs_too || !f.made.judged.fired[i].dry_run)) which |= 1u << i;
  take_back_those(f, which);
}

void let_go_early(decision& made, core::effect_set waited, std::uint64_t really_ns) {
  shares held;
  add_shares(held, made.judged, waited);
  held.fit(really_ns, sys::now_ns());
  for (unsigned i = 0; i < made.judged.count; ++i)
    if (core::fired_rule& r = made.judged.fired[i]; (core::of(r.kind) & waited) && !r.dry_run) r.delay_ns = held.of(r.id);
}

}  // namespace chaos::hooks
