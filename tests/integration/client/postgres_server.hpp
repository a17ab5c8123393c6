// A PostgreSQL of its own for a test: own port, own data folder, ended by its process id. PostgreSQL refuses to run
// as root, so that root becomes the user "postgres" for it.
#pragma once
#include <grp.h>
#include <pwd.h>

#include <memory>
#include <stdexcept>

#include "process.hpp"
#include "redis_server.hpp"

namespace chaos_test {

class postgres_server {
 public:
  // `bin` is the folder of initdb and postgres.
  explicit postgres_server(std::string bin) : port(free_port()), bin_(std::move(bin)) {
    if (geteuid() == 0) {
      user_ = getpwnam("postgres");
      if (!user_) throw std::runtime_error("there is no user postgres");
      if (chown(folder_.path.c_str(), user_->pw_uid, user_->pw_gid) != 0) throw std::runtime_error("chown");
    }
    process init({bin_ + "/initdb", "-D", data(), "-U", "shop", "-A", "trust", "--no-sync", "-E", "UTF8"}, log(),
                 become());
    if (init.wait() != 0) throw std::runtime_error("initdb: " + init.output());
    start();
  }
  ~postgres_server() { stop(); }

  void start() {
    server_ = std::make_unique<process>(
        std::vector<std::string>{bin_ + "/postgres", "-D", data(), "-p", std::to_string(port), "-h", "127.0.0.1",
                                 "-k", "", "-F", "-c", "restart_after_crash=off"},
        log(), become());
    const auto ready = [&] {
      process p({bin_ + "/pg_isready", "-q", "-h", "127.0.0.1", "-p", std::to_string(port)}, log());
      return p.wait() == 0;
    };
    if (!eventually(ready, 30s)) throw std::runtime_error("postgres: " + server_->output());
  }
  // At once, its connections cut; its children end with it.
  void stop() {
    if (server_) server_->end(SIGQUIT);
    server_.reset();
  }
  std::string conninfo() const { return "host=127.0.0.1 dbname=postgres user=shop port=" + std::to_string(port); }
  const int port;

 private:
  std::string data() const { return folder_.path / "data"; }
  std::filesystem::path log() const { return folder_.path / "log"; }
  std::function<void()> become() const {
    const passwd* to = user_;
    return [to] {
      if (to && (setgroups(0, nullptr) != 0 || setgid(to->pw_gid) != 0 || setuid(to->pw_uid) != 0)) _exit(126);
      if (chdir("/") != 0) _exit(126);
    };
  }
  const std::string bin_;
  temporary_folder folder_;
  const passwd* user_ = nullptr;
  std::unique_ptr<process> server_;
};

}  // namespace chaos_test
