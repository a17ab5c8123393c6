#include "sockets.hpp"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>

namespace chaos::proc {

namespace {

constexpr std::size_t line_bytes = 192;  // generous: a line of tcp6 has 171

std::string read_some(const std::string& path, std::size_t most) {
  std::string text;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return text;
  char chunk[65536];
  for (ssize_t n; text.size() < most && (n = read(fd, chunk, sizeof chunk)) > 0;) text.append(chunk, static_cast<std::size_t>(n));
  close(fd);
  return text;
}

template <class Number>
bool number(std::string_view word, int base, Number& out) {
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), out, base);
  return error == std::errc() && end == word.data() + word.size();
}

// "0100007F:1F90" or 32 digits of it: words of 32 bits as this machine writes them.
bool endpoint(std::string_view word, rules::ip_address& address, std::uint16_t& port) {
  const std::size_t colon = word.find(':');
  if (colon != 8 && colon != 32) return false;
  address = {};
  std::size_t at = 0;
  if (colon == 8) {
    address[10] = address[11] = 0xff;
    at = 12;
  }
  for (std::size_t i = 0; i < colon; i += 8, at += 4) {
    std::uint32_t bits = 0;
    if (!number(word.substr(i, 8), 16, bits)) return false;
    std::memcpy(address.data() + at, &bits, 4);
  }
  return number(word.substr(colon + 1), 16, port);
}

}  // namespace

bool tcp_row::connected() const {
  return inode != 0 && (state == tcp_state::established || state == tcp_state::fin_wait_1 || state == tcp_state::fin_wait_2 || state == tcp_state::close_wait);
}

std::vector<tcp_row> parse_tcp(std::string_view text, std::size_t most) {
  std::vector<tcp_row> rows;
  while (!text.empty() && rows.size() < most) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) break;  // cut off: half a row is none
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    std::string_view words[10];
    unsigned n = 0;
    while (n < 10) {
      const std::size_t begin = line.find_first_not_of(' ');
      if (begin == std::string_view::npos) break;
      line.remove_prefix(begin);
      const std::size_t stop = std::min(line.find(' '), line.size());
      words[n++] = line.substr(0, stop);
      line.remove_prefix(stop);
    }
    tcp_row row;
    std::uint8_t state = 0;
    if (n < 10 || !endpoint(words[1], row.local, row.local_port) || !endpoint(words[2], row.remote, row.remote_port) ||
        !number(words[3], 16, state) || !number(words[7], 10, row.uid) || !number(words[9], 10, row.inode))
      continue;
    row.state = static_cast<tcp_state>(state);
    rows.push_back(row);
  }
  return rows;
}

std::uint64_t socket_inode(std::string_view link) {
  constexpr std::string_view begin = "socket:[";
  std::uint64_t inode = 0;
  if (link.substr(0, begin.size()) != begin || link.back() != ']') return 0;
  return number(link.substr(begin.size(), link.size() - begin.size() - 1), 10, inode) ? inode : 0;
}

std::string text_of(const rules::ip_address& address) {
  char text[INET6_ADDRSTRLEN] = {};
  constexpr std::uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  const bool v4 = std::memcmp(address.data(), mapped, sizeof mapped) == 0;
  inet_ntop(v4 ? AF_INET : AF_INET6, address.data() + (v4 ? 12 : 0), text, sizeof text);
  return text;
}

std::string text_of(const rules::ip_address& address, std::uint16_t port) {
  const std::string text = text_of(address);
  return (text.find(':') == std::string::npos ? text : "[" + text + "]") + ":" + std::to_string(port);
}

std::vector<tcp_row> tcp_rows(std::int32_t pid) {
  std::vector<tcp_row> rows;
  for (const char* file : {"tcp", "tcp6"}) {
    const std::string text = read_some("/proc/" + std::to_string(pid) + "/net/" + file, rows_max * line_bytes);
    const auto more = parse_tcp(text, rows_max - rows.size());
    rows.insert(rows.end(), more.begin(), more.end());
  }
  return rows;
}

std::uint64_t network_namespace(std::int32_t pid) {
  struct stat s{};
  return stat(("/proc/" + std::to_string(pid) + "/ns/net").c_str(), &s) == 0 ? s.st_ino : 0;
}

bool sockets_of(std::int32_t pid, std::vector<held_socket>& out) {
  const std::string folder = "/proc/" + std::to_string(pid) + "/fd";
  DIR* const d = opendir(folder.c_str());
  if (!d) return false;
  std::size_t budget = descriptors_max;
  bool readable = true;
  while (const dirent* const entry = budget-- > 0 ? readdir(d) : nullptr) {
    if (entry->d_name[0] == '.') continue;
    char link[64];
    const ssize_t n = readlinkat(dirfd(d), entry->d_name, link, sizeof link);
    if (n <= 0) {
      readable = readable && errno != EACCES && errno != EPERM;
      continue;
    }
    if (const std::uint64_t inode = socket_inode({link, static_cast<std::size_t>(n)})) out.push_back({std::atoi(entry->d_name), inode});
  }
  closedir(d);
  return readable;
}

}  // namespace chaos::proc
