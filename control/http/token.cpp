#include "token.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace chaos::http {

using rules::problem;
using rules::problem_code;
using rules::result;

result<std::string> read_token(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return problem{problem_code::failed, "can not read the token file " + path + ": " + std::strerror(errno), path, {}};
  struct stat s{};
  std::string text(token_max + 2, '\0');
  const bool regular = fstat(fd, &s) == 0 && S_ISREG(s.st_mode);
  const ssize_t n = regular ? read(fd, text.data(), text.size()) : 0;
  close(fd);
  if (!regular) return problem{problem_code::failed, "the token file " + path + " is not a regular file", path, {}};
  if (s.st_mode & 077)
    return problem{problem_code::not_allowed, "the token file " + path + " may be read or written by others: `chmod 600 " + path + "` first, and make a new token", path, {}};
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  text.resize(std::min(text.size(), text.find_first_of("\r\n")));
  if (text.size() < token_min || text.size() > token_max)
    return problem{problem_code::bad_value, "the first line of " + path + " is no token: it needs " + std::to_string(token_min) + " to " + std::to_string(token_max) +
                       " characters, such as `openssl rand -hex 32` gives", path, {}};
  if (!std::all_of(text.begin(), text.end(), [](unsigned char c) { return c > ' ' && c < 127; }))
    return problem{problem_code::bad_value, "the token in " + path + " holds a blank, or what is not plain ASCII: no HTTP header can carry it", path, {}};
  return text;
}

bool same_token(std::string_view given, std::string_view right) {
  unsigned difference = given.size() == right.size() ? 0 : 1;
  for (std::size_t i = 0; i < right.size(); ++i)
    difference |= static_cast<unsigned char>(right[i]) ^ static_cast<unsigned char>(i < given.size() ? given[i] : 0);
  volatile unsigned whole = difference;  // no early end
  return whole == 0;
}

}  // namespace chaos::http
