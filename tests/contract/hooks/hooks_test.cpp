// The contract of every hook: idle it is libc's function; armed it fails as its row of functions.def declares, and is
// counted once; armed for somebody else it is libc's function again.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <sstream>

#include "chaos/abi/errnos.def"
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

  // A rule that fails this call, and the error that the program must see then; unknown: the call sets none.
  struct failing { std::string words; int error; };
  static constexpr int unknown = -1;

  static int number_of(const std::string& name) {
#define X(e) if (name == #e) return e;
    CHAOS_ERRNO_ROWS
#undef X
    return unknown;
  }

  // The first errno of the table that a rule may choose for this call; those that make callers try again are left out.
  failing failing_rule(const stage& here) const {
    const std::string target = here.target(it.aimed_at), on = std::string(" --on ") + it.name;
    switch (it.aimed_at) {
      case aim::memory: return {"enomem malloc --size 12345B..12345B" + on, ENOMEM};
      case aim::descriptors: return {"emfile process --everything" + on, EMFILE};
      case aim::name: return {"dns " + target + " EAI_AGAIN" + on, info.how == abi::fails::eai ? EAI_AGAIN : unknown};
      case aim::variable: return {"unset " + target + on, unknown};
      default: break;
    }
    std::istringstream names(info.errnos);
    for (std::string name; names >> name;) {
      if (name == "EINTR" || name == "EAGAIN") continue;
      const std::string words = "error " + target + " " + name + on;
      if (s.refusal(words).empty()) return {words, number_of(name)};
    }
    return {};
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
  stage here;
  const auto [words, error] = failing_rule(here);
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
  if (error != unknown) { EXPECT_EQ(armed.error, error) << words; }
  EXPECT_EQ(counted.matched, 1u) << words;
  EXPECT_EQ(counted.fired, 1u) << words;
  const auto events = s.events(id);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].function, GetParam()) << "the event names " << abi::function_table[events[0].function].name;
  if (error != unknown) { EXPECT_EQ(events[0].error, armed.error); }
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
