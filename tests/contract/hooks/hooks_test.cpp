// The contract of every hook: idle it is libc's function; armed it fails as its row of functions.def declares, and is
// counted once; armed for somebody else it is libc's function again.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <sstream>

#include "chaos/abi/functions.hpp"
#include "rows.hpp"
#include "tests/support/process.hpp"
#include "tests/support/session.hpp"

namespace chaos::contract {
namespace {

using testing_support::session;

static_assert(sizeof rows / sizeof rows[0] == abi::function_count);

void* of_libc(const char* name) {
  static void* const libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
  return dlsym(libc, name);
}
void* hooked(const char* name) {
  void* const p = dlsym(RTLD_DEFAULT, name);
  Dl_info where{};
  dladdr(p, &where);
  EXPECT_STREQ(where.dli_fname, testing_support::library) << name << " is not interposed";
  return p;
}

outcome call(const row& r, void* f) {
  stage s;
  errno = 0;
  return r.call(f, s);
}

class Hook : public testing::TestWithParam<unsigned> {
 protected:
  const row& it = rows[GetParam()];
  const abi::function_info& info = abi::function_table[GetParam()];
  session& s = session::of_this_process();
  ~Hook() override { s.clear(); }

  // The first errno of the table that a rule may choose for this call; those that make callers try again come last.
  std::string failing_rule(const stage& here, std::string& errno_name) const {
    if (it.aimed_at == aim::memory) {
      errno_name = "ENOMEM";
      return std::string("enomem malloc --size 12345B..12345B --on ") + it.name;
    }
    std::istringstream names(info.errnos);
    for (std::string name; names >> name;) {
      if (name == "EINTR" || name == "EAGAIN") continue;
      const std::string words = "error " + here.target(it.aimed_at) + " " + name + " --on " + it.name;
      if (s.refusal(words).empty()) {
        errno_name = name;
        return words;
      }
    }
    return "";
  }
};

TEST_P(Hook, IdleIsWhatLibcDoes) {
  const outcome native = call(it, of_libc(it.name)), idle = call(it, hooked(it.name));
  EXPECT_FALSE(native.failed) << "the row itself does not work: " << native;
  EXPECT_EQ(idle, native);
  EXPECT_EQ(s.report().ring_head.load(), s.events().size()) << "events";
}

TEST_P(Hook, ArmedForOthersIsWhatLibcDoes) {
  const outcome native = call(it, of_libc(it.name));
  std::vector<std::uint32_t> ids;
  s.set_all({"observe 203.0.113.1:9", "observe unix:/nowhere", "observe file:/nowhere/**", "observe malloc --size 1TiB..", "observe dns:nowhere.invalid",
             "latency 203.0.113.2:9 1s --on connect,accept,stream_in,stream_out,datagram_in,datagram_out"}, ids);
  ASSERT_NE(s.page().armed_classes.load(), 0u);
  EXPECT_EQ(call(it, hooked(it.name)), native);
  for (const auto id : ids) EXPECT_EQ(s.count(id).fired, 0u);
}

TEST_P(Hook, ArmedFailsAsDeclaredAndIsCountedOnce) {
  std::string name;
  stage here;
  const std::string words = failing_rule(here, name);
  if (it.aimed_at == aim::nothing) {
    EXPECT_EQ(words, "") << "a rule can fail this call: its row must say what to aim at";
    GTEST_SKIP() << "no kind fails " << it.name;
  }
  ASSERT_NE(words, "") << "no errno of its row can be set";
  const std::uint32_t id = s.set(words);
  errno = 0;
  const outcome armed = it.call(hooked(it.name), here);
  const auto counted = s.count(id);
  s.clear();
  EXPECT_TRUE(armed.failed) << words << " gave " << armed;
  EXPECT_STREQ(strerrorname_np(armed.error), name.c_str()) << words;
  EXPECT_EQ(counted.matched, 1u) << words;
  EXPECT_EQ(counted.fired, 1u) << words;
  const auto events = s.events(id);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].function, GetParam()) << "the event names " << abi::function_table[events[0].function].name;
  EXPECT_EQ(events[0].error, armed.error);
  EXPECT_EQ(events[0].kind, abi::event_kind::injection);
  Dl_info caller{};
  dladdr(reinterpret_cast<void*>(events[0].caller), &caller);
  EXPECT_STRNE(caller.dli_fname, testing_support::library) << "the caller is the program, not the shim";
  EXPECT_EQ(call(it, hooked(it.name)), call(it, of_libc(it.name))) << "after removal";
}

INSTANTIATE_TEST_SUITE_P(Of, Hook, testing::Range(0u, abi::function_count),
                         [](const auto& info) { return std::string(rows[info.param].name); });

}  // namespace
}  // namespace chaos::contract
