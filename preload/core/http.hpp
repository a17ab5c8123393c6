// HTTP/1.x as it passes on a connection: where each message begins and ends, what is asked for, what is answered. Reads
// bytes in pieces of any size, keeps nothing of them but the line at hand, allocates nothing, never waits.
// RFC 9112; bytes that are not HTTP/1.x end in `left_alone`, from which nothing leads back.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "glob.hpp"

namespace chaos::core::http {

enum class method_kind : std::uint8_t { other, head, connect };  // those whose answers are framed in a way of their own

enum class step : std::uint8_t {
  more,        // all bytes were taken, nothing is complete
  start_line,  // path() or status() is known
  head,        // the header block is complete, a body follows
  message,     // the message is complete
  left_alone   // this is not HTTP/1.x, or is no longer
};

inline bool token_character(unsigned char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c > 32 && c < 127 && std::strchr("!#$%&'*+-.^_`|~", c));
}

// One direction of a connection.
class parser {
 public:
  static constexpr unsigned path_max = 1024;  // longer ones are matched by their beginning

  constexpr explicit parser(bool responses = false) : responses_(responses) {}

  // Takes bytes up to the end of the next step; `taken` of them were used.
  step take(const char* data, std::size_t n, std::size_t& taken);

  // The request that the coming response answers. To be told before its head is complete.
  void answers(method_kind asked) { asked_ = asked; }

  bool at_start() const { return phase_ == phase::start && line_length_ == 0 && part_ == 0; }  // no byte of the message has passed
  bool before_headers() const { return phase_ == phase::start; }
  bool over() const { return phase_ == phase::left_alone; }
  void leave_alone() { phase_ = phase::left_alone; }

  // Of the message at hand, and after its end until the next one begins.
  const char* path() const { return path_; }       // of a request, without query
  method_kind method() const { return asked_; }
  unsigned status() const { return status_; }      // of a response
  bool interim() const { return responses_ && status_ >= 100 && status_ < 200; }
  bool without_body() const { return status_ == 204 || status_ == 304 || interim(); }

  // Bytes that surely belong to the body at hand.
  std::uint64_t body_ahead() const { return phase_ == phase::body || phase_ == phase::chunk ? rest_ : phase_ == phase::until_close ? ~std::uint64_t{0} : 0; }
  // As many bytes passed unseen.
  void skip(std::uint64_t n) {
    if (n > body_ahead()) leave_alone();
    else if (phase_ != phase::until_close && (rest_ -= n) == 0) phase_ = phase_ == phase::body ? phase::start : phase::chunk_end;
    if (at_start()) begin();
  }

 private:
  enum class phase : std::uint8_t { start, header, body, chunk_size, chunk, chunk_end, trailer, until_close, left_alone };
  static constexpr unsigned line_max = 128;

  void begin() {
    phase_ = phase::start;
    line_length_ = path_length_ = part_ = 0;
    rest_ = 0;
    chunked_ = coded_ = sized_ = upgrades_ = false;
  }
  bool start_character(unsigned char c);
  bool request_character(unsigned char c);
  bool response_character(unsigned char c);
  bool request_line_ends();
  bool header_line();
  step head_ends();
  step finish() {
    begin();
    return step::message;
  }
  step refuse() {
    leave_alone();
    return step::left_alone;
  }
  bool named(const char* name, const char*& value) const;

  phase phase_ = phase::start;
  bool responses_;
  bool chunked_ = false, coded_ = false, sized_ = false, upgrades_ = false;
  method_kind asked_ = method_kind::other;
  std::uint8_t part_ = 0;          // of the start line
  std::uint16_t status_ = 0;
  std::uint16_t line_length_ = 0;  // characters of the line so far, as far as they can be counted
  std::uint16_t path_length_ = 0;
  std::uint64_t rest_ = 0;
  char line_[line_max];
  char path_[path_max];
};

