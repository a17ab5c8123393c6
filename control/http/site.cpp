#include "site.hpp"

#include <httplib.h>

#include <algorithm>
#include <optional>
#include <regex>
#include <set>

#include "compat.hpp"
#include "control/rules/values.hpp"
#include "exchange.hpp"
#include "launcher.hpp"
#include "token.hpp"

namespace chaos::http {

using rules::problem;
using rules::problem_code;

namespace {

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
  bool read_to_its_end() const { return at_ == in_.size(); }

  std::string out;

 private:
  const std::string& in_;
  const std::string& remote_;
  std::size_t at_ = 0;
};

thread_local answer* current = nullptr;  // of the request that this worker handles

}  // namespace

// It has none itself; with INVALID_SOCKET cpp-httplib takes itself for one that shuts down, and writes no streams.
constexpr socket_t socket_of_another = INVALID_SOCKET - 1;

class site::pages final : public httplib::Server {
 public:
  explicit pages(const front_settings& how) {
    svr_sock_ = socket_of_another;
    shared_.how = how;
    shared_.launch = new launcher(how);
    shared_.five = new compat(how, *shared_.launch);
    set_payload_max_length(1024 * 1024);
    set_keep_alive_max_count(1'000'000);
    set_keep_alive_timeout(std::chrono::duration_cast<std::chrono::seconds>(reception::idle_patience).count());
    for (const route& r : routes()) add(r);
    set_error_handler([this](const httplib::Request& q, httplib::Response& a) { not_served(q, a); });
    set_exception_handler([](const httplib::Request&, httplib::Response& a, std::exception_ptr) {
      a.status = 500;
      a.set_content("{\"error\":{\"code\":\"failed\",\"message\":\"the request failed inside chaosd\",\"word\":\"\",\"expected\":[]}}\n", "application/json");
    });
  }

  answer serve(const std::string& request, const std::string& remote) {
    answer a;
    whole_request stream(request, remote);
    current = &a;
    bool closed = false;
    const bool good = process_request(stream, false, closed, nullptr);
    // Where cpp-httplib sees another end of the request than framing.hpp does, nothing more is believed of this client.
    a.keep_alive = good && !closed && !a.stream && stream.read_to_its_end();
    a.bytes = std::move(stream.out);
    return a;
  }

 private:
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
      if (const auto p = unknown_parameter(r, q.target)) return x.refuse(*p);
      r.act(x);
    };
    const std::string_view method = r.method;
    if (method == "GET") Get(pattern, act);
    else if (method == "POST") Post(pattern, act);
    else Delete(pattern, act);
    patterns_.emplace_back(std::regex(pattern), &r);
  }

  // Of our own paths: clients of the others may send what they are used to. A form in the body is none of the address.
  static std::optional<problem> unknown_parameter(const route& r, const std::string& target) {
    const auto question = target.find('?');
    if (question == std::string::npos || !std::string_view(r.path).starts_with("/v1/")) return std::nullopt;
    std::vector<std::string> known;
    for (const std::string& parameter : rules::split(r.query, ' '))
      if (!parameter.empty()) known.push_back(parameter.substr(0, parameter.find(':')));
    for (const std::string& parameter : rules::split(std::string_view(target).substr(question + 1), '&')) {
      const std::string name = parameter.substr(0, std::min(parameter.find('='), std::size_t{64}));
      if (name.empty() || std::find(known.begin(), known.end(), name) != known.end()) continue;
      if (known.empty()) return problem{problem_code::unexpected_word, "this path takes no parameter, but got '" + name + "'", name, {}};
      return rules::unknown_word(problem_code::unknown_option, "parameter", name, known);
    }
    return std::nullopt;
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
  std::vector<std::pair<std::regex, const route*>> patterns_;
};

site::site(const front_settings& how) : pages_(new pages(how)) {}
answer site::serve(const std::string& request, const std::string& remote) { return pages_->serve(request, remote); }

}  // namespace chaos::http
