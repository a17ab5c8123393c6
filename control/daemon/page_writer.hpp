// The rule page: publishing, the lease, the stop word. The only writer of it.
#pragma once
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "chaos/abi/rule_page.hpp"
#include "control/rules/compile.hpp"
#include "control/protocol/session_folder.hpp"

namespace chaos::daemon {

// Publishes into any page in memory, as rule_page.hpp says; the tests do so without a file.
void publish_into(abi::rule_page& page, const rules::bank_image& image);

struct breaker_order {
  std::string name;
  std::uint32_t command;  // of breaker_commands.def
};

class page_writer {
 public:
  // Opens the page, or makes it.
  static rules::result<page_writer> open(const protocol::session_location& where);
  page_writer(page_writer&& other) noexcept;
  page_writer(const page_writer&) = delete;
  ~page_writer();

  void publish(const rules::bank_image& image);  // and renews the lease
  void renew_lease();     // and ends what lingers when its time is up
  void stop_lingering();  // disarms at once what no rule in force needs
  void end_lease();
  std::uint64_t lease_left_ns() const;

  bool stop_asked() const { return page_->stop.load(std::memory_order_acquire) != 0; }
  void clear_stop() { page_->stop.store(0, std::memory_order_release); }
  void take_over(std::uint64_t seed, int pid);  // seed, pid; what an earlier daemon left is disarmed first
  void set_sinks(const abi::sink_ports& sinks) { page_->sinks = sinks; }
  void want_stacks(bool wanted) { page_->stacks_wanted.store(wanted, std::memory_order_relaxed); }
  void leave() { page_->daemon_pid.store(0, std::memory_order_release); }

  // Commands for breakers. In force are those that last; of `close` and `reset` only the sequence stays.
  std::vector<breaker_order> breaker_orders() const;
  // False: there is no room. Names in `living` keep their place, so that each breaker sees what it was told last.
  bool order_breaker(const std::string& name, std::uint32_t command, const std::set<std::string>& living);
  void ask_breakers();         // those in use publish their counters
  unsigned release_breakers(); // gives all of them back control; how many commands were in force

  // The file still is what was mapped: touching pages that somebody truncated away would be a SIGBUS.
  bool intact() const;
  std::uint32_t highest_id() const;  // among what an earlier daemon published
  const abi::rule_page& page() const { return *page_; }

 private:
  page_writer(int fd, abi::rule_page* page) : fd_(fd), page_(page) {}
  int fd_ = -1;
  abi::rule_page* page_ = nullptr;
  // When a rule ends, a program may still hold what came of it: a connect that was redirected, a registration that was
  // masked. It notices in its next call, if that call is still ours. So the classes that keep books linger, over an empty
  // bank; after a rule that black-holed connections, waits and connects do until the kernel itself would have given a
  // connect up.
  struct lingering {
    abi::class_set classes;
    std::uint64_t until_ns;
  };
  abi::class_set lingering_now() const;
  abi::class_set armed_ = 0;  // without what lingers
  bool holds_ = false;
  lingering books_{0, 0}, connects_{0, 0};
};

}  // namespace chaos::daemon
