// Looks up keys in Redis and answers from memory when Redis does not: value, source, age and the state of the
// breaker.
//
//   cached_lookup --redis redis://127.0.0.1:6379 --repeat 100 --interval-ms 200 greeting
//
// Run it under libchaos.so and hurt its Redis to see live values turn into cached ones and back.
// Exit codes: 0 each lookup gave a value, 1 some did not, 2 wrong usage.
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "chaos/redis_cache.hpp"

namespace {

struct options {
  std::string redis = "redis://127.0.0.1:6379";
  long repeat = 1, interval_ms = 1000, fresh_ms = 0, recovery_ms = 500, timeout_ms = 100;
  std::vector<std::string> keys;
};

[[noreturn]] void usage(const std::string& wrong) {
  std::cerr << "cached_lookup: " << wrong
            << "\nusage: cached_lookup [--redis URL] [--repeat N] [--interval-ms N] [--fresh-ms N] [--timeout-ms N] "
               "[--recovery-ms N] KEY...\n";
  std::exit(2);
}

options parse(int argc, char** argv) {
  options o;
  const std::vector<std::pair<std::string, long*>> numbers = {{"--repeat", &o.repeat},
                                                              {"--interval-ms", &o.interval_ms},
                                                              {"--fresh-ms", &o.fresh_ms},
                                                              {"--timeout-ms", &o.timeout_ms},
                                                              {"--recovery-ms", &o.recovery_ms}};
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg.rfind("--", 0) != 0) {
      o.keys.push_back(arg);
      continue;
    }
    const auto value = [&]() -> std::string {
      if (i + 1 >= argc) usage(arg + " needs a value");
      return argv[++i];
    };
    if (arg == "--redis") {
      o.redis = value();
      continue;
    }
    bool known = false;
    for (const auto& [name, where] : numbers)
      if (arg == name) {
        const std::string text = value();
        char* end = nullptr;
        *where = std::strtol(text.c_str(), &end, 10);
        if (text.empty() || *end || *where < 0) usage(arg + " is \"" + text + "\"; expected a number");
        known = true;
      }
    if (!known) usage("unknown option " + arg);
  }
  if (o.keys.empty()) usage("no key is given");
  return o;
}

}  // namespace

int main(int argc, char** argv) try {
  const options o = parse(argc, argv);
  using std::chrono::milliseconds;
  chaos::redis_cache cache(o.redis, {.timeout = milliseconds(o.timeout_ms),
                                     .l1_fresh = milliseconds(o.fresh_ms),
                                     .breaker = {.recovery_timeout = milliseconds(o.recovery_ms)}});
  bool all = true;
  for (long n = 0; n < o.repeat; ++n) {
    if (n) std::this_thread::sleep_for(milliseconds(o.interval_ms));
    for (const std::string& key : o.keys) {
      const auto r = cache.get(key);
      all = all && r.has_value();
      std::cout << key << " = " << (r ? r->value_or("(nil)") : "(no answer)") << "  source=" << to_string(r.source())
                << " age=" << std::chrono::duration_cast<milliseconds>(r.age()).count()
                << "ms breaker=" << to_string(cache.circuit().state());
      if (const chaos::failure* why = r.cause()) std::cout << "  because: " << why->message();
      std::cout << std::endl;
    }
  }
  return all ? 0 : 1;
} catch (const std::invalid_argument& e) {
  std::cerr << "cached_lookup: " << e.what() << '\n';
  return 2;
}
