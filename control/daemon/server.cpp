#include "server.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

namespace chaos::daemon {

using protocol::json;
using rules::problem;
using rules::problem_code;

server::server(loop& l, int listening_fd, handler h, std::function<void(client_id)> gone)
    : loop_(l), listening_(listening_fd), spare_(open("/dev/null", O_RDONLY | O_CLOEXEC)), handle_(std::move(h)), gone_(std::move(gone)) {
  loop_.add(listening_, EPOLLIN, [this](std::uint32_t) { accept_some(); });
}

server::~server() {
  gone_ = [](client_id) {};
  while (!clients_.empty()) drop(clients_.begin()->first);
  loop_.remove(listening_);
  close(listening_);
  if (spare_ >= 0) close(spare_);
}

// Without a free descriptor the client would wait, and the loop would be told of it for ever: it is let in on the spare one, to be refused.
void server::refuse_one() {
  close(spare_);
  const int fd = accept4(listening_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd >= 0) {
    const std::string line = protocol::to_line(protocol::error_reply({problem_code::too_many, "chaosd has no free descriptor: raise its limit (ulimit -n), or end some of its clients", "", {}}));
    if (send(fd, line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) errno = 0;
    close(fd);
  }
  spare_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void server::accept_some() {
  for (int i = 0; i < 16; ++i) {
    const int fd = accept4(listening_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE)) return refuse_one();
    if (fd < 0) return;
    ucred peer{};
    socklen_t n = sizeof peer;
    const bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0;
    const bool allowed = known && (peer.uid == geteuid() || peer.uid == 0);
    const bool full = clients_.size() >= protocol::client_max;
    if (!allowed || full) {
      const problem why = allowed ? problem{problem_code::too_many, "chaosd already serves " + std::to_string(protocol::client_max) + " clients", "", {}}
                                  : problem{problem_code::not_allowed, "this session belongs to uid " + std::to_string(geteuid()) +
                                            ", and you are uid " + std::to_string(peer.uid), "", {}};
      const std::string line = protocol::to_line(protocol::error_reply(why));
      if (send(fd, line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) errno = 0;
      close(fd);
      continue;
    }
    const client_id who = next_++;
    client& c = clients_[who];
    c.fd = fd;
    c.who = {peer.pid, peer.uid};
    loop_.add(fd, EPOLLIN | EPOLLRDHUP, [this, who](std::uint32_t events) { on_ready(who, events); });
  }
}

void server::on_ready(client_id who, std::uint32_t events) {
  if (events & (EPOLLHUP | EPOLLERR)) return drop(who);
  if ((events & EPOLLOUT) && !write_out(who)) return;
  if (events & (EPOLLIN | EPOLLRDHUP)) read_lines(who);
}

void server::interest(const client& c) {
  const bool wanted = !c.ending && !c.busy && !c.scheduled && c.out.size() <= unread_max;
  std::uint32_t events = wanted ? EPOLLIN : 0u;
  if (!c.ending) events |= EPOLLRDHUP;
  if (!c.out.empty()) events |= EPOLLOUT;
  loop_.modify(c.fd, events);
}

void server::read_lines(client_id who) {
  client& c = clients_.at(who);
  char chunk[65536];
  const ssize_t n = recv(c.fd, chunk, sizeof chunk, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    // A peer that only shut its sending side still wants what it asked for.
    if (n < 0 || c.watching || !(c.busy || c.scheduled || !c.out.empty())) return drop(who);
    c.ending = true;
    return interest(c);
  }
  c.in.append(chunk, static_cast<std::size_t>(n));
  handle_lines(who);
}

void server::handle_lines(client_id who) {
  for (int handled = 0;; ++handled) {
    const auto at = clients_.find(who);
    if (at == clients_.end()) return;
    client& c = at->second;
    if (c.busy || c.scheduled || c.out.size() > unread_max) return interest(c);
    const auto end = c.in.find('\n');
    if (end == std::string::npos && c.in.size() > protocol::line_max_bytes) {
      c.ending = true;
      c.in.clear();
      return queue(who, protocol::to_line(protocol::error_reply({problem_code::bad_request,
          "the request is longer than " + std::to_string(protocol::line_max_bytes) + " bytes", "", {}})));
    }
    if (end == std::string::npos) {
      if (c.ending && c.out.empty()) return drop(who);
      return interest(c);
    }
    if (handled == turn) {
      c.scheduled = true;
      loop_.later([this, who] {
        if (const auto still = clients_.find(who); still != clients_.end()) {
          still->second.scheduled = false;
          handle_lines(who);
        }
      });
      return interest(c);
    }
    const std::string line = c.in.substr(0, end);
    c.in.erase(0, end + 1);
    if (line.empty()) continue;
    c.busy = c.handling = true;
    const auto request = protocol::parse_request(line);
    if (request) handle_(who, *request);
    else reply(who, protocol::error_reply(request.error()));
    if (const auto still = clients_.find(who); still != clients_.end()) still->second.handling = false;
  }
}

void server::reply(client_id who, const json& message) { reply_line(who, protocol::to_line(message)); }

void server::reply_line(client_id who, const std::string& line) {
  const auto at = clients_.find(who);
  if (at == clients_.end()) return;  // it did not wait
  at->second.busy = false;
  const bool handling = at->second.handling;
  queue(who, line);
  if (!handling && clients_.count(who)) handle_lines(who);  // else the loop there goes on: bursts must not recurse
}

void server::queue(client_id who, const std::string& line) {
  client& c = clients_.at(who);
  const std::size_t most = c.watching ? watch_out_max : out_max;
  if (c.out.size() + line.size() > most) {
    if (!c.watching) return drop(who);
    ++c.missed;
    return;
  }
  c.out += line;
  write_out(who);
}

bool server::write_out(client_id who) {
  client& c = clients_.at(who);
  const bool was_full = c.out.size() > unread_max;
  while (!c.out.empty()) {
    const ssize_t n = send(c.fd, c.out.data(), c.out.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n <= 0) {
      drop(who);
      return false;
    }
    c.out.erase(0, static_cast<std::size_t>(n));
  }
  if (c.out.empty() && c.missed) {
    c.out = protocol::to_line({{"missed", c.missed}, {"reason", "this client reads too slowly"}});
    c.missed = 0;
  }
  if (c.out.empty() && c.ending && !c.busy && !c.handling && !c.scheduled && c.in.find('\n') == std::string::npos) {
    drop(who);
    return false;
  }
  interest(c);
  if (was_full && c.out.size() <= unread_max && !c.handling) {
    handle_lines(who);
    return clients_.count(who) != 0;
  }
  return true;
}

void server::make_watcher(client_id who) {
  const auto at = clients_.find(who);
  if (at == clients_.end() || at->second.watching) return;
  at->second.watching = true;
  ++watchers_;
}

void server::send_line(client_id who, const std::string& line) {
  if (clients_.count(who)) queue(who, line);
}

void server::broadcast(const std::string& line) {
  std::vector<client_id> who;
  for (const auto& [id, c] : clients_)
    if (c.watching) who.push_back(id);
  for (const client_id id : who)
    if (clients_.count(id)) queue(id, line);
}

server::peer server::peer_of(client_id who) const {
  const auto at = clients_.find(who);
  return at == clients_.end() ? peer{} : at->second.who;
}

void server::drop(client_id who) {
  const auto at = clients_.find(who);
  if (at == clients_.end()) return;
  if (at->second.watching) --watchers_;
  loop_.remove(at->second.fd);
  close(at->second.fd);
  clients_.erase(at);
  gone_(who);
}

void server::flush_and_close() {
  std::vector<client_id> all;
  for (const auto& [id, c] : clients_) all.push_back(id);
  for (const client_id id : all) {
    if (clients_.count(id) && write_out(id)) drop(id);
  }
}

}  // namespace chaos::daemon
