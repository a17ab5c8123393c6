// Look-ups in all the ways that libc has: each fails in its own words, takes its time, is counted once and told of.
#include "gate.hpp"
#include "tests/support/name_server.hpp"

#include <signal.h>

#include <memory>

namespace chaos::gate {
namespace {

constexpr int untouched = -77;

// What a look-up came to. `h_error` and `error` are what the caller finds there: h_errno or what was handed in, and errno.
struct looked_up {
  bool found;
  int returned, h_error, error;
};

struct way_to_look_up {
  const char* function;
  const char* subject;  // as a rule names it
  looked_up (*call)();
};

const in_addr v4 = loopback(0).sin_addr;
const in6_addr v6 = IN6ADDR_LOOPBACK_INIT;

looked_up host(hostent* (*call)()) {
  h_errno = untouched;
  errno = 0;
  const hostent* const found = call();
  return {found != nullptr, 0, h_errno, errno};
}
looked_up host_r(int (*call)(hostent*, char*, std::size_t, hostent**, int*)) {
  hostent into{}, *out = &into;
  char room[2048];
  int h_error = untouched;
  errno = 0;
  const int returned = call(&into, room, sizeof room, &out, &h_error);
  return {out != nullptr, returned, h_error, errno};
}
looked_up query(int (*call)(unsigned char*, int)) {
  h_errno = untouched;
  errno = 0;
  unsigned char answer[512];
  const int returned = call(answer, sizeof answer);
  return {returned > 0, returned < 0 ? returned : 0, h_errno, errno};
}

const way_to_look_up ways[] = {
    {"gethostbyname", "localhost", [] { return host([] { return gethostbyname("localhost"); }); }},
    {"gethostbyname2", "localhost", [] { return host([] { return gethostbyname2("localhost", AF_INET); }); }},
    {"gethostbyaddr", "127.0.0.1", [] { return host([] { return gethostbyaddr(&v4, sizeof v4, AF_INET); }); }},
    {"gethostbyname_r", "localhost", [] { return host_r([](hostent* h, char* room, std::size_t n, hostent** out, int* e) { return gethostbyname_r("localhost", h, room, n, out, e); }); }},
    {"gethostbyname2_r", "localhost", [] { return host_r([](hostent* h, char* room, std::size_t n, hostent** out, int* e) { return gethostbyname2_r("localhost", AF_INET, h, room, n, out, e); }); }},
    {"gethostbyaddr_r", "127.0.0.1", [] { return host_r([](hostent* h, char* room, std::size_t n, hostent** out, int* e) { return gethostbyaddr_r(&v4, sizeof v4, AF_INET, h, room, n, out, e); }); }},
    {"gethostbyaddr_r", "::1", [] { return host_r([](hostent* h, char* room, std::size_t n, hostent** out, int* e) { return gethostbyaddr_r(&v6, sizeof v6, AF_INET6, h, room, n, out, e); }); }},
    {"res_query", "shop.test", [] { return query([](unsigned char* a, int n) { return res_query("shop.test", 1, 1, a, n); }); }},
    {"res_search", "shop.test", [] { return query([](unsigned char* a, int n) { return res_search("shop.test", 1, 1, a, n); }); }},
    {"res_nquery", "shop.test", [] { return query([](unsigned char* a, int n) { return res_nquery(&_res, "shop.test", 1, 1, a, n); }); }},
    {"res_nsearch", "shop.test", [] { return query([](unsigned char* a, int n) { return res_nsearch(&_res, "shop.test", 1, 1, a, n); }); }},
};

class LookUp : public Gate, public testing::WithParamInterface<way_to_look_up> {
 protected:
  const way_to_look_up& way = GetParam();
  const std::string target = std::string("dns:") + way.subject;
  const bool hands_in = std::string(way.function).ends_with("_r"), queries = std::string(way.function).starts_with("res_");
  std::unique_ptr<name_server> server = queries ? std::make_unique<name_server>() : nullptr;
  void told_once(std::uint32_t id, int error) {
    EXPECT_EQ(s.count(id).matched, 1u);
    EXPECT_EQ(s.count(id).fired, 1u);
    const auto events = s.events(id);
    ASSERT_EQ(events.size(), 1u);
    EXPECT_STREQ(abi::function_table[events[0].function].name, way.function);
    EXPECT_EQ(events[0].error, error);
    EXPECT_STREQ(events[0].text, way.subject);
  }
};
INSTANTIATE_TEST_SUITE_P(By, LookUp, testing::ValuesIn(ways), [](const auto& i) { return std::string(i.param.function) + (std::string(i.param.subject) == "::1" ? "_v6" : ""); });

TEST_P(LookUp, FailsInItsOwnWords) {
  const looked_up plain = way.call();
  const struct { const char* name; int eai, h_error, errno_, returned; } errors[] = {
      {"EAI_AGAIN", EAI_AGAIN, TRY_AGAIN, 0, EAGAIN},          {"EAI_NONAME", EAI_NONAME, HOST_NOT_FOUND, 0, 0},
      {"EAI_NODATA", EAI_NODATA, NO_DATA, 0, 0},               {"EAI_FAIL", EAI_FAIL, NO_RECOVERY, 0, 0},
      {"EAI_MEMORY", EAI_MEMORY, NETDB_INTERNAL, ENOMEM, ENOMEM}, {"EAI_SYSTEM", EAI_SYSTEM, NETDB_INTERNAL, EIO, EIO},
  };
  for (const auto& e : errors) {
    SCOPED_TRACE(e.name);
    const auto id = s.set("dns " + target + " " + e.name);
    const looked_up l = way.call();
    EXPECT_FALSE(l.found);
    EXPECT_EQ(l.h_error, e.h_error);
    EXPECT_EQ(l.returned, hands_in ? e.returned : queries ? -1 : 0);
    EXPECT_EQ(l.error, hands_in ? e.returned : e.errno_);
    told_once(id, e.eai);
    s.clear();
  }
  if (server) { EXPECT_EQ(server->asked(), 1) << "a look-up that fails asks nobody"; }
  EXPECT_EQ(way.call().found, plain.found) << "afterwards";
}

TEST_P(LookUp, TakesItsTime) {
  const looked_up plain = way.call();
  const auto id = s.set("latency " + target + " 20ms");
  looked_up l{};
  const timed t = time_of([&] { l = way.call(); return 0; });
  EXPECT_TRUE(on_time(t.ms, 20));
  EXPECT_EQ(l.found, plain.found);
  EXPECT_EQ(l.returned, plain.returned);
  told_once(id, 0);
  EXPECT_EQ(s.count(id).delayed_ns, 20'000'000u);
}

TEST_P(LookUp, RemovalLetsGoAndCountsWhatWasAdded) {
  const auto other = s.set("observe " + target);  // fires first, and is not the one that holds
  const auto id = s.set("latency " + target + " 5s");
  std::thread remover([&] {
    wait_until([&] { return s.count(id).matched > 0; });
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    s.remove(id);
  });
  const timed t = time_of([&] { way.call(); return 0; });
  remover.join();
  EXPECT_LT(t.ms, 1000);
  EXPECT_EQ(s.count(id).fired, 1u);
  EXPECT_LT(s.count(id).delayed_ns, 1'000'000'000u);
  EXPECT_EQ(s.count(other).fired, 1u);
}

TEST_P(LookUp, OfOthersIsLeftAlone) {
  const looked_up plain = way.call();
  const auto id = s.set("dns dns:another.test EAI_AGAIN");
  const looked_up l = way.call();
  EXPECT_EQ(l.found, plain.found);
  EXPECT_EQ(l.h_error, plain.h_error);
  EXPECT_EQ(s.count(id).matched, 0u);
}

using Names = Gate;

TEST_F(Names, AnAnswerThatDoesNotFitIsAskedForAgainAndMetOnce) {
  const auto id = s.set("latency dns:localhost 20ms");
  hostent into{}, *out = nullptr;
  char room[2048];
  int h_error = 0;
  const timed small = time_of([&] { return gethostbyname_r("localhost", &into, room, 8, &out, &h_error); });
  EXPECT_EQ(small.result, ERANGE);
  EXPECT_EQ(h_error, NETDB_INTERNAL);
  EXPECT_TRUE(on_time(small.ms, 20));
  const timed again = time_of([&] { return gethostbyname_r("localhost", &into, room, sizeof room, &out, &h_error); });
  EXPECT_EQ(again.result, 0);
  ASSERT_NE(out, nullptr);
  EXPECT_LT(again.ms, 15);
  EXPECT_EQ(s.count(id).fired, 1u);
  const timed next = time_of([&] { return gethostbyname_r("localhost", &into, room, sizeof room, &out, &h_error); });
  EXPECT_TRUE(on_time(next.ms, 20)) << "another look-up";
  EXPECT_EQ(s.count(id).fired, 2u);
}

TEST_F(Names, WhatWasLookedUpTheOldWayIsKnownByName) {
  const listener service;
  hostent into{}, *out = nullptr;
  char room[2048];
  int h_error = 0;
  ASSERT_EQ(gethostbyname_r("localhost", &into, room, sizeof room, &out, &h_error), 0);
  ASSERT_NE(out, nullptr);
  const auto id = s.set("down localhost:" + std::to_string(service.port));
  const unique_fd fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in to = loopback(service.port);
  EXPECT_EQ(connect(fd, generic(to), sizeof to), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  EXPECT_EQ(s.count(id).fired, 1u);
}

TEST_F(Names, ASignalDoesNotShortenALookUp) {
  struct sigaction act{}, old{};
  act.sa_handler = [](int) {};
  sigaction(SIGUSR1, &act, &old);  // without SA_RESTART
  const auto id = s.set("latency dns:localhost 60ms");
  const pthread_t me = pthread_self();
  std::thread sender([&] {
    wait_until([&] { return s.count(id).matched > 0; });
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    pthread_kill(me, SIGUSR1);
  });
  const timed t = time_of([&] { return gethostbyname("localhost") != nullptr; });
  sender.join();
  sigaction(SIGUSR1, &old, nullptr);
  EXPECT_EQ(t.result, 1);
  EXPECT_TRUE(on_time(t.ms, 60));
  EXPECT_EQ(s.count(id).delayed_ns, 60'000'000u);
}

}  // namespace
}  // namespace chaos::gate
