// The common road of a hooked call: facts → decision → effect → event. table.cpp generates one hook for each row of
// functions.def around it; what can not go the common road has a function of its own (own.hpp).
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "quick_no.hpp"
#include "preload/runtime/cancellation.hpp"
#include "preload/runtime/decide.hpp"
#include "preload/runtime/delay_line.hpp"
#include "preload/runtime/descriptors.hpp"
#include "preload/runtime/process.hpp"
#include "preload/runtime/real.hpp"

namespace chaos::hooks {

// Of sendfile and its like: which end of it a descriptor is.
enum class transfer_end : std::uint8_t { none, source, sink };

// The facts of a call that rules may match or bend. Pointers to arguments are the hook's own copies.
struct call {
  int fd = -1;
  int fd2 = -1;                 // original of dup
  int closes = -1;              // descriptor that the call closes on the way (dup2)
  void** in = nullptr;          // buffer to be filled
  const void** out = nullptr;   // buffer to be sent; a corrupting rule points it at a copy
  size_t* size = nullptr;
  const iovec** iov = nullptr;
  int* iov_count = nullptr;
  msghdr** msg_in = nullptr;
  const msghdr** msg_out = nullptr;
  int* flags = nullptr;
  int how = -1;                 // shutdown's
  transfer_end end_of_transfer = transfer_end::none;
  sockaddr* from = nullptr;
  socklen_t* from_len = nullptr;
  const sockaddr* to = nullptr;
  socklen_t to_len = 0;
  int dir = AT_FDCWD;
  const char* path = nullptr;
  const char* path2 = nullptr;
  FILE* stream = nullptr;
  off64_t at = -1;              // where positioned I/O goes
  off64_t end = -1;             // how long the file is to become (ftruncate, fallocate)
};

enum class road : std::uint8_t {
  pass,      // nothing to do with us
  go,        // make the real call, then leave()
  fail,      // frame::error
  done       // frame::result without a real call
};

inline constexpr unsigned iov_max = 16;
inline constexpr std::size_t copy_max = 64 * 1024;  // a corrupted send moves at most so much at once: a legal short write

// All that belongs to one call under way. No destructor: cancellation may cross it.
struct frame {
  abi::function_id function;
  abi::class_set acts_as;       // row's classes; enter() narrows them to the one class that this call is, here
  call c;
  const void* caller;
  const rule_view* view;
  std::uint32_t newest;         // of the rules when the call was entered: later ones act from the next call on
  descriptor* d;
  decision made;
  std::int32_t error;
  long result;
  std::uint64_t moves;          // bytes that the call could move, as the program asked
  std::uint64_t wanted, gathered;  // MSG_WAITALL: bytes in all, and of earlier rounds
  std::uint64_t pending;        // bytes that a stream still holds
  std::int8_t nonblocking_;     // -1: not asked yet
  bool peeks, capped;
  bool twice;                   // the datagram goes out twice
  bool handed_over;             // chaosd brings the end about, later
  bool http;                    // http_mask instead of the descriptor's
  bool once_more;               // leave(): call again (a lost datagram, MSG_WAITALL in pieces)
  std::uint64_t due_bytes;      // that a reader may see by now
  std::uint64_t http_mask[4];   // rules that mean the HTTP message which the call carries
  void* copy;                   // pages that a corrupted send goes out of
  std::size_t copy_bytes;
  clean_up if_cancelled;        // what the call had taken, and has to tell, when its thread is cancelled in it
  bool guarded;
  iovec iov[iov_max];
  msghdr msg;
  msghdr* asked_msg;            // the program's own, while f.msg stands in for it
  std::size_t asked_control;    // room for control data and a name in it, before a round of MSG_WAITALL told what came
  socklen_t asked_name;
  sockaddr_storage sender;      // of the datagram that an unconnected socket has next
};

// Shared by all calls on descriptors and paths; table.cpp calls them through run().
road enter(frame& f);

// Parts of the common road that others use as well (http.cpp).
bool nonblocking(frame& f);
bool look_anew(frame& f);                               // after a wait: f.view is that of now. False: no rule is to be asked any more
void limit_to(frame& f, std::uint64_t cap);             // the call moves at most so much
void stand_in(frame& f, const msghdr* asked);           // f.msg for the program's own header
std::uint64_t deadline_of(int fd, int option, std::uint64_t now);
int wait_for_input(descriptor& d, int fd, const due& q, std::uint64_t until);  // 0, or EINTR

// After the real call: accounts, corrupts, reports. Returns what the program gets; `error` is errno then.
long leave(frame& f, long result, int& error);

template <abi::fails how, class Ret>
inline Ret failure(int error) {
  if constexpr (how == abi::fails::code || how == abi::fails::eai) return static_cast<Ret>(error);
  errno = error;
  if constexpr (how == abi::fails::minus_one || how == abi::fails::eof) return static_cast<Ret>(-1);
  else if constexpr (__is_same(Ret, void)) return;
  else return Ret{};
}

template <abi::fails how, class Ret, class Real>
[[gnu::noinline]] Ret run_slowly(abi::function_id self, abi::class_set classes, const call& c, const void* caller, Real real_call) {
  frame f;  // not initialised: large, and most calls touch little of it
  f.function = self;
  f.c = c;
  f.caller = caller;
  f.gathered = 0;
  for (;;) {
    f.acts_as = classes;
    const int before = errno;
    const road way = enter(f);
    errno = before;
    switch (way) {
      case road::pass: return real_call();
      case road::fail:
        if (f.gathered) return (Ret)(long)f.gathered;
        return failure<how, Ret>(f.error);
      case road::done: return (Ret)(f.result + (long)f.gathered);
      case road::go: break;
    }
    const Ret result = real_call();
    if (f.twice && (long)result >= 0) real_call();
    int error = how == abi::fails::code ? static_cast<int>((long)result) : errno;
    const long given = leave(f, (long)result, error);
    if (f.once_more) { errno = before; continue; }
    if (f.error) return failure<how, Ret>(f.error);
    errno = error;
    return (Ret)given;
  }
}

template <abi::function_id self, class Ret, class Make, class Real>
[[gnu::always_inline]] inline Ret run(Make make_call, const void* caller, Real real_call) {
  constexpr const abi::function_info& info = abi::function_table[static_cast<unsigned>(self)];
  return run_slowly<info.how, Ret>(self, info.classes, make_call(), caller, real_call);
}

// What concerns the whole thread or process (process.cpp).
bool serve_pause(decision& made, std::int32_t& error);
[[gnu::visibility("hidden")]] extern std::atomic<std::uint64_t> all_paused_until;  // pause --process-wide; 0: never
inline bool others_paused() { return all_paused_until.load(std::memory_order_relaxed) != 0; }
void wait_with_the_others();
[[noreturn]] void end_process(const decision& made);  // report first

struct inside_scope {
  inside_scope() { ++this_thread.depth; }
  void end() { --this_thread.depth; }  // by hand: no destructor across a cancellation point
};

}  // namespace chaos::hooks