inline bool parser::request_line_ends() {
  if (part_ != 2 || line_length_ < 8 || std::memcmp(line_, "HTTP/1.", 7) != 0 || line_[7] < '0' || line_[7] > '9') return false;
  path_[path_length_] = 0;
  const char* from = path_;  // absolute form, as to a proxy: scheme and authority are not the path
  if (const char* scheme = std::strstr(path_, "://"); scheme && path_[0] != '/') {
    from = scheme + 3;
    while (*from && *from != '/' && *from != '?') ++from;
  }
  unsigned n = 0;
  for (; from[n] && from[n] != '?' && from[n] != '#'; ++n) {}
  std::memmove(path_, from, n);
  if (n == 0) path_[n++] = '/';
  path_[n] = 0;
  return true;
}

inline bool parser::request_character(unsigned char c) {
  if (c == ' ') {
    if (part_ == 0) {
      if (line_length_ == 0) return false;
      line_[line_length_ < line_max ? line_length_ : line_max - 1] = 0;
      asked_ = std::strcmp(line_, "HEAD") == 0 ? method_kind::head : std::strcmp(line_, "CONNECT") == 0 ? method_kind::connect : method_kind::other;
    } else if (part_ == 1 ? path_length_ == 0 : true) {
      return false;
    }
    ++part_;
    line_length_ = 0;
    return true;
  }
  if (part_ == 1) {
    if (c < 33 || c == 127) return false;
    if (path_length_ < path_max - 1) path_[path_length_++] = static_cast<char>(c);
    line_length_ = 1;
    return true;
  }
  if (part_ == 0 ? !token_character(c) || line_length_ >= 24 : line_length_ >= 8) return false;
  line_[line_length_++] = static_cast<char>(c);
  return part_ == 0 || line_length_ > 7 || c == static_cast<unsigned char>("HTTP/1."[line_length_ - 1]);
}

inline bool parser::response_character(unsigned char c) {  // HTTP/1.1 200 …
  const unsigned at = line_length_;
  if (at == 0) status_ = 0;
  if (line_length_ < 0xfff0) ++line_length_;
  if (at < 7) return c == static_cast<unsigned char>("HTTP/1."[at]);
  if (at == 7) return c >= '0' && c <= '9';
  if (at == 8 || at == 12) return c == ' ';
  if (at < 12) {
    if (c < '0' || c > '9' || (at == 9 && c == '0')) return false;
    status_ = static_cast<std::uint16_t>(status_ * 10 + (c - '0'));
    return true;
  }
  return c >= 32 || c == '\t';
}

inline bool parser::named(const char* name, const char*& value) const {
  unsigned n = 0;
  for (; name[n]; ++n)
    if (n >= line_length_ || lower(line_[n]) != name[n]) return false;
  if (n >= line_length_ || line_[n] != ':') return false;
  value = line_ + n + 1;
  while (*value == ' ' || *value == '\t') ++value;
  return true;
}

inline bool parser::header_line() {  // false: its framing can not be trusted
  const bool whole = line_length_ < line_max;
  line_[whole ? line_length_ : line_max - 1] = 0;
  unsigned end = whole ? line_length_ : line_max - 1;
  while (end && (line_[end - 1] == ' ' || line_[end - 1] == '\t')) line_[--end] = 0;
  const char* value;
  if (named("content-length", value)) {
    std::uint64_t length = 0;
    unsigned digits = 0;
    for (; *value >= '0' && *value <= '9' && digits < 19; ++value, ++digits) length = length * 10 + static_cast<unsigned>(*value - '0');
    if (!whole || *value || digits == 0 || digits > 18 || (sized_ && rest_ != length)) return false;
    sized_ = true;
    rest_ = length;
  } else if (named("transfer-encoding", value)) {
    if (!whole) return false;
    coded_ = true;
    const char* last = value;  // the final coding decides
    for (const char* p = value; *p; ++p)
      if (*p == ',' ) last = p + 1;
    while (*last == ' ' || *last == '\t') ++last;
    chunked_ = glob_match("chunked", last, glob_mode::hostname);
  } else if (named("upgrade", value)) {
    upgrades_ = true;
  }
  return true;
}

