// Breaker state that survives a restart of the application. Memory is the truth: the store is written behind it.
//
//   chaos::breaker redis{"redis"};
//   chaos::breaker_persistence keep{redis, std::make_unique<chaos::file_store>("/var/lib/shop/redis.breaker")};
//   // or chaos::redis_store (redis_cache.hpp): a redis_url
//
// A thread of its own loads once and then saves after transitions; no call ever waits for it. The constructor waits
// for the load at most restore_wait. What was loaded is applied only while the breaker has had no call, and clamped:
// an open one waits for what was left of its time (wall clock), never longer than its own settings allow; half open
// comes back as open and due. Thread-safety: all of it. Units: std::chrono; milliseconds in the stored text. Errors:
// nothing here throws after construction; an unreachable store or a corrupt state is counted, kept in last_error(),
// annotated, and the breaker starts closed. A corrupt file is kept aside as <path>.corrupt.
#pragma once
#include <algorithm>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <locale>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include "breaker.hpp"

namespace chaos {

// Where the text is kept. Functions may block and throw; they are called from one thread.
struct breaker_state_store {
  virtual ~breaker_state_store() = default;
  virtual std::optional<std::string> load() = 0;
  virtual void save(const std::string& text) = 0;
  virtual void set_aside(const std::string& corrupt) = 0;
};

class file_store final : public breaker_state_store {
 public:
  explicit file_store(std::filesystem::path path) : path_(std::move(path)) {
    if (path_.empty()) throw std::invalid_argument("chaos::file_store: path is empty; expected a file name");
  }
  std::optional<std::string> load() override {
    std::ifstream in(path_, std::ios::binary);
    if (!in) {
      if (std::filesystem::exists(path_)) throw std::runtime_error("cannot read " + path_.string());
      return std::nullopt;
    }
    std::string text(4096, '\0');  // a whole one is about 150 bytes
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(in.gcount()));
    return text;
  }
  void save(const std::string& text) override {
    std::filesystem::path next = path_;
    next += ".new";
    {
      std::ofstream out(next, std::ios::binary | std::ios::trunc);
      out << text << std::flush;
      if (!out) throw std::runtime_error("cannot write " + next.string());
    }
    std::filesystem::rename(next, path_);
  }
  void set_aside(const std::string&) override {
    std::filesystem::path aside = path_;
    aside += ".corrupt";
    std::filesystem::rename(path_, aside);
  }

 private:
  std::filesystem::path path_;
};

namespace detail {

inline std::uint32_t checksum(std::string_view text) noexcept {  // FNV-1a
  std::uint32_t h = 2166136261u;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 16777619u;
  return h;
}

// chaos-breaker 1 <state> <remaining_ms> <openings> <saved_at_ms> <checksum>\n
inline std::string encode_snapshot(const breaker_snapshot& s, std::int64_t wall_ms) {
  std::ostringstream out;
  out.imbue(std::locale::classic());  // the next start may be in another locale
  out << "chaos-breaker 1 " << to_string(s.state) << ' '
      << std::chrono::ceil<std::chrono::milliseconds>(s.remaining).count() << ' ' << s.openings_in_a_row << ' '
      << wall_ms;
  const std::string body = out.str();
  return body + ' ' + std::to_string(checksum(body)) + '\n';
}

// Throws std::runtime_error saying what is wrong.
inline breaker_snapshot decode_snapshot(const std::string& text, std::int64_t wall_ms) {
  const auto corrupt = [](const std::string& what) { return std::runtime_error("corrupt breaker state: " + what); };
  const std::size_t end = text.rfind(' ');
  if (text.empty() || text.back() != '\n' || end == std::string::npos) throw corrupt("no whole line");
  if (text.substr(end + 1) != std::to_string(checksum(text.substr(0, end))) + "\n")
    throw corrupt("checksum does not match");
  std::istringstream in(text.substr(0, end));
  in.imbue(std::locale::classic());
  std::string magic, name;
  int version = 0;
  std::int64_t remaining_ms = 0, saved_ms = 0;
  breaker_snapshot s;
  if (!(in >> magic >> version) || magic != "chaos-breaker") throw corrupt("not a breaker state");
  if (version != 1) throw corrupt("version " + std::to_string(version) + ", expected 1");
  if (!(in >> name >> remaining_ms >> s.openings_in_a_row >> saved_ms)) throw corrupt("a field is missing");
  bool known = false;
  for (unsigned i = 0; i < state_count; ++i)
    if (name == to_string(static_cast<state>(i))) s.state = static_cast<state>(i), known = true;
  if (!known) throw corrupt("state \"" + name + "\"");
  // Time passed while nobody ran; a wall clock that went backwards counts as none.
  const std::int64_t passed = std::max<std::int64_t>(0, wall_ms - saved_ms);
  constexpr std::int64_t longest = 366ll * 86'400'000;
  s.remaining =
      std::chrono::milliseconds(std::clamp<std::int64_t>(remaining_ms, 0, longest) - std::min(passed, longest));
  s.remaining = std::max(s.remaining, std::chrono::nanoseconds(0));
  return s;
}

}  // namespace detail

