#include "rule_spec.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "targets.hpp"
#include "values.hpp"

namespace chaos::rules {

using nlohmann::json;

namespace {

constexpr std::size_t word_text_max = 4000;  // of one word

problem unknown_kind(std::string_view word, std::string_view next = {}) {
  problem p = unknown_word(problem_code::unknown_kind, "kind", word, kind_names());
  if (find_kind(next)) p.message = "unknown kind '" + std::string(word) + "': the kind comes first; did you mean '" + std::string(next) + " " + std::string(word) + "'?";
  return p;
}

// An option that is known, so that it is not the value of the one before it.
bool is_option(std::string_view word) { return word.substr(0, 2) == "--" && find_option(word.substr(0, word.find('='))); }

bool takes_text(std::string_view word) {
  const auto o = find_option(word.substr(0, word.find('=')));
  return o && info_of(*o).form != option_form::flag;
}

// Where the kind stands: the first word that is neither an option nor the value of one.
std::size_t place_of_kind(std::span<const std::string> words) {
  std::size_t i = 0;
  for (; i < words.size() && is_option(words[i]); ++i)
    if (takes_text(words[i]) && words[i].find('=') == std::string::npos && i + 1 < words.size() && !is_option(words[i + 1])) ++i;
  return i;
}

// The option of this name, if this kind takes it.
result<option> option_for(abi::effect kind, std::string_view key) {
  const auto found = find_option(key);
  const std::string kind_name = abi::effect_table[static_cast<unsigned>(kind)].name;
  if (!found) {
    std::string flag(key.substr(0, 2) == "--" ? key : "--" + std::string(key));
    return unknown_word(problem_code::unknown_option, "option", flag, flags_for(kind));
  }
  if (takes(kind, *found)) return *found;
  std::vector<std::string> owners;
  std::string list;
  for (unsigned i = 0; i < abi::effect_count; ++i)
    if (takes(static_cast<abi::effect>(i), *found)) {
      owners.emplace_back(abi::effect_table[i].name);
      list += (list.empty() ? "" : ", ") + owners.back();
    }
  return problem{problem_code::bad_combination,
                 flag_of(*found) + " has no meaning for the kind " + kind_name + "; it belongs to " + list, flag_of(*found), owners};
}

result<done> put(rule_spec& spec, option o, std::string text) {
  if (text.size() > word_text_max)
    return problem{problem_code::bad_value, flag_of(o) + ": the text is longer than " + std::to_string(word_text_max) + " bytes",
                   text.substr(0, 40), {}};
  if (!spec.options.emplace(o, std::move(text)).second)
    return problem{problem_code::unexpected_word, flag_of(o) + " stands there twice", flag_of(o), {}};
  return done{};
}

bool is_utf8(const std::string& text) {
  try {
    return !json(text).dump().empty();
  } catch (const json::exception&) {
    return false;
  }
}

result<done> check_text(std::string_view what, const std::string& text) {
  if (text.size() > word_text_max)
    return problem{problem_code::bad_value, std::string(what) + " is longer than " + std::to_string(word_text_max) + " bytes",
                   text.substr(0, 40), {}};
  for (const char c : text)
    if (static_cast<unsigned char>(c) < 32 || c == 127)
      return problem{problem_code::bad_value, std::string(what) + " has a control character in it", "", {}};
  if (!is_utf8(text)) return problem{problem_code::bad_value, std::string(what) + " is not UTF-8", "", {}};
  return done{};
}

// A word too many is mostly one that belongs to the word before it, or is really an option's value.
problem extra_word(const rule_spec& spec, const std::string& word, std::string_view option_before = {}, std::string_view before = {}) {
  const auto& kind = abi::effect_table[static_cast<unsigned>(spec.kind)];
  problem p{problem_code::unexpected_word, "unexpected word '" + word + "' after " + std::string(kind.name) + " " + spec.target, word, {}};
  for (const char* how : choices_of(option_form::how))
    if (takes(spec.kind, option::how_) && word == how) p.expected = {"--how", word};
  const std::string joined = spec.value + word;
  const bool fits = (kind.value == abi::value_form::size && parse_size("", joined)) || (kind.value == abi::value_form::rate && parse_rate("", joined)) ||
                    ((kind.value == abi::value_form::duration || kind.value == abi::value_form::optional_duration) && parse_duration("", joined)) ||
                    (kind.value == abi::value_form::probability && parse_probability("", joined));
  if (!p.expected.empty()) p.message += ": did you mean --how " + word + "?";
  else if (option_before == "--on") {
    p.expected = {std::string(before) + "," + word};
    p.message += ": several functions stand with commas between them; did you mean --on " + p.expected[0] + "?";
  } else if (!spec.value.empty() && fits) {
    p.expected = {joined};
    p.message += ": did you mean '" + joined + "', in one word?";
  }
  else if (kind.value == abi::value_form::none || kind.value == abi::value_form::how)
    p.message += ": the kind " + std::string(kind.name) + " has no value";
  return p;
}

bool takes_value(abi::effect kind) {
  const auto form = abi::effect_table[static_cast<unsigned>(kind)].value;
  return form != abi::value_form::none && form != abi::value_form::how;
}

result<rule_spec> checked(rule_spec spec) {
  if (const auto good = check_text("the target", spec.target); !good) return good.error();
  if (const auto good = check_text("the value", spec.value); !good) return good.error();
  for (const auto& [o, text] : spec.options)
    if (const auto good = check_text(flag_of(o), text); !good) return good.error();
  if (spec.target.empty() && spec.has(option::everything_)) spec.target = "*";
  if (spec.target.empty()) {
    const abi::effect_info& kind = abi::effect_table[static_cast<unsigned>(spec.kind)];
    const auto like = target_examples(kind.targets);
    return problem{problem_code::missing_word, std::string("a target is missing after ") + kind.name + " (such as " + like[0] + ")", "", like};
  }
  return spec;
}

}  // namespace

result<std::vector<std::string>> split_words(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool inside = false;  // a word has begun, even if it is empty ('')
  char quote = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote) {
      if (c == quote) quote = 0;
      else if (c == '\\' && quote == '"' && i + 1 < text.size()) word += text[++i];
      else word += c;
    } else if (c == '\'' || c == '"') {
      quote = c;
      inside = true;
    } else if (c == '\\' && i + 1 < text.size()) {
      word += text[++i];
      inside = true;
    } else if (c == ' ' || c == '\t' || c == '\n') {
      if (inside) words.push_back(std::move(word));
      word.clear();
      inside = false;
    } else {
      word += c;
      inside = true;
    }
  }
  if (quote)
    return problem{problem_code::bad_value, std::string("the quote ") + quote + " is never closed in: " + std::string(text), std::string(text), {}};
  if (inside) words.push_back(std::move(word));
  return words;
}

