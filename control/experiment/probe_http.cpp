// A GET. A probe has a connection a request: a server with a thread a connection must not be held up by its own probes. A
// load keeps its connections, as its users' clients do.
#include <httplib.h>

#include "ask_until.hpp"
#include "probe.hpp"

namespace chaos::experiment {

namespace {

class http_probe final : public probe {
 public:
  explicit http_probe(const probe_plan& p) : plan_(p) {}

  void ask(std::uint64_t number, steady::time_point deadline, sample& into) override {
    // A little beyond the deadline: a time-out must not end just before it, and pass for a connection that was cut off.
    const auto left = std::max(std::chrono::microseconds(0), std::chrono::ceil<std::chrono::microseconds>(deadline - steady::now())) + std::chrono::milliseconds(2);
    if (!client_ || !plan_.load) {
      client_ = std::make_unique<httplib::Client>(plan_.host, plan_.port);
      client_->set_tcp_nodelay(true);
      client_->set_keep_alive(plan_.load);
    }
    client_->set_connection_timeout(left);
    client_->set_read_timeout(left);
    client_->set_write_timeout(left);
    const auto answer = ask_until(deadline, [&] { client_->stop(); }, [&] { return client_->Get(plan_.path.at(number)); });
    if (!answer || steady::now() >= deadline) {  // an answer that was cut off may look like a whole one
      client_.reset();
      const auto e = answer.error();
      into.failure = steady::now() >= deadline || e == httplib::Error::ConnectionTimeout || e == httplib::Error::Canceled ? timed_out
                     : e == httplib::Error::Connection                                                                     ? not_connected
                                                                                                                           : cut_off;
      return;
    }
    into.status = answer->status;
    for (std::size_t i = 0; i < plan_.marks.size(); ++i) {
      const auto [from, to] = answer->headers.equal_range(plan_.marks[i].header);
      for (auto at = from; at != to; ++at)
        if (at->second == plan_.marks[i].text) into.marks |= 1u << i;
    }
    bool allowed = false;
    for (const auto& range : plan_.status) allowed = allowed || (into.status >= range.low && into.status <= range.high);
    into.failure = !allowed ? wrong_status : !plan_.body.empty() && answer->body.find(plan_.body) == std::string::npos ? wrong_answer : none;
  }

 private:
  const probe_plan& plan_;
  std::unique_ptr<httplib::Client> client_;
};

}  // namespace

std::unique_ptr<probe> make_http_probe(const probe_plan& p) { return std::make_unique<http_probe>(p); }

}  // namespace chaos::experiment
