// What is known of HTTP/1.x on a connection that a rule about messages concerns: the conversation as the program sees it,
// the same for what has arrived and is not due yet, and a status line that is being given in the place of another.
#pragma once
#include "descriptors.hpp"
#include "shares.hpp"
#include "preload/core/http.hpp"
#include "preload/core/judge.hpp"

namespace chaos {

inline constexpr std::size_t http_window = 4096;  // a message is looked at by its first bytes, so many at most

struct http_line {
  std::atomic<std::uint32_t> in_use;
  core::http::conversation talk;
  core::http::replacement given;         // size 0: none
  unsigned given_so_far;
  bool given_in;                         // by reads; else by writes
  bool part_held;                        // a reader waits for the rest of a status line: the receive threshold is up

  // What arrives: ahead of the program by what the kernel holds.
  core::http::parser arriving;
  std::uint32_t arriving_answer;         // sequence of the request that is being answered
  core::http::request_note arriving_note;
  bool arriving_followed, arriving_noted, arriving_decided;
  shares arriving_held;                  // of the message at hand: all of its bytes come so much later
};

http_line* http_of(descriptor& d);       // made on first need; nullptr: this is not HTTP, or there is no room
void release_http(http_line* line);
void http_leave_alone(descriptor& d);

// These bytes have passed: read or written by the program.
void http_passed(descriptor& d, const rule_view& v, core::http::way w, const iovec* parts, std::size_t count, std::uint64_t bytes);
void http_skipped(descriptor& d, core::http::way w, std::uint64_t bytes);

// The message that the next bytes belong to.
struct http_message {
  bool known = false;                    // this is HTTP, and something is known of the message
  bool begins = false;                   // not a byte of it has passed
  bool answers = false;                  // a response
  std::uint64_t ends = ~std::uint64_t{0};// it has at most so many more bytes; when they can not be told, so many as were shown
};
http_message http_ahead(descriptor& d, const rule_view& v, core::http::way w, const iovec* parts, std::size_t count, std::uint64_t bytes);

// Takes out of a connection's rules those that do not mean the message at hand, or had their say about it.
void http_filter(descriptor& d, const rule_view& v, core::http::way w, const http_message& m, std::uint64_t (&mask)[4]);
void http_filter_out(const rule_view& v, std::uint64_t (&mask)[4]);  // no message: none of those rules
void http_decided(descriptor& d, core::http::way w);

// Is there any rule among them that acts on calls which carry messages (not only on when they arrive)?
bool http_acts_on_calls(const rule_view& v, const std::uint64_t (&mask)[4], abi::class_set acting);

// What of `fresh` bytes that stand at `offset` of the receive queue belongs to one message, and whose rules mean it. The
// entry's lock is held.
struct http_portion {
  std::uint64_t bytes;
  std::uint64_t plain[4], message[4];    // rules about the connection; about this message (empty: none, or already asked)
  shares held;                           // what they said when they were asked
  bool ends;                             // the message is complete
};
http_portion http_arrival(descriptor& d, int fd, const rule_view& v, std::uint64_t offset, std::uint64_t fresh);

// What the rules about the message at hand said.
void http_arrival_delayed(descriptor& d, const shares& held);

// Appends "http://" and the path to the connection's description.
void http_describe(const descriptor& d, core::http::way w, char* text, std::size_t room);

}  // namespace chaos