result<rule_spec> spec_from_words(std::span<const std::string> words) {
  rule_spec spec;
  if (words.empty())
    return problem{problem_code::missing_word, "a kind and a target are missing (such as: latency redis:6379 200ms)", "", kind_names()};
  const std::size_t kind_at = place_of_kind(words);
  if (kind_at >= words.size())
    return problem{problem_code::missing_word, "a kind and a target are missing beside the options (such as: latency redis:6379 200ms)", "", kind_names()};
  if (words[kind_at].substr(0, 2) == "--") {
    std::vector<std::string> flags;
    for (unsigned i = 0; i < option_count; ++i) flags.push_back(flag_of(static_cast<option>(i)));
    return unknown_word(problem_code::unknown_option, "option", words[kind_at].substr(0, words[kind_at].find('=')), flags);
  }
  const auto kind = find_kind(words[kind_at]);
  if (!kind) return unknown_kind(words[kind_at], kind_at + 1 < words.size() ? words[kind_at + 1] : std::string());
  spec.kind = *kind;
  unsigned plain = 0;
  bool only_plain = false;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i == kind_at) continue;
    const std::string& word = words[i];
    if (word == "--" && !only_plain) {
      only_plain = true;
      continue;
    }
    if (only_plain || word.size() < 2 || word.substr(0, 2) != "--") {
      if (word.size() > 1 && word[0] == '-' && !only_plain && !(word[1] >= '0' && word[1] <= '9'))
        return unknown_word(problem_code::unknown_option, "option", word, flags_for(spec.kind));
      if (plain == 0) spec.target = word;
      else if (plain == 1 && takes_value(spec.kind)) spec.value = word;
      else return extra_word(spec, word, i >= 2 ? words[i - 2] : std::string(), words[i - 1]);
      ++plain;
      continue;
    }
    const auto equals = word.find('=');
    const auto o = option_for(spec.kind, std::string_view(word).substr(0, equals));
    if (!o) return o.error();
    const bool flag = info_of(*o).form == option_form::flag;
    if (flag && equals != std::string::npos)
      return problem{problem_code::unexpected_word, flag_of(*o) + " takes no value", word, {flag_of(*o)}};
    std::string text = "true";
    if (!flag && equals != std::string::npos) text = word.substr(equals + 1);
    else if (!flag && i + 1 < words.size() && !is_option(words[i + 1])) text = words[++i];
    else if (!flag)
      return problem{problem_code::missing_word, flag_of(*o) + " needs a value: " + info_of(*o).value_help + " (such as " + example_of(*o) + ")", flag_of(*o), {}};
    if (const auto good = put(spec, *o, std::move(text)); !good) return good.error();
  }
  return checked(std::move(spec));
}

