// One test for each line of what may be wrong with a request, with its own message. Those about files, folders, pages
// and limits are beside what they concern (state_test, life_test, store_test).
#include <gtest/gtest.h>

#include "control/rules/compile.hpp"

namespace chaos::rules {
namespace {

problem refused(const std::vector<std::string>& words) {
  const auto spec = spec_from_words(words);
  if (!spec) return spec.error();
  const auto compiled = compile(*spec, {});
  EXPECT_FALSE(compiled);
  return compiled ? problem{problem_code::failed, "was accepted", "", {}} : compiled.error();
}

TEST(BadInput, UnknownKind) {
  const problem p = refused({"lattency", "a:1", "1ms"});
  EXPECT_EQ(p.message, "unknown kind 'lattency': did you mean 'latency'?");
  EXPECT_EQ(p.word, "lattency");
}

TEST(BadInput, UnreadableTarget) {
  const problem p = refused({"latency", "redis:http", "1ms"});
  EXPECT_EQ(p.message, "target 'redis:http': 'http' is not a port: a number in 1..65535, a range 8000-8100 or * is expected");
  EXPECT_EQ(p.word, "redis:http");
}

TEST(BadInput, MissingUnit) {
  const problem p = refused({"latency", "redis:6379", "200"});
  EXPECT_EQ(p.message, "latency value: '200' has no unit; units are ns, us, ms, s, min, h, d");
  EXPECT_EQ(p.expected.at(2), "200ms");
}

TEST(BadInput, UnknownUnit) {
  const problem p = refused({"latency", "redis:6379", "200millis"});
  EXPECT_EQ(p.message, "latency value: '200millis' has the unknown unit 'millis'; units are ns, us, ms, s, min, h, d");
}

TEST(BadInput, UnknownErrno) {
  EXPECT_EQ(refused({"error", "a:1", "ECONNREFUSE"}).message, "unknown errno 'ECONNREFUSE': did you mean 'ECONNREFUSED'?");
}

TEST(BadInput, UnknownFunction) {
  EXPECT_EQ(refused({"latency", "a:1", "1ms", "--on", "rcv"}).message, "--on: unknown function or class 'rcv': did you mean 'recv'?");
}

TEST(BadInput, UnknownOption) {
  EXPECT_EQ(refused({"latency", "a:1", "1ms", "--probabilty", "1"}).message, "unknown option '--probabilty': did you mean '--probability'?");
}

TEST(BadInput, ErrnoThatTheCallCanNotReturn) {
  const problem p = refused({"error", "a:1", "EPIPE", "--on", "connect"});
  EXPECT_EQ(p.code, problem_code::impossible_errno);
  EXPECT_EQ(p.word, "EPIPE");
  EXPECT_NE(std::find(p.expected.begin(), p.expected.end(), "ECONNREFUSED"), p.expected.end());
}

TEST(BadInput, ProbabilityOutside0To1) {
  EXPECT_EQ(refused({"loss", "a:1", "1.5"}).message, "loss value: '1.5' lies outside 0..1 (or 0%..100%); did you mean 1.5%?");
  EXPECT_EQ(refused({"loss", "a:1", "-1%"}).message, "loss value: '-1%' is negative; a probability lies in 0..1 or 0%..100%");
}

TEST(BadInput, ImpossibleCombination) {
  EXPECT_EQ(refused({"slicer", "udp://a:1"}).message, "slicer acts on streams only, and udp:// has none");
}

}  // namespace
}  // namespace chaos::rules
