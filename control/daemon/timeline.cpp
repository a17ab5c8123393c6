#include "timeline.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "chaos/abi/functions.hpp"
#include "control/rules/values.hpp"

namespace chaos::daemon {

namespace {

constexpr std::size_t tail_bytes = 64 * 1024;  // of a file, with its latest lines

constexpr const char* event_kinds[] = {"injection", "annotation", "attach", "lapse", "released"};
constexpr struct {
  std::uint8_t bit;
  const char* name;
} flag_names[] = {{abi::event_flags::dry_run, "dry_run"},
                  {abi::event_flags::late, "late"},
                  {abi::event_flags::truncated, "truncated"},
                  {abi::event_flags::blocked, "blocked"},
                  {abi::event_flags::gated, "gated"}};

// A JSON string. Targets choose these bytes: what is not plain ASCII goes through the library, which repairs UTF-8.
void add_text(std::string& out, std::string_view text) {
  const bool plain = std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= 32 && c < 127 && c != '"' && c != '\\'; });
  if (!plain) {
    out += nlohmann::json(std::string(text)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    return;
  }
  out += '"';
  out += text;
  out += '"';
}

void key(std::string& out, const char* name) {
  if (out.back() != '{') out += ',';
  out += '"';
  out += name;
  out += "\":";
}

template <class Number>
void number(std::string& out, const char* name, Number n) {
  key(out, name);
  out += std::to_string(n);
}

void text(std::string& out, const char* name, std::string_view value) {
  key(out, name);
  add_text(out, value);
}

}  // namespace

timeline::timeline(std::string path, std::function<rule_names(std::uint32_t)> names, listener on_line)
    : path_(std::move(path)), names_(std::move(names)), on_line_(std::move(on_line)) {
  open_file();
  if (struct statvfs disk {}; fd_ >= 0 && fstatvfs(fd_, &disk) == 0) file_bytes_ = file_bytes_of(std::uint64_t{disk.f_blocks} * disk.f_frsize);
}

timeline::~timeline() {
  for (auto& [rule, s] : seconds_) end_second(rule, s);
  flush();
  if (fd_ >= 0) close(fd_);
}

std::string timeline::format(std::uint64_t seq, const abi::event& e, std::uint64_t now_ns, const std::optional<cause>& after, std::span<const std::string> stack) {
  const auto kind = static_cast<unsigned>(e.kind);
  const std::string_view about(e.text, strnlen(e.text, sizeof e.text));
  std::string out = "{";
  number(out, "seq", seq);
  number(out, "time_ns", e.time_ns);
  number(out, "pid", e.pid);
  number(out, "tid", e.tid);
  const bool known = e.function < abi::function_count;
  text(out, "function", known ? abi::function_table[e.function].name : e.function == no_function ? "live" : "");
  number(out, "rule", e.rule);
  if (e.rule) text(out, "rule_name", names_(e.rule).name);
  text(out, "kind", kind < std::size(event_kinds) ? event_kinds[kind] : "unknown");
  if (e.kind == abi::event_kind::annotation && about.size() + 1 < sizeof e.text) {
    text(out, "category", about);
    const char* const rest = e.text + about.size() + 1;
    text(out, "text", {rest, strnlen(rest, sizeof e.text - about.size() - 1)});
    if (after) {
      key(out, "after");
      out += '[' + std::to_string(after->first) + ',' + std::to_string(after->last) + ']';
      number(out, "after_count", after->count);
    }
  } else {
    text(out, "target", about);
  }
  text(out, "effect", e.rule && e.effect < abi::effect_count ? abi::effect_table[e.effect].name : "");
  key(out, "errno");
  const bool eai = known && (abi::function_table[e.function].classes & abi::classes::dns);  // by whatever word the call says so
  const bool status = e.rule && e.effect == static_cast<std::uint8_t>(abi::effect::http_error);
  if (e.error && !status) add_text(out, eai ? rules::eai_name(e.error) : rules::errno_name(e.error));
  else out += "null";
  if (status) number(out, "status", e.error);
  number(out, "delay_ns", e.delay_ns);
  number(out, "bytes", e.bytes);
  number(out, "connection", e.connection);
  number(out, "op", e.operation);
  text(out, "caller", callers_.describe(e.pid, e.caller, now_ns));
  for (const auto& flag : flag_names)
    if (e.flags & flag.bit) {
      key(out, flag.name);
      out += "true";
    }
  if (!stack.empty()) {
    key(out, "stack");
    for (std::size_t i = 0; i < stack.size(); ++i) {
      out += i ? ',' : '[';
      add_text(out, stack[i]);
    }
    out += ']';
  }
  return out + "}\n";
}

