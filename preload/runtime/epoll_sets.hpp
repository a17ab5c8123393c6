// Epoll sets as the program sees them, for those registrations that a rule could concern. Registrations made before any
// rule was in force are read back from /proc/self/fdinfo; after that epoll_ctl is followed.
#pragma once
#include <sys/epoll.h>

#include <atomic>
#include <cstdint>

#include "descriptors.hpp"

namespace chaos {

struct watch {
  std::uint64_t data;      // what the program gets back
  std::uint64_t due_ns = 0;  // while held
  int fd;
  std::uint32_t events;    // what the program registered
  bool held = false;       // its input (or all of it) is not to be seen now
  bool masked = false;     // the kernel's registration is not the program's: put it back
  bool absent = false;     // taken out of the kernel's set altogether, until it is unmasked
  bool silent = false;     // masked down to one last event; never again while it is silent: each mask makes an event anew
  std::uint64_t told_out_ns = 0;       // when its readiness to send was last told of while its input was held
  std::uint64_t told_out_bytes = 0;    // and how much had been sent then
  std::uint64_t tell_out_again_ns = 0; // told so lately that it was left out this time; 0: nothing was left out
};

struct epoll_set {
  std::atomic<int> fd;             // + 1; 0: slot free
  std::atomic<std::uint32_t> busy; // tid
  std::atomic<std::uint32_t> generation;
  std::atomic<int> same_as;            // + 1: the slot that knows this set, by another of its descriptors; 0: this one does
  std::atomic<std::uint32_t> compared; // the generation in which it was compared with the others; 0: not yet
  std::uint32_t change;
  unsigned count, capacity, held;
  watch* watches;                  // sorted by data
  std::size_t mapped_bytes;
};

// The set behind an epoll descriptor, loaded for this generation and locked; nullptr when nothing in it can be
// concerned, or it can not be had. Give it back with unlock_set.
epoll_set* lock_set(int epfd, const rule_view& v, bool even_empty = false);
epoll_set* lock_loaded(int epfd);  // as it was loaded last; nullptr: it never was
bool is_set_of(const epoll_set& s, int epfd);
bool relock_set(epoll_set& s);
void unlock_set(epoll_set& s);

watch* find_watch(epoll_set& s, std::uint64_t data);
int followed_ctl(int epfd, int op, int fd, epoll_event* event, const rule_view& v);  // epoll_ctl itself, and what it changes here
bool is_current(const epoll_set& s, const rule_view& v);      // locked: it is as these rules and the kernel have it
void reload_set(epoll_set& s, int epfd, const rule_view& v);  // locked: else

void forget_set(int epfd);       // the epoll descriptor was closed or is new
bool holds_set(const descriptor& d);  // is it a set of epoll?
void sets_changed();             // a descriptor that may already be registered has come to be matched: load anew

// The kernel's registration to `keep` of the program's events (to nothing but one last event when none of them is left),
// and back to the program's own, which has the kernel tell again of what is there.
void mask_watch(int epfd, watch& w, std::uint32_t keep);
void unmask_watch(int epfd, watch& w);
// Takes it out of the kernel's set, which is then silent about it whatever happens; unmask_watch puts it back. For sets that
// nobody waits on themselves: the one last event of a mask would stay in them.
void withdraw_watch(int epfd, watch& w);
void put_back_absent(int epfd, int fd);  // the program is about to change its registration
void forget_absent(int fd);              // it is closed

// Applies f(epfd, watch) to every watch of the descriptor in every loaded set.
// Registered again it tells again of what it has told of.
inline bool repeats_edges(const watch& w) { return (w.events & EPOLLET) && !(w.events & EPOLLONESHOT) && !w.held; }
bool for_each_watch(int fd, void (*f)(int epfd, watch& w));  // false: there is none

}  // namespace chaos
