// A session without a daemon: makes the two pages, compiles rules from the words that people write, publishes them
// straight into the rule page and reads back what the shim counted.
//
//   session s{folder};                                         // or session::of_this_process() in a test under the shim
//   const auto slow = s.set("latency 127.0.0.1:1234 20ms");    // id of the rule; in force when set() returns
//   EXPECT_EQ(s.count(slow).fired, 1u);
//   s.remove(slow);
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "chaos/abi/report_page.hpp"
#include "control/daemon/page_writer.hpp"
#include "control/daemon/report_reader.hpp"
#include "control/rules/compile.hpp"

namespace chaos::testing_support {

struct counts {
  std::uint64_t matched, fired, delayed_ns, bytes;
};

class session {
 public:
  explicit session(const std::string& base);  // CHAOS_DIR for its targets
  ~session();
  session(const session&) = delete;
  session& operator=(const session&) = delete;

  static session& of_this_process();  // that of CHAOS_DIR

  std::uint32_t set(const std::string& words);  // fails the test, and returns 0, when the rule is refused
  void set_all(const std::vector<std::string>& rules, std::vector<std::uint32_t>& ids);  // published at one time
  std::string refusal(const std::string& words) const;  // "" when it would be taken
  void remove(std::uint32_t id);
  void clear();

  counts count(std::uint32_t id) const;
  std::vector<abi::event> events(std::uint32_t rule = 0) const;  // that are still in the ring, oldest first
  void want_stacks(bool wanted) { writer_.want_stacks(wanted); }
  std::vector<std::vector<std::string>> stacks(std::uint32_t rule) const;      // of its events, those that have one
  const abi::report_page& report() const { return *report_; }
  const abi::rule_page& page() const { return writer_.page(); }
  bool attached(int pid) const;

  void renew_lease();         // to be called by whoever keeps the session alive; does nothing after end_lease()
  void end_lease();           // as if the daemon had died; set() begins a new one
  void seed(std::uint64_t n) { seed_ = n; }
  void sinks(const abi::sink_ports& s) { writer_.set_sinks(s); }

  const std::string& base() const { return where_.base; }
  const std::string& folder() const { return where_.folder; }

 private:
  std::uint32_t add(const std::string& words);
  void publish();

  protocol::session_location where_;
  daemon::page_writer writer_;
  abi::rule_page* page_;
  abi::report_page* report_;
  daemon::report_reader reader_;
  std::uint64_t seed_ = 1;
  std::uint32_t next_ = 1;
  std::map<std::uint32_t, std::unique_ptr<rules::compiled_rule>> rules_;
};

}  // namespace chaos::testing_support