class breaker_persistence {
 public:
  breaker_persistence(breaker& b, std::unique_ptr<breaker_state_store> store,
                      std::chrono::milliseconds restore_wait = std::chrono::milliseconds(200))
      : breaker_(b), store_(std::move(store)) {
    if (!store_) throw std::invalid_argument("chaos::breaker_persistence: store is null; expected a store");
    subscription_ = b.on_transition([this](const transition& t) {
      if (t.reason == transition_reason::restored) return;  // no news to the store
      std::lock_guard lock(mutex_);
      dirty_ = true;
      wake_.notify_all();
    });
    worker_ = std::thread([this] { work(); });
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, detail::waitable(restore_wait), [this] { return loaded_; });
  }
  breaker_persistence(const breaker_persistence&) = delete;
  // Saves the last state, if it is not saved yet.
  ~breaker_persistence() {
    subscription_.reset();
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
      wake_.notify_all();
    }
    worker_.join();
  }

  // Waits until all that has happened so far is stored; for tests and orderly ends. False when it takes longer.
  bool flush(std::chrono::milliseconds at_most) {
    std::unique_lock lock(mutex_);
    return wake_.wait_for(lock, detail::waitable(at_most), [this] { return loaded_ && !dirty_ && !busy_; });
  }
  bool restored() const {
    std::lock_guard lock(mutex_);
    return restored_;
  }
  std::uint64_t saves() const {
    std::lock_guard lock(mutex_);
    return saves_;
  }
  std::uint64_t errors() const {
    std::lock_guard lock(mutex_);
    return errors_;
  }
  std::string last_error() const {
    std::lock_guard lock(mutex_);
    return last_error_;
  }

 private:
  static std::int64_t wall_ms() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
  void failed(const std::string& what) noexcept {
    try {
      std::lock_guard lock(mutex_);
      ++errors_;
      last_error_ = breaker_.name() + ": " + what;
      annotate("breaker", last_error_.c_str());
    } catch (...) {
    }
  }
  void load() noexcept {
    std::string text;
    try {
      std::optional<std::string> got = store_->load();
      if (!got) return;
      text = std::move(*got);
      const bool applied = breaker_.restore(detail::decode_snapshot(text, wall_ms()));
      std::lock_guard lock(mutex_);
      restored_ = applied;
    } catch (const std::exception& e) {
      failed(e.what());
      if (text.empty()) return;
      try {
        store_->set_aside(text);
      } catch (const std::exception& e2) {
        failed(e2.what());
      }
    }
  }
  void work() noexcept {
    load();
    std::unique_lock lock(mutex_);
    loaded_ = true;
    wake_.notify_all();
    for (;;) {
      wake_.wait(lock, [this] { return dirty_ || stop_; });
      if (!dirty_) return;
      dirty_ = false;
      busy_ = true;
      lock.unlock();
      bool done = false;
      try {
        store_->save(detail::encode_snapshot(breaker_.snapshot(), wall_ms()));
        done = true;
      } catch (const std::exception& e) {
        failed(e.what());
      }
      lock.lock();
      saves_ += done;
      busy_ = false;
      wake_.notify_all();
    }
  }

  breaker& breaker_;
  std::unique_ptr<breaker_state_store> store_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool loaded_ = false, dirty_ = false, busy_ = false, stop_ = false, restored_ = false;
  std::uint64_t saves_ = 0, errors_ = 0;
  std::string last_error_;
  subscription subscription_;
  std::thread worker_;
};

}  // namespace chaos
