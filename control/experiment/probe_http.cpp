// A GET on a connection of its own: a server with a thread a connection must not be held up by its own probes.
#include <httplib.h>

#include "probe.hpp"

namespace chaos::experiment {

namespace {

class http_probe final : public probe {
 public:
  explicit http_probe(const probe_plan& p) : plan_(p) {}

  void ask(std::uint64_t number, steady::time_point deadline, sample& into) override {
    // A little beyond the deadline: a time-out must not end just before it, and pass for a connection that was cut off.
    const auto left = std::max(std::chrono::microseconds(0), std::chrono::ceil<std::chrono::microseconds>(deadline - steady::now())) + std::chrono::milliseconds(2);
    httplib::Client client(plan_.host, plan_.port);
    client.set_connection_timeout(left);
    client.set_read_timeout(left);
    client.set_write_timeout(left);
    client.set_tcp_nodelay(true);
    client.set_keep_alive(false);
    const std::string path = plan_.last ? plan_.path_before + std::to_string(plan_.first + number % (plan_.last - plan_.first + 1)) + plan_.path_after : plan_.path_before;
    const auto answer = client.Get(path, [&](std::uint64_t, std::uint64_t) { return steady::now() < deadline; });
    if (!answer) {
      const auto e = answer.error();
      into.failure = steady::now() >= deadline || e == httplib::Error::ConnectionTimeout || e == httplib::Error::Canceled ? timed_out
                     : e == httplib::Error::Connection                                                                     ? not_connected
                                                                                                                           : cut_off;
      return;
    }
    into.status = answer->status;
    for (std::size_t i = 0; i < plan_.headers.size(); ++i) {
      const auto [from, to] = answer->headers.equal_range(plan_.headers[i].first);
      for (auto at = from; at != to; ++at)
        if (at->second == plan_.headers[i].second) into.headers |= 1u << i;
    }
    bool allowed = false;
    for (const auto& range : plan_.status) allowed = allowed || (into.status >= range.low && into.status <= range.high);
    into.failure = !allowed ? wrong_status : !plan_.body.empty() && answer->body.find(plan_.body) == std::string::npos ? wrong_answer : none;
  }

 private:
  const probe_plan& plan_;
};

}  // namespace

std::unique_ptr<probe> make_http_probe(const probe_plan& p) { return std::make_unique<http_probe>(p); }

std::unique_ptr<probe> make_probe(const probe_plan& p) {
  switch (p.kind) {
    case probe_kind::http: return make_http_probe(p);
    case probe_kind::tcp: return make_tcp_probe(p);
    case probe_kind::command: return make_command_probe(p);
  }
  return nullptr;
}

}  // namespace chaos::experiment
