#include "paths.hpp"

#include "moves.hpp"
#include "outcome.hpp"
#include "serve.hpp"
#include "chaos/abi/session.hpp"

namespace chaos::hooks {
namespace {

// A relative path as rules see it: absolute, from the folder that it is relative to.
void absolute_path(const call& c, char* out, std::size_t room) {
  std::size_t n = 0;
  long got = -1;
  if (c.dir == AT_FDCWD) got = sys::call(SYS_getcwd, out, room) - 1;
  else {
    abi::path_buffer link;
    link.add("/proc/self/fd/").add(static_cast<std::uint64_t>(c.dir));
    got = sys::read_link(link.text, out, room - 2);
  }
  if (got > 0) n = static_cast<std::size_t>(got);
  const char* p = c.path;
  while (p[0] == '.' && p[1] == '/') p += 2;
  if (n == 0 || out[n - 1] != '/') out[n++] = '/';
  for (; *p && n + 1 < room; ++p) out[n++] = *p;
  out[n] = 0;
}

}  // namespace

road enter_path(frame& f) {
  f.acts_as &= cls::file_open;
  if (!(f.view->asked & f.acts_as)) return road::pass;
  char path[1024];
  core::endpoint e;
  e.file_path = f.c.path;
  if (f.c.path[0] != '/') {
    absolute_path(f.c, path, sizeof path);
    e.file_path = path;
  }
  std::uint64_t mask[4];
  match_endpoint(*f.view, e, mask);
  decide({.function = f.function, .acts_as = f.acts_as}, mask, nullptr, *f.view, f.caller, f.made);
  if (!f.made.judged.count) return road::go;
  if (!serve_pause(f.made, f.error) || !serve_delay(f)) { report_here(f, 0); return road::fail; }
  end_if_crashing(f);
  road way;
  if (serve_ending(f, way)) { report_here(f, 0); return way; }
  return road::go;
}

}  // namespace chaos::hooks
