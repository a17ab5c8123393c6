#include "targets.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "values.hpp"

namespace chaos::rules {

namespace {

const std::vector<std::string> examples{"redis:6379", "10.0.0.0/8:5432", "*:6379", "[2001:db8::/32]:80", "udp://*:53", "http://shop:8080/api/*",
                                        "unix:/run/app/*.sock", "listen:8080", "file:/var/lib/app/**", "fd:3", "malloc",
                                        "dns:*.example.com", "env:DATABASE_URL", "process"};

problem bad(std::string_view word, const std::string& why, std::vector<std::string> expected = examples) {
  return {problem_code::bad_target, "target '" + std::string(word.substr(0, 200)) + "': " + why, std::string(word),
          std::move(expected)};
}

bool read_number(std::string_view text, unsigned& value, unsigned most) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return !text.empty() && error == std::errc() && end == text.data() + text.size() && value <= most;
}

result<done> parse_ports(std::string_view word, std::string_view text, term& t) {
  if (text == "*") return done{};
  const auto dash = text.find('-');
  unsigned low = 0, high = 0;
  if (!read_number(text.substr(0, dash), low, 65535) || low == 0)
    return bad(word, "'" + std::string(text) + "' is not a port: a number in 1..65535, a range 8000-8100 or * is expected",
               {"6379", "8000-8100", "*"});
  high = low;
  if (dash != std::string_view::npos && (!read_number(text.substr(dash + 1), high, 65535) || high < low))
    return bad(word, "'" + std::string(text) + "' is not a range of ports: 8000-8100 is expected, the lower one first",
               {"8000-8100"});
  t.port_low = static_cast<std::uint16_t>(low);
  t.port_high = static_cast<std::uint16_t>(high);
  return done{};
}

bool host_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_' ||
         c == '*' || c == '?';
}

struct subject_word {
  const char* prefix;
  abi::term_kind kind;
  const char* like;
};
constexpr subject_word prefixed[] = {
    {"listen:", abi::term_kind::listen, "listen:8080"}, {"unix:", abi::term_kind::unix_path, "unix:/run/app/*.sock"},
    {"file:", abi::term_kind::file_path, "file:/var/lib/app/**"}, {"fd:", abi::term_kind::descriptor, "fd:3"},
    {"dns:", abi::term_kind::dns_name, "dns:*.example.com"}, {"env:", abi::term_kind::environment, "env:DATABASE_URL"}};

// An address with an optional prefix length. Returns false when it is not an address at all.
result<bool> parse_network(std::string_view word, std::string_view text, term& t) {
  const auto slash = text.find('/');
  bool is_v4 = false;
  const auto address = parse_ip(text.substr(0, slash), is_v4);
  if (!address) return false;
  t.kind = abi::term_kind::cidr;
  t.address = *address;
  const unsigned most = is_v4 ? 32 : 128;
  unsigned bits = most;
  if (slash != std::string_view::npos && !read_number(text.substr(slash + 1), bits, most))
    return bad(word, "'" + std::string(text.substr(slash)) + "' is not a prefix length in /0../" + std::to_string(most), {});
  t.prefix = static_cast<std::uint8_t>(is_v4 ? bits + 96 : bits);
  for (unsigned i = 0; i < 128; ++i)  // bits beyond the prefix do not count: 10.1.2.3/8 is 10.0.0.0/8
    if (i >= t.prefix) t.address[i / 8] &= static_cast<std::uint8_t>(~(0x80u >> (i % 8)));
  return true;
}

