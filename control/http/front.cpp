#include "front.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <charconv>
#include <set>
#include <thread>

#include "compat.hpp"
#include "exchange.hpp"
#include "launcher.hpp"
#include "token.hpp"

namespace chaos::http {

using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

constexpr int backlog = 511;

// A whole request as the stream that cpp-httplib reads, and its answer.
class whole_request final : public httplib::Stream {
 public:
  whole_request(const std::string& request, const std::string& remote) : in_(request), remote_(remote) {}

  bool is_readable() const override { return at_ < in_.size(); }
  bool is_writable() const override { return true; }
  ssize_t read(char* into, size_t size) override {
    const std::size_t n = std::min(size, in_.size() - at_);
    std::copy_n(in_.data() + at_, n, into);
    at_ += n;
    return static_cast<ssize_t>(n);
  }
  ssize_t write(const char* from, size_t size) override {
    out.append(from, size);
    return static_cast<ssize_t>(size);
  }
  void get_remote_ip_and_port(std::string& ip, int& port) const override {
    ip = remote_;
    port = 0;
  }
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return INVALID_SOCKET; }

  std::string out;

 private:
  const std::string& in_;
  const std::string& remote_;
  std::size_t at_ = 0;
};

thread_local answer* current = nullptr;  // of the request that this worker handles

class front final : public httplib::Server {
 public:
  explicit front(const front_settings& how) {
    shared_.how = how;
    shared_.launch = new launcher(how);
    shared_.five = new compat(how, *shared_.launch);
    new_task_queue = [] { return new at_once; };  // the reception has the workers
    set_socket_options([](socket_t s) {  // not SO_REUSEPORT: two daemons at one port would share it in silence
      const int yes = 1;
      setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    set_payload_max_length(1024 * 1024);
    set_keep_alive_max_count(1'000'000);
    set_keep_alive_timeout(std::chrono::duration_cast<std::chrono::seconds>(reception::idle_patience).count());
    for (const route& r : routes()) add(r);
    set_error_handler([this](const httplib::Request& q, httplib::Response& a) { not_served(q, a); });
    set_exception_handler([](const httplib::Request&, httplib::Response& a, std::exception_ptr) {
      a.status = 500;
      a.set_content("{\"error\":{\"code\":\"failed\",\"message\":\"the request failed inside chaosd\",\"word\":\"\",\"expected\":[]}}\n", "application/json");
    });
    reception_ = new reception([this](const std::string& request, const std::string& remote) { return serve(request, remote); }, how.requests_per_second);
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

  answer serve(const std::string& request, const std::string& remote) {
    answer a;
    whole_request stream(request, remote);
    current = &a;
    bool closed = false;
    const bool good = process_request(stream, false, closed, nullptr);
    a.keep_alive = good && !closed && !a.stream;
    a.bytes = std::move(stream.out);
    return a;
  }

  void add(const route& r) {
    std::string pattern = r.path;
    for (const std::string& name : segments_of(r.path)) pattern.replace(pattern.find("{" + name + "}"), name.size() + 2, "([^/]+)");
    for (std::size_t at = 0; (at = pattern.find('.', at)) != std::string::npos; at += 2) pattern.insert(at, "\\");
    const auto act = [this, &r](const httplib::Request& q, httplib::Response& a) {
      if (!r.open && !allowed(q)) {
        a.set_header("WWW-Authenticate", "Bearer realm=\"chaosd\"");
        return exchange(shared_, r, q, a, *current).refuse({problem_code::not_allowed, "the header `Authorization: Bearer TOKEN` is missing, or its token is not the right one", "", {}}, 401);
      }
      exchange x(shared_, r, q, a, *current);
      r.act(x);
    };
    const std::string_view method = r.method;
    if (method == "GET") Get(pattern, act);
    else if (method == "POST") Post(pattern, act);
    else Delete(pattern, act);
    patterns_.emplace_back(std::regex(pattern), &r);
  }

  bool allowed(const httplib::Request& q) const {
    constexpr std::string_view scheme = "Bearer ";
    if (shared_.how.token.empty() || q.get_header_value_count("Authorization") != 1) return false;
    const std::string given = q.get_header_value("Authorization");
    return given.size() > scheme.size() && strncasecmp(given.c_str(), scheme.data(), scheme.size()) == 0 &&
           same_token(std::string_view(given).substr(scheme.size()), shared_.how.token);
  }

  void not_served(const httplib::Request& q, httplib::Response& a) {
    if (!a.body.empty()) return;
    std::set<std::string> methods;
    for (const auto& [pattern, r] : patterns_)
      if (std::regex_match(q.path, pattern)) methods.insert(r->method);
    problem p{problem_code::bad_request, "the request can not be understood", "", {}};
    if (a.status == 404 && methods.empty()) p = {problem_code::not_found, "nothing is served at this path; /v1/openapi.json lists what is", "", {}};
    if (a.status == 404 && !methods.empty()) {
      a.status = 405;
      std::string list;
      for (const std::string& m : methods) list += (list.empty() ? "" : ", ") + m;
      a.set_header("Allow", list);
      p = {problem_code::bad_request, "this path takes " + list, q.method.substr(0, 32), {methods.begin(), methods.end()}};
    }
    a.set_content(json{{"error", protocol::error_json(p)}}.dump(-1, ' ', false, json::error_handler_t::replace) + "\n", "application/json");
  }

  service shared_;
  reception* reception_ = nullptr;  // for the life of the process
  std::vector<std::pair<std::regex, const route*>> patterns_;
};

}  // namespace

result<parsed_address> parse_address(const std::string& text) {
  const problem wrong{problem_code::bad_value, "--http: '" + text + "' is not ADDRESS:PORT", text, {"127.0.0.1:8080", "[::1]:8080"}};
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
