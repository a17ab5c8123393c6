// A Redis command. A probe has a connection a request; a load keeps its connections.
#include <hiredis/hiredis.h>
#include <sys/socket.h>

#include "ask_until.hpp"
#include "control/rules/values.hpp"
#include "probe.hpp"

namespace chaos::experiment {

namespace {

struct closer {
  void operator()(redisContext* c) const { redisFree(c); }
  void operator()(redisReply* r) const { freeReplyObject(r); }
};

timeval time_left(steady::time_point deadline) {
  const auto us = std::max<std::int64_t>(1000, std::chrono::ceil<std::chrono::microseconds>(deadline - steady::now()).count());
  return {us / 1'000'000, us % 1'000'000};
}

bool holds(const redisReply& r, const std::string& text) {
  if (r.str && std::string_view(r.str, r.len).find(text) != std::string_view::npos) return true;
  if (r.type == REDIS_REPLY_INTEGER && std::to_string(r.integer).find(text) != std::string::npos) return true;
  for (std::size_t i = 0; i < r.elements; ++i)
    if (holds(*r.element[i], text)) return true;
  return false;
}

class redis_probe final : public probe {
 public:
  explicit redis_probe(const probe_plan& p) : plan_(p) {}

  void ask(std::uint64_t number, steady::time_point deadline, sample& into) override {
    into.failure = outcome(number, deadline);
    if (into.failure != none && into.failure != error_reply && into.failure != wrong_answer) connection_.reset();
    if (!plan_.load) connection_.reset();
  }

 private:
  failure outcome(std::uint64_t number, steady::time_point deadline) {
    const auto lost = [&](failure why) { return steady::now() >= deadline ? timed_out : why; };
    if (!connection_) {
      connection_.reset(redisConnectWithTimeout(plan_.host.c_str(), plan_.port, time_left(deadline)));
      if (!connection_ || connection_->err) return lost(not_connected);
    }
    redisSetTimeout(connection_.get(), time_left(deadline));
    std::vector<std::string> words;
    for (auto& word : rules::split(plan_.command.at(number), ' '))
      if (!word.empty()) words.push_back(std::move(word));
    std::vector<const char*> texts;
    std::vector<std::size_t> sizes;
    for (const auto& word : words) texts.push_back(word.data()), sizes.push_back(word.size());
    const std::unique_ptr<redisReply, closer> reply(ask_until(deadline, [fd = connection_->fd] { shutdown(fd, SHUT_RDWR); }, [&] {
      return static_cast<redisReply*>(redisCommandArgv(connection_.get(), static_cast<int>(words.size()), texts.data(), sizes.data()));
    }));
    if (!reply) return lost(cut_off);
    if (reply->type == REDIS_REPLY_ERROR) return error_reply;
    return plan_.expect.empty() || holds(*reply, plan_.expect) ? none : wrong_answer;
  }

  const probe_plan& plan_;
  std::unique_ptr<redisContext, closer> connection_;
};

}  // namespace

std::unique_ptr<probe> make_redis_probe(const probe_plan& p) { return std::make_unique<redis_probe>(p); }

}  // namespace chaos::experiment
