#include "registration.hpp"

namespace chaos::experiment {

using nlohmann::json;
using protocol::command;
using rules::result;

namespace {

constexpr auto every = std::chrono::milliseconds(200);
constexpr auto patience = std::chrono::seconds(5);
constexpr std::size_t part_bytes = protocol::line_max_bytes / 4;  // of a report; inside a line its quotes take two

}  // namespace

result<std::unique_ptr<registration>> registration::begin(const std::string& session_folder, const plan& p, bool dry_run) {
  auto link = protocol::client::connect(session_folder);
  if (!link) return link.error();
  const auto longest = std::chrono::duration_cast<std::chrono::milliseconds>(p.baseline + p.observe + p.recover + p.after).count();
  const auto answer = link->call(command::experiment, {{"action", "begin"}, {"name", p.name}, {"hypothesis", p.hypothesis}, {"longest_ms", longest}, {"dry_run", dry_run}}, patience);
  if (!answer) return answer.error();
  const json id = answer->result.value("id", json());
  return std::unique_ptr<registration>(
      new registration(std::move(*link), id.is_number_unsigned() ? id.get<std::uint64_t>() : 0, answer->result.value("dry_run", json()) == true));
}

registration::registration(protocol::client link, std::uint64_t id, bool dry_run)
    : link_(std::move(link)), id_(id), dry_run_(dry_run), thread_([this] { work(); }) {}

registration::~registration() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
    wake_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void registration::enter(phase p) {
  const std::lock_guard lock(mutex_);
  phase_ = phase_names[static_cast<int>(p)];
  wake_.notify_all();
}

void registration::tell(json figures) {
  const std::lock_guard lock(mutex_);
  figures_ = std::move(figures);
}

std::string registration::stop_asked() const {
  const std::lock_guard lock(mutex_);
  return stop_;
}

void registration::work() {
  std::string told;
  std::unique_lock lock(mutex_);
  while (!over_ && !link_.closed()) {
    wake_.wait_for(lock, every, [&] { return over_ || phase_ != told; });
    if (over_) return;
    told = phase_;
    json news{{"action", "progress"}, {"phase", phase_}, {"figures", figures_}};
    lock.unlock();
    const auto answer = link_.call(command::experiment, std::move(news), patience);
    lock.lock();
    if (!answer) {
      stop_ = "chaosd can not be asked any more: " + answer.error().message;
    } else {
      const json stop = answer->result.value("stop", json());
      if (stop.is_string()) stop_ = stop.get<std::string>();
      paused_ = answer->result.value("paused", json()) == true;
    }
  }
}

void registration::end(const outcome& o, const json& report) {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
    wake_.notify_all();
  }
  thread_.join();
  const std::string text = report.dump(-1, ' ', true, json::error_handler_t::replace);  // all of it ASCII: it may be cut anywhere
  for (std::size_t at = 0; at < text.size(); at += part_bytes)
    if (!link_.call(command::experiment, {{"action", "hand_in"}, {"part", text.substr(at, part_bytes)}}, patience)) break;  // chaosd has noted why
  const auto answer = link_.call(command::experiment, {{"action", "end"}, {"verdict", verdict_names[static_cast<int>(o.verdict)]}, {"reason", o.reason}}, patience);
  static_cast<void>(answer);  // a chaosd that is gone has no table any more
}

}  // namespace chaos::experiment
