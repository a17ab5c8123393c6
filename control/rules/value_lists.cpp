// The values that are lists: errnos with weights, percentiles, the parameters of a loss model.
#include <netdb.h>

#include <cerrno>

#include "chaos/abi/errnos.def"
#include "values.hpp"

namespace chaos::rules {

namespace {

struct named_number {
  const char* name;
  int number;
};
#define X(name) {#name, name},
constexpr named_number errno_names[] = {CHAOS_ERRNO_ROWS};
constexpr named_number eai_names[] = {CHAOS_EAI_ROWS};
#undef X

template <class Names>
std::string name_in(const Names& names, int number) {
  for (const auto& row : names)
    if (row.number == number) return row.name;
  return std::to_string(number);
}

}  // namespace

std::string errno_name(int error) { return name_in(errno_names, error); }
std::string eai_name(int error) { return name_in(eai_names, error); }

int errno_number(std::string_view name) {
  for (const auto& row : errno_names)
    if (name == row.name) return row.number;
  return 0;
}

result<std::vector<named_error>> parse_errors(std::string_view what, std::string_view text) {
  std::vector<named_error> errors;
  if (text.empty()) return bad_value(what, text, "an errno is missing (such as ECONNRESET)", {"ECONNRESET", "ECONNRESET=3,EPIPE=1"});
  for (const std::string& item : split(text, ',')) {
    named_error e;
    const auto equals = item.find('=');
    e.name = item.substr(0, equals);
    if (e.name.empty())
      return bad_value(what, text, "there is an empty place in '" + std::string(text) + "'", {"ECONNRESET", "ECONNRESET=3,EPIPE=1"});
    if (e.name == "EWOULDBLOCK") e.name = "EAGAIN";
    if (e.name == "ENOTSUP") e.name = "EOPNOTSUPP";
    e.error = errno_number(e.name);
    for (const auto& row : eai_names)
      if (e.name == row.name) {
        e.error = row.number;
        e.of_names = true;
      }
    if (e.error == 0) {
      std::vector<std::string> names;
      for (const auto& row : errno_names) names.emplace_back(row.name);
      for (const auto& row : eai_names) names.emplace_back(row.name);
      problem p = unknown_word(problem_code::unknown_errno, "errno", e.name, names);
      if (const auto number = parse_count("", e.name); number && *number < 4096)
        if (const std::string name = errno_name(static_cast<int>(*number)); name != e.name) p.message += ": did you mean '" + name + "'?";
      return p;
    }
    if (equals != std::string::npos) {
      const auto weight = parse_count(std::string(what) + ": weight of " + e.name, item.substr(equals + 1));
      if (!weight) return weight.error();
      if (*weight > 1'000'000) return bad_value(what, item, "the weight of " + e.name + " is over 1000000", {});
      e.weight = static_cast<std::uint32_t>(*weight);
    }
    for (const named_error& other : errors)
      if (other.name == e.name) return bad_value(what, item, e.name + " stands there twice: give it a weight instead", {e.name + "=2"});
    errors.push_back(e);
  }
  if (errors.size() > abi::error_max)
    return bad_value(what, text, "there are " + std::to_string(errors.size()) + " errnos; a rule has at most " +
                               std::to_string(abi::error_max), {});
  return errors;
}

result<std::vector<abi::percentile_point>> parse_percentiles(std::string_view what, std::string_view text) {
  const std::vector<std::string> examples{"p50=10ms,p99=200ms"};
  std::vector<abi::percentile_point> points;
  for (const std::string& item : split(text, ',')) {
    const auto equals = item.find('=');
    if (item.size() < 2 || item[0] != 'p' || equals == std::string::npos)
      return bad_value(what, item, "'" + item + "' is not a percentile (such as p99=200ms)", examples);
    const std::string percent = item.substr(1, equals - 1) + "%";
    const auto share = parse_probability(what, percent);
    if (!share) return bad_value(what, item, "'" + item.substr(0, equals) + "' is not a percentile in p0..p100", examples);
    const auto value = parse_duration(what, item.substr(equals + 1));
    if (!value) return value.error();
    abi::percentile_point p{};
    p.millionths = static_cast<std::uint32_t>((*share * 1'000'000 + abi::certain / 2) / abi::certain);
    p.value_ns = *value;
    if (!points.empty() && (p.millionths <= points.back().millionths || p.value_ns < points.back().value_ns))
      return bad_value(what, item, "'" + item + "' is not above the percentile before it: they rise from left to right", examples);
    points.push_back(p);
  }
  if (points.size() > abi::percentile_max)
    return bad_value(what, text, "there are more than " + std::to_string(abi::percentile_max) + " percentiles", examples);
  return points;
}

result<loss_parameters> parse_model(std::string_view what, std::string_view text) {
  loss_parameters out;
  if (text == "random") return out;
  constexpr std::string_view prefix = "gemodel:";
  if (text.substr(0, prefix.size()) != prefix) {
    problem p = unknown_word(problem_code::bad_value, "model", text, {"random", "gemodel:1%,10%,100%,0%"});
    p.message = std::string(what) + ": " + p.message;
    return p;
  }
  out.model = abi::loss_model::gemodel;
  const auto parts = split(text.substr(prefix.size()), ',');
  if (parts.size() > 4) return bad_value(what, text, "gemodel has at most four parameters: P,R,1-H,1-K", {"gemodel:1%,10%,100%,0%"});
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto p = parse_probability(what, parts[i]);
    if (!p) return p.error();
    out.gemodel[i] = *p;
  }
  if (parts.size() < 2) out.gemodel[1] = abi::certain - out.gemodel[0];
  if (parts.size() < 3) out.gemodel[2] = abi::certain;
  return out;
}

}  // namespace chaos::rules
