// The control socket of a daemon in this process: whatever lines come, each is answered by one object, and the daemon goes
// on. Names resolve to nothing here.
#include <netdb.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>

#include <thread>

#include "control/daemon/daemon.hpp"
#include "control/protocol/client.hpp"
#include "fuzz.hpp"
#include "tests/support/temporary_folder.hpp"

extern "C" int getaddrinfo(const char*, const char*, const addrinfo*, addrinfo**) { return EAI_NONAME; }

namespace {

using namespace chaos;
using protocol::command;
using protocol::json;

constexpr auto patience = std::chrono::seconds(10);

class service {
 public:
  service() {
    spdlog::set_level(spdlog::level::off);
    const auto where = protocol::locate_session(folder_.path(), "fuzz");
    fuzz::require(where.ok() && protocol::make_session(*where).ok(), "a session can be made");
    auto page = daemon::page_writer::open(*where);
    auto report = daemon::report_reader::open(*where);
    const int listening = protocol::listen_at(where->folder);
    fuzz::require(page.ok() && report.ok() && listening >= 0, "a daemon can be made");
    daemon_ = new daemon::daemon(*where, {}, std::move(*page), std::move(*report), listening, eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    session_folder_ = where->folder;
    thread_ = std::thread([this] { daemon_->run(); });
  }
  ~service() {
    fuzz::require(connect().call(command::shutdown).ok(), "the daemon ends");
    thread_.join();
    delete daemon_;
  }
  protocol::client connect() const {
    auto c = protocol::client::connect(session_folder_);
    fuzz::require(c.ok(), "the daemon answers", c.ok() ? "" : c.error().message);
    return std::move(*c);
  }

 private:
  testing_support::temporary_folder folder_;
  std::string session_folder_;
  daemon::daemon* daemon_ = nullptr;
  std::thread thread_;
};

void expect_reply(protocol::client& c, const std::string& request) {
  for (;;) {
    const auto line = c.read_line(patience);
    fuzz::require(line.has_value(), "every request is answered", request);
    const json reply = json::parse(*line, nullptr, false);
    fuzz::require(reply.is_object(), "an answer is a JSON object", *line);
    if (!reply.contains("ok")) continue;  // an event: this client watches
    if (reply["ok"] == true) fuzz::require(reply.contains("result"), "a good reply has a result", *line);
    else fuzz::require(reply["error"].is_object() && reply["error"].size() == 4 && reply["error"]["message"] != "", "an error has its four fields", *line);
    fuzz::require(protocol::parse_reply(*line).ok() == (reply["ok"] == true), "a client can read it", *line);
    return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static service daemon;
  static unsigned inputs = 0;
  const std::string_view text = fuzz::text_of(data, size);
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string line(text.substr(at, end - at));
    at = end + 1;
    if (line.empty()) continue;
    if (const auto r = protocol::parse_request(line); r && (r->what == command::shutdown || r->body.contains("tell_stderr"))) return 0;
    (void)protocol::parse_reply(line);  // chaos-ctl reads lines of others, too
    lines.push_back(std::move(line));
  }
  protocol::client c = daemon.connect();
  for (const std::string& line : lines) {
    fuzz::require(c.send_line(line + "\n"), "the daemon takes a line");
    expect_reply(c, line);
  }
  if (++inputs % 64 == 0) fuzz::require(daemon.connect().call(command::stop).ok(), "stop ends every rule");
  return 0;
}
