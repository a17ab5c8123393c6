// The delay line of one connection: the kernel's receive buffer holds the bytes, this holds when each of them is due.
//
// Arrivals are recorded as (cumulative bytes, due time), so that latency is per byte and never a bandwidth limit. How
// much has arrived is what was consumed plus what the kernel says is queued (SIOCINQ). While a waiter holds, the receive
// threshold (SO_RCVLOWAT) lies above what has arrived: the kernel is quiet, and tells of the next arrival.
#pragma once
#include <atomic>
#include <cstdint>

#include "descriptors.hpp"
#include "shares.hpp"

namespace chaos {

struct overtaken_datagram;

struct delay_line {
  static constexpr unsigned stamps_max = 128;
  static constexpr unsigned holders_max = 4;    // rules that hold arrivals at one time; of more the last ones end together
  static constexpr unsigned buckets_max = 4;
  // Nothing is due before what came before it. That is seen to where it is read, as a rule may go and take its share along.
  struct timing { std::uint64_t due_ns; std::uint32_t share_us[holders_max]; };
  struct stamp { std::uint64_t upto; timing when; };
  struct bucket { std::uint32_t rule; std::uint64_t rate, empty_ns; std::atomic<std::uint64_t>* shared; std::uint64_t through_ns; };
  std::atomic<std::uint32_t> in_use;
  std::uint32_t epoch;                // of the rules when it was last looked at (rule_view)
  std::uint64_t consumed;             // bytes read since the line began
  std::uint64_t seen;                 // consumed + queued, at the latest look
  std::uint64_t latest_due_ns;        // of what is held; datagrams: of the one at the head
  std::uint32_t holders[holders_max]; // rules that the shares belong to; 0: free
  unsigned first, count;              // ring of stamps
  stamp stamps[stamps_max];
  bool end_seen;                      // FIN, error or hang-up was seen
  timing end;
  std::uint64_t last_arrival_ns;
  std::uint32_t step;                 // threshold lies this far above what has arrived
  shares owed;                        // by what comes next: what non-blocking senders were to wait
  std::uint64_t held_since_ns;        // datagrams: the one at the head came then; a connect: it was begun
  shares held;                        // and is held for so long
  std::uint32_t send_rule;            // by which nothing may be sent before descriptor::send_due_ns
  std::uint64_t stamped_since_ns;     // datagrams: the kernel keeps receive times since then; 0: it was not asked to
  std::uint32_t blackhole_rule;       // nothing moves while this rule is in force
  abi::class_set blackhole_classes;   // ways that it cuts off
  std::uint64_t blackhole_until_ns;   // then the connection closes; 0: it does not
  std::uint32_t ends_rule;            // the connection is reset at `ends_ns` while this rule is in force; 0: nobody knows of that
  std::uint32_t end_asked;            // generation of the rules in which a wait asked when it ends
  std::uint64_t ends_ns;
  bool reset_owed;                    // it was reset in a wait: the next call says so
  bucket buckets[buckets_max];        // data is released at their rates while their rules are in force. rule 0: free. Virtual time: when it is
                                      // empty; `shared`: that of all connections; datagrams: when the one at the head is through
  bool head_judged, head_lost, head_twice;  // datagrams: the one at the head was looked at
  std::uint32_t twice_owed;           // so many receives leave the one at the head where it is; another thread may have taken the one meant
  std::uint32_t head_rule;            // one that took effect on it; 0: none did
  std::uint32_t head_overtakers;      // so many later ones are to pass the one at the head; 0: none
  std::uint32_t overtake_rule;        // which says so
  std::uint64_t overtake_until_ns;    // it waits for the first of them until then
  overtaken_datagram* overtaken;      // the one that others pass; nullptr: none
  std::uint32_t overtakers_left;
  bool head_given;                    // the one at the head was given, and not taken yet
  int threshold;                      // SO_RCVLOWAT as we set it; 0: as the program has it
  int own_threshold;                  // what the program set itself; 0: never
};

delay_line* line_of(descriptor& d);  // begun when there is none; nullptr: no more can be had. The entry is locked
void release_line(delay_line* line);

struct due {
  std::uint64_t bytes = 0;        // may be read now
  std::uint64_t next_ns = 0;      // when more is due; 0: nothing is held back
  bool end = false;               // end of stream or error may be seen now
  bool gated = false;             // a delay is in force on this connection
  bool blocked = false;           // black-holed: nothing is due until the rule is gone
  bool empty = false;             // nothing was there to be read: what has come since was not looked at
  std::uint64_t least = 1;        // fewer bytes are nothing to be told of (the program's own SO_RCVLOWAT)
  std::uint64_t ends_ns = 0;      // the connection is reset then; 0: nobody knows of that
  bool undue() const { return gated && bytes < least && !end && next_ns != 0; }
};

// For waits: a rule may have the stream stand still from here on, as the read would be told.
void ask_whether_it_stands(descriptor& d, int fd, const rule_view& v, abi::function_id function, const void* caller);
bool is_wait(abi::function_id f);

// Looks at what has arrived, stamps what is new (judging its delay), and says what is due. `function` is what the
// injection is reported under. Takes the entry's lock for the moment.
due look(descriptor& d, int fd, const rule_view& v, abi::function_id function, const void* caller);

// What a sender that asked not to wait owes: it is on what arrives next, as far as the rules that say so are in force then.
void charge(descriptor& d, const core::judgement& judged);
void take_charge(descriptor& d, delay_line& line, std::uint64_t now_ns, shares& to);  // the entry is locked

// The bucket of a rule that fired, begun empty; nullptr: there are too many.
delay_line::bucket* bucket_of(delay_line& line, const core::fired_rule& r, std::uint64_t now_ns);

// Bytes were taken out of the kernel's queue.
void consumed(descriptor& d, std::uint64_t bytes);

// libc has read on its own (stdio): what is missing in the queue was consumed.
void consumed_unseen(descriptor& d, int fd);

// True while the readiness of data on this descriptor can be delayed by some rule in force, or bytes are still held.
bool gates(const descriptor& d, const rule_view& v);
// The same, as far as it is known without asking the kernel what has arrived.
bool holds(const descriptor& d);
// Like gates, for connects that are not to be seen finished, for black-holed output, and for streams that a rule may have
// stand still as soon as something has arrived: what waits ask.
bool gates_any(const descriptor& d, const rule_view& v);

}  // namespace chaos
