#include "page_writer.hpp"

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <ctime>
#include <utility>

#include "chaos/abi/breaker_commands.hpp"
#include "loop.hpp"

namespace chaos::daemon {

using rules::problem;
using rules::problem_code;
using rules::result;

void publish_into(abi::rule_page& page, const rules::bank_image& image) {
  std::uint32_t next = page.generation.load(std::memory_order_relaxed) + 1;
  if (next == 0) next = 2;  // 0 means that nothing was ever published
  abi::rule_bank& bank = page.banks[next % 2];
  bank.generation.store(0, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);  // whoever sees a new byte below sees the 0 above
  bank.count = static_cast<std::uint32_t>(image.rules.size());
  bank.text_used = static_cast<std::uint32_t>(image.text.size());
  if (!image.rules.empty()) std::memcpy(bank.rules, image.rules.data(), image.rules.size() * sizeof(abi::rule));
  std::memcpy(bank.text, image.text.data(), image.text.size());
  bank.checksum = rules::checksum_of(bank.rules, bank.count, bank.text, bank.text_used);
  bank.generation.store(next, std::memory_order_release);
  page.generation.store(next, std::memory_order_release);
  page.armed_classes.store(image.armed, std::memory_order_release);
  syscall(SYS_futex, &page.generation, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

result<page_writer> page_writer::open(const protocol::session_location& where) {
  const std::string path = where.file(abi::rule_page_name);
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  const auto created = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
  int fd = -1;
  std::uint32_t found = 0;
  switch (abi::make_page<protocol::libc_sys, abi::rule_page>(path.c_str(), abi::rule_page_magic, created, true, fd, &found)) {
    case abi::page_state::ready: break;
    case abi::page_state::other_version:
      return problem{problem_code::version_mismatch, "the rule page " + path + " is of version " + std::to_string(found) +
                         " or broken; this chaosd writes version " + std::to_string(abi::abi_version) +
                         ": end the targets of that session and remove its folder, or use another --session", path, {}};
    default:
      return problem{problem_code::failed, "can not make the rule page " + path + ": " + std::strerror(errno), path, {}};
  }
  void* const at = mmap(nullptr, sizeof(abi::rule_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) {
    close(fd);
    return problem{problem_code::failed, "can not map the rule page " + path + ": " + std::strerror(errno), path, {}};
  }
  return page_writer(fd, static_cast<abi::rule_page*>(at));
}

page_writer::page_writer(page_writer&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), page_(std::exchange(other.page_, nullptr)), armed_(other.armed_),
      holds_(other.holds_), books_(other.books_), connects_(other.connects_) {}

page_writer::~page_writer() {
  if (page_) munmap(page_, sizeof(abi::rule_page));
  if (fd_ >= 0) close(fd_);
}

namespace {
constexpr std::uint64_t books_linger_ns = 5'000'000'000;
constexpr std::uint64_t connect_patience_ns = 130'000'000'000;  // six retries of a SYN, doubling from one second
constexpr abi::class_set bookkeeping =
    abi::classes::readiness | abi::classes::close | abi::classes::descriptor | abi::classes::option | abi::classes::data | abi::classes::connect;
}  // namespace

abi::class_set page_writer::lingering_now() const { return books_.classes | connects_.classes; }

void page_writer::publish(const rules::bank_image& image) {
  const std::uint64_t now = monotonic_ns();
  if (const abi::class_set gone = armed_ & ~image.armed & ~image.paused & bookkeeping) books_ = {books_.classes | gone, now + books_linger_ns};
  if (holds_ && !image.holds) connects_ = {abi::classes::readiness | abi::classes::connect, now + connect_patience_ns};
  holds_ = image.holds;
  armed_ = image.armed;
  rules::bank_image published = image;
  published.armed |= lingering_now();
  publish_into(*page_, published);
  renew_lease();
}

void page_writer::renew_lease() {
  const std::uint64_t now = monotonic_ns();
  page_->lease_until_ns.store(now + abi::lease_ns, std::memory_order_release);
  const abi::class_set before = lingering_now();
  for (lingering* const l : {&books_, &connects_})
    if (now > l->until_ns) *l = {0, 0};
  if (lingering_now() != before) page_->armed_classes.store(armed_ | lingering_now(), std::memory_order_release);
}

void page_writer::stop_lingering() {
  books_ = connects_ = {0, 0};
  page_->armed_classes.store(armed_, std::memory_order_release);
}

void page_writer::end_lease() { page_->lease_until_ns.store(0, std::memory_order_release); }

std::uint64_t page_writer::lease_left_ns() const {
  const std::uint64_t until = page_->lease_until_ns.load(std::memory_order_acquire), now = monotonic_ns();
  return until > now ? until - now : 0;
}

void page_writer::take_over(std::uint64_t seed, int pid) {
  page_->armed_classes.store(0, std::memory_order_release);
  release_breakers();
  page_->session_seed = seed;
  page_->daemon_pid.store(static_cast<std::uint32_t>(pid), std::memory_order_release);
}

std::vector<breaker_order> page_writer::breaker_orders() const {
  std::vector<breaker_order> out;
  for (const auto& c : page_->breakers) {
    const std::uint32_t command = c.command.load(std::memory_order_relaxed);
    for (const auto& row : abi::breaker_command_table)
      if (c.name[0] && row.number == command && row.lasts) out.push_back({{c.name, strnlen(c.name, sizeof c.name)}, command});
  }
  return out;
}

bool page_writer::order_breaker(const std::string& name, std::uint32_t command, const std::set<std::string>& living) {
  using slot = abi::rule_page::breaker_command;
  const auto name_of = [](const slot& c) { return std::string(c.name, strnlen(c.name, sizeof c.name)); };
  std::set<std::string> kept = living;
  for (const breaker_order& o : breaker_orders()) kept.insert(o.name);
  slot *same = nullptr, *free = nullptr;
  std::uint32_t highest = 0;
  for (slot& c : page_->breakers) {
    highest = std::max(highest, c.sequence.load(std::memory_order_relaxed));
    if (!same && name_of(c) == name) same = &c;
    if (!free && (!c.name[0] || !kept.count(name_of(c)))) free = &c;
  }
  slot* const chosen = same ? same : free;
  if (!chosen || name.empty() || name.size() >= sizeof chosen->name) return false;
  if (chosen != same) {  // nobody finds it by a name that is only half there
    chosen->name[0] = 0;
    std::atomic_thread_fence(std::memory_order_release);
    chosen->command.store(0, std::memory_order_release);
    std::memset(chosen->name + 1, 0, sizeof chosen->name - 1);
    std::memcpy(chosen->name + 1, name.c_str() + 1, name.size() - 1);
  }
  chosen->command.store(command, std::memory_order_relaxed);
  chosen->sequence.store(highest + 1, std::memory_order_release);
  chosen->name[0] = name[0];
  ask_breakers();
  return true;
}

void page_writer::ask_breakers() { page_->breaker_generation.fetch_add(1, std::memory_order_release); }

unsigned page_writer::release_breakers() {
  const std::vector<breaker_order> orders = breaker_orders();
  std::set<std::string> names;
  for (const breaker_order& o : orders) names.insert(o.name);
  for (const std::string& name : names) order_breaker(name, 0, names);
  return static_cast<unsigned>(names.size());
}

bool page_writer::intact() const { return protocol::libc_sys::size(fd_) == static_cast<long>(sizeof(abi::rule_page)); }

std::uint32_t page_writer::highest_id() const {
  std::uint32_t highest = 0;
  for (const abi::rule_bank& bank : page_->banks)
    for (std::uint32_t i = 0; i < std::min<std::uint32_t>(bank.count, abi::rule_max); ++i)
      highest = std::max(highest, bank.rules[i].id);
  return highest;
}

}  // namespace chaos::daemon
