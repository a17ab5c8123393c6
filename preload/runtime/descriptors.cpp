#include "descriptors.hpp"

#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "accept_gate.hpp"
#include "busy_word.hpp"
#include "chaos/abi/session.hpp"
#include "delay_line.hpp"
#include "epoll_sets.hpp"
#include "http.hpp"
#include "names.hpp"
#include "preload/core/judge.hpp"
#include "states.hpp"
#include "thresholds.hpp"

namespace chaos {

constinit descriptor* descriptor_table = nullptr;
constinit unsigned descriptor_count = 0;

namespace {

constinit std::atomic<descriptor*> table{nullptr};

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

descriptor* the_table() {
  descriptor* t = table.load(std::memory_order_acquire);
  if (t) return t;
  const std::size_t bytes = sizeof(descriptor) * descriptor_max;  // address space only; touched as descriptors are used
  auto* fresh = static_cast<descriptor*>(sys::pages(bytes));
  if (!fresh) return nullptr;
  if (!table.compare_exchange_strong(t, fresh, std::memory_order_acq_rel)) {
    sys::unmap(fresh, bytes);
    return t;
  }
  descriptor_table = fresh;
  std::atomic_thread_fence(std::memory_order_release);
  descriptor_count = descriptor_max;
  return fresh;
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
  d.owner_inside.store(0, std::memory_order_relaxed);
  d.sole_in.place = d.sole_out.place = 0;
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

void learn_local_port(descriptor& d, int fd) {
  sockaddr_storage a;
  socklen_t n = sizeof a;
  std::uint8_t ignored[16];
  std::uint16_t port = 0;
  if (sys::call(SYS_getsockname, fd, &a, &n) == 0 && parse_address(reinterpret_cast<sockaddr*>(&a), n, ignored, port)) d.local_port = port;
}

int socket_option(int fd, int name) {
  int value = 0;
  socklen_t n = sizeof value;
  return sys::get_option(fd, SOL_SOCKET, name, &value, &n) == 0 ? value : -1;
}

// A process that was killed while it held data back leaves its receive threshold on a socket that others share: nobody would
// ever be told of what is there.
// Learns the program's own on the way.
void lower_stale_threshold(descriptor& d, int fd) {
  const delay_line* line = d.line.load(std::memory_order_acquire);
  int own = line && line->threshold ? line->own_threshold : socket_option(fd, SO_RCVLOWAT);
  if (!(line && line->threshold) && own > 1) {
    if (const int before = thresholds::take_back(d.inode)) sys::set_option(fd, SOL_SOCKET, SO_RCVLOWAT, own = before);
  }
  d.own_threshold = own > 1 ? static_cast<std::uint32_t>(own) : 1;
}

void learn_socket(descriptor& d, int fd) {
  using namespace abi;
  const int domain = socket_option(fd, SO_DOMAIN), type = socket_option(fd, SO_TYPE);
  d.listening = socket_option(fd, SO_ACCEPTCONN) == 1;
  const bool inet = domain == AF_INET || domain == AF_INET6;
  if (inet && type == SOCK_STREAM) d.kind = descriptor_kind::tcp;
  else if (inet && type == SOCK_DGRAM) d.kind = descriptor_kind::udp;
  else if (domain == AF_UNIX && type == SOCK_STREAM) d.kind = descriptor_kind::unix_stream;
  else if (domain == AF_UNIX) d.kind = descriptor_kind::unix_datagram;
  else { d.kind = descriptor_kind::other; d.role = classes::close; return; }
  if ((d.kind == descriptor_kind::tcp && !d.listening) || d.kind == descriptor_kind::unix_stream) lower_stale_threshold(d, fd);
  const bool stream = type == SOCK_STREAM;
  d.role = (stream ? classes::streams : classes::datagrams) | classes::connect | classes::readiness | classes::close | classes::option;
  if (d.listening) d.role = classes::accept | classes::readiness | classes::close | classes::option;
  if (inet) learn_local_port(d, fd);
  if (d.redirected.load(std::memory_order_relaxed)) return;  // the program's own idea of its peer stays
  sockaddr_storage a;
  socklen_t n = sizeof a;
  const bool had = d.has_remote;
  if (sys::call(SYS_getpeername, fd, &a, &n) == 0) {
    if (inet) d.has_remote = parse_address(reinterpret_cast<sockaddr*>(&a), n, d.remote, d.remote_port);
  } else {
    d.has_remote = had && stream;  // still connecting: as told by connect()
  }
  d.per_call = !stream && inet && !d.has_remote;
}

void learn(descriptor& d, int fd, const struct statx& s) {
  using namespace abi;
  switch (s.stx_mode & S_IFMT) {
    case S_IFSOCK: learn_socket(d, fd); break;
    case S_IFIFO:
      d.kind = descriptor_kind::pipe;
      d.role = classes::streams | classes::readiness | classes::close;
      break;
    case S_IFREG: case S_IFCHR: case S_IFBLK: case S_IFDIR:
      d.kind = descriptor_kind::file;
      d.role = classes::file_io | classes::sync | classes::file_open | classes::close;
      break;
    default: {  // anonymous inodes: sets of epoll, timers, events …
      constexpr char set[] = "anon_inode:[eventpoll]";
      char name[sizeof set] = {};
      abi::path_buffer link;
      link.add("/proc/self/fd/").add(static_cast<std::uint64_t>(fd));
      const bool other = sys::read_link(link.text, name, sizeof name - 1) > 0 && strcmp(name, set) != 0;
      d.kind = other ? descriptor_kind::other : descriptor_kind::epoll;
      d.role = classes::readiness | classes::close;
      break;
    }
  }
}

// Path of an open file, or of a unix socket ('@' for abstract names). Empty when there is none.
void path_of(const descriptor& d, int fd, char* out, std::size_t room) {
  out[0] = 0;
  if (d.kind == descriptor_kind::file) {
    abi::path_buffer link;
    link.add("/proc/self/fd/").add(static_cast<std::uint64_t>(fd));
    const long n = sys::read_link(link.text, out, room - 1);
    out[n > 0 ? n : 0] = 0;
    constexpr char deleted[] = " (deleted)";
    if (n > static_cast<long>(sizeof deleted) && strcmp(out + n - sizeof deleted + 1, deleted) == 0) out[n - sizeof deleted + 1] = 0;
    return;
  }
  sockaddr_un a{};
  for (const long call : {SYS_getpeername, SYS_getsockname}) {
    socklen_t n = sizeof a;
    if (sys::call(call, fd, &a, &n) != 0 || a.sun_family != AF_UNIX || n <= offsetof(sockaddr_un, sun_path)) continue;
    const std::size_t length = n - offsetof(sockaddr_un, sun_path);
    std::size_t from = 0, to = 0;
    if (a.sun_path[0] == 0) { out[to++] = '@'; from = 1; }
    for (; from < length && to + 1 < room && (a.sun_path[from] || out[0] == '@'); ++from) out[to++] = a.sun_path[from];
    out[to] = 0;
    if (to > 1 || out[0] == '/') return;
  }
}

}  // namespace

bool parse_address(const sockaddr* a, socklen_t n, std::uint8_t (&address)[16], std::uint16_t& port) {
  memset(address, 0, 16);
  if (a && a->sa_family == AF_INET && n >= sizeof(sockaddr_in)) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(a);
    address[10] = address[11] = 0xff;
    memcpy(address + 12, &in->sin_addr, 4);
    port = __builtin_bswap16(in->sin_port);
    return true;
  }
  if (a && a->sa_family == AF_INET6 && n >= sizeof(sockaddr_in6)) {
    const auto* in = reinterpret_cast<const sockaddr_in6*>(a);
    memcpy(address, &in->sin6_addr, 16);
    port = __builtin_bswap16(in->sin6_port);
    return true;
  }
  return false;
}

namespace {

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

// Can the rule say no without looking at more than its own state? Streams and files, where a call is one operation.
bool looks_only_at_its_state(const abi::rule& r, abi::scope own) {
  return !r.thread_glob && !r.caller_glob && !r.stack_glob && r.size_low == 0 && r.size_high == UINT64_MAX && !r.after_bytes &&
         !r.space_bytes && (r.counts_in == abi::scope::automatic || r.counts_in == own) &&
         !((core::of(r.kind) & core::arrival_effects) && (r.classes & abi::classes::stream_in)) &&
         !(r.kind == abi::effect::slicer && r.delay_ns) &&  // there may be a gap to wait out
         r.slot < abi::rule_max;
}

void find_sole_rules(descriptor& d, const rule_view& v, unsigned rules) {
  for (const bool input : {true, false}) {
    sole_rule& sole = input ? d.sole_in : d.sole_out;
    sole = {};
    const bool file = d.role & abi::classes::file_io;
    const abi::class_set way = d.http_rules ? 0 : d.role & (input ? abi::classes::stream_in | abi::classes::file_io : abi::classes::stream_out | abi::classes::sync);
    if (!way) continue;
    unsigned found = 0;
    sole.place = abi::rule_max + 1;  // nobody is asked, until one is found
    sole.pid = self.pid;
    for (unsigned i = 0; i < rules; ++i) {
      const abi::rule& r = v.bank->rules[i];
      if (!(d.mask[i / 64] >> (i % 64) & 1) || !(r.classes & way)) continue;
      if (found++ || !looks_only_at_its_state(r, file ? abi::scope::thread : abi::scope::connection)) { sole.place = 0; break; }
      const bool chance_only = r.toxicity >= abi::certain && !r.when.pattern_length && !r.when.first && r.times == UINT64_MAX;
      sole = {.place = static_cast<std::uint16_t>(i + 1), .slot = static_cast<std::uint16_t>(r.slot), .pid = self.pid, .id = r.id,
              .functions = quick_functions_of(r), .key = key_of(r, d), .chance = chance_only ? r.chance : ~std::uint64_t{0}, .state = nullptr};
    }
  }
}

}  // namespace

namespace {
void put_path(descriptor& d, const char* path) {  // events name it at every injection, and a readlink costs a microsecond
  std::size_t n = 0;
  for (; path[n] && n + 1 < sizeof d.path; ++n) d.path[n] = path[n];
  d.path[n] = 0;
}
}  // namespace

bool lock(descriptor& d) { return take_word(d.busy); }
void unlock(descriptor& d) { give_word(d.busy); }

descriptor* entry_of(int fd) {
  descriptor* t = the_table();
  return t && fd >= 0 && static_cast<unsigned>(fd) < descriptor_max ? &t[fd] : nullptr;
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
  if (classes && (d->role & (abi::classes::data | abi::classes::connect))) give_ordinal(*d);
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
  if (static_cast<unsigned>(fd) >= descriptor_count) return;
  forget_absent(fd);
  if (descriptor_table[fd].head.load(std::memory_order_relaxed) == 0 && descriptor_table[fd].inode == 0) return;
  if (in_vfork_child()) return;
  descriptor& d = descriptor_table[fd];
  if (d.kind == descriptor_kind::epoll) forget_set(fd);
  if (!lock(d)) { d.head.store(0, std::memory_order_release); return; }
  begin_identity(d, 0);
  d.head.store(0, std::memory_order_release);
  unlock(d);
}

void forget_range(unsigned first, unsigned last) {
  for (unsigned fd = first; fd <= last && fd < descriptor_count; ++fd) {
    // Untouched parts of the table are holes: reading them would make them real.
    if (fd % 4096 == 0 && fd > 65536) break;
    forget(static_cast<int>(fd));
  }
}

void reclassify(int fd) {
  if (static_cast<unsigned>(fd) < descriptor_count) descriptor_table[fd].head.store(0, std::memory_order_release);
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

// --- how endpoints are written

namespace {
struct writer {
  char* out;
  std::size_t room, n = 0;
  void put(char c) { if (n + 1 < room) out[n++] = c; out[n] = 0; }
  void text(const char* s) { while (*s) put(*s++); }
  void number(unsigned long x) {
    char digits[21];
    int at = 20;
    digits[20] = 0;
    do { digits[--at] = static_cast<char>('0' + x % 10); x /= 10; } while (x);
    text(digits + at);
  }
  void hex(unsigned x) {
    bool any = false;
    for (int shift = 12; shift >= 0; shift -= 4) {
      const unsigned nibble = x >> shift & 15;
      if (nibble || any || shift == 0) { put("0123456789abcdef"[nibble]); any = true; }
    }
  }
};
}  // namespace

void describe_address(const std::uint8_t (&a)[16], std::uint16_t port, char* out, std::size_t room) {
  writer w{out, room};
  static constexpr std::uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (memcmp(a, mapped, 12) == 0) {
    for (int i = 12; i < 16; ++i) { if (i > 12) w.put('.'); w.number(a[i]); }
  } else {  // the longest run of zero groups becomes "::"
    int best = -1, best_length = 1;
    for (int i = 0; i < 8; ++i) {
      int k = i;
      while (k < 8 && !a[2 * k] && !a[2 * k + 1]) ++k;
      if (k - i > best_length) { best = i; best_length = k - i; }
    }
    w.put('[');
    for (int i = 0; i < 8; ++i) {
      if (i == best) { w.text("::"); i += best_length - 1; continue; }
      if (i && i != best + best_length) w.put(':');
      w.hex(static_cast<unsigned>(a[2 * i]) << 8 | a[2 * i + 1]);
    }
    w.put(']');
  }
  w.put(':');
  w.number(port);
}

const char* describe(const descriptor& d, int fd, char* out, std::size_t room) {
  if (d.text[0]) return d.text;
  out[0] = 0;
  switch (d.kind) {
    case descriptor_kind::tcp: case descriptor_kind::udp:
      if (d.has_remote) describe_address(d.remote, d.remote_port, out, room);
      else { writer w{out, room}; w.text(d.listening ? "listen:" : "udp://*:"); w.number(d.local_port); }
      break;
    case descriptor_kind::unix_stream: case descriptor_kind::unix_datagram: {
      writer w{out, room};
      w.text("unix:");
      path_of(d, fd, out + w.n, room - w.n);
      break;
    }
    case descriptor_kind::file:
      if (d.path[0]) return d.path;
      path_of(d, fd, out, room);
      break;
    default: { writer w{out, room}; w.text("fd:"); w.number(static_cast<unsigned long>(fd)); }
  }
  return out;
}

void reset_after_fork() {
  this_thread.tid = 0;
  keep_chain_after_fork();
  descriptor* t = table.load(std::memory_order_relaxed);
  // Only entries that are in use can be held; they lie in the low part, which is already touched.
  for (unsigned i = 0; t && i < 4096; ++i)
    if (t[i].inode) t[i].busy.store(0, std::memory_order_relaxed);
}

}  // namespace chaos
