#include "resolver.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <deque>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>

namespace chaos::daemon {

struct answer {
  std::string name;
  std::vector<rules::ip_address> addresses;
};

struct resolver_shared {
  std::mutex mutex;
  std::deque<std::string> questions;
  std::vector<answer> answers;
  std::set<std::string> under_way;
  unsigned threads = 0;
  int event = -1;
  ~resolver_shared() { close(event); }
};

namespace {

std::vector<rules::ip_address> look_up(const std::string& name) {
  addrinfo hints{}, *list = nullptr;
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  if (getaddrinfo(name.c_str(), nullptr, &hints, &list) != 0) return {};
  auto out = addresses_of(list, resolver::address_max);
  freeaddrinfo(list);
  return out;
}

void work(std::shared_ptr<resolver_shared> shared) {
  std::unique_lock lock(shared->mutex);
  while (!shared->questions.empty()) {
    const std::string name = shared->questions.front();
    shared->questions.pop_front();
    lock.unlock();
    answer a{name, look_up(name)};
    lock.lock();
    shared->answers.push_back(std::move(a));
    const std::uint64_t one = 1;
    if (write(shared->event, &one, sizeof one) < 0) break;
  }
  --shared->threads;
}

}  // namespace

std::vector<rules::ip_address> addresses_of(const addrinfo* answer, std::size_t most) {
  std::vector<rules::ip_address> out;
  for (const addrinfo* a = answer; a; a = a->ai_next) {
    rules::ip_address address{};
    if (a->ai_family == AF_INET) {
      address[10] = address[11] = 0xff;
      std::memcpy(address.data() + 12, &reinterpret_cast<const sockaddr_in*>(a->ai_addr)->sin_addr, 4);
    } else if (a->ai_family == AF_INET6) {
      std::memcpy(address.data(), &reinterpret_cast<const sockaddr_in6*>(a->ai_addr)->sin6_addr, 16);
    } else {
      continue;
    }
    out.push_back(address);
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  if (out.size() > most) out.resize(most);
  return out;
}

resolver::resolver(loop& l, on_addresses found) : loop_(l), found_(std::move(found)), shared_(std::make_shared<resolver_shared>()) {
  event_ = shared_->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  loop_.add(event_, EPOLLIN, [this](std::uint32_t) { collect(); });
}

resolver::~resolver() { loop_.remove(event_); }

void resolver::ask(const std::string& name) {
  const std::lock_guard lock(shared_->mutex);
  if (!shared_->under_way.insert(name).second) return;
  shared_->questions.push_back(name);
  if (shared_->threads >= thread_max) return;
  // the loop takes signals through a signalfd: a helper must not be the one that is killed by them
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    std::thread(work, shared_).detach();
    ++shared_->threads;
  } catch (const std::system_error&) {
    if (shared_->threads == 0) {  // no thread to be had: the name stays unknown until it is asked again
      shared_->questions.pop_back();
      shared_->under_way.erase(name);
    }
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

bool resolver::pending(const std::string& name) const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->under_way.count(name) != 0;
}

void resolver::collect() {
  std::uint64_t n = 0;
  if (read(event_, &n, sizeof n) < 0) return;
  std::vector<answer> answers;
  {
    const std::lock_guard lock(shared_->mutex);
    answers.swap(shared_->answers);
    for (const answer& a : answers) shared_->under_way.erase(a.name);
  }
  for (answer& a : answers) found_(a.name, std::move(a.addresses));
}

}  // namespace chaos::daemon
