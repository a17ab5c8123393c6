// HTTP/1.x in pieces of any size: however the bytes are cut, messages begin and end at the same places.
#include "preload/core/http.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace chaos::core::http {
namespace {

struct dialogue {
  const char* name;
  std::string requests, responses;
  std::vector<std::string> paths;         // of the requests, in order
  std::vector<unsigned> statuses;         // of the responses, interim ones too
  std::vector<std::size_t> response_ends; // where each ends; fewer than statuses: the last ends with the connection
  bool over = false;                      // left alone afterwards
};

const dialogue dialogues[] = {
    {"keep_alive", "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b?q=1 HTTP/1.1\r\nHost: x\r\n\r\n",
     "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", {"/a", "/b"}, {200, 404}, {43, 88}},
    {"chunked", "POST /up HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=\"1\"\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\nGET / HTTP/1.1\r\n\r\n",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length:2\r\n\r\nok", {"/up", "/"}, {200, 200}, {66, 105}},
    {"body_that_looks_like_a_message", "POST /p HTTP/1.1\r\nContent-Length: 18\r\n\r\nGET /no HTTP/1.1\r\nGET /c HTTP/1.1\r\n\r\n",
     "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\nHTTP/1.1 500 X\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", {"/p", "/c"}, {200, 201}, {54, 97}},
    {"head_and_answers_without_body", "HEAD /h HTTP/1.1\r\n\r\nGET /n HTTP/1.1\r\n\r\nGET /m HTTP/1.1\r\n\r\nGET /l HTTP/1.1\r\n\r\n",
     "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\nHTTP/1.0 200 OK\r\n\r\nto the end",
     {"/h", "/n", "/m", "/l"}, {200, 204, 304, 200}, {39, 66, 114}},
    {"interim", "POST /e HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
     {"/e"}, {100, 103, 200}, {25, 62, 101}},
    {"bare_newlines_and_empty_lines", "\r\n\r\nGET /lf HTTP/1.0\nHost: x\n\n", "HTTP/1.0 200\nContent-Length: 1\n\nx", {"/lf"}, {200}, {33}},
    {"absolute_form", "GET http://h:80/abs?x HTTP/1.1\r\n\r\nOPTIONS * HTTP/1.1\r\n\r\nGET http://h HTTP/1.1\r\n\r\n", "", {"/abs", "*", "/"}, {}, {}},
    {"upgrade", "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x05hello", {"/ws"}, {101}, {}, true},
    {"refused_upgrade", "GET /ws HTTP/1.1\r\nUpgrade: h2c\r\n\r\nGET /n HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", {"/ws", "/n"}, {200}, {39}},
    {"connect", "CONNECT h:443 HTTP/1.1\r\n\r\n", "HTTP/1.1 200 Established\r\n\r\n\x16\x03\x01", {"h:443"}, {200}, {}, true},
    {"refused_connect", "CONNECT h:443 HTTP/1.1\r\n\r\nGET /n HTTP/1.1\r\n\r\n", "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", {"h:443", "/n"}, {403}, {40}},
    {"long_header", "GET /long HTTP/1.1\r\nCookie: " + std::string(700, 'c') + "\r\n\r\nGET /next HTTP/1.1\r\n\r\n",
     "HTTP/1.1 200 OK\r\nSet-Cookie: " + std::string(700, 'c') + "\r\nContent-Length: 0\r\n\r\n", {"/long", "/next"}, {200}, {752}},
};

struct seen {
  std::vector<std::string> paths;
  std::vector<unsigned> statuses;
  std::vector<std::size_t> ends;
  bool operator==(const seen&) const = default;
};

// The bytes in pieces that end at `cuts`.
void feed(parser& p, const std::string& bytes, const std::vector<std::size_t>& cuts, bool responses, const std::vector<method_kind>& asked, seen& out) {
  std::size_t from = 0, answered = 0;
  const auto piece = [&](std::size_t to) {
    while (from < to) {
      if (answered < asked.size()) p.answers(asked[answered]);
      std::size_t taken;
      const step s = p.take(bytes.data() + from, to - from, taken);
      ASSERT_GT(taken, 0u);
      from += taken;
      if (s == step::start_line && responses) out.statuses.push_back(p.status());
      if (s == step::start_line && !responses) out.paths.push_back(p.path());
      if (s == step::message && responses) out.ends.push_back(from);
      if (s == step::message && !p.interim()) ++answered;
    }
  };
  for (const std::size_t cut : cuts) piece(cut);
  piece(bytes.size());
}

std::vector<method_kind> methods_of(const dialogue& d) {
  std::vector<method_kind> out;
  parser p;
  std::size_t taken;
  for (std::size_t at = 0; at < d.requests.size(); at += taken)
    if (p.take(d.requests.data() + at, d.requests.size() - at, taken) == step::start_line) out.push_back(p.method());
  return out;
}

class Dialogue : public testing::TestWithParam<dialogue> {
 protected:
  const dialogue& it = GetParam();
  void expect(const std::vector<std::size_t>& request_cuts, const std::vector<std::size_t>& response_cuts) {
    const auto asked = methods_of(it);
    seen got;
    parser requests, responses(true);
    feed(requests, it.requests, request_cuts, false, asked, got);
    feed(responses, it.responses, response_cuts, true, asked, got);
    ASSERT_EQ(got.paths, it.paths);
    ASSERT_EQ(got.statuses, it.statuses);
    ASSERT_EQ(got.ends, it.response_ends);
    ASSERT_FALSE(requests.over());
    ASSERT_EQ(responses.over(), it.over);
  }
};
INSTANTIATE_TEST_SUITE_P(Of, Dialogue, testing::ValuesIn(dialogues), [](const auto& info) { return std::string(info.param.name); });

TEST_P(Dialogue, InOnePiece) { expect({}, {}); }

TEST_P(Dialogue, ByteForByte) {
  std::vector<std::size_t> all(std::max(it.requests.size(), it.responses.size()));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
  expect({all.begin(), all.begin() + static_cast<std::ptrdiff_t>(it.requests.size())}, {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(it.responses.size())});
}

TEST_P(Dialogue, CutAtEveryPairOfPlaces) {
  const std::size_t longest = std::min<std::size_t>(std::max(it.requests.size(), it.responses.size()), 120);
  for (std::size_t a = 0; a <= longest && !HasFatalFailure(); ++a)
    for (std::size_t b = a; b <= longest && !HasFatalFailure(); ++b)
      expect({std::min(a, it.requests.size()), std::min(b, it.requests.size())}, {std::min(a, it.responses.size()), std::min(b, it.responses.size())});
}

TEST_P(Dialogue, RandomlyCut) {
  std::mt19937 random(7);
  const auto cuts = [&](std::size_t size) {
    std::vector<std::size_t> out;
    for (std::size_t at = 0; at < size; at += 1 + random() % 30) out.push_back(at);
    return out;
  };
  for (int i = 0; i < 500 && !HasFatalFailure(); ++i) expect(cuts(it.requests.size()), cuts(it.responses.size()));
}

class NotHttp : public testing::TestWithParam<const char*> {};
TEST_P(NotHttp, IsLeftAloneForGood) {
  for (const bool responses : {false, true}) {
    parser p(responses);
    const std::string bytes = std::string(GetParam()) + "\r\n\r\n";
    std::size_t taken = 0, at = 0;
    step s = step::more;
    while (at < bytes.size() && s != step::left_alone) {
      s = p.take(bytes.data() + at, bytes.size() - at, taken);
      at += taken;
    }
    EXPECT_EQ(s, step::left_alone) << bytes;
    const std::string good = responses ? "HTTP/1.1 200 OK\r\n\r\n" : "GET / HTTP/1.1\r\n\r\n";
    EXPECT_EQ(p.take(good.data(), good.size(), taken), step::left_alone);
    EXPECT_EQ(taken, good.size());
  }
}
INSTANTIATE_TEST_SUITE_P(All, NotHttp,
                         testing::Values("\x16\x03\x01\x02", "*1\r\n$4\r\nPING", "PRI * HTTP/2.0", "GET /", "GET  / HTTP/1.1", "GET / HTTP/2.0", "GET / HTTPS/1.1", "get",
                                         "GET / HTTP/1.1 x", "HTTP/2.0 200 OK", "HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1  200", "SSH-2.0-x", "220 mail ready", "G@T / HTTP/1.1",
                                         "AVERYLONGMETHODTHATNOBODYHAS / HTTP/1.1", "+OK", " GET / HTTP/1.1"));

TEST(Parser, FramingThatCanNotBeTrustedEndsIt) {
  for (const char* header : {"Content-Length: 5\r\nContent-Length: 6", "Content-Length: -5", "Content-Length: 5x", "Content-Length: ", "Content-Length: 99999999999999999999",
                             "Transfer-Encoding: gzip"}) {
    parser p;
    const std::string bytes = std::string("POST / HTTP/1.1\r\n") + header + "\r\n\r\n";
    std::size_t taken = 0;
    ASSERT_EQ(p.take(bytes.data(), bytes.size(), taken), step::start_line);
    std::size_t at = taken;
    EXPECT_EQ(p.take(bytes.data() + at, bytes.size() - at, taken), step::left_alone) << header;
  }
  for (const char* chunk : {"x\r\n", "\r\n", "1234567890123456\r\n", "2\r\nabc"}) {
    parser p;
    const std::string bytes = std::string("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n") + chunk;
    std::size_t taken = 0, at = 0;
    step s = step::more;
    for (; at < bytes.size() && s != step::left_alone; at += taken) s = p.take(bytes.data() + at, bytes.size() - at, taken);
    EXPECT_EQ(s, step::left_alone) << chunk;
  }
}

TEST(Parser, SkipsOnlyWhatSurelyBelongsToTheBody) {
  parser p(true);
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
  std::size_t taken = 0;
  for (std::size_t at = 0; at < head.size(); at += taken) p.take(head.data() + at, head.size() - at, taken);
  EXPECT_EQ(p.body_ahead(), 100u);
  p.skip(60);
  EXPECT_EQ(p.body_ahead(), 40u);
  p.skip(40);
  EXPECT_TRUE(p.at_start());
  p.skip(1);
  EXPECT_TRUE(p.over());
}

TEST(Parser, RandomBytesNeitherCrashNorStandStill) {
  std::mt19937 random(11);
  const std::string alphabet = "GETPOST/ :\r\n\r\n\r\n0123459HTTP/1.1Content-Lengthchunked;,Transfer-Encoding";
  for (int i = 0; i < 20000; ++i) {
    parser p(i % 2);
    std::string bytes = i % 4 < 2 ? "" : i % 2 ? "HTTP/1.1 200 OK\r\n" : "POST / HTTP/1.1\r\n";
    for (unsigned n = random() % 120; n; --n) bytes += i % 8 == 7 ? static_cast<char>(random()) : alphabet[random() % alphabet.size()];
    for (std::size_t at = 0, taken = 0; at < bytes.size(); at += taken) {
      p.take(bytes.data() + at, std::min<std::size_t>(bytes.size() - at, 1 + random() % 40), taken);
      ASSERT_GT(taken, 0u);
    }
  }
}

// --- both directions

constexpr auto no_rules = [](const parser&, request_note&) {};
void pass(conversation& c, way w, const std::string& bytes) { c.pass(w, bytes.data(), bytes.size(), no_rules); }

TEST(Conversation, PairsPipelinedRequestsWithTheirAnswers) {
  conversation c(side::client);
  unsigned next = 1;
  const auto number = [&](const parser&, request_note& n) { n.rules[n.rules_count++] = next++; };
  const std::string two = "GET /a HTTP/1.1\r\n\r\nHEAD /b HTTP/1.1\r\n\r\n";
  c.pass(way::out, two.data(), two.size(), number);
  ASSERT_NE(c.current(way::in), nullptr);
  EXPECT_TRUE(c.current(way::in)->meant_by(1));
  EXPECT_STREQ(c.current(way::in)->path, "/a");
  pass(c, way::in, "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_TRUE(c.current(way::in)->meant_by(1)) << "an interim answer answers nothing";
  pass(c, way::in, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r");
  EXPECT_TRUE(c.current(way::in)->meant_by(2));
  pass(c, way::in, "\n");
  EXPECT_EQ(c.current(way::in), nullptr) << "the answer to HEAD has no body";
  EXPECT_FALSE(c.over());
}

TEST(Conversation, AnAnnouncedRequestIsNotedOnce) {
  conversation c(side::client);
  unsigned noted = 0;
  const auto count = [&](const parser&, request_note&) { ++noted; };
  const std::string request = "GET /a HTTP/1.1\r\n\r\n";
  for (int i = 0; i < 2; ++i) c.announce(way::out, request.data(), request.size(), count);  // the kernel took nothing the first time
  EXPECT_EQ(noted, 1u);
  EXPECT_STREQ(c.current(way::in)->path, "/a");
  c.pass(way::out, request.data(), 5, count);
  c.announce(way::out, request.data() + 5, request.size() - 5, count);
  c.pass(way::out, request.data() + 5, request.size() - 5, count);
  EXPECT_EQ(noted, 1u);
  pass(c, way::in, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(c.current(way::in), nullptr);
}

TEST(Conversation, AConnectionMetInItsMiddleIsFollowedFromTheNextRequestOn) {
  conversation c;
  pass(c, way::in, "the rest of some body");
  pass(c, way::out, "and of an upload");
  EXPECT_FALSE(c.over());
  pass(c, way::out, "GET /a HTTP/1.1\r\n\r\n");
  pass(c, way::in, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_FALSE(c.over());
  EXPECT_TRUE(c.carries_requests(way::out));
}

TEST(Conversation, KnowsItsSideByWhereRequestsCome) {
  conversation c;
  pass(c, way::in, "POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\n123");
  EXPECT_TRUE(c.carries_requests(way::in));
  EXPECT_STREQ(c.current(way::out)->path, "/a");
}

TEST(Conversation, WhoSpeaksBeforeHeIsAskedIsLeftAlone) {
  conversation c(side::client);
  pass(c, way::in, "HTTP/1.1 200 OK\r\n\r\n");
  EXPECT_TRUE(c.over());
  pass(c, way::out, "GET /a HTTP/1.1\r\n\r\n");
  EXPECT_EQ(c.current(way::in), nullptr);
}

TEST(Conversation, TooManyUnansweredRequestsEndIt) {
  conversation c(side::client);
  for (unsigned i = 0; i < conversation::notes_max; ++i) pass(c, way::out, "GET / HTTP/1.1\r\n\r\n");
  EXPECT_FALSE(c.over());
  pass(c, way::out, "GET / HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(c.over());
}

TEST(Conversation, DecidesOnceForEachMessage) {
  conversation c(side::client);
  pass(c, way::out, "GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n");
  c.decide(way::in);
  pass(c, way::in, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1");
  EXPECT_TRUE(c.decided(way::in));
  pass(c, way::in, "2");
  EXPECT_FALSE(c.decided(way::in));
}

// --- another status in the place of the one that came

std::string replaced(const std::string& response, unsigned status, replacement::outcome& outcome) {
  replacement r;
  replace_status(response.data(), response.size(), status, r);
  outcome = r.result;
  return r.result == replacement::outcome::made ? std::string(r.text, r.size) + response.substr(r.original) : response;
}

TEST(Replacement, ChangesTheStatusLineAlone) {
  replacement::outcome how;
  EXPECT_EQ(replaced("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 503, how), "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nhi");
  EXPECT_EQ(replaced("HTTP/1.0 404 Nothing of that name here\nX: y\n\n", 200, how), "HTTP/1.0 200 OK\r\nX: y\n\n");
  EXPECT_EQ(replaced("HTTP/1.1 200\r\n\r\n", 599, how), "HTTP/1.1 599 Injected\r\n\r\n");
}

TEST(Replacement, GivesABodyOfNothingToAnswersWithoutOne) {
  replacement::outcome how;
  EXPECT_EQ(replaced("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200", 503, how), "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200");
  EXPECT_EQ(replaced("HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\nConnection: close\r\nETag: x\r\n\r\n", 500, how),
            "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

TEST(Replacement, WaitsForWhatItNeedsAndLeavesTheRestAlone) {
  const std::string plain = "HTTP/1.1 200 OK\r\n", empty = "HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n";
  replacement::outcome how;
  for (std::size_t n = 0; n < plain.size(); ++n) {
    replaced(plain.substr(0, n), 503, how);
    EXPECT_EQ(how, replacement::outcome::incomplete) << n;
  }
  for (std::size_t n = 0; n < empty.size(); ++n) {
    replaced(empty.substr(0, n), 503, how);
    EXPECT_EQ(how, replacement::outcome::incomplete) << n;
  }
  for (const char* other : {"HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 101 Switching\r\n\r\n", "SSH-2.0\r\n", "HTTP/2 200\r\n"}) {
    replaced(other, 503, how);
    EXPECT_EQ(how, replacement::outcome::unsuitable) << other;
  }
}

}  // namespace
}  // namespace chaos::core::http
