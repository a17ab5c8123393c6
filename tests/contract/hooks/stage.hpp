// What the rows of the contract test act on: a fresh set of sockets, files and streams for every single call, made before
// any rule is in force, so that a rule hits nothing but the call under test.
#pragma once
#include <dirent.h>
#include <malloc.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

#include <cerrno>
#include <ostream>
#include <string>
#include <vector>

#include "tests/support/name_server.hpp"
#include "tests/support/sockets.hpp"
#include "tests/support/temporary_folder.hpp"

namespace chaos::contract {

using testing_support::unique_fd;

inline constexpr std::size_t odd_size = 12345;  // what the rows allocate; nobody else here does

// What a rule must be aimed at to hit the call of a row; `nothing`: no kind can fail this call.
enum class aim { stream, datagram, listening, address, file, second_file, stdio, path, folder, fresh, folder_fd, memory, descriptors, name, variable, nothing };

struct stage {
  testing_support::temporary_folder folder;
  testing_support::tcp_pair tcp;       // "hello" waits at near
  testing_support::udp_pair udp;       // "hello" waits at near
  testing_support::listener waiting;   // a connection waits to be accepted
  unique_fd caller{socket(AF_INET, SOCK_STREAM, 0)}, unconnected{socket(AF_INET, SOCK_STREAM, 0)};
  std::string path = folder.path() + "/file", fresh = folder.path() + "/fresh";
  unique_fd file, second;
  off_t at = 3;                        // where calls that may be positioned act in `file`; -1: where it stands
  FILE* stream;
  DIR* directory;
  unique_fd epoll{epoll_create1(0)}, folder_fd;
  std::vector<int> made;               // descriptors that the call made
  std::vector<void*> taken;            // memory that it gave out

  stage() {
    FILE* const f = ::fopen(path.c_str(), "w");
    ::fputs("hello world\n", f);
    ::fclose(f);
    file = ::open(path.c_str(), O_RDWR);
    second = ::open((folder.path() + "/second").c_str(), O_RDWR | O_CREAT, 0600);
    stream = ::fopen(path.c_str(), "r+");
    directory = ::opendir(folder.path().c_str());
    folder_fd = ::open(folder.path().c_str(), O_RDONLY | O_DIRECTORY);
    const sockaddr_in to = testing_support::loopback(waiting.port);
    ::connect(caller, testing_support::generic(to), sizeof to);
    ::send(tcp.far, "hello", 5, 0);
    ::send(udp.far, "hello", 5, 0);
    for (int fd : {static_cast<int>(tcp.near), static_cast<int>(udp.near), static_cast<int>(waiting.fd)}) {
      pollfd p{fd, POLLIN, 0};
      ::poll(&p, 1, 5000);
    }
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.fd = tcp.near;
    ::epoll_ctl(epoll, EPOLL_CTL_ADD, tcp.near, &e);
  }
  ~stage() {
    if (stream) ::fclose(stream);
    if (directory) ::closedir(directory);
    for (int fd : made) ::close(fd);
    for (void* p : taken) ::free(p);
  }

  std::string target(aim a) const {
    const auto fd = [](int n) { return "fd:" + std::to_string(n); };
    switch (a) {
      case aim::stream: return fd(tcp.near);
      case aim::datagram: return fd(udp.near);
      case aim::listening: return "listen:" + std::to_string(waiting.port);
      case aim::address: return waiting.target();
      case aim::file: return fd(file);
      case aim::second_file: return fd(second);
      case aim::stdio: return fd(fileno(stream));
      case aim::path: return "file:" + path;
      case aim::folder: return "file:" + folder.path();
      case aim::fresh: return "file:" + fresh;
      case aim::folder_fd: return fd(dirfd(directory));
      case aim::memory: return "malloc";
      case aim::descriptors: return "process";
      case aim::name: return "dns:127.0.0.1";
      case aim::variable: return "env:PATH";
      case aim::nothing: break;
    }
    return "";
  }
};

// What a call came to, in a form that two runs of it can be compared in.
struct outcome {
  bool failed = false;
  int error = 0;       // errno, or the code returned; 0 when it did not fail
  std::string value;
  bool operator==(const outcome&) const = default;
};
inline std::ostream& operator<<(std::ostream& out, const outcome& o) {
  return out << o.value << (o.failed ? " errno " + std::to_string(o.error) : "");
}

inline outcome number(long result, std::string with = "") {
  const int error = errno;
  return {result == -1, result == -1 ? error : 0, std::to_string(result) + with};
}
inline outcome bytes(long result, const char* buffer) { return number(result, result > 0 ? " " + std::string(buffer, static_cast<std::size_t>(result)) : ""); }
inline outcome descriptor(stage& s, int result) {
  const outcome o = number(result < 0 ? -1 : 0);
  if (result >= 0) s.made.push_back(result);
  return o;
}
inline outcome pointer(const void* result, std::string what = "pointer") {
  const int error = errno;
  return {!result, result ? 0 : error, result ? what : "null"};
}
inline outcome memory(stage& s, void* result, std::size_t align = 16) {
  const outcome o = pointer(result, reinterpret_cast<std::uintptr_t>(result) % align ? "unaligned" : "aligned");
  if (result) s.taken.push_back(result);
  return o;
}
inline outcome code(int result) { return {result != 0, result, std::to_string(result)}; }
inline outcome items(std::size_t result, std::string with = "") {
  const int error = errno;
  return {result == 0, result == 0 ? error : 0, std::to_string(result) + with};
}

}  // namespace chaos::contract
