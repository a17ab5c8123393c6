// rule_spec → abi::rule, and what must be armed for it.
#include "control/rules/compile.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>

#include "tests/support/parameter_names.hpp"

namespace chaos::rules {
namespace {

namespace classes = abi::classes;
using words = std::vector<std::string>;

result<compiled_rule> build(const words& w, compile_setting how = {}) {
  const auto spec = spec_from_words(w);
  if (!spec) return spec.error();
  if (how.id == 0) how.id = 5;
  if (how.now_ns == 0) how.now_ns = 1000;
  return compile(*spec, how);
}

abi::rule good(const words& w) {
  const auto c = build(w);
  EXPECT_TRUE(c) << (c ? "" : c.error().message);
  return c ? c->rule : abi::rule{};
}

TEST(Compile, LatencyActsOnArrivingDataByDefault) {
  const abi::rule r = good({"latency", "redis:6379", "200ms", "--jitter", "5ms"});
  EXPECT_EQ(r.id, 5u);
  EXPECT_EQ(r.classes, classes::stream_in | classes::datagram_in);
  EXPECT_EQ(r.delay_ns, 200'000'000u);
  EXPECT_EQ(r.jitter_ns, 5'000'000u);
  EXPECT_EQ(r.shape, abi::distribution::uniform);
  EXPECT_EQ(r.chance, abi::certain);
  EXPECT_EQ(r.times, UINT64_MAX);
  EXPECT_EQ(r.ends_at_ns, 1000 + default_for_ns);
  EXPECT_TRUE(r.functions.empty());
}

TEST(Compile, DirectionTurnsDataAndLeavesTheRest) {
  EXPECT_EQ(good({"latency", "a:1", "1ms", "--direction", "up"}).classes, classes::stream_out | classes::datagram_out);
  EXPECT_EQ(good({"latency", "a:1", "1ms", "--direction", "both"}).classes, classes::data);
  EXPECT_EQ(good({"error", "a:1", "ECONNRESET", "--direction", "down"}).classes, classes::connect | classes::stream_in | classes::datagram_in);
  EXPECT_EQ(good({"slicer", "a:1", "--direction", "both"}).classes, classes::streams);
}

TEST(Compile, OnNamesClassesOrFunctions) {
  EXPECT_EQ(good({"latency", "a:1", "1ms", "--on", "connect"}).classes, classes::connect);
  const abi::rule r = good({"latency", "a:1", "1ms", "--on", "recv,read"});
  EXPECT_EQ(r.classes, classes::stream_in | classes::datagram_in) << "read of a file is not meant for an address";
  EXPECT_TRUE(r.functions.has(abi::function_id::recv));
  EXPECT_TRUE(r.functions.has(abi::function_id::read));
  EXPECT_FALSE(r.functions.has(abi::function_id::recvmsg));
  EXPECT_EQ(good({"latency", "file:/tmp/**", "1ms", "--on", "fsync"}).classes, classes::sync);
}

TEST(Compile, AFunctionByAllNamesThatItIsCompiledIn) {
  using f = abi::function_id;
  const auto acts_on = [](const abi::rule& r, std::initializer_list<f> those, f not_on) {
    for (const f one : those) EXPECT_TRUE(r.functions.has(one)) << abi::function_table[static_cast<unsigned>(one)].name;
    EXPECT_FALSE(r.functions.has(not_on)) << abi::function_table[static_cast<unsigned>(not_on)].name;
  };
  acts_on(good({"error", "file:/tmp/**", "EIO", "--on", "open"}), {f::open, f::open64, f::__open, f::__open64_2}, f::openat);
  acts_on(good({"latency", "a:1", "1ms", "--on", "recv"}), {f::recv, f::__recv_chk}, f::recvfrom);
  acts_on(good({"error", "file:/tmp/**", "EIO", "--on", "preadv2"}), {f::preadv2, f::preadv64v2}, f::preadv);
  acts_on(good({"error", "file:/tmp/**", "EIO", "--on", "fgets"}), {f::fgets, f::__fgets_chk}, f::fgets_unlocked);
  acts_on(good({"error", "file:/tmp/**", "EIO", "--on", "open64"}), {f::open64}, f::open);  // a longer name is that one alone
}

TEST(Compile, FilesAndDescriptors) {
  EXPECT_EQ(good({"error", "file:/var/lib/app/**", "EIO"}).classes, classes::files);
  EXPECT_EQ(good({"error", "fd:3", "EIO"}).classes & classes::file_io, classes::file_io);
  EXPECT_EQ(good({"enomem", "malloc"}).classes, classes::alloc);
  EXPECT_EQ(good({"latency", "dns:*", "1s"}).classes, classes::dns);
}

TEST(Compile, ArmsWhatTheShimNeedsBesides) {
  const auto support = classes::close | classes::descriptor | classes::option | classes::readiness | classes::process;
  for (const char* target : {"redis:6379", "10.0.0.0/8", "listen:80", "unix:/x", "fd:3", "[::1]:80"})
    EXPECT_EQ(classes_to_arm(good({"observe", target})) & support, support) << target;
  EXPECT_EQ(classes_to_arm(good({"error", "file:/x", "EIO"})), classes::files | classes::close | classes::descriptor);
  EXPECT_EQ(classes_to_arm(good({"enomem", "malloc"})), classes::alloc) << "a rule on malloc slows nothing else";
}

TEST(Compile, EachErrnoCarriesTheFunctionsThatCanReturnIt) {
  const abi::rule r = good({"error", "a:1", "ECONNREFUSED=3,EPIPE=1"});
  ASSERT_EQ(r.error_count, 2);
  EXPECT_EQ(r.errors[0].error, ECONNREFUSED);
  EXPECT_EQ(r.errors[0].weight, 3u);
  EXPECT_TRUE(r.errors[0].functions.has(abi::function_id::connect));
  EXPECT_TRUE(r.errors[1].functions.has(abi::function_id::send));
  EXPECT_FALSE(r.errors[1].functions.has(abi::function_id::connect));
  EXPECT_FALSE(r.errors[1].functions.has(abi::function_id::getaddrinfo));
}

TEST(Compile, AnErrnoOfFilesIsNotOneOfSocketsThoughWriteServesBoth) {
  const auto c = build({"error", "a:1", "ENOSPC"});
  ASSERT_FALSE(c);
  EXPECT_EQ(c.error().code, problem_code::impossible_errno);
  EXPECT_TRUE(build({"error", "file:/x", "ENOSPC"}));
  EXPECT_FALSE(build({"error", "file:/x", "ECONNRESET"}));
  EXPECT_TRUE(build({"error", "a:1", "ENOSPC", "--force"}));
}

TEST(Compile, LateKeepsOnlyCallsWithASideEffect) {
  const abi::rule r = good({"error", "a:1", "ECONNRESET", "--late"});
  EXPECT_TRUE(r.errors[0].functions.has(abi::function_id::send));
  EXPECT_FALSE(r.errors[0].functions.has(abi::function_id::recv));
}

TEST(Compile, KeyIsOfTheNameElseOfTheTextAndNeverOfTheId) {
  compile_setting other;
  other.id = 77;
  other.slot = 9;
  EXPECT_EQ(build({"latency", "a:1", "200ms"})->rule.key, build({"latency", "a:1", "0.2s", "--for", "1h"}, other)->rule.key);
  EXPECT_EQ(build({"latency", "a:1", "1ms", "--name", "x"})->rule.key, build({"loss", "b:1", "5%", "--name", "x"})->rule.key);
  EXPECT_NE(build({"latency", "a:1", "1ms", "--name", "x"})->rule.key, build({"latency", "a:1", "1ms"})->rule.key);
  EXPECT_EQ(build({"latency", "a:1", "1ms", "--name", "x"})->rule.key, fnv1a64("x", 1));
}

TEST(Compile, HostnamesBringTheirAddressesAlong) {
  const address_book book{{"redis", {ip_address{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 7}}}};
  compile_setting how;
  how.names = &book;
  const auto c = build({"latency", "!redis:1,udp://redis:6379", "1ms", "--everything"}, how);
  ASSERT_TRUE(c);
  const abi::rule& r = c->rule;
  ASSERT_EQ(r.term_count, 4);
  EXPECT_EQ(r.terms[0].kind, abi::term_kind::hostname);
  EXPECT_STREQ(c->text.c_str() + r.terms[0].text, "redis");
  EXPECT_EQ(r.terms[2].kind, abi::term_kind::cidr);
  EXPECT_EQ(r.terms[2].exclude, 1);
  EXPECT_EQ(r.terms[2].prefix, 128);
  EXPECT_EQ(r.terms[3].port_low, 6379);
  EXPECT_EQ(r.terms[3].over, abi::transport::datagram);
}

TEST(Compile, MoreAddressesThanRoomIsAWarning) {
  const address_book book{{"big", std::vector<ip_address>(40)}};
  compile_setting how;
  how.names = &book;
  const auto c = build({"latency", "big:1", "1ms"}, how);
  ASSERT_TRUE(c);
  EXPECT_EQ(c->rule.term_count, abi::term_max);
  EXPECT_EQ(c->warnings.size(), 1u);
}

TEST(Compile, LifeIsGivenOrDefault) {
  EXPECT_EQ(good({"observe", "a:1", "--forever"}).ends_at_ns, 0u);
  EXPECT_EQ(good({"observe", "a:1", "--for", "30s"}).ends_at_ns, 1000 + 30'000'000'000u);
  EXPECT_TRUE(build({"observe", "a:1"})->default_end);
  EXPECT_FALSE(build({"observe", "a:1", "--for", "30s"})->default_end);
  compile_setting run;
  run.run = 3;
  EXPECT_EQ(build({"observe", "a:1"}, run)->rule.ends_at_ns, 0u) << "a run's rule lives as long as its run";
}

TEST(Compile, TheRestOfTheOptionsArrive) {
  const abi::rule r = good({"corrupt", "a:1", "--bits", "2", "--when", "XO", "--scope", "session", "--times", "3", "--space", "1KB", "--after", "2KB",
                            "--size", "1B..9B", "--process", "redis-*", "--thread", "io*", "--caller", "libhiredis*", "--stack", "*fetch*", "--pid", "42", "--toxicity", "50%",
                            "--probability", "0", "--seed", "9", "--dry-run"});
  EXPECT_EQ(r.bits, 2u);
  EXPECT_EQ(r.when.pattern_length, 2u);
  EXPECT_EQ(r.counts_in, abi::scope::session);
  EXPECT_EQ(r.times, 3u);
  EXPECT_EQ(r.space_bytes, 1000u);
  EXPECT_EQ(r.after_bytes, 2000u);
  EXPECT_EQ(r.size_low, 1u);
  EXPECT_EQ(r.size_high, 9u);
  EXPECT_NE(r.process_glob, 0u);
  EXPECT_NE(r.thread_glob, 0u);
  EXPECT_NE(r.caller_glob, 0u);
  EXPECT_NE(r.stack_glob, 0u);
  EXPECT_EQ(r.process_id, 42u);
  EXPECT_EQ(r.toxicity, abi::certain / 2);
  EXPECT_EQ(r.chance, 0u);
  EXPECT_EQ(r.seed, 9u);
  EXPECT_EQ(r.dry_run, 1);
  EXPECT_EQ(good({"down", "a:1", "--how", "blackhole"}).how, abi::down_how::blackhole);
  EXPECT_EQ(good({"loss", "a:1", "--model", "gemodel:1%,10%"}).model, abi::loss_model::gemodel);
  EXPECT_EQ(good({"latency", "a:1", "--percentiles", "p50=1ms,p99=9ms"}).percentile_count, 2);
  EXPECT_EQ(good({"slicer", "a:1", "--average-size", "16B", "--size-variation", "4B", "--delay", "1ms"}).size_variation, 4u);
}

TEST(Compile, RulesAboutRequestsFollowBothDirections) {
  const abi::rule slow = good({"latency", "http://a:1/x", "1ms"});
  EXPECT_EQ(slow.flags & (abi::rule_flags::http | abi::rule_flags::http_path), abi::rule_flags::http | abi::rule_flags::http_path);
  EXPECT_EQ(slow.classes, classes::stream_in);
  EXPECT_NE(slow.terms[0].path, 0u);
  EXPECT_EQ(classes_to_arm(slow) & classes::streams, classes::streams);
  const abi::rule failing = good({"http_error", "a:1", "503"});
  EXPECT_EQ(failing.flags & (abi::rule_flags::http | abi::rule_flags::http_path), abi::rule_flags::http);
  EXPECT_EQ(failing.number, 503);
  EXPECT_EQ(good({"reorder", "udp://a:1", "5%"}).number, 1);
  EXPECT_EQ(good({"reorder", "udp://a:1", "5%", "--gap", "4"}).number, 4);
  EXPECT_EQ(good({"http_error", "listen:80", "404"}).classes, classes::streams);
}

struct bad_case {
  words given;
  problem_code code;
  const char* part;
};
class BadRule : public testing::TestWithParam<bad_case> {};
TEST_P(BadRule, IsRefused) {
  const auto c = build(GetParam().given);
  ASSERT_FALSE(c);
  EXPECT_EQ(c.error().code, GetParam().code) << c.error().message;
  EXPECT_NE(c.error().message.find(GetParam().part), std::string::npos) << c.error().message;
}
using pc = problem_code;
INSTANTIATE_TEST_SUITE_P(
    All, BadRule,
    testing::Values(bad_case{{"latency", "a:1"}, pc::missing_word, "200ms"}, bad_case{{"latency", "malloc", "1ms"}, pc::wrong_target, "can not be aimed at memory"},
                    bad_case{{"enomem", "a:1"}, pc::wrong_target, "malloc"}, bad_case{{"down", "file:/x"}, pc::wrong_target, "a file"},
                    bad_case{{"latency", "*", "1ms"}, pc::needs_everything, "--everything"}, bad_case{{"latency", "!a:1", "1ms"}, pc::needs_everything, "--everything"},
                    bad_case{{"latency", "a:1", "1ms", "--for", "1s", "--forever"}, pc::bad_combination, "contradict"},
                    bad_case{{"latency", "a:1", "1ms", "--for", "0"}, pc::bad_value, "lives for 0"},
                    bad_case{{"latency", "a:1", "1ms", "--distribution", "normal"}, pc::bad_combination, "--jitter is missing"},
                    bad_case{{"latency", "a:1", "1ms", "--correlation", "10%"}, pc::bad_combination, "--jitter"},
                    bad_case{{"latency", "a:1", "1ms", "--percentiles", "p50=1ms"}, pc::bad_combination, "contradict"},
                    bad_case{{"latency", "a:1", "--percentiles", "p50=1ms", "--jitter", "1ms"}, pc::bad_combination, "contradict"},
                    bad_case{{"loss", "a:1", "5%", "--model", "gemodel:1%"}, pc::bad_combination, "gemodel"},
                    bad_case{{"loss", "a:1", "--model", "gemodel:1%", "--correlation", "5%"}, pc::bad_combination, "gemodel"},
                    bad_case{{"loss", "a:1"}, pc::missing_word, "5%"}, bad_case{{"corrupt", "a:1"}, pc::missing_word, "--bits"},
                    bad_case{{"corrupt", "a:1", "1%", "--bits", "1"}, pc::bad_combination, "--bits"},
                    bad_case{{"slicer", "a:1", "--average-size", "8B", "--size-variation", "8B"}, pc::bad_combination, "less than"},
                    bad_case{{"slicer", "a:1", "--average-size", "0"}, pc::bad_value, "at least 1B"},
                    bad_case{{"slicer", "udp://a:1"}, pc::bad_combination, "streams only"}, bad_case{{"reset_peer", "udp://a:1"}, pc::bad_combination, "streams only"},
                    bad_case{{"slicer", "a:1", "--on", "datagram_in"}, pc::bad_combination, "stream_in, stream_out"},
                    bad_case{{"error", "a:1", "EINTR", "--late"}, pc::bad_combination, "EINTR"}, bad_case{{"error", "a:1", "EAGAIN", "--late"}, pc::bad_combination, "EAGAIN"},
                    bad_case{{"error", "a:1", "ECONNRESET", "--on", "recv", "--late"}, pc::bad_combination, "late"},
                    bad_case{{"error", "a:1", "EAI_AGAIN"}, pc::impossible_errno, "ECONNRESET"},
                    bad_case{{"error", "a:1", "EADDRINUSE", "--on", "send,close"}, pc::impossible_errno, ""},
                    bad_case{{"latency", "a:1", "1ms", "--on", "recvv"}, pc::unknown_function, "did you mean 'recv'"},
                    bad_case{{"latency", "a:1", "1ms", "--on", "malloc"}, pc::bad_combination, "--on malloc"},
                    bad_case{{"latency", "a:1", "1ms", "--on", "recv", "--direction", "up"}, pc::bad_combination, "--direction"},
                    bad_case{{"latency", "dns:*", "1ms", "--direction", "up"}, pc::bad_combination, "--direction"},
                    bad_case{{"latency", "a:1", "1ms", "--direction", "sideways"}, pc::bad_value, "sideways"},
                    bad_case{{"latency", "a:1", "1ms", "--scope", "host"}, pc::bad_value, "host"},
                    bad_case{{"enomem", "malloc", "--scope", "connection"}, pc::bad_combination, "--scope"},
                    bad_case{{"enomem", "malloc", "--toxicity", "5%"}, pc::bad_combination, "--toxicity"},
                    bad_case{{"enomem", "malloc", "--after", "1KB"}, pc::bad_combination, "--after"},
                    bad_case{{"latency", "dns:*", "1ms", "--size", "1KB.."}, pc::bad_combination, "--size"},
                    bad_case{{"http_error", "a:1"}, pc::missing_word, "503"}, bad_case{{"http_error", "a:1", "99"}, pc::bad_value, "99"},
                    bad_case{{"http_error", "a:1", "600"}, pc::bad_value, "600"}, bad_case{{"http_error", "a:1", "204"}, pc::bad_value, "204"},
                    bad_case{{"http_error", "a:1", "x"}, pc::bad_value, "x"}, bad_case{{"http_error", "udp://a:1", "503"}, pc::bad_combination, "streams only"},
                    bad_case{{"http_error", "file:/x", "503"}, pc::wrong_target, "http://"}, bad_case{{"down", "http://a:1/x"}, pc::wrong_target, "HTTP requests"},
                    bad_case{{"bandwidth", "http://a:1/x", "1KB/s"}, pc::wrong_target, "HTTP requests"}, bad_case{{"latency", "http://a:1/x", "1ms", "--on", "connect"}, pc::bad_combination, "--on"},
                    bad_case{{"latency", "http://*", "1ms"}, pc::needs_everything, "--everything"},
                    bad_case{{"reorder", "udp://a:1"}, pc::missing_word, "5%"}, bad_case{{"reorder", "tcp://a:1", "5%"}, pc::bad_combination, "datagrams only"},
                    bad_case{{"reorder", "http://a:1/x", "5%"}, pc::wrong_target, "HTTP requests"}, bad_case{{"reorder", "udp://a:1", "5%", "--gap", "0"}, pc::bad_value, "--gap"},
                    bad_case{{"reorder", "udp://a:1", "5%", "--gap", "1001"}, pc::bad_value, "1000"}, bad_case{{"reorder", "udp://a:1", "5%", "--on", "sendto"}, pc::bad_combination, "acts in datagram_in"},
                    bad_case{{"reorder", "udp://a:1", "5%", "--on", "stream_in"}, pc::bad_combination, "acts in datagram_in"},
                    bad_case{{"slicer", "a:1", "--on", "accept"}, pc::bad_combination, "slicer does nothing to accept"},
                    bad_case{{"down", "listen:80", "--on", "accept"}, pc::bad_combination, "acts in connect"}, bad_case{{"loss", "a:1", "5%", "--on", "close"}, pc::bad_combination, "does nothing to close"},
                    bad_case{{"slow_close", "a:1", "1s", "--on", "recv"}, pc::bad_combination, "acts in close"}, bad_case{{"reset_peer", "a:1", "--on", "recv,connect"}, pc::bad_combination, "nothing to connect"},
                    bad_case{{"corrupt", "file:/x", "1%", "--on", "splice"}, pc::bad_combination, "can not reach splice; of its kind it reaches: "},
                    bad_case{{"full", "file:/x", "1KB", "--on", "pread"}, pc::bad_combination, "can not reach pread"}, bad_case{{"enomem", "malloc", "--on", "free"}, pc::bad_combination, "can not reach free"},
                    bad_case{{"emfile", "process", "--everything", "--on", "rename"}, pc::bad_combination, "can not reach rename"},
                    bad_case{{"latency", "a:1", "1ms", "--on", "dup2"}, pc::bad_combination, "can not reach dup2"}, bad_case{{"latency", "a:1", "1ms", "--on", "close_range"}, pc::bad_combination, "close_range"},
                    bad_case{{"pause", "process", "1ms", "--everything", "--on", "poll"}, pc::bad_combination, "--on poll can not meet"},
                    bad_case{{"crash", "process", "--everything", "--on", "getenv"}, pc::bad_combination, "--on getenv can not meet"},
                    bad_case{{"error", "a:1", "ECONNRESET", "--on", "recv,open"}, pc::bad_combination, "--on open can not meet"},
                    bad_case{{"observe", "process"}, pc::wrong_target, "a process"},
                    bad_case{{"corrupt", "a:1", "--bits", "9999999"}, pc::bad_value, "--bits"},
                    bad_case{{"latency", "a:1", "1ms", "--name", "a b"}, pc::bad_value, "--name"}), testing_support::parameter_name);

TEST(Bank, PutsTextOfManyRulesIntoOnePool) {
  const auto a = build({"latency", "redis:1", "1ms", "--process", "nginx*"}), b = build({"error", "file:/var/**", "EIO"}), c = build({"latency", "http://a:1/api/*", "1ms"}),
             d = build({"replace", "env:A", "another"});
  const auto image = make_bank({&*a, &*b, &*c, &*d});
  ASSERT_TRUE(image);
  EXPECT_STREQ(image->text.c_str() + image->rules[0].process_glob, "nginx*");
  EXPECT_STREQ(image->text.c_str() + image->rules[1].terms[0].text, "/var/**");
  EXPECT_STREQ(image->text.c_str() + image->rules[1].name, "error-5");
  EXPECT_STREQ(image->text.c_str() + image->rules[2].terms[0].path, "/api/*");
  EXPECT_STREQ(image->text.c_str() + image->rules[3].text, "another");
  EXPECT_EQ(image->armed, classes_to_arm(a->rule) | classes_to_arm(b->rule) | classes_to_arm(c->rule) | classes_to_arm(d->rule));
}

TEST(Bank, PausedRulesArmNothing) {
  auto a = build({"latency", "redis:1", "1ms"});
  a->rule.paused = 1;
  EXPECT_EQ(make_bank({&*a})->armed, 0u);
}

TEST(Bank, HasRoomFor256Rules) {
  const auto a = build({"latency", "redis:1", "1ms"});
  EXPECT_TRUE(make_bank(std::vector<const compiled_rule*>(256, &*a)));
  const auto full = make_bank(std::vector<const compiled_rule*>(257, &*a));
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, problem_code::too_many);
}

TEST(Bank, RefusesMoreTextThanThePoolHolds) {
  std::string target = "file:/" + std::string(240, 'a');
  for (int i = 0; i < 10; ++i) target += ",file:/" + std::string(240, 'a');
  const auto a = build({"observe", target});
  ASSERT_TRUE(a);
  EXPECT_FALSE(make_bank(std::vector<const compiled_rule*>(100, &*a)));
}

TEST(Every, KindAndOptionOfTheTablesCanBeSaid) {
  for (const auto& kind : abi::effect_table) {
    EXPECT_TRUE(find_kind(kind.name));
    EXPECT_FALSE(flags_for(*find_kind(kind.name)).empty());
  }
  for (unsigned i = 0; i < option_count; ++i) EXPECT_EQ(find_option(flag_of(static_cast<option>(i))), static_cast<option>(i));
}

}  // namespace
}  // namespace chaos::rules
