// co_await redis.call(...): of a coroutine, of a hand-written awaitable, and when it is given up half-way.
#include <coroutine>
#include <optional>

#include "support.hpp"

namespace {
using namespace chaos_test;
using chaos::state;

// What an asynchronous client would return: completed by the test.
template <class T>
struct promised {
  std::optional<T> value;
  std::exception_ptr error;
  std::coroutine_handle<> waiting;

  struct awaiter {
    promised* p;
    bool await_ready() const { return p->value.has_value() || p->error; }
    void await_suspend(std::coroutine_handle<> h) { p->waiting = h; }
    T await_resume() {
      if (p->error) std::rethrow_exception(p->error);
      return std::move(*p->value);
    }
  };
  awaiter operator co_await() { return {this}; }
  void complete(T v) {
    value = std::move(v);
    if (waiting) std::exchange(waiting, {}).resume();
  }
  void fail(std::exception_ptr e) {
    error = std::move(e);
    if (waiting) std::exchange(waiting, {}).resume();
  }
};

struct detached {
  struct promise_type {
    detached get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_never initial_suspend() { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;
};

using answer = std::optional<chaos::result<int>>;

detached ask(chaos::breaker& b, promised<int>& p, answer& out) {
  auto r = co_await b.call([&p]() -> promised<int>& { return p; });
  out.emplace(std::move(r));
}

TEST(Coroutine, AwaitsTheCallAndRecordsItsSuccess) {
  clocked b;
  promised<int> p;
  answer got;
  auto c = ask(b.breaker, p, got);
  EXPECT_FALSE(got);
  EXPECT_EQ(b.metrics().successful, 0u);
  p.complete(7);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->value(), 7);
  EXPECT_EQ(b.metrics().successful, 1u);
  c.handle.destroy();
}

TEST(Coroutine, AnExceptionIsAFailure) {
  clocked b({.failure_threshold = 1});
  promised<int> p;
  answer got;
  auto c = ask(b.breaker, p, got);
  p.fail(std::make_exception_ptr(std::runtime_error("reset")));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->error().message(), "reset");
  EXPECT_EQ(b.state(), state::open);
  c.handle.destroy();
  answer second;
  promised<int> never;
  auto d = ask(b.breaker, never, second);
  ASSERT_TRUE(second) << "a rejection does not wait";
  EXPECT_EQ(second->error().kind, chaos::failure_kind::open);
  EXPECT_FALSE(never.waiting);
  d.handle.destroy();
}

TEST(Coroutine, GivenUpHalfWayReturnsThePermit) {
  clocked b({.failure_threshold = 1, .recovery_timeout = 1s, .half_open_permits = 1, .success_threshold = 1});
  b.fail();
  b.clock.advance(2s);
  promised<int> p;
  answer got;
  auto c = ask(b.breaker, p, got);
  EXPECT_FALSE(b.breaker.try_acquire()) << "the only permit is out";
  c.handle.destroy();
  EXPECT_TRUE(b.breaker.try_acquire()) << "and back";
  EXPECT_EQ(b.state(), state::half_open);
}

chaos::task<int> doubled(int i) { co_return i * 2; }
chaos::task<chaos::result<int>> failing() { co_return chaos::failure{chaos::failure_kind::timeout, {}, {}, "late"}; }

TEST(Coroutine, TasksAndResultsOfTasks) {
  clocked b({.failure_threshold = 1});
  answer first, second;
  auto run = [](chaos::breaker& br, answer& one, answer& two) -> detached {
    auto r1 = co_await br.call([] { return doubled(21); });
    one.emplace(std::move(r1));
    auto r2 = co_await br.call([] { return failing(); });
    two.emplace(std::move(r2));
  };
  auto c = run(b.breaker, first, second);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->value(), 42);
  EXPECT_EQ(second->error().kind, chaos::failure_kind::timeout);
  EXPECT_EQ(b.state(), state::open);
  c.handle.destroy();
}

TEST(AsyncPermit, TravelsWithItsCallback) {
  clocked b({.failure_threshold = 1});
  std::vector<chaos::permit> callbacks;
  if (auto p = b.breaker.try_acquire()) callbacks.push_back(std::move(p));
  ASSERT_EQ(callbacks.size(), 1u);
  EXPECT_TRUE(callbacks[0].record(chaos::expected<int, int>(chaos::unexpected(3))));
  EXPECT_EQ(b.state(), state::open);
}

}  // namespace
