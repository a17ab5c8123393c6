#include "whole_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <ctime>

namespace chaos::daemon {

using nlohmann::json;

namespace {

// What we write is not deep. Deeper values are dropped: telling of a million brackets would take as many stack frames.
bool shallow(int depth, json::parse_event_t, json&) { return depth < 32; }

bool write_all(int fd, const std::string& text) {
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t n = write(fd, text.data() + at, text.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += static_cast<std::size_t>(n);
  }
  return true;
}

std::string read_some(int fd, std::size_t most) {
  std::string text(most, '\0');
  std::size_t at = 0;
  while (at < most) {
    const ssize_t n = read(fd, text.data() + at, most - at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    at += static_cast<std::size_t>(n);
  }
  text.resize(at);
  return text;
}

}  // namespace

int whole_file::replace(const json& content) const { return replace_text(content.dump(1, ' ', false, json::error_handler_t::replace) + "\n"); }

int whole_file::replace_text(const std::string& text) const {
  const std::string temporary = path_ + std::string(unfinished);
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  bool good = fd >= 0;
  int error = good ? 0 : errno;
  const auto check = [&](bool outcome) {
    if (good && !outcome) error = errno;
    good = good && outcome;
  };
  if (fd >= 0) {
    check(write_all(fd, text));
    if (good) check(fsync(fd) == 0);
    const bool closed = close(fd) == 0;
    check(closed);
  }
  if (good) check(rename(temporary.c_str(), path_.c_str()) == 0);
  if (!good) unlink(temporary.c_str());
  return error;
}

std::string whole_file::load(const std::function<std::string(const json&)>& read) const {
  return load_text([&](const std::string& text) -> std::string {
    const json in = json::parse(text, shallow, false);
    if (in.is_discarded()) return "it is not JSON";
    try {
      return read(in);
    } catch (const std::exception& e) {
      return e.what();
    }
  });
}

std::string whole_file::load_text(const std::function<std::string(const std::string&)>& read) const {
  std::string text;
  const int fd = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // what lies there may be a pipe: nobody waits for its other end
  struct stat s{};
  if (fd < 0 && lstat(path_.c_str(), &s) < 0) return "";  // the usual first start
  if (fd >= 0) {
    if (fstat(fd, &s) == 0 && S_ISREG(s.st_mode)) text = read_some(fd, std::min(static_cast<std::size_t>(s.st_size), bytes_max + 1));
    close(fd);
  }
  const std::string why = text.size() > bytes_max ? "it is larger than " + std::to_string(bytes_max) + " bytes" : read(text);
  if (why.empty()) return "";
  const std::string aside = path_ + ".corrupt-" + std::to_string(std::time(nullptr));
  const bool kept = rename(path_.c_str(), aside.c_str()) == 0;
  return path_ + " can not be read (" + why + "); " + (kept ? "it is kept as " + aside : "it could not be kept aside either");
}

}  // namespace chaos::daemon