void timeline::take(std::uint64_t seq, const abi::event& e, std::uint64_t now_ns, std::span<const std::string> stack) {
  const std::optional<cause> after = causes_.take(seq, e);
  second& s = seconds_[e.rule];
  if (now_ns - s.began_ns >= 1'000'000'000) {
    end_second(e.rule, s);
    s.began_ns = now_ns;
  }
  if (s.lines < lines_a_second) {
    ++s.lines;
    say(format(seq, e, now_ns, after, stack));
  } else {
    ++s.held;
    s.delay_ns += e.delay_ns;
    s.last_seq = seq;
    s.last_ns = e.time_ns;
  }
  if (seconds_.size() > 4096) {  // only invented rule ids make so many
    for (auto& [rule, other] : seconds_) end_second(rule, other);
    seconds_.clear();
  }
}

void timeline::end_second(std::uint32_t rule, second& s) {
  if (s.held) {
    std::string out = "{\"aggregated\":true";
    number(out, "seq", s.last_seq);
    number(out, "time_ns", s.last_ns);
    number(out, "rule", rule);
    text(out, "rule_name", names_(rule).name);
    number(out, "count", s.held);
    number(out, "delay_ns", s.delay_ns);
    say(out + "}\n");
  }
  s = {};
}

void timeline::tick(std::uint64_t now_ns) {
  for (auto at = seconds_.begin(); at != seconds_.end();) {
    if (now_ns - at->second.began_ns < 1'000'000'000) {
      ++at;
      continue;
    }
    end_second(at->first, at->second);
    at = seconds_.erase(at);
  }
  flush();
}

void timeline::say(const std::string& line) {
  buffer_ += line;
  recent_.push_back(line);
  if (recent_.size() > recent_max) recent_.pop_front();
  on_line_(line);
  if (buffer_.size() > 256 * 1024) flush();
}

// What a daemon before this one had no time to write to its end is no line: the next one must not become part of it.
void timeline::open_file() {
  fd_ = open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  struct stat s{};
  size_ = fd_ >= 0 && fstat(fd_, &s) == 0 ? static_cast<std::size_t>(s.st_size) : 0;
  std::string tail(std::min(size_, tail_bytes), '\0');
  if (pread(fd_, tail.data(), tail.size(), static_cast<off_t>(size_ - tail.size())) != static_cast<ssize_t>(tail.size())) return;
  if (const auto end = tail.rfind('\n'); end != std::string::npos && end + 1 < tail.size()) cut(size_ - (tail.size() - end - 1));
}

void timeline::cut(std::size_t size) {
  if (ftruncate(fd_, static_cast<off_t>(size)) == 0) size_ = size;
}

void timeline::flush() {
  if (buffer_.empty()) return;
  if (fd_ < 0) open_file();
  std::size_t at = 0;
  while (fd_ >= 0 && at < buffer_.size()) {
    const ssize_t n = write(fd_, buffer_.data() + at, buffer_.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    at += static_cast<std::size_t>(n);
  }
  size_ += at;
  if (at > 0 && at < buffer_.size()) {  // the disk is full: no half of a line stays
    const auto end = buffer_.rfind('\n', at - 1);
    const std::size_t whole = end == std::string::npos ? 0 : end + 1;
    if (whole < at) cut(size_ - (at - whole));
    at = whole;
  }
  unwritten_ += static_cast<std::uint64_t>(std::count(buffer_.begin() + static_cast<std::ptrdiff_t>(at), buffer_.end(), '\n'));
  buffer_.clear();
  if (size_ >= file_bytes_) rotate();
}

void timeline::rotate() {
  for (unsigned i = files_kept - 1; i > 0; --i) {
    const std::string from = i == 1 ? path_ : path_ + "." + std::to_string(i - 1);
    rename(from.c_str(), (path_ + "." + std::to_string(i)).c_str());
  }
  if (fd_ >= 0) close(fd_);
  open_file();
}

std::uint64_t timeline::next_ticket(const std::string& path) {
  for (const std::string& file : {path, path + ".1"}) {
    const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) continue;
    struct stat s{};
    std::string tail(tail_bytes, '\0');
    const off_t from = fstat(fd, &s) == 0 ? std::max<off_t>(0, s.st_size - static_cast<off_t>(tail.size())) : 0;
    const ssize_t n = pread(fd, tail.data(), tail.size(), from);
    close(fd);
    tail.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    std::uint64_t highest = 0;
    bool any = false;
    for (std::size_t at = 0; (at = tail.find("\"seq\":", at)) != std::string::npos; ++at) {
      const std::string_view rest = std::string_view(tail).substr(at, tail.find('\n', at) - at);
      if (rest.find("\"function\":\"live\"") != std::string_view::npos) continue;  // not out of the ring
      highest = std::max<std::uint64_t>(highest, std::strtoull(tail.c_str() + at + 6, nullptr, 10));
      any = true;
    }
    if (any) return highest + 1;
  }
  return 0;
}

}  // namespace chaos::daemon
