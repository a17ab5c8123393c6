// What is known of each descriptor: nothing, until a rule that could concern it makes a call ask. Then it is classified
// once per generation of the rules, and which rules can match it is kept as a bit mask, so that an armed call on an
// unmatched descriptor costs one load and two compares.
//
// Identity: a socket is known by its inode. While rules about descriptors are in force every hook that makes or closes
// one says so here; while none are, nothing is recorded, and the inode tells afterwards whether it is still the same.
#pragma once
#include <sys/socket.h>

#include <atomic>
#include <cstdint>

#include "chaos/abi/classes.hpp"
#include "chaos/abi/report_page.hpp"
#include "chaos/abi/trigger_state.hpp"
#include "preload/core/match.hpp"
#include "process.hpp"

namespace chaos {

struct delay_line;
struct http_line;
struct accept_gate;

enum class descriptor_kind : std::uint8_t { unknown, tcp, udp, unix_stream, unix_datagram, pipe, file, epoll, other };

// The one rule that is to be asked when data moves in one direction, if it is one and its trigger looks at nothing but
// its own state. What every call asks stands here.
struct sole_rule {
  std::uint64_t functions;               // that it is about, by quick_bit
  std::int32_t stream_of;                // pid of the process that this is good for, when it is about a stream; else -1
  std::uint32_t id;
  abi::trigger_state* state;             // streams: of this connection, once its first match has been told
  abi::rule_lane* lane;                  // its counters on the first CPU
  std::atomic<std::uint64_t> quiet_until;  // streams: operations before this one do not fire; see look_ahead
  core::random_key key;                  // streams; on files a thread has its own
  std::uint16_t place;                   // index in the bank + 1; beyond it: no rule is to be asked; 0: not so simple
  std::uint16_t slot;                    // of its counters
  std::int32_t pid;                      // of the process that `key` is for
};

// Between two slices of one direction; see slice_gap.hpp.
struct slice_gap {
  std::atomic<std::uint64_t> due_ns;         // 0: none
  std::atomic<std::uint64_t> held_since_ns;  // somebody is held back since then; 0: nobody
  std::atomic<std::uint64_t> held_ns;        // when it is over: for how long somebody was
  std::atomic<std::uint32_t> rule;
};
// Calls that move data, or sync it, over the one descriptor that is their first argument. Not those that make, end or join
// descriptors, which must be told of in any case.
constexpr bool moves_over_one(abi::function_id f) {
  using enum abi::function_id;
  if (f == sendfile || f == sendfile64 || f == splice || f == copy_file_range) return false;
  const abi::class_set c = abi::function_table[static_cast<unsigned>(f)].classes;
  return (c & (abi::classes::data | abi::classes::file_io | abi::classes::sync)) && !(c & (abi::classes::descriptor | abi::classes::close));
}
// Those among them that one rule can be asked about before all else.
constexpr bool is_quick(abi::function_id f) {
  if (f == abi::function_id::recvmmsg || f == abi::function_id::sendmmsg) return false;  // an operation for each message
  const abi::function_info& info = abi::function_table[static_cast<unsigned>(f)];
  return moves_over_one(f) && (info.classes & (abi::classes::streams | abi::classes::file_io | abi::classes::sync)) && info.how == abi::fails::minus_one;
}
constexpr std::uint64_t quick_bit(abi::function_id f) {  // one each, in the order of the table
  unsigned n = 0;
  for (unsigned i = 0; i < static_cast<unsigned>(f); ++i) n += is_quick(static_cast<abi::function_id>(i));
  return std::uint64_t{1} << n;
}
static_assert(quick_bit(abi::function_id::count) != 0 && is_quick(abi::function_id::recv), "no more than 63 of them");

static_assert(sizeof(sole_rule) == 56);
inline constexpr unsigned endpoint_text_max = 56;  // "[" 8 groups "]:65535"

struct alignas(64) descriptor {
  // What every call on it looks at, in the cache line of the descriptor and that of its direction.
  // generation << 32 | classes in which some rule matches (and the role allows). 0: not classified.
  std::atomic<std::uint64_t> head;
  std::atomic<delay_line*> line;
  std::atomic<std::uint64_t> connect_due_ns;       // a non-blocking connect that is not to be seen finished before
  std::atomic<std::uint64_t> send_due_ns;          // no more may be sent before (bandwidth)
  std::atomic<std::uint64_t> charge_ns;  // upstream delay of a non-blocking sender, owed by the next arrival
  abi::class_set role;                   // classes that this descriptor can act in at all
  std::atomic<std::int32_t> owner;       // tid of the only thread that counts here so far; -1: several; see owner.hpp
  std::atomic<bool> broken;              // reset by us: reads end, writes are EPIPE
  std::atomic<bool> redirected;          // (stands behind `broken`: under_way) its connect went to one of chaosd's sinks; `asked` is what the program wanted
  descriptor_kind kind;
  std::atomic<std::uint32_t> busy;       // tid of the thread that changes what follows
  std::atomic<std::uint32_t> states;     // trigger states in connection scope
  bool early;                            // put into an epoll set before it was connected
  bool listening, accepted, per_call;    // per_call: an unconnected datagram socket, whose peer is known call by call
  // In; files: reads and writes.
  sole_rule sole_in;
  std::atomic<std::uint64_t> in_bytes;   // stream offset since first classified
  // Out; files: sync.
  sole_rule sole_out;
  std::atomic<std::uint64_t> out_bytes;