inline step parser::head_ends() {
  if (responses_) {
    if (status_ == 101 || (asked_ == method_kind::connect && status_ >= 200 && status_ < 300)) return refuse();  // another protocol from here on
    if (without_body() || asked_ == method_kind::head) return finish();
    if (coded_ && !chunked_) { phase_ = phase::until_close; return step::head; }
  } else if (coded_ && !chunked_) {
    return refuse();
  }
  line_length_ = part_ = 0;
  if (chunked_) {
    rest_ = 0;
    phase_ = phase::chunk_size;
  } else if (sized_ ? rest_ == 0 : !responses_) {
    return finish();
  } else {
    phase_ = sized_ ? phase::body : phase::until_close;
  }
  return step::head;
}

inline step parser::take(const char* data, std::size_t n, std::size_t& taken) {
  taken = 0;
  while (taken < n) {
    switch (phase_) {
      case phase::left_alone: taken = n; return step::left_alone;
      case phase::until_close: taken = n; return step::more;
      case phase::body:
      case phase::chunk: {
        const std::uint64_t part = rest_ < n - taken ? rest_ : n - taken;
        taken += part;
        rest_ -= part;
        if (rest_) return step::more;
        if (phase_ == phase::body) return finish();
        phase_ = phase::chunk_end;
        continue;
      }
      default: break;
    }
    const auto c = static_cast<unsigned char>(data[taken++]);
    switch (phase_) {
      case phase::start:
        if (c == '\r' || c == '\n') {
          if (line_length_ == 0 && part_ == 0) continue;  // an empty line before a message
          if (c == '\r') continue;
          if (responses_ ? line_length_ < 12 : !request_line_ends()) return refuse();
          phase_ = phase::header;
          line_length_ = 0;
          return step::start_line;
        }
        if (responses_ ? !response_character(c) : !request_character(c)) return refuse();
        break;
      case phase::header:
      case phase::trailer:
        if (c == '\n') {
          if (line_length_ && line_length_ <= line_max && line_[line_length_ - 1] == '\r') --line_length_;
          if (line_length_ == 0) {
            if (phase_ == phase::trailer) return finish();
            return head_ends();
          }
          if (phase_ == phase::header && !header_line()) return refuse();
          line_length_ = 0;
          break;
        }
        if (c == 0) return refuse();
        if (line_length_ < line_max) line_[line_length_] = static_cast<char>(c);
        if (line_length_ <= line_max) ++line_length_;
        break;
      case phase::chunk_size: {
        const char l = lower(static_cast<char>(c));
        const int digit = l >= '0' && l <= '9' ? l - '0' : l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
        if (c == '\n') {
          if (line_length_ == 0) return refuse();
          line_length_ = part_ = 0;
          phase_ = rest_ ? phase::chunk : phase::trailer;
        } else if (part_ != 9 && digit >= 0) {
          if (line_length_ >= 15) return refuse();
          ++line_length_;
          rest_ = rest_ * 16 + static_cast<unsigned>(digit);
        } else if (line_length_ && (part_ == 9 || c == ';' || c == ' ' || c == '\t' || c == '\r')) {
          part_ = 9;  // an extension: of no concern
        } else {
          return refuse();
        }
        break;
      }
      case phase::chunk_end:
        if (c == '\n') { phase_ = phase::chunk_size; line_length_ = part_ = 0; }
        else if (c != '\r') return refuse();
        break;
      default: break;
    }
  }
  return step::more;
}

// What is kept of a request until it is answered.
struct request_note {
  static constexpr unsigned rules_max = 6, shown_max = 48;
  method_kind method = method_kind::other;
  std::uint8_t rules_count = 0;
  std::uint32_t rules[rules_max];  // ids of the rules by path that mean it
  char path[shown_max];            // its beginning, to be shown

