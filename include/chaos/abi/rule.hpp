// A compiled rule: what chaosd writes and every shim reads. Flat, fixed size, no pointers: text lies in the bank's
// pool and is named by offset. A shim checks every index before it uses it; a torn or hostile page may make it do
// nothing, never crash.
#pragma once
#include <cstddef>
#include <cstdint>

#include "classes.hpp"
#include "effects.hpp"
#include "functions.hpp"

namespace chaos::abi {

inline constexpr unsigned rule_max = 256;       // rules in force at one time
inline constexpr unsigned term_max = 24;        // parts of one target, resolved addresses included
inline constexpr unsigned error_max = 12;       // errnos of one rule
inline constexpr unsigned percentile_max = 8;
inline constexpr unsigned text_pool_bytes = 128 * 1024;

using pool_offset = std::uint32_t;              // 0: no text. Text is NUL terminated.

// Probabilities are thresholds out of 2^32: a 32-bit draw below it says yes, so that 0 is never and 2^32 always.
using probability = std::uint64_t;
inline constexpr probability certain = std::uint64_t{1} << 32;

enum class term_kind : std::uint8_t {
  none,
  cidr,         // remote address in address/prefix (IPv4 as ::ffff:a.b.c.d, prefix counted in 128 bits), port in range
  hostname,     // remote address was looked up under a name that matches the glob `text`, port in range
  listen,       // accepted on a local port in range
  unix_path,    // unix socket whose path matches the glob `text` (abstract names begin with '@')
  file_path,    // file whose absolute path matches the glob `text`; ** crosses '/', * and ? do not
  descriptor,   // descriptor number == port_low
  memory,       // malloc
  dns_name,     // name being looked up matches the glob `text`
  environment,  // variable of the name `text`
  process,      // any call of the process
  everything
};

enum class transport : std::uint8_t { any, stream, datagram };

struct target_term {
  term_kind kind;
  transport over;
  std::uint8_t exclude;   // written with '!': a match takes the target out
  std::uint8_t prefix;    // cidr: bits of `address` that count, 0..128
  std::uint16_t port_low, port_high;  // 0..65535 = any
  pool_offset text;
  pool_offset path;       // http:// targets: only requests whose path matches this glob; 0: any
  std::uint8_t address[16];
};
static_assert(sizeof(target_term) == 32);

enum class scope : std::uint8_t { automatic, connection, thread, process, session };  // automatic: connection for sockets, else thread
enum class distribution : std::uint8_t { constant, uniform, normal, pareto, paretonormal, percentiles };
enum class down_how : std::uint8_t { refuse, unreachable, blackhole };
enum class loss_model : std::uint8_t { random, gemodel };

// strace's `when`: first, first+, first+step, first..last, first..last+step; or a pattern of up to 64 X and O.
struct when_clause {
  std::uint32_t first;    // 1-based; 0: no --when
  std::uint32_t last;     // inclusive; 0: no end
  std::uint32_t step;     // 0: only `first` (when last is 0), else every step-th
  std::uint32_t pattern_length;  // > 0: the pattern decides, and repeats
  std::uint64_t pattern;  // bit 0 is the first call; 1 injects
};

struct error_choice {
  std::int32_t error;     // errno, or EAI_* for dns
  std::uint32_t weight;   // >= 1
  function_set functions; // where this error may be returned
};

struct percentile_point {
  std::uint32_t millionths;  // p50 = 500000
  std::uint32_t reserved;
  std::uint64_t value_ns;
};

struct rule {
  std::uint32_t id;            // what people see; never reused within a session directory; 0: empty slot
  std::uint32_t slot;          // index of its counters in the report page
  effect kind;
  std::uint8_t dry_run;
  std::uint8_t late;
  std::uint8_t paused;
  std::uint8_t term_count;
  std::uint8_t error_count;
  std::uint8_t percentile_count;
  scope counts_in;

  class_set classes;           // what it acts on
  std::uint32_t process_id;    // --pid; 0: any
  function_set functions;      // --on with function names; empty: every function of the classes
  std::uint64_t run;           // `run --set`: only processes with this CHAOS_RUN; 0: any
  std::uint64_t key;           // PRNG key: hash of its name, else of its normalised text. Never of id or slot
  std::uint64_t seed;          // --seed, else the session's
  std::uint64_t ends_at_ns;    // CLOCK_MONOTONIC; 0: never

  pool_offset name;            // as given or made up
  pool_offset process_glob;    // executable path, its base name, or comm
  pool_offset thread_glob;     // thread name (comm of the thread)
  pool_offset caller_glob;     // path or base name of the calling module
  pool_offset stack_glob;      // module or symbol anywhere on the stack
  pool_offset text;            // replace: the value

  // trigger
  probability chance;          // --probability, `certain` when not given
  probability toxicity;        // --toxicity, `certain` when not given
  when_clause when;
  std::uint64_t times;         // at most so many injections per scope; UINT64_MAX: no limit
  std::uint64_t space_bytes;   // not before so many bytes have passed since the last injection
  std::uint64_t after_bytes;   // not before so many bytes have passed on the connection
  std::uint64_t size_low, size_high;  // --size, inclusive; 0..UINT64_MAX = any

  // what it does; each kind reads its own
  std::uint64_t delay_ns;      // latency; reset_peer, timeout, slow_close, pause: after/for how long; slicer: --delay
  std::uint64_t jitter_ns;
  distribution shape;
  down_how how;
  loss_model model;
  std::uint8_t torn;
  std::uint32_t bits;          // corrupt --bits; 0: use amount
  std::uint64_t correlation;   // probability form
  probability amount;          // loss P, corrupt P per byte, duplicate, reorder
  probability gemodel[4];      // p, r, 1-h, 1-k
  std::uint64_t average_size, size_variation;  // slicer
  std::uint64_t bytes;         // limit_data, full, enomem --budget, bandwidth (bytes a second)
  std::int32_t number;         // http status, exit code, signal, emfile N, reorder gap
  std::uint32_t flags;         // see rule_flags
  error_choice errors[error_max];
  percentile_point percentiles[percentile_max];
  target_term terms[term_max];
};

namespace rule_flags {
inline constexpr std::uint32_t shared_bucket = 1;   // bandwidth --shared
inline constexpr std::uint32_t oneway_in = 2, oneway_out = 4;
inline constexpr std::uint32_t process_wide = 8;    // pause --process-wide
inline constexpr std::uint32_t exit_code = 16;      // crash --exit
inline constexpr std::uint32_t has_budget = 32;
inline constexpr std::uint32_t http = 64;           // acts on HTTP messages: connections are followed as HTTP/1.x
inline constexpr std::uint32_t http_path = 128;     // and only on those that its terms mean
}  // namespace rule_flags

// Classes of the arrivals that may owe what a rule delays: a sender that does not block goes on, and what comes next is later.
constexpr class_set owed_by_arrivals(effect kind, class_set acts_as) {
  if (kind != effect::latency && kind != effect::loss && kind != effect::partition) return 0;
  return (acts_as & classes::stream_out ? classes::stream_in : 0) | (acts_as & classes::datagram_out ? classes::datagram_in : 0);
}

}  // namespace chaos::abi
