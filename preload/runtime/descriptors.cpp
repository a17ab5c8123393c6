#include "descriptors.hpp"

#include <string.h>

#include "accept_gate.hpp"
#include "busy_word.hpp"
#include "delay_line.hpp"
#include "endpoint_text.hpp"
#include "epoll_sets.hpp"
#include "http.hpp"
#include "learn.hpp"
#include "names.hpp"
#include "preload/core/judge.hpp"
#include "states.hpp"
#include "thresholds.hpp"

namespace chaos {

constinit descriptor* descriptor_table = nullptr;
constinit unsigned descriptor_count = 0;

namespace {

// Address space counts where a program limits its own (RLIMIT_AS): the part that nearly every descriptor lies in is as small as
// it may be, and what lies beyond is had when there is such a descriptor. Pages are touched as descriptors are used.
constexpr unsigned low_most = 16, low_least = 10;          // as powers of two
constinit std::atomic<std::uintptr_t> low{0};              // where that part is, and in the lowest bits which power of two it holds
constinit std::atomic<descriptor*> beyond{nullptr};

// Connections so far to each endpoint: what makes a connection's ordinal.
struct endpoint_counter { std::atomic<std::uint64_t> key; std::atomic<std::uint32_t> count; };
constexpr unsigned endpoint_max = 1024;
constinit endpoint_counter endpoints[endpoint_max]{};

std::uint32_t next_connection(std::uint64_t key) {
  key |= 1;
  for (unsigned i = 0; i < endpoint_max; ++i) {
    endpoint_counter& c = endpoints[(key + i) % endpoint_max];
    std::uint64_t there = c.key.load(std::memory_order_relaxed);
    if (there == 0 && c.key.compare_exchange_strong(there, key, std::memory_order_relaxed)) there = key;
    if (there == key) return c.count.fetch_add(1, std::memory_order_relaxed) + 1;
  }
  return 1;
}

struct low_part { descriptor* entries; unsigned count; };
low_part low_part_of(std::uintptr_t word) {
  return {reinterpret_cast<descriptor*>(word & ~std::uintptr_t{0xfff}), word ? 1u << (word & 0xfff) : 0};
}

low_part the_low_part() {
  std::uintptr_t there = low.load(std::memory_order_acquire);
  if (there) return low_part_of(there);
  unsigned power = low_most;
  void* fresh = nullptr;
  while (power >= low_least && !(fresh = sys::pages(sizeof(descriptor) << power))) power -= 2;
  if (!fresh) return {};
  if (!low.compare_exchange_strong(there, reinterpret_cast<std::uintptr_t>(fresh) | power, std::memory_order_acq_rel)) {
    sys::unmap(fresh, sizeof(descriptor) << power);
    return low_part_of(there);
  }
  descriptor_table = static_cast<descriptor*>(fresh);
  std::atomic_thread_fence(std::memory_order_release);
  descriptor_count = 1u << power;
  return {descriptor_table, descriptor_count};
}

descriptor* entry_beyond(unsigned index, unsigned count) {
  descriptor* t = beyond.load(std::memory_order_acquire);
  if (!t) {
    const std::size_t bytes = sizeof(descriptor) * count;
    auto* const fresh = static_cast<descriptor*>(sys::pages(bytes));
    if (!fresh) return nullptr;
    if (beyond.compare_exchange_strong(t, fresh, std::memory_order_acq_rel)) t = fresh;
    else sys::unmap(fresh, bytes);
  }
  return &t[index];
}

void clear(sole_rule& sole) {
  sole.place = 0;
  sole.stream_of = -1;
  sole.functions = 0;
  sole.pid = 0;
  __atomic_store_n(&sole.state, nullptr, __ATOMIC_RELAXED);
  sole.quiet_until.store(0, std::memory_order_relaxed);
}

void begin_identity(descriptor& d, std::uint64_t inode) {
  if (const delay_line* line = d.line.load(std::memory_order_acquire); line && line->threshold) thresholds::take_back(d.inode);
  d.inode = inode;
  d.kind = descriptor_kind::unknown;
  d.early = d.listening = d.accepted = d.per_call = d.connecting = d.has_remote = false;
  d.broken.store(false, std::memory_order_relaxed);
  d.edge_owed.store(false, std::memory_order_relaxed);
  d.redirected.store(false, std::memory_order_relaxed);
  d.ordinal = 0;
  d.own_threshold = 1;
  d.role = 0;
  d.text[0] = 0;
  d.owner.store(0, std::memory_order_relaxed);
  clear(d.sole_in);
  clear(d.sole_out);
  d.in_bytes.store(0, std::memory_order_relaxed);
  d.out_bytes.store(0, std::memory_order_relaxed);
  d.stdio_in.store(0, std::memory_order_relaxed);
  d.counted_end.store(0, std::memory_order_relaxed);
  d.charge_ns.store(0, std::memory_order_relaxed);
  d.remote_port = d.local_port = 0;
  d.asked_length = 0;
  d.connect_due_ns.store(0, std::memory_order_relaxed);
  d.send_due_ns.store(0, std::memory_order_relaxed);
  d.send_empty_ns.store(0, std::memory_order_relaxed);
  d.gap_in.due_ns.store(0, std::memory_order_relaxed);
  d.gap_out.due_ns.store(0, std::memory_order_relaxed);
  release_states(d.states);
  if (delay_line* line = d.line.exchange(nullptr, std::memory_order_acq_rel)) release_line(line);
  if (http_line* http = d.http.exchange(nullptr, std::memory_order_acq_rel)) release_http(http);
  if (accept_gate* gate = d.accepts.exchange(nullptr, std::memory_order_acq_rel)) release_accept_gate(gate);
  d.http_over.store(false, std::memory_order_relaxed);
  d.http_rules = false;
  d.born = 0;
}

std::uint64_t endpoint_hash(const descriptor& d) {
  std::uint64_t h = core::mix(static_cast<std::uint64_t>(d.kind));
  if (d.listening) h = core::mix(h, ~std::uint64_t{0});  // it is none of the connections to its port
  if (d.accepted || !d.has_remote) return core::mix(h, d.local_port);
  std::uint64_t a[2];
  memcpy(a, d.remote, 16);
  return core::mix(core::mix(core::mix(h, a[0]), a[1]), d.remote_port);
}

void give_ordinal(descriptor& d) {
  if (d.ordinal) return;
  const std::uint64_t h = endpoint_hash(d);
  d.ordinal = next_connection(h);
  d.key = core::random_key{h}.with(d.ordinal);
}

struct quick_function { abi::function_id id; std::uint64_t bit; };
struct quick_functions { quick_function all[64]; unsigned count; };
constexpr quick_functions find_quick_functions() {
  quick_functions found{};
  for (unsigned i = 0; i < abi::function_count; ++i)
    if (const auto f = static_cast<abi::function_id>(i); is_quick(f)) found.all[found.count++] = {f, quick_bit(f)};
  return found;
}

std::uint64_t quick_functions_of(const abi::rule& r) {
  static constexpr quick_functions quick = find_quick_functions();
  if (r.functions.empty()) return ~std::uint64_t{0};
  std::uint64_t bits = 0;
  for (unsigned i = 0; i < quick.count; ++i)
    if (r.functions.has(quick.all[i].id)) bits |= quick.all[i].bit;
  return bits;
}

bool always_fires(const abi::rule& r) {
  return r.chance >= abi::certain && r.toxicity >= abi::certain && !r.when.pattern_length && !r.when.first && r.times == UINT64_MAX;
}

// Can the rule say no without looking at more than its own state? Streams and files, where a call is one operation.
bool looks_only_at_its_state(const abi::rule& r, bool file) {
  return !always_fires(r) && !r.thread_glob && !r.caller_glob && !r.stack_glob && r.size_low == 0 && r.size_high == UINT64_MAX && !r.after_bytes &&
         !r.space_bytes && core::scope_of(r, !file) == (file ? abi::scope::thread : abi::scope::connection) &&
         !((core::of(r.kind) & core::arrival_effects) && (r.classes & abi::classes::stream_in)) &&
         !(r.kind == abi::effect::slicer && r.delay_ns) &&  // there may be a gap to wait out
         r.slot < abi::rule_max;
}

void find_sole_rules(descriptor& d, const rule_view& v, unsigned rules) {
  for (const bool input : {true, false}) {
    sole_rule& sole = input ? d.sole_in : d.sole_out;
    clear(sole);
    const bool file = d.role & abi::classes::file_io;
    const abi::class_set way = d.http_rules ? 0 : d.role & (input ? abi::classes::stream_in | abi::classes::file_io : abi::classes::stream_out | abi::classes::sync);
    if (!way || !report) continue;
    const abi::rule* only = nullptr;
    unsigned place = abi::rule_max + 1;  // nobody is asked, until one is found
    for (unsigned i = 0; i < rules && place; ++i) {
      const abi::rule& r = v.bank->rules[i];
      if (!(d.mask[i / 64] >> (i % 64) & 1) || !(r.classes & way)) continue;
      place = only || !looks_only_at_its_state(r, file) ? 0 : i + 1;
      only = &r;
    }
    if (!place) continue;
    if (only) {
      sole.id = only->id;
      sole.functions = quick_functions_of(*only);
      sole.key = key_of(*only, d);
      sole.slot = static_cast<std::uint16_t>(only->slot);
      sole.lane = &report->lanes[0][sole.slot];
    }
    sole.pid = self.pid;
    sole.place = static_cast<std::uint16_t>(place);
    if (way & abi::classes::streams) sole.stream_of = self.pid;
  }
}

void put_path(descriptor& d, const char* path) {  // events name it at every injection, and a readlink costs a microsecond
  std::size_t n = 0;
  for (; path[n] && n + 1 < sizeof d.path; ++n) d.path[n] = path[n];
  d.path[n] = 0;
}
}  // namespace

bool lock(descriptor& d) { return take_word(d.busy); }
void unlock(descriptor& d) { give_word(d.busy); }

descriptor* entry_of(int fd) {
  const auto n = static_cast<unsigned>(fd);
  const low_part t = the_low_part();
  if (!t.entries || n >= descriptor_max) return nullptr;
  return n < t.count ? &t.entries[n] : entry_beyond(n - t.count, descriptor_max - t.count);
}

descriptor* entry_if_any(int fd) {
  const auto n = static_cast<unsigned>(fd);
  const low_part t = low_part_of(low.load(std::memory_order_acquire));
  if (n < t.count) return &t.entries[n];
  descriptor* const more = n < descriptor_max ? beyond.load(std::memory_order_acquire) : nullptr;
  return more ? &more[n - t.count] : nullptr;
}

void match_endpoint(const rule_view& v, const core::endpoint& e, std::uint64_t (&mask)[4]) {
  const unsigned n = v.bank->count < abi::rule_max ? v.bank->count : abi::rule_max;
  for (unsigned w = 0; w < 4; ++w) {
    mask[w] = 0;
    for (std::uint64_t bits = v.mask[w]; bits; bits &= bits - 1) {
      const unsigned i = w * 64 + static_cast<unsigned>(__builtin_ctzll(bits));
      if (i < n && core::target_matches(v.bank->rules[i], *v.bank, e, name_matches)) mask[w] |= std::uint64_t{1} << (i % 64);
    }
  }
}

descriptor* classify(int fd, const rule_view& v) {
  const std::uint32_t generation = v.generation.load(std::memory_order_relaxed);
  descriptor* d = entry_of(fd);
  if (!d) {
    if (fd >= 0 && report) report->session.untracked.fetch_add(1, std::memory_order_relaxed);
    return nullptr;
  }
  if (static_cast<std::uint32_t>(d->head.load(std::memory_order_acquire) >> 32) == generation) return d;
  if (in_vfork_child()) return nullptr;
  struct statx s;
  if (sys::call(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_INO, &s) != 0) return nullptr;
  if (!lock(*d)) return nullptr;
  if (static_cast<std::uint32_t>(d->head.load(std::memory_order_relaxed) >> 32) == generation) {  // by another thread, meanwhile
    unlock(*d);
    return d;
  }
  if (d->inode != s.stx_ino || d->kind == descriptor_kind::unknown || d->kind == descriptor_kind::file || d->kind == descriptor_kind::epoll) begin_identity(*d, s.stx_ino);
  learn(*d, fd, s);

  char path[512];
  core::endpoint e;
  e.descriptor = fd;
  e.over = (d->role & abi::classes::datagrams) ? abi::transport::datagram : abi::transport::stream;
  if (d->kind == descriptor_kind::file) {
    path_of(*d, fd, path, sizeof path);
    e.file_path = path;
    e.over = abi::transport::any;
  } else if (d->kind == descriptor_kind::unix_stream || d->kind == descriptor_kind::unix_datagram) {
    path_of(*d, fd, path, sizeof path);
    e.unix_path = path[0] ? path : nullptr;
  }
  e.has_remote = d->has_remote;
  memcpy(e.remote, d->remote, 16);
  e.remote_port = d->remote_port;
  // A connection that was accepted before any rule was in force is known by its local port; that a client's own port is
  // the very one that a rule listens on can not be, the listener holds it.
  e.listen_port = d->local_port;
  if (d->has_remote && d->local_port < 32768 && d->remote_port >= 32768) d->accepted = true;
  match_endpoint(v, e, d->mask);
  abi::class_set classes = 0;
  bool possible = false, http = false;
  const unsigned n = v.bank->count < abi::rule_max ? v.bank->count : abi::rule_max;
  for (unsigned i = 0; i < n; ++i) {
    if (d->mask[i / 64] >> (i % 64) & 1) {
      classes |= v.bank->rules[i].classes;
      http |= (v.bank->rules[i].flags & abi::rule_flags::http) != 0;
    } else if (d->per_call && (v.mask[i / 64] >> (i % 64) & 1)) possible = true;
  }
  d->http_rules = http;
  if (classes & (abi::classes::data | abi::classes::accept)) { classes |= abi::classes::readiness; }
  if (classes && ((d->role & (abi::classes::data | abi::classes::connect)) || (classes & d->role & abi::classes::accept))) give_ordinal(*d);
  classes &= d->role;
  if (possible) classes |= abi::classes::datagrams;
  find_sole_rules(*d, v, n);
  d->text[0] = 0;
  if (d->kind == descriptor_kind::file) put_path(*d, classes ? path : "");
  if (classes && d->has_remote) describe_address(d->remote, d->remote_port, d->text, sizeof d->text);
  if (d->kind == descriptor_kind::epoll) classes |= abi::classes::readiness;
  if (classes || d->redirected.load(std::memory_order_relaxed) || d->broken.load(std::memory_order_relaxed) || d->line.load(std::memory_order_relaxed))
    classes |= (abi::classes::option | abi::classes::close | abi::classes::readiness | abi::classes::data) & d->role;
  d->head.store(static_cast<std::uint64_t>(generation) << 32 | classes, std::memory_order_release);
  unlock(*d);
  return d;
}

void nothing_concerns(int fd) {
  const std::uint32_t generation = page_generation();
  if (!none_is_ours(generation) || in_vfork_child()) return;
  descriptor* d = entry_of(fd);
  if (!d || d->broken.load(std::memory_order_relaxed) || d->redirected.load(std::memory_order_relaxed) || d->line.load(std::memory_order_relaxed)) return;
  d->head.store(static_cast<std::uint64_t>(generation) << 32, std::memory_order_release);
}

void forget(int fd) {
  descriptor* const d = entry_if_any(fd);
  if (!d) return;
  forget_absent(fd);
  if (d->set_loaded.load(std::memory_order_relaxed) && !in_vfork_child()) {
    d->set_loaded.store(false, std::memory_order_relaxed);
    forget_set(fd);
  }
  if (d->head.load(std::memory_order_relaxed) == 0 && d->inode == 0) return;
  if (in_vfork_child()) return;
  if (!lock(*d)) { d->head.store(0, std::memory_order_release); return; }
  begin_identity(*d, 0);
  d->head.store(0, std::memory_order_release);
  unlock(*d);
}

void forget_range(unsigned first, unsigned last) {
  const unsigned end = beyond.load(std::memory_order_relaxed) ? descriptor_max : descriptor_count;
  for (unsigned fd = first; fd <= last && fd < end; ++fd) {
    // Untouched parts of the table are holes: reading them would make them real.
    if (fd % 4096 == 0 && fd > 65536) break;
    forget(static_cast<int>(fd));
  }
}

void reclassify(int fd) {
  if (descriptor* const d = entry_if_any(fd)) d->head.store(0, std::memory_order_release);
}

namespace {
descriptor* begin_connection(int fd, descriptor_kind kind) {
  descriptor* d = entry_of(fd);
  struct statx s;
  if (!d || in_vfork_child() || sys::call(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_INO, &s) != 0 || !lock(*d)) return nullptr;
  begin_identity(*d, s.stx_ino);
  d->kind = kind;
  d->born = page_generation();
  d->head.store(0, std::memory_order_release);
  return d;
}
}  // namespace

descriptor* note_connect(int fd, const sockaddr* to, socklen_t n) {
  const int type = socket_option(fd, SO_TYPE);
  const bool inet = to->sa_family == AF_INET || to->sa_family == AF_INET6;
  descriptor* d = begin_connection(fd, inet ? (type == SOCK_STREAM ? descriptor_kind::tcp : descriptor_kind::udp)
                                            : (type == SOCK_STREAM ? descriptor_kind::unix_stream : descriptor_kind::unix_datagram));
  if (!d) return nullptr;
  d->role = (type == SOCK_STREAM ? abi::classes::streams : abi::classes::datagrams) | abi::classes::connect;
  d->has_remote = parse_address(to, n, d->remote, d->remote_port);
  if (n <= sizeof d->asked) { memcpy(&d->asked, to, n); d->asked_length = n; }
  give_ordinal(*d);
  unlock(*d);
  return d;
}

void note_accept(int fd) {
  descriptor* d = begin_connection(fd, descriptor_kind::tcp);
  if (!d) return;
  d->accepted = true;
  unlock(*d);
}

void reset_after_fork() {
  this_thread.tid = unknown_tid;
  begin_counts_anew();
  const low_part t = low_part_of(low.load(std::memory_order_relaxed));
  // Only entries that are in use can be held; they lie in the low part, which is already touched.
  for (unsigned i = 0; i < t.count && i < 4096; ++i)
    if (t.entries[i].inode) t.entries[i].busy.store(0, std::memory_order_relaxed);
}

}  // namespace chaos