result<done> parse_host(std::string_view word, std::string_view text, term& t) {
  std::string_view host = text, ports;
  if (!text.empty() && text.front() == '[') {
    const auto end = text.find(']');
    if (end == std::string_view::npos) return bad(word, "the ']' is missing", {"[2001:db8::/32]:80"});
    host = text.substr(1, end - 1);
    const std::string_view rest = text.substr(end + 1);
    if (!rest.empty() && rest.front() != ':') return bad(word, "after ']' only a port may follow", {"[2001:db8::1]:80"});
    if (rest == ":") return bad(word, "the port after ':' is missing", {"[2001:db8::1]:80"});
    if (!rest.empty()) ports = rest.substr(1);
    const auto network = parse_network(word, host, t);
    if (!network) return network.error();
    if (!*network) return bad(word, "'" + std::string(host) + "' is not an IPv6 address", {"[2001:db8::1]:80"});
    return ports.empty() ? result<done>(done{}) : parse_ports(word, ports, t);
  }
  const auto colons = std::count(text.begin(), text.end(), ':');
  if (colons == 1) {
    host = text.substr(0, text.find(':'));
    ports = text.substr(host.size() + 1);
    if (ports.empty()) return bad(word, "the port after ':' is missing", {std::string(host) + ":6379", std::string(host) + ":*"});
  }
  if (host.empty()) return bad(word, "a host before ':' is missing; * stands for any", {"*" + std::string(text)});
  if (host.front() == '/' || host.front() == '~' || host.substr(0, 2) == "./") {
    std::vector<std::string> meant{"file:" + std::string(text)};
    if (text.ends_with(".sock")) meant.push_back("unix:" + std::string(text));
    return bad(word, "a path stands behind file: or unix:; did you mean '" + meant.back() + "'?", meant);
  }
  if (!ports.empty())
    if (const auto good = parse_ports(word, ports, t); !good) return good;
  if (host == "*") {
    t.kind = ports.empty() || ports == "*" ? abi::term_kind::everything : abi::term_kind::cidr;
    return done{};  // ::/0, which the mapped IPv4 addresses lie in as well
  }
  const auto network = parse_network(word, host, t);
  if (!network) return network.error();
  if (*network) return done{};
  if (colons > 1 && host.find_first_not_of("0123456789abcdefABCDEF:.%") != std::string_view::npos)
    return bad(word, "there is more than one ':'; a host and a port are expected, or an IPv6 address in brackets", {"redis:6379", "[2001:db8::1]:80"});
  if (colons > 1) return bad(word, "'" + std::string(host) + "' is not an IPv6 address; one with a port stands in brackets", {"[2001:db8::1]:80"});
  if (host.size() > 250 || !std::all_of(host.begin(), host.end(), host_character))
    return bad(word, "'" + std::string(host.substr(0, 100)) + "' is neither a host name nor an address");
  unsigned port = 0;
  if (colons == 0 && read_number(host, port, 65535))
    return bad(word, "a port alone; did you mean '*:" + std::string(host) + "' (whoever is called there) or 'listen:" + std::string(host) + "' (who calls here)?",
               {"*:" + std::string(host), "listen:" + std::string(host)});
  if (host.find_first_not_of("0123456789.") == std::string_view::npos)
    return bad(word, "'" + std::string(host) + "' is not an IPv4 address", {"10.0.0.1", "10.0.0.0/8"});
  for (const subject_word& s : prefixed)
    if (colons == 0 && std::string_view(s.prefix).substr(0, host.size()) == host && host.size() + 1 == std::string_view(s.prefix).size())
      return bad(word, "something is missing behind '" + std::string(s.prefix) + "' (a host of that name: 'tcp://" + std::string(host) + "')", {s.like});
  t.kind = abi::term_kind::hostname;
  t.text = host;
  std::transform(t.text.begin(), t.text.end(), t.text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return done{};
}

bool only_stars(std::string_view glob) { return glob.find_first_not_of("*/") == std::string_view::npos; }

target_sort sort_of(abi::term_kind kind) {
  switch (kind) {
    case abi::term_kind::file_path: return target_sort::file;
    case abi::term_kind::descriptor: return target_sort::address_or_file;
    case abi::term_kind::memory: return target_sort::memory;
    case abi::term_kind::dns_name: return target_sort::dns;
    case abi::term_kind::environment: return target_sort::environment;
    case abi::term_kind::process: return target_sort::process;
    default: return target_sort::address;
  }
}

result<done> parse_prefixed(std::string_view word, std::string_view rest, term& t) {
  if (t.kind == abi::term_kind::listen) return parse_ports(word, rest, t);
  if (t.kind == abi::term_kind::descriptor) {
    unsigned fd = 0;
    if (!read_number(rest, fd, 65535)) return bad(word, "'" + std::string(rest) + "' is not a descriptor number in 0..65535", {"fd:3"});
    t.port_low = t.port_high = static_cast<std::uint16_t>(fd);
    return done{};
  }
  if (const auto good = check_glob("target '" + std::string(word.substr(0, 100)) + "'", rest); !good) {
    problem p = good.error();
    p.code = problem_code::bad_target;
    p.word = word;
    for (const subject_word& s : prefixed)
      if (s.kind == t.kind) p.expected = {s.like};
    return p;
  }
  if (t.kind == abi::term_kind::file_path && rest.front() == '~')
    return bad(word, "the shell leaves '~' alone behind a ':'; write the whole path", {"file:/home/me/" + std::string(rest.substr(std::min(rest.size(), std::size_t{2})))});
  if (t.kind == abi::term_kind::file_path && rest.front() != '/' && !only_stars(rest))
    return bad(word, "the path is not absolute", {"file:/" + std::string(rest), "file:/**/" + std::string(rest)});
  if (t.kind == abi::term_kind::unix_path && rest.front() != '/' && rest.front() != '@' && rest.front() != '*')
    return bad(word, "the path is neither absolute nor abstract ('@…')", {"unix:/" + std::string(rest), "unix:@" + std::string(rest)});
  if (t.kind == abi::term_kind::environment && rest.find_first_of("=*?") != std::string_view::npos)
    return bad(word, "'" + std::string(rest) + "' is not the name of a variable", {"env:DATABASE_URL"});
  t.text = rest;
  return done{};
}

result<term> parse_term(std::string_view word) {
  term t;
  std::string_view rest = word;
  if (!rest.empty() && rest.front() == '!') {
    t.exclude = true;
    rest.remove_prefix(1);
  }
  if (const auto scheme = rest.find("://"); scheme != std::string_view::npos) {
    const std::string_view name = rest.substr(0, scheme);
    t.http = name == "http";
    if (t.http || name == "tcp") t.over = abi::transport::stream;
    else if (name == "udp") t.over = abi::transport::datagram;
    else {
      std::string_view host = rest.substr(scheme + 3);  // of a URL: without user, path and question
      host = host.substr(0, host.find_first_of("/?#"));
      host = host.substr(host.rfind('@') == std::string_view::npos ? 0 : host.rfind('@') + 1);
      const std::string connection = "; did you mean its connection, '" + std::string(host) + "'?";
      if (name == "https") return bad(word, "what TLS carries can not be read" + connection, {std::string(host)});
      return bad(word, "unknown transport '" + std::string(name) + "': tcp://, udp:// and http:// are known" + (host.empty() ? "" : connection),
                 host.empty() ? std::vector<std::string>{"tcp://", "udp://", "http://"} : std::vector<std::string>{std::string(host)});
    }
    rest.remove_prefix(scheme + 3);
    if (const auto slash = rest.find('/'); t.http && slash != std::string_view::npos) {
      t.path = rest.substr(slash);
      rest = rest.substr(0, slash);
      if (t.path.find_first_of("#") != std::string::npos) return bad(word, "a path that is asked for has no '#'", {});
      if (const auto good = check_glob("target '" + std::string(word.substr(0, 100)) + "'", t.path); !good) {
        problem p = good.error();
        p.code = problem_code::bad_target;
        return p;
      }
    }
  }
  if (rest.empty()) return bad(word, "there is nothing to aim at");
  const bool bare = t.over == abi::transport::any;
  if (bare && rest == "malloc") t.kind = abi::term_kind::memory;
  if (bare && rest == "process") t.kind = abi::term_kind::process;
  for (const subject_word& s : prefixed) {
    const std::string_view prefix = s.prefix;
    if (rest.substr(0, prefix.size()) != prefix) continue;
    if (!bare && s.kind != abi::term_kind::listen)
      return bad(word, "'" + std::string(prefix) + "' has no transport in front of it", {std::string(rest)});
    t.kind = s.kind;
    if (const auto good = parse_prefixed(word, rest.substr(prefix.size()), t); !good) return good.error();
  }
  if (t.kind == abi::term_kind::none)
    if (const auto good = parse_host(word, rest, t); !good) return good.error();
  return t;
}

bool matches_everything(const term& t) {
  if (!t.path.empty() && !only_stars(t.path)) return false;
  if (t.kind == abi::term_kind::everything) return true;
  const bool all_ports = t.port_low == 0 && t.port_high == 65535;
  if (t.kind == abi::term_kind::cidr || t.kind == abi::term_kind::hostname)
    return all_ports && (t.prefix == 0 || (t.prefix == 96 && t.address[10] == 0xff)) &&
           (t.kind == abi::term_kind::cidr || only_stars(t.text));
  if (t.kind == abi::term_kind::listen) return all_ports;
  return (t.kind == abi::term_kind::file_path || t.kind == abi::term_kind::unix_path) && only_stars(t.text);
}

}  // namespace

