// --dry-run of every kind, on every transport, blocking and not: matched, counted and told as if, and nothing is done.
#include "channels.hpp"
#include "ways.hpp"

#include <netdb.h>

#include <map>
#include <set>

#include "chaos/abi/effects.hpp"

namespace chaos::gate {
namespace {

// What would hurt, if it were done. {}: the target.
const std::map<std::string, const char*> on_connections = {
    {"latency", "latency {} 5s --direction both"}, {"error", "error {} EIO --force"}, {"down", "down {}"}, {"loss", "loss {} 100%"},
    {"corrupt", "corrupt {} --bits 9 --direction both"}, {"slicer", "slicer {} --average-size 1B --delay 5s --direction both"}, {"reset_peer", "reset_peer {}"},
    {"bandwidth", "bandwidth {} 1B/s --direction both"}, {"timeout", "timeout {}"}, {"slow_close", "slow_close {} 5s"}, {"limit_data", "limit_data {} 1B"},
    {"duplicate", "duplicate {} 100% --direction both"}, {"reorder", "reorder {} 100% --gap 3"}, {"partition", "partition {}"}, {"crash", "crash {}"},
    {"pause", "pause {} 5s"}, {"http_error", "http_error {} 503"}, {"observe", "observe {}"}};
const std::map<std::string, const char*> on_files = {
    {"latency", "latency {} 5s"}, {"error", "error {} EIO"}, {"corrupt", "corrupt {} --bits 9"}, {"crash", "crash {}"}, {"pause", "pause {} 5s"},
    {"full", "full {} 1B"}, {"io_error", "io_error {} --torn"}, {"observe", "observe {}"}};
const std::map<std::string, const char*> elsewhere = {
    {"latency", "latency dns:localhost 5s"}, {"dns", "dns dns:localhost EAI_AGAIN"}, {"emfile", "emfile process 0 --everything"}, {"unset", "unset env:CHAOS_TEST_VALUE"},
    {"replace", "replace env:CHAOS_TEST_VALUE other"}, {"enomem", "enomem malloc --size 12345677B..12345677B"}};

class DryRun : public Gate, public testing::WithParamInterface<abi::effect> {
 protected:
  const abi::effect kind = GetParam();
  const abi::effect_info& info = abi::effect_table[static_cast<int>(kind)];
  std::uint32_t id = 0;
  double began = 0;

  void fault(std::string rule, const std::string& target) {
    if (const auto at = rule.find("{}"); at != std::string::npos) rule.replace(at, 2, target);
    id = s.set(rule + " --dry-run");
    began = monotonic_ms();
  }
  void only_told() {
    EXPECT_LT(monotonic_ms() - began, 1000) << "nobody waits";
    EXPECT_GE(s.count(id).matched, 1u);
    EXPECT_GE(s.count(id).fired, 1u);
    EXPECT_EQ(s.count(id).delayed_ns, 0u);
    const auto events = s.events(id);
    EXPECT_EQ(events.size(), s.count(id).fired);
    for (const auto& e : events) {
      EXPECT_EQ(e.effect, static_cast<std::uint8_t>(kind));
      EXPECT_TRUE((e.flags & abi::event_flags::dry_run) || kind == abi::effect::observe) << "the event does not say so";
    }
    s.clear();
  }
};

TEST_P(DryRun, IsMatchedCountedAndToldAndNothingIsDone) {
  bool any = false;
  if (const auto row = on_connections.find(info.name); row != on_connections.end())
    for (const over o : all_transports)
      for (const bool blocks : {true, false}) {
        if (is_stream(o) ? info.traits & abi::traits::datagram_only : info.traits & abi::traits::stream_only) continue;
        SCOPED_TRACE(name_of(o) + (blocks ? " blocking" : " nonblocking"));
        any = true;
        channel c(o);
        fault(row->second, c.target);
        const way w = blocks ? way::blocking : way::epoll_level;
        const std::string ask = "GET / HTTP/1.1\r\nHost: x\r\n\r\n", answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        if (is_stream(o)) {
          EXPECT_TRUE(write_by(c.near, w, ask));
        } else {
          EXPECT_EQ(send(c.near, ask.data(), ask.size(), MSG_NOSIGNAL), static_cast<ssize_t>(ask.size()));
        }
        EXPECT_EQ(c.hear(ask.size()), ask);
        c.tell(answer);
        EXPECT_EQ(read_by(c.near, w, answer.size(), !is_stream(o)), answer);
        set_nonblocking(c.near);
        char more;
        EXPECT_EQ(recv(c.near, &more, 1, 0), -1);
        EXPECT_EQ(errno, EAGAIN);
        c.near.reset();
        if (is_stream(o)) { EXPECT_EQ(c.hear(1), ""); }
        only_told();
      }
  if (const auto row = on_files.find(info.name); row != on_files.end()) {
    SCOPED_TRACE("file");
    any = true;
    const temporary_folder folder;
    const unique_fd fd = open((folder.path() + "/file").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    fault(row->second, "file:" + folder.path() + "/**");
    const std::string text(100, 'x');
    std::string got(100, 0);
    EXPECT_EQ(write(fd, text.data(), 100), 100);
    EXPECT_EQ(fsync(fd), 0);
    EXPECT_EQ(pread(fd, got.data(), 100, 0), 100);
    EXPECT_EQ(got, text);
    only_told();
  }
  if (const auto row = elsewhere.find(info.name); row != elsewhere.end()) {
    SCOPED_TRACE(row->second);
    any = true;
    setenv("CHAOS_TEST_VALUE", "mine", 1);
    fault(row->second, "");
    addrinfo* found = nullptr;
    EXPECT_EQ(getaddrinfo("localhost", nullptr, nullptr, &found), 0);
    if (found) freeaddrinfo(found);
    EXPECT_STREQ(getenv("CHAOS_TEST_VALUE"), "mine");
    const unique_fd fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_GE(fd, 0);
    void* volatile m = malloc(12'345'677);
    EXPECT_NE(m, nullptr);
    free(m);
    only_told();
  }
  EXPECT_TRUE(any) << info.name << " has no row";
}
std::vector<abi::effect> every_kind() {
  std::vector<abi::effect> all;
  for (unsigned i = 0; i < abi::effect_count; ++i) all.push_back(static_cast<abi::effect>(i));
  return all;
}
INSTANTIATE_TEST_SUITE_P(Of, DryRun, testing::ValuesIn(every_kind()), [](const auto& i) { return std::string(abi::effect_table[static_cast<int>(i.param)].name); });

}  // namespace
}  // namespace chaos::gate
