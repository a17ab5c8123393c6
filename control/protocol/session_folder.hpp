// Where the session is (abi/session.hpp over libc), for chaosd, chaos-ctl and tests.
#pragma once
#include <cstdint>
#include <string>

#include "chaos/abi/session.hpp"
#include "control/rules/problem.hpp"

namespace chaos::protocol {

struct libc_sys {  // the `Sys` of abi/session.hpp
  static int mkdir(const char* path, unsigned mode);
  static bool owner(const char* path, unsigned& uid, unsigned& mode);
  static int create(const char* path);
  static int open(const char* path, bool writable);
  static int read(int fd, void* into, std::size_t n);
  static int write(int fd, const void* from, std::size_t n);
  static long size(int fd);
  static int allocate(int fd, long n);
  static int link(const char* from, const char* to);
  static void unlink(const char* path);
  static void close(int fd);
  static int pid();
};

struct session_location {
  std::string session;  // "default"
  std::string base;     // "/run/user/0/chaos"
  std::string folder;   // base/session
  std::string file(const char* name) const { return folder + "/" + name; }
};

// Empty arguments: CHAOS_DIR and CHAOS_SESSION, else the defaults. Nothing is made.
rules::result<session_location> locate_session(const std::string& dir, const std::string& session);

// Makes the folder, or says why not: owned by someone else, writable by others, no room.
rules::result<rules::done> make_session(const session_location& where);

}  // namespace chaos::protocol