  bool meant_by(std::uint32_t rule) const {
    for (unsigned i = 0; i < rules_count; ++i)
      if (rules[i] == rule) return true;
    return false;
  }
};

enum class side : std::uint8_t { unknown, client, server };
enum class way : std::uint8_t { in, out };  // as the program sees it

// Both directions of a connection: which response answers which request.
class conversation {
 public:
  static constexpr unsigned notes_max = 32;  // requests that wait for their answer; more of them, and the connection is left alone

  // A known side: the connection is followed from its first byte on. Else from where a request begins.
  constexpr explicit conversation(side s = side::unknown) : side_(s) {}

  bool over() const { return requests_.over(); }
  void leave_alone() {
    requests_.leave_alone();
    responses_.leave_alone();
  }
  bool carries_requests(way w) const { return side_ == side::client ? w == way::out : w == way::in; }
  const parser& parser_of(way w) const { return carries_requests(w) ? requests_ : responses_; }

  // Is this connection followed, or will it be from these bytes on?
  bool follows(way w, const char* data, std::size_t n) {
    if (over()) return false;
    if (side_ == side::unknown && begins_request(data, n)) side_ = w == way::out ? side::client : side::server;
    return side_ != side::unknown;
  }

  // These bytes are about to leave (or were found waiting): the request that begins there is noted before its answer can
  // come. `note(parser, request_note&)` fills in the rules.
  template <class Note>
  void announce(way w, const char* data, std::size_t n, Note note) {
    if (announced_ || !follows(w, data, n) || !carries_requests(w)) return;
    parser ahead = requests_;
    std::size_t taken;
    if (ahead.before_headers() && ahead.take(data, n, taken) == step::start_line && push(ahead, note)) announced_ = true;
  }

  // These bytes have passed.
  template <class Note>
  void pass(way w, const char* data, std::size_t n, Note note) {
    if (!follows(w, data, n)) return;
    if (!carries_requests(w) && asked_ == 0) return leave_alone();  // who answers before he is asked does not speak HTTP
    parser& p = carries_requests(w) ? requests_ : responses_;
    for (std::size_t taken; n && !p.over(); data += taken, n -= taken) {
      if (&p == &responses_ && answered_ != asked_) p.answers(notes_[answered_ % notes_max].method);
      switch (p.take(data, n, taken)) {
        case step::start_line:
          if (&p == &responses_) break;
          if (announced_) announced_ = false;
          else push(p, note);
          break;
        case step::message:
          decided_[static_cast<unsigned>(w)] = false;
          if (&p == &responses_ && !p.interim() && answered_ != asked_) ++answered_;
          break;
        case step::left_alone: leave_alone(); break;
        default: break;
      }
    }
  }
  void skip(way w, std::uint64_t n) {  // passed unseen
    if (over() || side_ == side::unknown) return;
    parser& p = carries_requests(w) ? requests_ : responses_;
    p.skip(n);
    if (p.over()) return leave_alone();
    if (!p.at_start()) return;
    decided_[static_cast<unsigned>(w)] = false;
    if (&p == &responses_ && answered_ != asked_) ++answered_;
  }

  // The request that the message at hand is, or answers; nullptr: not known (yet).
  const request_note* current(way w) const {
    if (!carries_requests(w)) return note_at(answered_);
    return announced_ || !requests_.before_headers() ? note_at(asked_ - 1) : nullptr;
  }
  const request_note* note_at(std::uint32_t sequence) const {
    return sequence - answered_ < asked_ - answered_ ? &notes_[sequence % notes_max] : nullptr;
  }
  std::uint32_t answered() const { return answered_; }

  // What is decided once for each message was decided for the one at hand.
  bool decided(way w) const { return decided_[static_cast<unsigned>(w)]; }
  void decide(way w) { decided_[static_cast<unsigned>(w)] = true; }

