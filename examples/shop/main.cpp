// An HTTP shop that keeps selling when its cache fails, and says no quickly when its database fails too.
//
//   shop --port 8080 --redis redis://127.0.0.1:6379 --postgres "host=127.0.0.1 dbname=shop" --create 1000 --pool 16
//   curl -i http://127.0.0.1:8080/item/7      200, X-Source: redis | l1 | postgres; 404; 503 with Retry-After
//   curl http://127.0.0.1:8080/healthz        200: it lives; and the state of both breakers
//   curl http://127.0.0.1:8080/readyz         200: it sells; 503: it can not (PostgreSQL's breaker is open)
//   curl http://127.0.0.1:8080/metrics        Prometheus: answers, latency histogram, cache hit ratio, use of the pool
//
// Without --postgres the environment variable DATABASE_URL says where the database is, whenever it is asked: taking it
// away is an error of configuration as it happens in life.
//
// --resilience off leaves out breakers, fallback and time-outs: a shop in which the experiments of examples/experiments
// must fail.
//
// Exit codes: 0 ended by SIGTERM or SIGINT, 1 cannot serve, 2 wrong usage.
#include <httplib.h>
#include <signal.h>

#include <charconv>
#include <iostream>
#include <thread>

#include "metrics.hpp"

namespace {

struct options : shop::settings {
  int port = 8080;
  int create = 0;
  int threads = 64;  // a kept-alive connection has one to itself
};

[[noreturn]] void usage(const std::string& wrong) {
  std::cerr << "shop: " << wrong
            << "\nusage: shop [--port N] [--redis URL] [--postgres CONNINFO] [--pool N] [--threads N] [--timeout-ms N] [--recovery-ms N] "
               "[--ttl-s N] [--l1-s N] [--create ITEMS] [--resilience on|off]\n";
  std::exit(2);
}

options parse(int argc, char** argv) {
  options o;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    if (i + 1 >= argc) usage(name + " needs a value");
    const std::string value = argv[i + 1];
    const auto number = [&](int least, int most) {
      int n = 0;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), n);
      if (error != std::errc() || end != value.data() + value.size() || n < least || n > most)
        usage(name + " is \"" + value + "\"; expected " + std::to_string(least) + " to " + std::to_string(most));
      return n;
    };
    if (name == "--port")
      o.port = number(1, 65535);
    else if (name == "--redis")
      o.redis = value;
    else if (name == "--postgres")
      o.postgres = value;
    else if (name == "--pool")
      o.pool = static_cast<unsigned>(number(1, 1'000));
    else if (name == "--threads")
      o.threads = number(1, 1'000);
    else if (name == "--timeout-ms")
      o.timeout = std::chrono::milliseconds(number(1, 60'000));
    else if (name == "--recovery-ms")
      o.recovery = std::chrono::milliseconds(number(1, 3'600'000));
    else if (name == "--ttl-s")
      o.item_ttl = std::chrono::seconds(number(1, 86'400));
    else if (name == "--l1-s")
      o.l1 = std::chrono::seconds(number(1, 86'400));
    else if (name == "--create")
      o.create = number(1, 1'000'000);
    else if (name == "--resilience") {
      if (value != "on" && value != "off") usage("--resilience is \"" + value + "\"; expected on or off");
      o.resilience = value == "on";
    }
    else
      usage("unknown option " + name);
  }
  const char* const url = std::getenv("DATABASE_URL");
  if (o.postgres.empty() && (!url || !*url)) o.postgres = "host=127.0.0.1 dbname=postgres";
  return o;
}

}  // namespace

int main(int argc, char** argv) try {
  const options o = parse(argc, argv);
  sigset_t ends;  // before any thread, so that all of them leave these signals to sigwait() below
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);

  shop::catalog catalog(o);
  shop::metrics metrics;
  if (o.create) catalog.create(o.create);

  httplib::Server server;
  const auto find = [&](int id) -> chaos::result<std::optional<shop::item>> {
    if (!o.resilience) return catalog.find_unprotected(id);
    return catalog.find(id);
  };
  server.new_task_queue = [&o] { return new httplib::ThreadPool(static_cast<std::size_t>(o.threads)); };
  server.Get(R"(/item/(\d{1,9}))", [&](const httplib::Request& request, httplib::Response& response) {
    const auto began = shop::steady::now();
    auto what = shop::metrics::error;  // what is thrown: a 500
    try {
      const auto found = find(std::stoi(request.matches[1]));
      if (!found) {
        what = shop::metrics::unavailable;
        const auto wait = std::chrono::ceil<std::chrono::seconds>(found.error().retry_after).count();
        response.status = 503;
        response.set_header("Retry-After", std::to_string(std::max<std::int64_t>(1, wait)));
        response.set_content(found.error().message() + "\n", "text/plain");
      } else if (!*found) {
        what = shop::metrics::not_found;
        response.status = 404;
        response.set_content("no such item\n", "text/plain");
      } else {
        const std::string_view from = (*found)->from;
        what = from == "redis" ? shop::metrics::redis : from == "l1" ? shop::metrics::l1 : shop::metrics::postgres;
        response.set_header("X-Source", (*found)->from);
        response.set_content((*found)->json + "\n", "application/json");
      }
    } catch (const std::exception& e) {
      response.status = 500;
      response.set_content(std::string(e.what()) + "\n", "text/plain");
    }
    metrics.count(what, shop::steady::now() - began);
  });
  const auto tell_health = [&](httplib::Response& response) {
    response.set_content(std::string("{\"redis\":\"") + to_string(catalog.redis_circuit().state()) +
                             "\",\"postgres\":\"" + to_string(catalog.postgres_circuit().state()) + "\"}\n",
                         "application/json");
  };
  server.Get("/healthz", [&](const httplib::Request&, httplib::Response& response) { tell_health(response); });
  server.Get("/readyz", [&](const httplib::Request&, httplib::Response& response) {
    const auto state = catalog.postgres_circuit().state();
    response.status = state == chaos::state::open || state == chaos::state::forced_open ? 503 : 200;
    tell_health(response);
  });
  server.Get("/metrics", [&](const httplib::Request&, httplib::Response& response) {
    response.set_content(chaos::breakers().prometheus() + metrics.text(catalog), "text/plain; version=0.0.4");
  });
  server.set_tcp_nodelay(true);
  // httplib asks for SO_REUSEPORT: a second shop on the same port would take half of the customers.
  server.set_socket_options([](socket_t s) {
    const int on = 1;
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  });
  if (!server.bind_to_port("127.0.0.1", o.port)) {
    std::cerr << "shop: cannot listen on 127.0.0.1:" << o.port << '\n';
    return 1;
  }
  std::thread serving([&] { server.listen_after_bind(); });
  // stop() does nothing to a server that does not run yet: a SIGTERM in between would be lost.
  while (!server.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::cout << "shop: listening on http://127.0.0.1:" << o.port << std::endl;
  int signal = 0;
  sigwait(&ends, &signal);
  server.stop();
  serving.join();
  return 0;
} catch (const std::invalid_argument& e) {
  std::cerr << "shop: " << e.what() << '\n';
  return 2;
} catch (const std::exception& e) {
  std::cerr << "shop: " << e.what() << '\n';
  return 1;
}
