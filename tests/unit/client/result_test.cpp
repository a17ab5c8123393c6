// result<T>: values, failures, provenance, the fallback chain, and what throws on the way.
#include <memory>
#include <thread>

#include "chaos/cache.hpp"
#include "support.hpp"

namespace {
using namespace chaos_test;
using chaos::failure_kind;
using chaos::source;
using chaos::state;
using strings = chaos::lru<std::string, std::string>;

struct with_cache : clocked {
  strings l1;
  with_cache() : clocked({.failure_threshold = 1}), l1(100, {.fresh = 5s, .stale = 60s, .clock = &clock}) {}
  auto get(bool works) {
    return breaker.call([&]() -> std::string {
      if (!works) throw std::runtime_error("down");
      return "live value";
    });
  }
};

TEST(Result, ASuccessGoesIntoTheCache) {
  with_cache b;
  auto r = b.get(true).or_cached(b.l1, "k");
  EXPECT_EQ(r.source(), source::live);
  EXPECT_EQ(b.l1.find("k")->value, "live value");
}

TEST(Result, AFailureIsAnsweredFromTheCacheWithAgeAndCause) {
  with_cache b;
  (void)b.get(true).or_cached(b.l1, "k");
  b.clock.advance(2s);
  auto fresh = b.get(false).or_cached(b.l1, "k");
  EXPECT_EQ(fresh.value(), "live value");
  EXPECT_EQ(fresh.source(), source::cache_fresh);
  EXPECT_EQ(fresh.age(), 2s);
  ASSERT_NE(fresh.cause(), nullptr);
  EXPECT_EQ(fresh.cause()->message(), "down");
  b.clock.advance(10s);
  auto stale = b.get(false).or_cached(b.l1, "k");
  EXPECT_EQ(stale.source(), source::cache_stale);
  EXPECT_EQ(stale.age(), 12s);
  EXPECT_EQ(stale.cause()->kind, failure_kind::open);
  EXPECT_EQ(b.metrics().fallbacks, 2u);
}

TEST(Result, TooOldForTheCacheFallsThroughToTheFallback) {
  with_cache b;
  (void)b.get(true).or_cached(b.l1, "k");
  b.clock.advance(61s);
  auto r =
      b.get(false).or_cached(b.l1, "k").or_else([](const chaos::failure& f) { return "because " + f.message(); });
  EXPECT_EQ(r.source(), source::fallback);
  EXPECT_EQ(r.value(), "because down");
  EXPECT_EQ(b.l1.find("k"), std::nullopt) << "a fallback is not cached";
}

TEST(Result, AThrowingFallbackIsAnErrorThatKeepsTheFirstCause) {
  with_cache b;
  auto r =
      b.get(false).or_else([](const chaos::failure&) -> std::string { throw std::logic_error("fallback broke"); });
  ASSERT_FALSE(r.has_value());
  EXPECT_EQ(r.error().message(), "fallback broke");
  EXPECT_EQ(r.cause()->message(), "down");
  EXPECT_THROW(r.value(), std::logic_error);
  EXPECT_EQ(b.metrics().fallback_failures, 1u);
  EXPECT_EQ(b.state(), state::open) << "the breaker knows of the call, not of the fallback";
  auto second = b.get(false).or_else([]() -> std::string { throw 7; }).or_else([](const chaos::failure& f) {
    return f.message();
  });
  EXPECT_EQ(second.value(), "exception of an unknown type");
  EXPECT_EQ(second.cause()->kind, failure_kind::open);
}

TEST(Result, AThrowingCacheDoesNotHarmTheCall) {
  struct broken_cache {
    void put(const std::string&, const std::string&) { throw std::bad_alloc(); }
    std::optional<strings::hit> find(const std::string&) { throw std::runtime_error("broken"); }
  } broken;
  with_cache b;
  EXPECT_EQ(b.get(true).or_cached(broken, std::string("k")).value(), "live value");
  auto r = b.get(false).or_cached(broken, std::string("k"));
  EXPECT_EQ(r.error().message(), "down");
}

TEST(Result, AFallbackThatTakesTooLongIsATimeout) {
  clocked b({.failure_threshold = 1, .fallback_timeout = 50ms});
  b.fail();
  auto r = b.breaker.call([] { return 1; }).or_else([&] {
    b.clock.advance(51ms);
    return 2;
  });
  ASSERT_FALSE(r.has_value());
  EXPECT_EQ(r.error().kind, failure_kind::timeout);
  EXPECT_EQ(r.cause()->kind, failure_kind::open);
}

TEST(Result, AFallbackWithAStopTokenIsToldWhenItsTimeIsOver) {
  chaos::breaker b("real clock", {.failure_threshold = 1, .fallback_timeout = 5ms});
  b.try_acquire().failure();
  const std::uint64_t give_up = chaos::monotonic_ns() + 10'000'000'000;
  bool told = false;
  auto r = b.call([] { return 1; }).or_else([&](const chaos::failure&, std::stop_token stop) {
    while (!stop.stop_requested() && chaos::monotonic_ns() < give_up) std::this_thread::yield();
    told = stop.stop_requested();
    return 2;
  });
  EXPECT_TRUE(told);
  EXPECT_EQ(r.error().kind, failure_kind::timeout);
}

TEST(Result, VoidCallsHaveResultsToo) {
  clocked b({.failure_threshold = 1});
  int ran = 0;
  chaos::result<void> ok = b.breaker.call([&] { ++ran; });
  EXPECT_TRUE(ok.has_value());
  EXPECT_NO_THROW(ok.value());
  auto bad = b.breaker.call([&] { throw std::runtime_error("x"); });
  EXPECT_FALSE(bad.has_value());
  EXPECT_THROW(bad.value(), std::runtime_error);
  auto saved = b.breaker.call([&] { ++ran; }).or_else([&](const chaos::failure&) { ran += 10; });
  EXPECT_EQ(saved.source(), source::fallback);
  EXPECT_EQ(ran, 11);
}

TEST(Result, AResultInsideIsFlattened) {
  clocked b({.failure_threshold = 1});
  auto r = b.breaker.call([]() -> chaos::result<int> {
    return chaos::failure{failure_kind::timeout, {}, {}, "slow"};
  });
  static_assert(std::is_same_v<decltype(r), chaos::result<int>>);
  EXPECT_EQ(r.error().kind, failure_kind::timeout);
  EXPECT_THROW(r.value(), chaos::timeout_error);
  EXPECT_EQ(b.state(), state::open);
}

TEST(Result, MoveOnlyValuesPass) {
  clocked b;
  auto r = b.breaker.call([] { return std::make_unique<int>(5); }).or_else([] { return std::make_unique<int>(6); });
  std::unique_ptr<int> p = std::move(r).value();
  EXPECT_EQ(*p, 5);
}

TEST(Result, HasTheInterfaceOfExpected) {
  chaos::result<int> r(3);
  EXPECT_EQ(*r, 3);
  EXPECT_EQ(r.value_or(9), 3);
  auto text = std::move(r).transform([](int i) { return std::to_string(i); });
  int seen = 0;
  EXPECT_TRUE(chaos::result<int>(3).transform([&](int i) { seen = i; }).has_value());
  EXPECT_TRUE(chaos::result<void>().transform([&] { ++seen; }).has_value());
  EXPECT_EQ(seen, 4);
  EXPECT_EQ(*text, "3");
  EXPECT_EQ(text->size(), 1u);
  chaos::result<int> e(chaos::failure{failure_kind::error, {}, {}, "no"});
  EXPECT_EQ(e.value_or(9), 9);
  auto next = std::move(e).and_then([](int i) { return chaos::expected<int, chaos::failure>(i + 1); });
  EXPECT_EQ(next.error().message(), "no");
  chaos::expected<std::string, int> x = chaos::unexpected(4);
  EXPECT_EQ(x.error(), 4);
  x = std::string("a long enough string to live on the heap, to be seen by the address sanitizer");
  EXPECT_TRUE(x.has_value());
  auto y = x;
  x = chaos::unexpected(5);
  EXPECT_EQ(y->size(), 77u);
  EXPECT_EQ(x.error(), 5);
  EXPECT_THROW((void)x.value(), chaos::bad_expected_access<int>);
}

struct http_reply {
  int status;
};
chaos::outcome chaos_classify(const http_reply& r) {
  return r.status >= 500   ? chaos::outcome::failure
         : r.status >= 400 ? chaos::outcome::ignored
                           : chaos::outcome::success;
}

TEST(Classify, AFreeFunctionBesideTheTypeGivesTheVerdict) {
  clocked b({.failure_threshold = 1});
  EXPECT_EQ(b.breaker.call([] { return http_reply{200}; })->status, 200);
  EXPECT_EQ(b.breaker.call([] { return http_reply{404}; })->status, 404) << "ignored: the value is returned";
  EXPECT_EQ(b.metrics().ignored, 1u);
  auto r = b.breaker.call([] { return http_reply{503}; });
  ASSERT_FALSE(r.has_value());
  EXPECT_EQ(r.error().kind, failure_kind::error);
  EXPECT_EQ(b.state(), state::open);
}

TEST(Classify, AVerdictForOneCall) {
  clocked b({.failure_threshold = 1});
  auto r = b.breaker.call([] { return -1; },
                          [](int v) { return v < 0 ? chaos::outcome::failure : chaos::outcome::success; });
  EXPECT_FALSE(r.has_value());
  EXPECT_EQ(b.state(), state::open);
}

TEST(Classify, ExceptionsByTheSettings) {
  clocked b({.failure_threshold = 1, .classify = [](const std::exception_ptr& e) {
               try {
                 std::rethrow_exception(e);
               } catch (const std::invalid_argument&) {
                 return chaos::outcome::ignored;
               } catch (const std::out_of_range&) {
                 return chaos::outcome::success;
               } catch (...) {
                 return chaos::outcome::failure;
               }
             }});
  EXPECT_FALSE(b.breaker.call([]() -> int { throw std::invalid_argument("the caller's fault"); }).has_value());
  EXPECT_FALSE(b.breaker.call([]() -> int { throw std::out_of_range("a well-formed no"); }).has_value());
  EXPECT_EQ(b.metrics().ignored, 1u);
  EXPECT_EQ(b.metrics().successful, 1u);
  EXPECT_EQ(b.state(), state::closed);
  EXPECT_FALSE(b.breaker.call([]() -> int { throw std::runtime_error("refused"); }).has_value());
  EXPECT_EQ(b.state(), state::open);
}

TEST(Classify, AClassifierThatThrowsCountsAsFailure) {
  clocked b({.failure_threshold = 1, .classify = [](const std::exception_ptr&) -> chaos::outcome { throw 1; }});
  EXPECT_FALSE(b.breaker.call([]() -> int { throw 2; }).has_value());
  EXPECT_EQ(b.state(), state::open);
}

}  // namespace
