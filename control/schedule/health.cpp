#include "health.hpp"

#include <httplib.h>

#include "control/experiment/ask_until.hpp"
#include "control/experiment/probe.hpp"
#include "shell.hpp"

namespace chaos::schedule {

namespace {

constexpr std::string_view http = "http://", tcp = "tcp://";

struct place {
  std::string server, path;
};
place place_of(const std::string& url) {
  const auto slash = url.find('/', http.size());
  return {url.substr(0, slash), slash == std::string::npos ? "/" : url.substr(slash)};
}

httplib::Client client_for(const place& at, std::chrono::nanoseconds timeout) {
  httplib::Client client(at.server);
  const auto t = std::chrono::ceil<std::chrono::microseconds>(timeout);
  client.set_connection_timeout(t);
  client.set_read_timeout(t);
  client.set_write_timeout(t);
  client.set_keep_alive(false);
  return client;
}

bool answers_tcp(const std::string& address, std::chrono::nanoseconds timeout) {
  experiment::probe_plan p;
  p.kind = experiment::probe_kind::tcp;
  const auto colon = address.rfind(':');
  p.host = address.substr(0, colon);
  if (p.host.size() > 2 && p.host.front() == '[') p.host = p.host.substr(1, p.host.size() - 2);
  p.port = colon == std::string::npos ? 0 : std::atoi(address.c_str() + colon + 1);
  experiment::sample s;
  experiment::make_tcp_probe(p)->ask(0, experiment::steady::now() + timeout, s);
  return s.failure == experiment::none;
}

}  // namespace

bool is_well(const std::string& check, std::chrono::nanoseconds timeout) {
  if (check.starts_with(tcp)) return answers_tcp(check.substr(tcp.size()), timeout);
  if (!check.starts_with(http)) return run_command(check, {}, "", timeout).good();
  const auto at = place_of(check);
  auto client = client_for(at, timeout);
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  const auto answer = experiment::ask_until(deadline, [&] { client.stop(); }, [&] { return client.Get(at.path); });
  const bool whole = answer && std::chrono::steady_clock::now() < deadline;  // one that was cut off may look like it
  return whole && answer->status >= 200 && answer->status < 400;
}

std::string post_json(const std::string& url, const std::string& body, std::chrono::nanoseconds timeout) {
  const auto at = place_of(url);
  auto client = client_for(at, timeout);
  const auto answer = experiment::ask_until(std::chrono::steady_clock::now() + timeout, [&] { client.stop(); }, [&] { return client.Post(at.path, body, "application/json"); });
  if (!answer) return "no answer from " + url + " (" + httplib::to_string(answer.error()) + ")";
  return answer->status >= 200 && answer->status < 300 ? "" : url + " answered " + std::to_string(answer->status);
}

}  // namespace chaos::schedule
