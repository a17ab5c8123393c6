// A rule bank with anything in it, as the shim would meet it in a hostile or torn page: matching, judging and composing read
// nothing outside it and end. The input patches rules that are valid, so that most of it is reached.
#include <memory>

#include "fuzz.hpp"
#include "preload/core/match.hpp"
#include "preload/effects/compose.hpp"

namespace {

using namespace chaos;

struct host {
  core::rule_state states[2]{};
  bool connected = true;
  bool on_connection() const { return connected; }
  bool thread_is(const abi::rule&) const { return true; }
  bool caller_is(const abi::rule&) const { return true; }
  bool stack_is(const abi::rule&) const { return true; }
  void matched(const abi::rule&) {}
  core::rule_state& state(const abi::rule& r, abi::scope) { return states[r.id % 2]; }
  core::random_key key(const abi::rule& r, abi::scope) const { return {r.key}; }
  std::uint64_t passed(abi::scope, core::rule_state&, std::uint64_t bytes) const { return bytes; }
};

abi::rule whole_rule(std::uint32_t id) {
  abi::rule r{};
  r.id = id;
  r.kind = static_cast<abi::effect>(id % abi::effect_count);
  r.classes = ~abi::class_set{0};
  r.chance = r.toxicity = abi::certain;
  r.times = r.size_high = UINT64_MAX;
  r.term_count = 1;
  r.terms[0] = {abi::term_kind::everything, abi::transport::any, 0, 0, 0, 65535, 0, 0, {}};
  return r;
}

void meet(const abi::rule_bank& bank) {
  core::endpoint remote;
  remote.has_remote = true;
  remote.over = abi::transport::stream;
  remote.remote[10] = remote.remote[11] = 0xff;
  remote.remote[12] = 127;
  remote.remote_port = 6379;
  core::endpoint path;
  path.unix_path = path.file_path = path.name = path.variable = "/var/lib/app/data/file-1.db";
  const auto names = [](const std::uint8_t (&)[16], const char* glob) { return core::glob_match(glob, "redis.example.com", core::glob_mode::hostname); };
  const unsigned n = std::min<unsigned>(bank.count, abi::rule_max);
  for (unsigned i = 0; i < n; ++i)
    for (const core::endpoint* e : {&remote, &path}) core::target_matches(bank.rules[i], bank, *e, names);
}

void judge(const abi::rule_bank& bank, host& h, abi::function_id function, abi::class_set acts_as, std::uint64_t size) {
  constexpr std::uint64_t all[4] = {~0ull, ~0ull, ~0ull, ~0ull};
  core::judgement judged;
  core::judge(bank, all, {.function = function, .acts_as = acts_as, .size = size, .bytes = size, .now_ns = 1}, h, judged);
  fuzz::require(judged.count <= core::fired_max, "no more rules fire than there is room for");
  effects::verdict v;
  effects::compose(judged, {.function = function, .acts_as = acts_as, .stream = true, .size = size, .now_ns = 1, .grows = size}, v);
  fuzz::require(judged.count <= core::fired_max, "composing adds none");
  unsigned char buffer[64] = {};
  for (unsigned i = 0; i < judged.count && v.corrupting; ++i)
    if (judged.fired[i].rule->kind == abi::effect::corrupt) effects::corrupt::flip(judged.fired[i], true, size, buffer, sizeof buffer);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr unsigned rules = 2;
  constexpr std::size_t patch_max = 32, window = 0x4000;  // both ends of the pool are written, so far
  static const auto bank = std::make_unique<abi::rule_bank>();
  fuzz::input in(data, size);
  bank->count = in.number<std::uint8_t>() < 200 ? rules : in.number<std::uint32_t>();
  const unsigned kind = in.number<std::uint8_t>();
  for (unsigned i = 0; i < rules; ++i) bank->rules[i] = whole_rule(kind + i + 1);
  while (!in.empty()) {
    const auto to = in.number<std::uint16_t>();
    const std::string patch = in.text(in.number<std::uint8_t>() % patch_max + 1);
    if (to & 0x8000) {  // the text pool, its very end included
      const std::size_t at = to & 0x4000 ? abi::text_pool_bytes - to % window - patch.size() : to % window;
      std::memcpy(bank->text + at, patch.data(), patch.size());
    } else {
      const std::size_t at = to % (rules * sizeof(abi::rule));
      std::memcpy(reinterpret_cast<char*>(bank->rules) + at, patch.data(), std::min(patch.size(), rules * sizeof(abi::rule) - at));
    }
  }
  meet(*bank);
  host h;
  for (const bool connected : {true, false}) {
    h.connected = connected;
    judge(*bank, h, abi::function_id::recv, abi::classes::stream_in, 100);
    judge(*bank, h, abi::function_id::connect, abi::classes::connect, 0);
    judge(*bank, h, abi::function_id::write, abi::classes::file_io | abi::classes::stream_out, 1);
    judge(*bank, h, abi::function_id::malloc, abi::classes::alloc, 1 << 20);
  }
  std::memset(bank->text, 0, window + patch_max);
  std::memset(bank->text + abi::text_pool_bytes - window - patch_max, 0, window + patch_max);
  return 0;
}