result<ip_address> parse_ip(std::string_view text, bool& is_v4) {
  ip_address out{};
  const std::string z(text);
  is_v4 = inet_pton(AF_INET, z.c_str(), out.data() + 12) == 1;
  if (is_v4) {
    out[10] = out[11] = 0xff;
    return out;
  }
  if (inet_pton(AF_INET6, z.c_str(), out.data()) == 1) return out;
  return bad(text, "not an address", {"10.0.0.1", "2001:db8::1"});
}

std::vector<std::string> target::hostnames() const {
  std::vector<std::string> names;
  for (const term& t : terms)
    if (t.kind == abi::term_kind::hostname && t.text.find_first_of("*?") == std::string::npos) names.push_back(t.text);
  return names;
}

result<target> parse_target(std::string_view text) {
  target out;
  if (text.empty()) return problem{problem_code::missing_word, "a target is missing (such as redis:6379)", "", examples};
  bool includes = false;
  for (const std::string& word : split(text, ',')) {
    if (word.empty()) return bad(text, "there is an empty place in the list");
    auto t = parse_term(word);
    if (!t) return t.error();
    target_sort sort = t->http ? target_sort::http : sort_of(t->kind);
    if (!out.terms.empty() && sort != out.sort) {
      const bool narrows = sort == target_sort::address || sort == target_sort::file;
      const bool narrowed = out.sort == target_sort::address || out.sort == target_sort::file;
      if (out.sort == target_sort::address_or_file && narrows) {
      } else if (sort == target_sort::address_or_file && narrowed) {
        sort = out.sort;
      } else {
        return bad(text, "'" + word + "' is " + name_of(sort) + " and what stands before it is " + name_of(out.sort) +
                             ": make a rule for each", {});
      }
    }
    out.sort = sort;
    includes = includes || !t->exclude;
    out.hits_everything = out.hits_everything || (!t->exclude && matches_everything(*t));
    out.normalised += (out.normalised.empty() ? "" : ",") + word;
    out.terms.push_back(std::move(*t));
  }
  if (!includes) {  // only exclusions: everything but these
    term all;
    all.kind = abi::term_kind::everything;
    all.http = out.sort == target_sort::http;
    out.terms.insert(out.terms.begin(), all);
    out.hits_everything = true;
  }
  if (out.terms.size() > abi::term_max)
    return bad(text, "it has " + std::to_string(out.terms.size()) + " parts; a rule has room for " + std::to_string(abi::term_max), {});
  return out;
}

