// What /proc tells of a process's TCP sockets: the rows of /proc/PID/net/tcp and tcp6, and which descriptors hold them.
// For chaosd, which breaks live connections, and for `doctor`, which names those that there are. Every look is bounded.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "control/rules/targets.hpp"

namespace chaos::proc {

inline constexpr std::size_t rows_max = 65536;          // of one network namespace
inline constexpr std::size_t descriptors_max = 65536;   // of one process

enum class tcp_state : std::uint8_t {  // the kernel's numbers
  established = 1, syn_sent, syn_received, fin_wait_1, fin_wait_2, time_wait, close, close_wait, last_ack, listen, closing
};

struct tcp_row {
  rules::ip_address local{}, remote{};  // IPv4 as ::ffff:a.b.c.d
  std::uint16_t local_port = 0, remote_port = 0;
  tcp_state state = tcp_state::close;
  std::uint32_t uid = 0;
  std::uint64_t inode = 0;
  bool connected() const;               // there is a peer that can be reset
};

// The text of /proc/PID/net/tcp (or tcp6): its heading and lines that make no sense are passed over.
std::vector<tcp_row> parse_tcp(std::string_view text, std::size_t most = rows_max);

// "socket:[4711]" → 4711; 0: something else.
std::uint64_t socket_inode(std::string_view link);

std::string text_of(const rules::ip_address& address);                      // 127.0.0.1, ::1
std::string text_of(const rules::ip_address& address, std::uint16_t port);  // 127.0.0.1:80, [::1]:80

std::vector<tcp_row> tcp_rows(std::int32_t pid);        // of the network namespace of that process
std::uint64_t network_namespace(std::int32_t pid);      // 0: not to be known

struct held_socket {
  int fd;
  std::uint64_t inode;
};
// Sockets of every kind among the descriptors of a process. False: it may not be looked into.
bool sockets_of(std::int32_t pid, std::vector<held_socket>& out);

}  // namespace chaos::proc