result<rule_spec> spec_from_json(const json& object) {
  const auto not_text = [](const std::string& key) {
    return problem{problem_code::bad_value, "\"" + key + "\" of the rule is not a string", key, {}};
  };
  if (!object.is_object()) return problem{problem_code::bad_request, "the rule is not a JSON object", "", {}};
  const auto kind = object.find("kind");
  if (kind == object.end())
    return problem{problem_code::missing_word, "the rule has no \"kind\"", "kind", kind_names()};
  if (!kind->is_string()) return not_text("kind");
  rule_spec spec;
  const auto known = find_kind(kind->get<std::string>());
  if (!known) return unknown_kind(kind->get<std::string>());
  spec.kind = *known;
  for (const auto& [key, value] : object.items()) {
    if (key == "kind") continue;
    if (key == "target" || key == "value") {
      if (!value.is_string() && !(key == "value" && value.is_number())) return not_text(key);
      (key == "target" ? spec.target : spec.value) = value.is_string() ? value.get<std::string>() : value.dump();
      continue;
    }
    const auto o = option_for(spec.kind, key);
    if (!o) return o.error();
    const bool flag = info_of(*o).form == option_form::flag;
    if (flag && !value.is_boolean() && value != "true" && value != "false")
      return problem{problem_code::bad_value, "\"" + key + "\" of the rule is neither true nor false", key, {"true", "false"}};
    if (flag) {
      if (value == true || value == "true") spec.options.emplace(*o, "true");
      continue;
    }
    if (!value.is_string() && !value.is_number()) return not_text(key);
    if (const auto good = put(spec, *o, value.is_string() ? value.get<std::string>() : value.dump()); !good) return good.error();
  }
  if (!spec.value.empty() && !takes_value(spec.kind)) return extra_word(spec, spec.value);
  return checked(std::move(spec));
}

std::vector<std::string> words_of(const rule_spec& spec) {
  std::vector<std::string> plain{spec.target}, options;
  if (!spec.value.empty()) plain.push_back(spec.value);
  for (const auto& [o, text] : spec.options) {
    options.push_back(flag_of(o));
    if (info_of(o).form != option_form::flag) options.push_back(text);
  }
  std::vector<std::string> words{abi::effect_table[static_cast<unsigned>(spec.kind)].name};
  const bool like_options = std::any_of(plain.begin(), plain.end(), [](const std::string& word) { return word.substr(0, 1) == "-"; });
  if (like_options) {  // words that look like options come last, behind "--"
    words.insert(words.end(), options.begin(), options.end());
    words.push_back("--");
    words.insert(words.end(), plain.begin(), plain.end());
  } else {
    words.insert(words.end(), plain.begin(), plain.end());
    words.insert(words.end(), options.begin(), options.end());
  }
  return words;
}

json json_of(const rule_spec& spec) {
  json object{{"kind", abi::effect_table[static_cast<unsigned>(spec.kind)].name}, {"target", spec.target}};
  if (!spec.value.empty()) object["value"] = spec.value;
  for (const auto& [o, text] : spec.options) {
    if (info_of(o).form == option_form::flag) object[info_of(o).name] = true;
    else object[info_of(o).name] = text;
  }
  return object;
}

namespace {

// A readable text in its canonical form; one that can not be read stays as it is (compile refuses it).
std::string canonical(option_form form, const std::string& text) {
  switch (form) {
    case option_form::duration:
      if (const auto v = parse_duration("", text)) return format_duration(*v);
      return text;
    case option_form::size:
      if (const auto v = parse_size("", text)) return format_size(*v);
      return text;
    case option_form::probability:
      if (const auto v = parse_probability("", text)) return format_probability(*v);
      return text;
    default: return text;
  }
}

}  // namespace

std::string normalised_text(const rule_spec& spec) {
  const abi::effect_info& kind = abi::effect_table[static_cast<unsigned>(spec.kind)];
  std::string text = std::string(kind.name) + " " + spec.target;
  if (!spec.value.empty()) {
    const bool duration = kind.value == abi::value_form::duration || kind.value == abi::value_form::optional_duration;
    const bool chance = kind.value == abi::value_form::probability || kind.value == abi::value_form::corruption;
    const bool bytes = kind.value == abi::value_form::size;
    text += " " + canonical(duration ? option_form::duration : chance ? option_form::probability : bytes ? option_form::size : option_form::glob, spec.value);
  }
  for (const auto& [o, value] : spec.options) {
    if (info_of(o).role != option_role::identity) continue;
    text += " " + flag_of(o);
    if (info_of(o).form != option_form::flag) text += " " + canonical(info_of(o).form, value);
  }
  return text;
}

}  // namespace chaos::rules