  static bool begins_request(const char* data, std::size_t n) {
    constexpr const char* methods[] = {"GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "CONNECT ", "TRACE "};
    for (const char* m : methods) {
      std::size_t i = 0;
      while (i < n && m[i] && data[i] == m[i]) ++i;
      if (!m[i]) return true;
    }
    return false;
  }

 private:
  template <class Note>
  bool push(const parser& p, Note note) {
    if (asked_ - answered_ == notes_max) { leave_alone(); return false; }
    request_note& to = notes_[asked_ % notes_max];
    to.method = p.method();
    to.rules_count = 0;
    unsigned i = 0;
    for (; p.path()[i] && i + 1 < request_note::shown_max; ++i) to.path[i] = p.path()[i];
    to.path[i] = 0;
    note(p, to);
    ++asked_;
    return true;
  }

  parser requests_{false}, responses_{true};
  side side_;
  bool announced_ = false;
  bool decided_[2] = {false, false};
  std::uint32_t asked_ = 0, answered_ = 0;
  request_note notes_[notes_max];
};

inline const char* reason_of(unsigned status) {
  switch (status) {
    case 200: return "OK";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 413: return "Content Too Large";
    case 418: return "I'm a teapot";
    case 422: return "Unprocessable Content";
    case 425: return "Too Early";
    case 429: return "Too Many Requests";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 507: return "Insufficient Storage";
    default: return "Injected";
  }
}

// The beginning of a response, and what is to stand in its place so that it says another status. A body stays as it is;
// where there is none (204, 304) the whole header block is replaced by one that says so.
struct replacement {
  enum class outcome : std::uint8_t { made, incomplete, unsuitable } result = outcome::unsuitable;
  unsigned original = 0;  // bytes that go
  unsigned size = 0;      // bytes that come
  char text[224];
};

inline void replace_status(const char* data, std::size_t n, unsigned status, replacement& out) {
  using outcome = replacement::outcome;
  out.result = outcome::unsuitable;
  out.original = out.size = 0;
  std::size_t begin = 0;
  while (begin < n && (data[begin] == '\r' || data[begin] == '\n')) ++begin;
  const auto* end = begin < n ? static_cast<const char*>(std::memchr(data + begin, '\n', n - begin)) : nullptr;
  parser line(true);
  std::size_t taken;
  const step s = line.take(data, n, taken);
  if (s == step::more || !end) { out.result = s == step::more ? outcome::incomplete : outcome::unsuitable; return; }
  if (s != step::start_line || line.interim()) return;
  const auto put = [&out](const char* text, std::size_t length) {
    for (std::size_t i = 0; i < length && out.size < sizeof out.text; ++i) out.text[out.size++] = text[i];
  };
  const auto put_text = [&put](const char* text) { put(text, std::strlen(text)); };
  put(data + begin, 9);  // "HTTP/1.1 "
  const char digits[] = {static_cast<char>('0' + status / 100), static_cast<char>('0' + status / 10 % 10), static_cast<char>('0' + status % 10), ' ', 0};
  put_text(digits);
  put_text(reason_of(status));
  put_text("\r\n");
  if (!line.without_body()) {
    out.original = static_cast<unsigned>(taken);
    out.result = outcome::made;
    return;
  }
  put_text("Content-Length: 0\r\n");
  for (std::size_t at = taken;;) {
    const auto* stop = at < n ? static_cast<const char*>(std::memchr(data + at, '\n', n - at)) : nullptr;
    if (!stop) { out.result = outcome::incomplete; return; }
    const std::size_t next = static_cast<std::size_t>(stop - data) + 1;
    const std::size_t length = next - at;
    if (length == 1 || (length == 2 && data[at] == '\r')) {
      put_text("\r\n");
      out.original = static_cast<unsigned>(next);
      out.result = outcome::made;
      return;
    }
    constexpr char connection[] = "connection:";
    std::size_t same = 0;
    while (same < sizeof connection - 1 && same < length && lower(data[at + same]) == connection[same]) ++same;
    if (same == sizeof connection - 1 && length < 64) put(data + at, length);  // whether it goes on is still the sender's word
    at = next;
  }
}

}  // namespace chaos::core::http