const char* name_of(target_sort sort) {
  switch (sort) {
    case target_sort::address: return "an address";
    case target_sort::http: return "HTTP requests";
    case target_sort::file: return "a file";
    case target_sort::address_or_file: return "a descriptor";
    case target_sort::memory: return "memory";
    case target_sort::dns: return "a name being looked up";
    case target_sort::environment: return "an environment variable";
    case target_sort::process: return "a process";
  }
  return "";
}

std::vector<std::string> target_examples(unsigned bits) {
  using namespace abi::target_kinds;
  std::vector<std::string> examples;
  for (const auto& [bit, like] : {std::pair{to_address, "redis:6379"}, {to_http, "http://shop:8080/api/*"}, {to_file, "file:/path/**"}, {to_memory, "malloc"},
                                  {to_process, "process"}, {to_dns, "dns:*.example.com"}, {to_env, "env:NAME"}})
    if (bits & bit) examples.emplace_back(like);
  return examples;
}

std::vector<std::string> target_beginnings(unsigned bits) {
  using namespace abi::target_kinds;
  std::vector<std::string> all;
  for (const auto& [bit, text] : {std::pair{to_address, "*:"}, {to_address, "tcp://"}, {to_address, "udp://"}, {to_http, "http://"},
                                  {to_memory, "malloc"}, {to_process, "process"}})
    if (bits & bit) all.emplace_back(text);
  for (const subject_word& s : prefixed)
    if (bits & target_bits(sort_of(s.kind))) all.emplace_back(s.prefix);
  return all;
}

std::string with_port(std::string_view word) {
  const auto colon = word.rfind(':');
  bool is_v4 = false;
  unsigned port = 0;
  if (colon == std::string_view::npos || word.size() - colon < 3 || !read_number(word.substr(colon + 1), port, 65535)) return "";
  if (!parse_ip(word, is_v4) || is_v4 || !parse_ip(word.substr(0, colon), is_v4) || is_v4) return "";
  return "[" + std::string(word.substr(0, colon)) + "]:" + std::to_string(port);
}

unsigned target_bits(target_sort sort) {
  using namespace abi::target_kinds;
  switch (sort) {
    case target_sort::address: return to_address;
    case target_sort::http: return to_http;
    case target_sort::file: return to_file;
    case target_sort::address_or_file: return to_address | to_file;
    case target_sort::memory: return to_memory;
    case target_sort::dns: return to_dns;
    case target_sort::environment: return to_env;
    case target_sort::process: return to_process;
  }
  return 0;
}

}  // namespace chaos::rules
