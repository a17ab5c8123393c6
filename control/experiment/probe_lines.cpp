// Probes that look at lines as they come: those of a file, those of the timeline.
#include <fcntl.h>
#include <regex.h>
#include <sys/stat.h>
#include <unistd.h>

#include <stdexcept>

#include "probe.hpp"

namespace chaos::experiment {

namespace {

class expression {
 public:
  explicit expression(const std::string& text) : given_(!text.empty()) {
    if (given_ && regcomp(&compiled_, text.c_str(), REG_EXTENDED | REG_NOSUB) != 0) throw std::runtime_error("not a regular expression: " + text);
  }
  ~expression() {
    if (given_) regfree(&compiled_);
  }
  expression(const expression&) = delete;
  bool matches(const std::string& line) const { return given_ && regexec(&compiled_, line.c_str(), 0, nullptr, 0) == 0; }
  bool given() const { return given_; }

 private:
  const bool given_;
  regex_t compiled_;
};

class lines_probe : public probe {
 public:
  explicit lines_probe(const probe_plan& p) : plan_(p), wanted_(p.match) {}

  void ask(std::uint64_t, steady::time_point, sample& into) override {
    std::vector<std::string> fresh;
    if (!read(fresh)) {
      into.failure = not_there;
      return;
    }
    bool now = false;
    for (const auto& line : fresh) {
      now = now || wanted_.matches(line);
      for (std::size_t i = 0; i < plan_.marks.size(); ++i)
        if (line.find(plan_.marks[i].text) != std::string::npos) into.marks |= 1u << i;
    }
    ever_ = ever_ || now;
    if (!wanted_.given()) into.failure = none;
    else if (plan_.absent) into.failure = now ? seen : none;
    else into.failure = ever_ ? none : not_seen;
  }

 protected:
  virtual bool read(std::vector<std::string>& into) = 0;  // false: there is nothing to look at
  const probe_plan& plan_;

 private:
  const expression wanted_;
  bool ever_ = false;
};

class log_probe final : public lines_probe {
 public:
  explicit log_probe(const probe_plan& p) : lines_probe(p) {
    open_file();
    if (fd_ >= 0) at_ = lseek(fd_, 0, SEEK_END);
  }
  ~log_probe() override {
    if (fd_ >= 0) close(fd_);
  }

 private:
  static constexpr std::size_t look_max = 4u << 20;  // more than that between two looks is skipped

  void open_file() {
    if (fd_ >= 0) close(fd_);
    at_ = 0;
    fd_ = open(plan_.file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  }

  bool read(std::vector<std::string>& into) override {
    struct stat named{}, held{};
    const bool there = stat(plan_.file.c_str(), &named) == 0;
    if (fd_ < 0 || (there && fstat(fd_, &held) == 0 && (named.st_ino != held.st_ino || named.st_dev != held.st_dev))) {  // rotated
      rest_.clear();
      open_file();
    }
    if (fd_ < 0) return false;
    if (fstat(fd_, &held) == 0 && held.st_size < at_) at_ = 0;  // cut off
    if (held.st_size - at_ > static_cast<off_t>(look_max)) at_ = held.st_size - static_cast<off_t>(look_max);
    char chunk[64 * 1024];
    for (ssize_t n; (n = pread(fd_, chunk, sizeof chunk, at_)) > 0; at_ += n) rest_.append(chunk, static_cast<std::size_t>(n));
    std::size_t from = 0;
    for (std::size_t end; (end = rest_.find('\n', from)) != std::string::npos; from = end + 1) into.push_back(rest_.substr(from, end - from));
    rest_.erase(0, from);
    return true;
  }

  int fd_ = -1;
  off_t at_ = 0;
  std::string rest_;
};

class timeline_probe final : public lines_probe {
 public:
  timeline_probe(const probe_plan& p, const timeline_lines& lines) : lines_probe(p), lines_(lines) {}

 private:
  bool read(std::vector<std::string>& into) override {
    into = lines_.since(next_);
    return true;
  }
  const timeline_lines& lines_;
  std::uint64_t next_ = 0;
};

}  // namespace

std::unique_ptr<probe> make_log_probe(const probe_plan& p) { return std::make_unique<log_probe>(p); }
std::unique_ptr<probe> make_timeline_probe(const probe_plan& p, const timeline_lines& lines) { return std::make_unique<timeline_probe>(p, lines); }

}  // namespace chaos::experiment