  bool connecting;                       // connect said EINPROGRESS: calling it again asks how it goes
  std::atomic<bool> edge_owed;           // told "not yet" after an edge that no known set can repeat: the set repeats it once it is known
  bool http_rules;                       // rules about HTTP messages are among those that match
  std::atomic<bool> set_loaded;          // an epoll descriptor whose registrations are known (epoll_sets)
  std::atomic<bool> http_over;           // it does not speak HTTP, or no longer
  std::uint64_t inode;
  std::uint64_t mask[4];                 // rules of the bank that match
  core::random_key key;                  // (endpoint, ordinal): what draws on this connection belong to
  std::uint32_t own_threshold;           // SO_RCVLOWAT as the program has it
  std::uint32_t ordinal;                 // nth connection of this process to this endpoint
  std::uint32_t redirect_rule;
  std::atomic<std::uint64_t> send_empty_ns;        // virtual time of the sending bucket
  std::atomic<http_line*> http;
  std::atomic<std::uint64_t> stdio_in;   // bytes that streams of stdio have given to the program
  std::atomic<long> counted_end;         // how long `full` has counted the file with what stdio holds; 0: with nothing of that
  std::atomic<accept_gate*> accepts;     // of a listener whose connections a rule delays
  slice_gap gap_in, gap_out;
  std::uint32_t born;                    // generation in which connect or accept told of it; 0: it was met later
  std::uint8_t remote[16];
  std::uint16_t remote_port, local_port;
  bool has_remote;
  char text[endpoint_text_max];          // the peer as people write it, when a rule matches; else empty
  union {
    sockaddr_storage asked;              // sockets: where the program wanted to connect
    char path[112];                      // files: as it was when rules were matched against it, if one does; else empty
  };
  socklen_t asked_length;
};

static_assert(sizeof(abi::class_set) == 4, "or the first line of a descriptor is longer than a cache line");

// What the draws of a rule on a connection belong to.
inline core::random_key key_of(const abi::rule& r, const descriptor& d) {
  return core::random_key{r.seed}.with(r.key).with(self.key.value).with(d.key.value);
}

// And of the same rule where there is no connection.
inline core::random_key key_in_thread(const abi::rule& r) { return core::random_key{r.seed}.with(r.key).with(self.key.value).with(thread_ordinal()); }

// The descriptor's entry, classified for the view's generation; nullptr when it can not be tracked or another thread is
// just classifying it.
descriptor* classify(int fd, const rule_view& v);

// What the idle path of an armed hook asks first, in a few instructions: can no rule match here?
inline constexpr unsigned descriptor_max = 1u << 20;
[[gnu::visibility("hidden")]] extern descriptor* descriptor_table;       // nullptr until first needed
[[gnu::visibility("hidden")]] extern unsigned descriptor_count;
constexpr std::uint32_t generation_of(std::uint64_t head) { return static_cast<std::uint32_t>(head >> 32); }
[[gnu::always_inline]] inline bool surely_unmatched(int fd, abi::class_set classes) {
  if (static_cast<unsigned>(fd) >= descriptor_count) return false;
  const std::uint64_t head = descriptor_table[fd].head.load(std::memory_order_relaxed);
  return generation_of(head) == page->generation.load(std::memory_order_relaxed) && !(head & classes);
}

void nothing_concerns(int fd);             // while no rule is meant for this process: what it is need not be known
void forget(int fd);                       // closed, or another thing from now on
void forget_range(unsigned first, unsigned last);
void reclassify(int fd);                   // the same thing, but what it is has changed (connect, bind)
descriptor* entry_of(int fd);              // no classification; nullptr when untracked
descriptor* entry_if_any(int fd);          // nullptr when it has none yet, too

// A connection begins: its endpoint is known and its ordinal is given out now, in the order of the calls.
descriptor* note_connect(int fd, const sockaddr* to, socklen_t n);
void note_accept(int fd);

// Holds an entry (busy_word.hpp); never across a call that can block.
bool lock(descriptor& d);
void unlock(descriptor& d);

// Endpoint as people write it, for events: "127.0.0.1:6379", "unix:/run/x.sock", a path.
// Returns the text: kept with the descriptor, or written into `out`.
const char* describe(const descriptor& d, int fd, char* out, std::size_t room);
void describe_address(const std::uint8_t (&address)[16], std::uint16_t port, char* out, std::size_t room);
bool parse_address(const sockaddr* a, socklen_t n, std::uint8_t (&address)[16], std::uint16_t& port);

// The rules among `v` whose target includes `e`.
void match_endpoint(const rule_view& v, const core::endpoint& e, std::uint64_t (&mask)[4]);

}  // namespace chaos
