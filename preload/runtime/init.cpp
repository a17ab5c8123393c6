// Start-up, in the constructor (-z initfirst makes it the first): real functions, clock, session, pages, identity.
// Whatever fails here leaves the shim dormant: the program runs as if it were not loaded.
#include "init.hpp"

#include <dlfcn.h>
#include <string.h>
#include <sys/auxv.h>

#include "cancellation.hpp"
#include "chaos/abi/closing.hpp"
#include "chaos/abi/session.hpp"
#include "closing.hpp"
#include "environment.hpp"
#include "errno_here.hpp"
#include "lanes.hpp"
#include "owner.hpp"
#include "process.hpp"
#include "real.hpp"
#include "stack.hpp"

namespace chaos {

int (*sys::clock_function)(clockid_t, timespec*) = nullptr;
void (*test_cancel)() = nullptr;
std::size_t (*usable_size)(void*) = nullptr;
constinit std::atomic<int>* fork_witness = nullptr;
constinit std::ptrdiff_t errno_offset = 0;

namespace {

constinit bool done = false;
constinit char** environment = nullptr;

void say(const char* a, const char* b = "", const char* c = "") {
  char line[640];
  std::size_t n = 0;
  for (const char* part : {"libchaos: ", a, b})
    for (; *part && n < sizeof line / 2; ++part) line[n++] = *part;
  for (const char* part : {c, "\n"})
    for (; *part && n < sizeof line; ++part) line[n++] = *part;
  sys::write_to(2, line, n);
}

std::uint64_t parse_number(const char* s) {
  std::uint64_t n = 0;
  for (; s && *s >= '0' && *s <= '9'; ++s) n = n * 10 + static_cast<std::uint64_t>(*s - '0');
  return n;
}

template <class Page>
Page* map_page(int fd, int protection) {
  const long p = sys::call(SYS_mmap, 0, sizeof(Page), protection, MAP_SHARED, fd, 0);
  sys::close_fd(fd);
  return p < 0 && p > -4096 ? nullptr : reinterpret_cast<Page*>(p);
}

// No dlopen here, not even of what is loaded: it would run libc's own constructor now, without arguments and environment,
// and the program would start with an empty `environ`.
void find_clock() {
  sys::clock_function = reinterpret_cast<decltype(sys::clock_function)>(dlsym(RTLD_NEXT, "clock_gettime"));
  usable_size = reinterpret_cast<decltype(usable_size)>(dlsym(RTLD_NEXT, "malloc_usable_size"));
  test_cancel = reinterpret_cast<void (*)()>(dlsym(RTLD_NEXT, "pthread_testcancel"));
}

void know_ourselves() {
  const long n = sys::read_link("/proc/self/exe", self.executable, sizeof self.executable - 1);
  self.executable[n > 0 ? n : 0] = 0;
  self.executable_hash = core::fnv1a(self.executable);
  const int fd = sys::open_file("/proc/self/comm", O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    const long got = sys::read_from(fd, self.comm, sizeof self.comm);  // 15 bytes at most, and a newline
    self.comm[got > 0 ? got - 1 : 0] = 0;
    sys::close_fd(fd);
  }
  self.run = parse_number(initial_environment(abi::env_run));
}

std::uint32_t next_ordinal() {
  const std::uint64_t key = self.executable_hash | 1;
  for (unsigned i = 0; i < abi::ordinal_slots; ++i) {
    abi::ordinal_slot& s = report->ordinals[(key + i) % abi::ordinal_slots];
    std::uint64_t there = s.key.load(std::memory_order_relaxed);
    if (there == 0 && s.key.compare_exchange_strong(there, key, std::memory_order_relaxed)) there = key;
    if (there == key) return static_cast<std::uint32_t>(s.next.fetch_add(1, std::memory_order_relaxed) + 1);
  }
  return 1;
}

std::uint64_t start_ticks() {  // field 22 of /proc/self/stat
  char text[512];
  const int fd = sys::open_file("/proc/self/stat", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const long n = sys::read_from(fd, text, sizeof text - 1);
  sys::close_fd(fd);
  if (n <= 0) return 0;
  text[n] = 0;
  const char* p = strrchr(text, ')');
  for (int field = 2; p && field < 22; ++field) p = strchr(p + 1, ' ');
  return p ? parse_number(p + 1) : 0;
}

bool claim(abi::attach_slot& s, std::int32_t holder) {
  return s.pid.compare_exchange_strong(holder, -1, std::memory_order_acq_rel);
}

// A slot of our own in the report page: the one we had before an exec, a free one, or one whose process is gone.
void attach() {
  self.attach_index = 0;
  if (!report) return;
  int chosen = -1;
  for (unsigned i = 0; i < abi::attach_max && chosen < 0; ++i)
    if (report->attached[i].pid.load(std::memory_order_relaxed) == self.pid && claim(report->attached[i], self.pid)) chosen = static_cast<int>(i);
  for (unsigned i = 0; i < abi::attach_max && chosen < 0; ++i)
    if (report->attached[i].pid.load(std::memory_order_relaxed) == 0 && claim(report->attached[i], 0)) chosen = static_cast<int>(i);
  for (unsigned i = 0; i < abi::attach_max && chosen < 0; ++i) {
    const int holder = report->attached[i].pid.load(std::memory_order_relaxed);
    if (holder > 0 && sys::call(SYS_kill, holder, 0) == -ESRCH && claim(report->attached[i], holder)) chosen = static_cast<int>(i);
  }
  self.ordinal = next_ordinal();
  if (chosen < 0) {
    report->session.attach_refused.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  abi::attach_slot& s = report->attached[chosen];
  s.ordinal = self.ordinal;
  s.start_ticks = start_ticks();
  s.attached_ns = sys::now_ns();
  s.run = self.run;
  s.limits.store(stacks_on() ? 0 : abi::attach_limits::no_stacks, std::memory_order_relaxed);
  s.generation.store(0, std::memory_order_relaxed);
  s.parent = static_cast<int>(sys::call(SYS_getppid));
  s.functions = abi::function_count;
  memcpy(s.comm, self.comm, sizeof s.comm);
  const std::size_t n = strlen(self.executable);
  const char* tail = n < sizeof s.executable ? self.executable : self.executable + n - sizeof s.executable + 1;
  memcpy(s.executable, tail, strlen(tail) + 1);
  self.attach_index = static_cast<std::uint32_t>(chosen) + 1;
  s.pid.store(self.pid, std::memory_order_release);
}

void make_identity() {
  self.pid = sys::pid();
  attach();
  self.key = core::random_key{self.executable_hash}.with(self.ordinal);
}

bool make_fork_witness() {
  void* p = sys::pages(4096, false);
  if (!p) return false;
  sys::call(SYS_madvise, p, 4096, 18 /* MADV_WIPEONFORK */);
  fork_witness = static_cast<std::atomic<int>*>(p);
  fork_witness->store(self.pid, std::memory_order_relaxed);
  return true;
}

bool attach_session() {
  const unsigned euid = static_cast<unsigned>(sys::call(SYS_geteuid));
  const abi::path_buffer base = abi::base_folder<sys::session_files>(initial_environment(abi::env_dir), euid);
  const char* session = initial_environment(abi::env_session);
  if (session && *session && !abi::valid_session_name(session)) {
    say("dormant: CHAOS_SESSION '", session, "' can not be the name of a session: letters, digits, '.', '_' and '-', not beginning with '.', at most 64");
    return false;
  }
  const abi::path_buffer folder = abi::session_folder(base, session);
  if (abi::make_session_folder<sys::session_files>(base, folder, euid) != abi::folder_state::ready) return false;

  timespec now{};
  sys::call(SYS_clock_gettime, CLOCK_REALTIME, &now);
  const std::uint64_t created = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
  int rules = -1, reports = -1;
  abi::path_buffer rules_path = folder, report_path = folder;
  rules_path.add("/").add(abi::rule_page_name);
  report_path.add("/").add(abi::report_page_name);
  const auto one = abi::make_page<sys::session_files, abi::rule_page>(rules_path.text, abi::rule_page_magic, created, false, rules);
  const auto two = one == abi::page_state::ready
      ? abi::make_page<sys::session_files, abi::report_page>(report_path.text, abi::report_page_magic, created, true, reports)
      : one;
  if (one == abi::page_state::other_version || two == abi::page_state::other_version)
    say("dormant: the pages in ", folder.text, " are of another version; restart chaosd and the target with one version");
  if (one != abi::page_state::ready || two != abi::page_state::ready) {
    if (rules >= 0) sys::close_fd(rules);
    return false;
  }
  const auto* mapped = map_page<abi::rule_page>(rules, PROT_READ);
  report = map_page<abi::report_page>(reports, PROT_READ | PROT_WRITE);
  if (!mapped || !report) { report = nullptr; return false; }
  abi::path_buffer closing = folder;
  closing_socket_is(closing.add("/").add(abi::closing_socket_name).text);
  if (!make_fork_witness()) { report = nullptr; return false; }
  make_identity();
  prepare_owners();
  page = mapped;
  return true;
}

}  // namespace

bool start_up_done() { return done; }

const char* initial_environment(const char* name) {
  const std::size_t n = strlen(name);
  for (char** e = environment; e && *e; ++e)
    if (strncmp(*e, name, n) == 0 && (*e)[n] == '=') return *e + n + 1;
  return nullptr;
}

void reset_after_fork();  // descriptors.cpp: nobody holds a word of ours in the child

bool in_vfork_child() { return fork_witness && fork_witness->load(std::memory_order_relaxed) != 0 && sys::pid() != self.pid; }

void renew_after_fork() {
  if (!fork_witness || fork_witness->load(std::memory_order_relaxed) != 0) return;
  fork_witness->store(sys::pid(), std::memory_order_relaxed);
  reset_after_fork();  // executable, name and run are the parent's: the environment may long be overwritten
  make_identity();
  forget_views();
}

// Exported by chaosd and chaos-ctl, in which the shim stays dormant. Bound by the loader: asked for by dlsym, what is not there costs an
// allocation, and a malloc of the program's own (clang's TSan) can not be called before the program has begun.
extern "C" [[gnu::weak, gnu::visibility("default")]] const char chaos_controller_marker[];

__attribute__((constructor)) static void start_up(int, char**, char** envp) {
  // glibc hands constructors the environment, and `environ` is not set yet (we are the first); musl hands them nothing, and
  // it is set. Asked at run time: one library serves both.
  environment = dlsym(RTLD_DEFAULT, "gnu_get_libc_version") ? envp : environ;
  resolve_real_functions();
  find_clock();
  find_rseq();
  find_errno();
  find_clean_ups();
  find_threads();
  done = true;
  if (chaos_controller_marker) return;  // chaosd, chaos-ctl: never their own victims
  // Only in the constructor's own copy do these strings stay what they are; later readers use what was derived here.
  self.pid = sys::pid();
  know_ourselves();
  const char* stacks = initial_environment(abi::env_stacks);
  find_stacks(stacks && *stacks && strcmp(stacks, "0") != 0);
  if (attach_session()) hooks::edit_environment(environment);
}

}  // namespace chaos
