#include "front.hpp"

#include <arpa/inet.h>
#include <httplib.h>
#include <sys/socket.h>

#include <charconv>
#include <thread>

#include "site.hpp"

namespace chaos::http {

using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

constexpr int backlog = 511;

// Accepts; the reception reads.
class front final : public httplib::Server {
 public:
  explicit front(const front_settings& how) : site_(new site(how)) {
    new_task_queue = [] { return new at_once; };  // the reception has the workers
    set_socket_options([](socket_t s) {  // not SO_REUSEPORT: two daemons at one port would share it in silence
      const int yes = 1;
      setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    reception_ = new reception([this](const std::string& request, const std::string& remote) { return site_->serve(request, remote); }, how.requests_per_second);
  }

  int bound(const std::string& host, int port) {
    if (port == 0) port = bind_to_any_port(host);
    else if (!bind_to_port(host, port)) port = -1;
    if (port > 0) ::listen(svr_sock_, backlog);  // cpp-httplib asks for 5
    return port;
  }

 private:
  struct at_once final : httplib::TaskQueue {
    void enqueue(std::function<void()> what) override { what(); }
    void shutdown() override {}
  };

  bool process_and_close_socket(socket_t sock) override {
    reception_->take(sock);
    return true;
  }

  site* const site_;  // both for the life of the process
  reception* reception_ = nullptr;
};

}  // namespace

result<parsed_address> parse_address(const std::string& text) {
  const problem wrong{problem_code::bad_value, "--http: '" + text + "' is not ADDRESS:PORT, such as 127.0.0.1:8080", text, {"127.0.0.1:8080", "[::1]:8080"}};
  const auto colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return wrong;
  parsed_address out;
  out.host = text.substr(0, colon);
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data() + colon + 1, text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port > 65535) return wrong;
  out.port = static_cast<int>(port);
  if (out.host.front() == '[' && out.host.back() == ']') out.host = out.host.substr(1, out.host.size() - 2);
  if (out.host == "localhost") out.host = "127.0.0.1";
  in_addr v4{};
  in6_addr v6{};
  if (inet_pton(AF_INET, out.host.c_str(), &v4) == 1) out.loopback = ntohl(v4.s_addr) >> 24 == 127;
  else if (inet_pton(AF_INET6, out.host.c_str(), &v6) == 1) out.loopback = IN6_IS_ADDR_LOOPBACK(&v6);
  else return wrong;
  return out;
}

result<listening> start_front(const front_settings& how) {
  const auto address = parse_address(how.address);
  if (!address) return address.error();
  if (how.token.empty()) return problem{problem_code::not_allowed, "HTTP is not served without a token", how.address, {}};
  auto* const server = new front(how);  // for the life of the process
  const int port = server->bound(address->host, address->port);
  if (port <= 0) return problem{problem_code::failed, "can not listen at " + how.address + " for HTTP: is the port taken?", how.address, {}};
  std::thread([server] { server->listen_after_bind(); }).detach();
  const bool v6 = address->host.find(':') != std::string::npos;
  listening out{"http://" + (v6 ? "[" + address->host + "]" : address->host) + ":" + std::to_string(port), ""};
  if (!address->loopback)
    out.warning = "HTTP at " + out.url + " is not encrypted: whoever can listen to this network reads the token. Put a proxy with TLS in front, or use a loopback address";
  return out;
}

}  // namespace chaos::http
