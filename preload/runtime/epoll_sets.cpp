#include "epoll_sets.hpp"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "busy_word.hpp"
#include "real.hpp"
#include "chaos/abi/session.hpp"

namespace chaos {
namespace {

constexpr unsigned set_max = 256;
constinit epoll_set sets[set_max]{};
constinit std::atomic<std::uint32_t> change{1};
constinit std::atomic<int> absent_count{0};  // watches that are withdrawn, in all sets

void free_slot(epoll_set& s) {
  s.same_as.store(0, std::memory_order_relaxed);
  s.compared.store(0, std::memory_order_relaxed);
  s.fd.store(0, std::memory_order_release);
}

epoll_set* find_slot(int epfd) {
  for (epoll_set& s : sets)
    if (s.fd.load(std::memory_order_acquire) == epfd + 1) return &s;
  return nullptr;
}

bool any_slot() {
  for (const epoll_set& s : sets)
    if (s.fd.load(std::memory_order_acquire) != 0) return true;
  return false;
}

constinit std::atomic<std::uint32_t> making{0};  // busy word: two threads that first wait on a set at one moment make one slot of it

epoll_set* make_slot(int epfd) {
  if (!take_word(making)) return nullptr;
  epoll_set* slot = find_slot(epfd);
  for (unsigned i = 0; !slot && i < set_max; ++i) {
    epoll_set& s = sets[i];
    if (s.fd.load(std::memory_order_acquire) != 0) continue;
    s.generation = 0;
    s.change = 0;
    s.count = s.held = 0;
    if (descriptor* const d = entry_of(epfd)) d->set_loaded.store(true, std::memory_order_relaxed);
    s.fd.store(epfd + 1, std::memory_order_release);
    slot = &s;
  }
  give_word(making);
  return slot;
}

unsigned lower_bound(const epoll_set& s, std::uint64_t data) {
  unsigned low = 0, high = s.count;
  while (low < high) {
    const unsigned middle = (low + high) / 2;
    if (s.watches[middle].data < data) low = middle + 1;
    else high = middle;
  }
  return low;
}

bool grow(epoll_set& s) {
  const unsigned capacity = s.capacity ? s.capacity * 2 : 128;
  const std::size_t bytes = capacity * sizeof(watch);
  auto* fresh = static_cast<watch*>(sys::pages(bytes));
  if (!fresh) return false;
  if (s.watches) {
    memcpy(fresh, s.watches, s.count * sizeof(watch));
    sys::unmap(s.watches, s.mapped_bytes);
  }
  s.watches = fresh;
  s.capacity = capacity;
  s.mapped_bytes = bytes;
  return true;
}

int index_of_fd(const epoll_set& s, int fd) {
  for (unsigned i = 0; i < s.count; ++i)
    if (s.watches[i].fd == fd) return static_cast<int>(i);
  return -1;
}

void remove_at(epoll_set& s, unsigned i) {
  if (s.watches[i].held) --s.held;
  if (s.watches[i].absent) absent_count.fetch_sub(1, std::memory_order_relaxed);
  memmove(s.watches + i, s.watches + i + 1, (s.count - i - 1) * sizeof(watch));
  --s.count;
}

void insert(epoll_set& s, const watch& w) {
  if (s.count == s.capacity && !grow(s)) return;
  const unsigned at = lower_bound(s, w.data);
  memmove(s.watches + at + 1, s.watches + at, (s.count - at) * sizeof(watch));
  s.watches[at] = w;
  ++s.count;
  if (w.held) ++s.held;
}

bool concerned(int fd, const rule_view& v) {
  descriptor* d = classify(fd, v);
  if (d && holds_set(*d)) return true;
  // Registered before it is connected (nginx): connect looks at this, and has the sets loaded anew.
  if (d && (d->role & abi::classes::connect) && !d->has_remote) d->early = true;
  return d && (d->role & (abi::classes::data | abi::classes::accept)) && (d->head.load(std::memory_order_relaxed) & abi::classes::readiness);
}

std::uint64_t parse(const char*& p, unsigned base) {
  while (*p == ' ' || *p == '\t') ++p;
  std::uint64_t n = 0;
  for (;; ++p) {
    unsigned digit;
    if (*p >= '0' && *p <= '9') digit = static_cast<unsigned>(*p - '0');
    else if (*p >= 'a' && *p <= 'f') digit = static_cast<unsigned>(*p - 'a') + 10;
    else return n;
    if (digit >= base) return n;
    n = n * base + digit;
  }
}

struct registration { int fd; std::uint32_t events; std::uint64_t data; };

// "tfd:        8 events:       19 data:                8  pos:0 ino:.. sdev:.."
bool read_line(const char* line, registration& r) {
  if (strncmp(line, "tfd:", 4) != 0) return false;
  const char* p = line + 4;
  r.fd = static_cast<int>(parse(p, 10));
  p = strstr(p, "events:");
  if (!p) return false;
  p += 7;
  r.events = static_cast<std::uint32_t>(parse(p, 16));
  p = strstr(p, "data:");
  if (!p) return false;
  p += 5;
  r.data = parse(p, 16);
  return true;
}

// What the kernel has in the set.
template <class Take>
void for_each_registration(int epfd, Take take) {
  abi::path_buffer path;
  path.add("/proc/self/fdinfo/").add(static_cast<std::uint64_t>(epfd));
  const int info = sys::open_file(path.text, O_RDONLY | O_CLOEXEC);
  if (info < 0) return;
  char buffer[4096];
  std::size_t have = 0;
  for (;;) {
    const long got = sys::read_from(info, buffer + have, sizeof buffer - 1 - have);
    if (got <= 0) break;
    have += static_cast<std::size_t>(got);
    buffer[have] = 0;
    char* line = buffer;
    for (char* end; (end = strchr(line, '\n')); line = end + 1) {
      *end = 0;
      if (registration r; read_line(line, r)) take(r);
    }
    have -= static_cast<std::size_t>(line - buffer);
    memmove(buffer, line, have);
    if (have >= sizeof buffer - 1) have = 0;
  }
  sys::close_fd(info);
}

// A set can have several descriptors (mio, and so tokio, registers through a dup of the one that it waits on), and is known once. The
// kernel lets no set be put into itself, by whatever number, and says so before it finds that it is not in there anyway.
bool is_same_set(epoll_set& known, int epfd, const rule_view& v) {
  if (!take_word(known.busy)) return false;  // this thread has it: a set around this one
  const int other = known.fd.load(std::memory_order_relaxed) - 1;
  const descriptor* const d = other < 0 ? nullptr : classify(other, v);
  bool inside = !d || !holds_set(*d) || index_of_fd(known, epfd) >= 0;
  if (!inside && !is_current(known, v)) for_each_registration(other, [&](const registration& r) { inside |= r.fd == epfd; });
  epoll_event nothing{};
  const bool same = !inside && sys::call(SYS_epoll_ctl, other, EPOLL_CTL_MOD, epfd, &nothing) == -EINVAL;
  give_word(known.busy);
  return same;
}

// Compares the slot with the others once, and again after the rules changed if it is one of several: what happened while no rule was in
// force was not seen. Of two that are new at the same time the later slot looks at the earlier one.
epoll_set* original_of(epoll_set& s, int epfd) {
  const std::uint32_t compared = s.compared.load(std::memory_order_acquire), now = page_generation();
  if (compared == 0 || (compared != now && s.same_as.load(std::memory_order_relaxed))) {
    const rule_view* const v = current_view();
    int same = 0;
    for (unsigned i = 0; v && !same && i < set_max; ++i) {
      epoll_set& o = sets[i];
      if (&o == &s || o.fd.load(std::memory_order_acquire) == 0 || o.same_as.load(std::memory_order_relaxed)) continue;
      if ((o.compared.load(std::memory_order_acquire) || &o < &s) && is_same_set(o, epfd, *v)) same = static_cast<int>(i) + 1;
    }
    if (v) {
      s.same_as.store(same, std::memory_order_relaxed);
      s.compared.store(now ? now : 1, std::memory_order_release);
    }
  }
  epoll_set* found = &s;
  while (const int o = found->same_as.load(std::memory_order_acquire)) found = &sets[o - 1];
  return found;
}

enum class when_new { nothing, make, make_if_others };

epoll_set* slot_of(int epfd, when_new what) {
  epoll_set* slot = find_slot(epfd);
  if (!slot && (what == when_new::make || (what == when_new::make_if_others && any_slot()))) slot = make_slot(epfd);
  return slot ? original_of(*slot, epfd) : nullptr;
}

// A set that was loaded before the rules changed: meanwhile, with no rule in force, nobody saw whether its descriptor was closed
// and is another set by now.
bool still_registered(int epfd, const watch& w) {
  bool found = w.absent;
  for_each_registration(epfd, [&](const registration& r) {
    if (r.fd == w.fd && r.data == w.data && (w.masked || (r.events | EPOLLERR | EPOLLHUP) == (w.events | EPOLLERR | EPOLLHUP))) found = true;
  });
  return found;
}

void load(epoll_set& s, int epfd, const rule_view& v) {
  watch* old = s.watches;
  const unsigned old_count = s.count;
  const std::size_t old_bytes = s.mapped_bytes;
  s.watches = nullptr;
  s.count = s.capacity = s.held = 0;
  s.mapped_bytes = 0;
  for_each_registration(epfd, [&](const registration& r) {
    if (!concerned(r.fd, v)) return;
    watch w{.data = r.data, .fd = r.fd, .events = r.events};
    for (unsigned i = 0; i < old_count; ++i)
      if (old[i].fd == r.fd && old[i].masked) w = old[i];  // what the kernel shows is our mask, not the program's wish
    insert(s, w);
  });
  for (unsigned i = 0; i < old_count; ++i)
    if (old[i].absent) insert(s, old[i]);
  if (old) sys::unmap(old, old_bytes);
}

// Whoever trusts edges and read between the coming of a rule and our look at the set was told "not yet", and is to be told again.
void repeat_owed_edges(epoll_set& s, int epfd) {
  for (unsigned i = 0; i < s.count; ++i) {
    watch& w = s.watches[i];
    descriptor* const d = entry_of(w.fd);
    if (d && d->edge_owed.load(std::memory_order_relaxed) && d->edge_owed.exchange(false, std::memory_order_acq_rel) && repeats_edges(w)) unmask_watch(epfd, w);
  }
}

}  // namespace

bool holds_set(const descriptor& d) { return d.kind == descriptor_kind::epoll; }

void sets_changed() { change.fetch_add(1, std::memory_order_relaxed); }

bool is_current(const epoll_set& s, const rule_view& v) {
  return s.generation.load(std::memory_order_relaxed) == v.generation.load(std::memory_order_relaxed) && s.change == change.load(std::memory_order_relaxed);
}

void reload_set(epoll_set& s, int epfd, const rule_view& v) {
  const std::uint32_t now = change.load(std::memory_order_relaxed);
  s.generation.store(0, std::memory_order_relaxed);
  load(s, epfd, v);
  repeat_owed_edges(s, epfd);
  s.change = now;
  s.generation.store(v.generation.load(std::memory_order_relaxed), std::memory_order_release);  // at last: others look at it without the lock
}

epoll_set* lock_set(int epfd, const rule_view& v, bool even_empty) {
  epoll_set* s = slot_of(epfd, when_new::make);
  const std::uint32_t generation = v.generation.load(std::memory_order_relaxed), now = change.load(std::memory_order_relaxed);
  if (!s || (!even_empty && s->generation.load(std::memory_order_acquire) == generation && s->change == now && s->count == 0)) return nullptr;
  if (!take_word(s->busy)) return nullptr;
  if (!is_current(*s, v)) reload_set(*s, epfd, v);
  if (s->count == 0 && !even_empty) { unlock_set(*s); return nullptr; }
  return s;
}

epoll_set* lock_loaded(int epfd) {
  epoll_set* s = slot_of(epfd, when_new::nothing);
  return s && take_word(s->busy) ? s : nullptr;
}

bool is_set_of(const epoll_set& s, int epfd) { return s.fd.load() == epfd + 1 || slot_of(epfd, when_new::nothing) == &s; }

bool relock_set(epoll_set& s) { return take_word(s.busy); }
void unlock_set(epoll_set& s) { give_word(s.busy); }

watch* find_watch(epoll_set& s, std::uint64_t data) {
  const unsigned at = lower_bound(s, data);
  return at < s.count && s.watches[at].data == data ? &s.watches[at] : nullptr;
}

int followed_ctl(int epfd, int op, int fd, epoll_event* event, const rule_view& v) {
  const int before = errno;
  const bool wanted = op != EPOLL_CTL_DEL && event && concerned(fd, v);
  epoll_set* s = slot_of(epfd, when_new::make_if_others);
  // Locked before the kernel knows: another thread that waits on the set may be told of it at once, and what that one then holds
  // back would be forgotten here, with a registration that the kernel has disarmed. The call waits for nobody who could wait for
  // this word: a waiter gives it back before it goes into the kernel.
  const bool missed = s && !take_word(s->busy);  // in a signal handler that came in the middle of such a call of its own thread
  if (missed) s = nullptr;
  errno = before;
  const int result = real.epoll_ctl(epfd, op, fd, event);
  if (missed) sets_changed();  // whatever is noted by the other is not how the kernel has it: to be read back from there
  if (!s) return result;
  const int error = errno;
  if (result == 0 && s->generation != 0) {  // of older rules as well: a thread may be waiting with what was known then
    const int at = index_of_fd(*s, fd);
    if (at >= 0) remove_at(*s, static_cast<unsigned>(at));
    if (wanted) insert(*s, {.data = event->data.u64, .fd = fd, .events = event->events});
  }
  unlock_set(*s);
  errno = error;
  return result;
}

void forget_set(int epfd) {
  epoll_set* const s = find_slot(epfd);
  if (!s || !take_word(s->busy)) return;
  const int number = static_cast<int>(s - sets) + 1;
  epoll_set* heir = nullptr;
  if (!s->same_as.load(std::memory_order_relaxed))
    for (epoll_set& each : sets)
      if (each.fd.load(std::memory_order_acquire) != 0 && each.same_as.load(std::memory_order_relaxed) == number) heir = &each;
  if (heir) {  // the set goes on under another number
    s->fd.store(heir->fd.load(std::memory_order_relaxed), std::memory_order_release);
    free_slot(*heir);
  } else {
    while (s->count) remove_at(*s, s->count - 1);
    s->generation = 0;
    free_slot(*s);
  }
  unlock_set(*s);
}

void mask_watch(int epfd, watch& w, std::uint32_t keep) {
  epoll_event e{};
  e.data.u64 = w.data;
  constexpr std::uint32_t about_events = EPOLLIN | EPOLLRDNORM | EPOLLRDBAND | EPOLLPRI | EPOLLRDHUP | EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;
  e.events = keep & about_events ? keep & ~static_cast<std::uint32_t>(EPOLLEXCLUSIVE) : static_cast<std::uint32_t>(EPOLLONESHOT);
  if (w.events & EPOLLEXCLUSIVE) {  // these refuse MOD
    sys::call(SYS_epoll_ctl, epfd, EPOLL_CTL_DEL, w.fd, nullptr);
    sys::call(SYS_epoll_ctl, epfd, EPOLL_CTL_ADD, w.fd, &e);
  } else {
    sys::call(SYS_epoll_ctl, epfd, EPOLL_CTL_MOD, w.fd, &e);
  }
  w.masked = true;
  w.silent = !(keep & about_events);
}

void unmask_watch(int epfd, watch& w) {
  epoll_event e{};
  e.data.u64 = w.data;
  e.events = w.events;
  if (w.absent) {
    sys::call(SYS_epoll_ctl, epfd, EPOLL_CTL_ADD, w.fd, &e);
    absent_count.fetch_sub(1, std::memory_order_relaxed);
  } else if (w.events & EPOLLEXCLUSIVE) {
    sys::call(SYS_epoll_ctl, epfd, EPOLL_CTL_DEL, w.fd, nullptr);
    sys::call(SYS_epoll_ctl, epfd, EPOLL_CTL_ADD, w.fd, &e);
  } else {
    sys::call(SYS_epoll_ctl, epfd, EPOLL_CTL_MOD, w.fd, &e);
  }
  w.masked = w.silent = w.absent = false;
}

void withdraw_watch(int epfd, watch& w) {
  if (w.absent) return;
  sys::call(SYS_epoll_ctl, epfd, EPOLL_CTL_DEL, w.fd, nullptr);
  w.masked = w.absent = true;
  absent_count.fetch_add(1, std::memory_order_relaxed);
}

void put_back_absent(int epfd, int fd) {
  epoll_set* s = absent_count.load(std::memory_order_relaxed) ? slot_of(epfd, when_new::nothing) : nullptr;
  if (!s || !take_word(s->busy)) return;
  if (const int at = index_of_fd(*s, fd); at >= 0 && s->watches[at].absent) unmask_watch(epfd, s->watches[at]);
  unlock_set(*s);
}

void forget_absent(int fd) {
  if (!absent_count.load(std::memory_order_relaxed)) return;
  for (epoll_set& s : sets) {
    if (s.fd.load(std::memory_order_acquire) == 0 || !take_word(s.busy)) continue;
    if (const int at = index_of_fd(s, fd); at >= 0 && s.watches[at].absent) remove_at(s, static_cast<unsigned>(at));
    unlock_set(s);
  }
}

bool for_each_watch(int fd, void (*f)(int epfd, watch& w)) {
  bool any = false;
  for (epoll_set& s : sets) {
    const int epfd = s.fd.load(std::memory_order_acquire) - 1;
    if (epfd < 0 || !take_word(s.busy)) continue;
    const bool current = s.generation.load(std::memory_order_relaxed) == page_generation();
    for (unsigned i = 0; i < s.count; ++i)
      if (s.watches[i].fd == fd && (current || still_registered(epfd, s.watches[i]))) f(epfd, s.watches[i]), any = true;
    unlock_set(s);
  }
  return any;
}

}  // namespace chaos
