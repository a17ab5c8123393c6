// error: errnos by weight, each only where the call can return it.
#include "support.hpp"

#include <cerrno>

namespace chaos::effects {
namespace {

abi::rule failing(std::vector<std::tuple<int, unsigned, std::vector<abi::function_id>>> choices) {
  abi::rule r = core::plain_rule(1, abi::effect::error);
  for (const auto& [error, weight, functions] : choices) {
    abi::error_choice& c = r.errors[r.error_count++];
    c.error = error;
    c.weight = weight;
    for (auto f : functions) c.functions.add(f);
  }
  return r;
}
using enum abi::function_id;

TEST(Error, ChoosesByWeight) {
  const abi::rule r = failing({{ECONNRESET, 3, {recv}}, {EPIPE, 1, {recv}}});
  std::uint64_t resets = 0;
  for (std::uint64_t i = 0; i < 20000; ++i) resets += error::choose(r, recv, [&] { return core::draws({1}, i); }) == ECONNRESET;
  EXPECT_TRUE(core::plausible(resets, 20000, 0.75)) << resets;
}

TEST(Error, GivesEachCallOnlyWhatItCanReturn) {
  const abi::rule r = failing({{ECONNREFUSED, 1, {connect}}, {EPIPE, 1, {send}}});
  for (std::uint64_t i = 0; i < 100; ++i) {
    ASSERT_EQ(error::choose(r, connect, [&] { return core::draws({1}, i); }), ECONNREFUSED);
    ASSERT_EQ(error::choose(r, send, [&] { return core::draws({1}, i); }), EPIPE);
    ASSERT_EQ(error::choose(r, recv, [&] { return core::draws({1}, i); }), 0);
  }
}

TEST(Error, ACountBeyondTheTableIsCutOff) {
  abi::rule r = failing({{EPIPE, 1, {send}}});
  r.error_count = 255;  // a hostile page
  EXPECT_EQ(error::choose(r, send, [&] { return core::draws({1}, 1); }), EPIPE);
}

}  // namespace
}  // namespace chaos::effects
