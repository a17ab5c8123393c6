#include "compile.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "selection.hpp"
#include "values.hpp"

namespace chaos::rules {

namespace classes = abi::classes;

namespace {

problem combination(const std::string& message, std::string word) {
  return {problem_code::bad_combination, message, std::move(word), {}};
}

// Carries one compilation from step to step; the first problem ends it.
class compilation {
 public:
  compilation(const rule_spec& spec, const compile_setting& setting)
      : spec_(spec), set_(setting), kind_(abi::effect_table[static_cast<unsigned>(spec.kind)]), r_(out_.rule) {}

  result<compiled_rule> run() {
    using step = result<done> (compilation::*)();
    for (const step s : {&compilation::identity, &compilation::aim, &compilation::choose, &compilation::filters,
                         &compilation::trigger, &compilation::life, &compilation::value, &compilation::shape,
                         &compilation::endings, &compilation::errors, &compilation::terms, &compilation::transports})
      if (const auto good = (this->*s)(); !good) return good.error();
    return std::move(out_);
  }

 private:
  const rule_spec& spec_;
  const compile_setting& set_;
  const abi::effect_info& kind_;
  compiled_rule out_;
  abi::rule& r_;
  target target_;
  selection chosen_;

  bool given(option o) const { return spec_.has(o); }

  abi::pool_offset pool(const std::string& text) {
    if (text.empty()) return 0;
    const auto at = static_cast<abi::pool_offset>(out_.text.size());
    out_.text += text;
    out_.text += '\0';
    return at;
  }

  // Reads an option that may be there into a field.
  template <class Parse, class Field>
  result<done> read(option o, Parse parse, Field& field) {
    if (!given(o)) return done{};
    const auto value = parse(flag_of(o), spec_.get(o));
    if (!value) return value.error();
    field = static_cast<Field>(*value);
    return done{};
  }

  result<done> identity() {
    r_.id = set_.id;
    r_.slot = set_.slot;
    r_.kind = spec_.kind;
    r_.dry_run = given(option::dry_run_);
    r_.late = given(option::late_);
    r_.run = set_.run;
    r_.seed = set_.session_seed;
    if (given(option::name_))
      if (const auto good = check_name("--name", spec_.get(option::name_)); !good) return good;
    out_.name = given(option::name_) ? spec_.get(option::name_) : std::string(kind_.name) + "-" + std::to_string(set_.id);
    r_.name = pool(out_.name);
    return read(option::seed_, parse_seed, r_.seed);
  }

  result<done> aim() {
    auto aimed = parse_target(spec_.target);
    if (!aimed) return aimed.error();
    target_ = std::move(*aimed);
    if (!(kind_.targets & target_bits(target_.sort))) {
      const std::vector<std::string> expected = target_examples(kind_.targets);
      std::string list;
      for (const std::string& like : expected) list += (list.empty() ? "" : ", ") + like;
      const bool variable = kind_.targets == abi::target_kinds::to_env && spec_.target.find(':') == std::string::npos;
      return problem{problem_code::wrong_target, std::string(kind_.name) + " can not be aimed at " + name_of(target_.sort) +
                         " ('" + spec_.target + "'); it is aimed like: " + list + (variable ? "; did you mean 'env:" + spec_.target + "'?" : ""), spec_.target, expected};
    }
    if (target_.hits_everything && !given(option::everything_))
      return problem{problem_code::needs_everything, "'" + spec_.target + "' would hit everything: name a target, or say --everything",
                     spec_.target, {"--everything"}};
    for (const std::string& word : split(spec_.target, ','))
      if (const std::string other = with_port(word); !other.empty())
        out_.warnings.push_back("'" + word + "' is an address, and every port of it; a port stands behind brackets: " + other);
    out_.target = target_.normalised;
    out_.hostnames = target_.hostnames();
    rule_spec same = spec_;
    same.target = target_.normalised;
    const std::string identity = given(option::name_) ? spec_.get(option::name_) : normalised_text(same);
    r_.key = fnv1a64(identity.data(), identity.size());
    return done{};
  }

  result<done> choose() {
    direction way = direction::by_kind;
    if (given(option::direction_)) {
      const auto at = parse_choice("--direction", spec_.get(option::direction_), {"up", "down", "both"});
      if (!at) return at.error();
      way = *at == 0 ? direction::up : *at == 1 ? direction::down : direction::both;
    }
    const auto chosen = select(spec_.kind, target_.sort, spec_.get(option::on_), way);
    if (!chosen) return chosen.error();
    chosen_ = *chosen;
    r_.classes = chosen_.classes;
    r_.functions = chosen_.functions;
    return done{};
  }

  result<done> filters() {
    for (const auto& [o, field] : {std::pair{option::process_, &r_.process_glob}, {option::thread_, &r_.thread_glob},
                                   {option::caller_, &r_.caller_glob}, {option::stack_, &r_.stack_glob}}) {
      if (!given(o)) continue;
      if (const auto good = check_glob(flag_of(o), spec_.get(o)); !good) return good;
      *field = pool(spec_.get(o));
    }
    r_.size_high = UINT64_MAX;
    if (given(option::size_)) {
      const auto range = parse_size_range("--size", spec_.get(option::size_));
      if (!range) return range.error();
      r_.size_low = range->low;
      r_.size_high = range->high;
      if (target_.sort == target_sort::dns || target_.sort == target_sort::environment)
        return combination(std::string("--size has no meaning for ") + name_of(target_.sort), "--size");
    }
    const auto pid = read(option::pid_, parse_pid, r_.process_id);
    if (!pid && !spec_.get(option::pid_).empty() && spec_.get(option::pid_).find_first_not_of("0123456789") != std::string::npos) {
      problem p = pid.error();  // most often a name
      p.message += "; a name stands behind --process";
      return p;
    }
    return pid;
  }

  result<done> trigger() {
    r_.chance = r_.toxicity = abi::certain;
    r_.times = UINT64_MAX;
    const bool connected = target_.sort == target_sort::address || target_.sort == target_sort::http || target_.sort == target_sort::address_or_file;
    if (const auto good = read(option::probability_, parse_probability, r_.chance); !good) return good;
    if (const auto good = read(option::toxicity_, parse_probability, r_.toxicity); !good) return good;
    if (given(option::toxicity_) && !connected)
      return combination(std::string("--toxicity is a share of connections, and the target is ") + name_of(target_.sort), "--toxicity");
    if (const auto good = read(option::times_, parse_count, r_.times); !good) return good;
    if (const auto good = read(option::space_, parse_size, r_.space_bytes); !good) return good;
    if (const auto good = read(option::after_, parse_size, r_.after_bytes); !good) return good;
    for (const option o : {option::space_, option::after_})
      if (given(o) && !connected)
        return combination(flag_of(o) + " counts the bytes of a connection, and the target is " + name_of(target_.sort), flag_of(o));
    if (given(option::when_)) {
      const auto when = parse_when("--when", spec_.get(option::when_));
      if (!when) return when.error();
      r_.when = *when;
    }
    r_.counts_in = abi::scope::automatic;
    if (given(option::scope_)) {
      const auto at = parse_choice("--scope", spec_.get(option::scope_), {"connection", "thread", "process", "session"});
      if (!at) return at.error();
      r_.counts_in = static_cast<abi::scope>(*at + 1);
      if (*at == 0 && !connected)
        return combination(std::string("--scope connection has no meaning for ") + name_of(target_.sort), "--scope");
    }
    return done{};
  }

  result<done> life() {
    if (given(option::for_) && given(option::forever_)) return combination("--for and --forever contradict each other", "--forever");
    std::uint64_t life = given(option::forever_) || set_.run != 0 ? 0 : set_.default_for;
    if (given(option::for_)) {
      const auto read = parse_duration("--for", spec_.get(option::for_));
      if (!read && spec_.get(option::for_) == "forever")
        return problem{problem_code::bad_value, "--for: 'forever' is an option of its own; did you mean --forever?", "forever", {"--forever"}};
      if (!read) return read.error();
      if (*read == 0)
        return problem{problem_code::bad_value, "--for: a rule that lives for 0 does nothing", "0", {"10min", "--forever"}};
      life = *read;
    }
    out_.default_end = life != 0 && !given(option::for_);
    r_.ends_at_ns = life ? set_.now_ns + life : 0;
    return read(option::owner_, parse_pid, out_.owner);
  }

  problem missing_value(const std::string& like) {
    return {problem_code::missing_word, std::string(kind_.name) + " needs a value after its target: " + kind_.value_help +
                " (such as " + like + ")", "", {like}};
  }

  result<done> value() {
    const std::string what = std::string(kind_.name) + " value";
    const std::string& v = spec_.value;
    const auto into = [&](auto parse, auto& field) -> result<done> {
      const auto read = parse(what, v);
      if (!read) {
        problem p = read.error();
        if (parse("", spec_.target) && parse_target(v)) p.message += "; the target comes first: did you mean '" + v + " " + spec_.target + "'?";
        return p;
      }
      field = *read;
      return done{};
    };
    switch (kind_.value) {
      case abi::value_form::duration:
        if (given(option::percentiles_))
          return v.empty() ? done{} : result<done>(combination("a value and --percentiles contradict each other", v));
        return v.empty() ? missing_value("200ms") : into(parse_duration, r_.delay_ns);
      case abi::value_form::optional_duration: return v.empty() ? done{} : into(parse_duration, r_.delay_ns);
      case abi::value_form::probability: {
        if (given(option::model_))
          if (const auto model = parse_model("--model", spec_.get(option::model_)); !model) return model.error();
        const bool own_chances = spec_.get(option::model_).rfind("gemodel:", 0) == 0;
        if (own_chances)
          return v.empty() ? done{} : result<done>(combination("gemodel brings its own chances: a value makes no sense beside it", v));
        return v.empty() ? missing_value("5%") : into(parse_probability, r_.amount);
      }
      case abi::value_form::corruption:
        if (given(option::bits_) && !v.empty()) return combination("a share of bytes and --bits contradict each other", "--bits");
        if (given(option::bits_)) return done{};
        return v.empty() ? missing_value("0.1% or --bits 1") : into(parse_probability, r_.amount);
      case abi::value_form::size: return v.empty() ? missing_value("64KB") : into(parse_size, r_.bytes);
      case abi::value_form::rate: {
        if (v.empty()) return missing_value("100KB/s");
        if (const auto good = into(parse_rate, r_.bytes); !good) return good;
        if (r_.bytes == 0) return problem{problem_code::bad_value, what + ": at 0 bytes a second nothing ever comes: that is the kind timeout", v, {"1KB/s"}};
        return done{};
      }
      case abi::value_form::errors: return v.empty() ? missing_value(spec_.kind == abi::effect::dns ? "EAI_AGAIN" : "ECONNRESET") : result<done>(done{});
      case abi::value_form::optional_errors: return done{};
      case abi::value_form::optional_count: return v.empty() || v == "0" ? done{} : into(parse_count, r_.bytes);
      case abi::value_form::text:
        if (v.empty()) return missing_value("postgres://nowhere");
        r_.text = pool(v);
        return done{};
      case abi::value_form::status: {
        if (v.empty()) return missing_value("503");
        const auto status = parse_count(what, v);
        if (!status) return status.error();
        if (*status < 200 || *status > 599 || *status == 204 || *status == 205 || *status == 304)
          return problem{problem_code::bad_value, what + ": " + v + " is not a status that every response can carry: one of 200 to 599, but for those without a body (204, 205, 304)", v, {"503", "429", "404"}};
        r_.number = static_cast<std::int32_t>(*status);
        return done{};
      }
      case abi::value_form::none:
      case abi::value_form::how: return done{};
    }
    return done{};
  }

  result<done> shape() {
    if (const auto good = read(option::jitter_, parse_duration, r_.jitter_ns); !good) return good;
    if (given(option::jitter_)) r_.shape = abi::distribution::uniform;
    if (given(option::distribution_)) {
      const auto at = parse_choice("--distribution", spec_.get(option::distribution_), {"uniform", "normal", "pareto", "paretonormal"});
      if (!at) return at.error();
      if (!given(option::jitter_))
        return combination("--distribution says how the jitter falls: --jitter is missing", "--distribution");
      r_.shape = static_cast<abi::distribution>(*at + 1);
    }
    if (given(option::percentiles_)) {
      if (given(option::jitter_)) return combination("--percentiles and --jitter contradict each other", "--jitter");
      const auto points = parse_percentiles("--percentiles", spec_.get(option::percentiles_));
      if (!points) return points.error();
      r_.shape = abi::distribution::percentiles;
      for (const auto& p : *points) r_.percentiles[r_.percentile_count++] = p;
    }
    if (const auto good = read(option::correlation_, parse_probability, r_.correlation); !good) return good;
    if (given(option::model_)) {
      const auto model = parse_model("--model", spec_.get(option::model_));
      if (!model) return model.error();
      r_.model = model->model;
      for (unsigned i = 0; i < 4; ++i) r_.gemodel[i] = model->gemodel[i];
    }
    if (given(option::correlation_) && r_.model == abi::loss_model::gemodel)
      return combination("gemodel already says how losses follow each other: --correlation makes no sense beside it", "--correlation");
    if (given(option::correlation_) && spec_.kind == abi::effect::latency && !given(option::jitter_) && !given(option::percentiles_))
      return combination("--correlation relates random draws: --jitter or --percentiles is missing", "--correlation");
    if (const auto good = read(option::bits_, parse_count, r_.bits); !good) return good;
    if (given(option::bits_) && spec_.get(option::bits_).size() > 6)
      return problem{problem_code::bad_value, "--bits: more than 999999 bits in one call", spec_.get(option::bits_), {"1"}};
    if (spec_.kind == abi::effect::slicer) {
      r_.average_size = 64;
      if (const auto good = read(option::average_size_, parse_size, r_.average_size); !good) return good;
      if (const auto good = read(option::size_variation_, parse_size, r_.size_variation); !good) return good;
      if (const auto good = read(option::delay_, parse_duration, r_.delay_ns); !good) return good;
      if (r_.average_size == 0) return problem{problem_code::bad_value, "--average-size: a slice has at least 1B", "0", {"64B"}};
      if (r_.size_variation >= r_.average_size)
        return combination("--size-variation must be less than --average-size (" + format_size(r_.average_size) + ")", "--size-variation");
    }
    if (given(option::how_)) {
      const auto at = parse_choice("--how", spec_.get(option::how_), {"refuse", "unreachable", "blackhole"});
      if (!at) return at.error();
      r_.how = static_cast<abi::down_how>(*at);
    }
    return done{};
  }

  // What is special about the kinds that end things, cut off or run out.
  result<done> endings() {
    if (target_.sort == target_sort::http) r_.flags |= abi::rule_flags::http | abi::rule_flags::http_path;
    if (spec_.kind == abi::effect::http_error) r_.flags |= abi::rule_flags::http;
    if (given(option::shared_)) r_.flags |= abi::rule_flags::shared_bucket;
    if (given(option::torn_)) {
      const abi::function_set all = functions_in(chosen_);
      for (unsigned i = 0; i < abi::function_count; ++i)
        if (const auto f = static_cast<abi::function_id>(i); all.has(f) && can_be_torn(f)) r_.torn = 1;
      if (!r_.torn)
        return problem{problem_code::bad_combination, "--torn puts a part of the data down before a write fails, and '" + spec_.get(option::on_) +
                           "' writes none; did you mean --on write?", "--torn", {"--on write", "--on pwrite", "--on fwrite"}};
    }
    if (spec_.kind == abi::effect::reorder) {
      std::uint64_t gap = 1;
      if (const auto good = read(option::gap_, parse_count, gap); !good) return good;
      if (gap == 0 || gap > 1000)
        return problem{problem_code::bad_value, "--gap: a datagram is passed by at least 1 and at most 1000 others", spec_.get(option::gap_), {"1", "5"}};
      r_.number = static_cast<std::int32_t>(gap);
    }
    if (given(option::process_wide_)) r_.flags |= abi::rule_flags::process_wide;
    if (given(option::budget_)) {
      r_.flags |= abi::rule_flags::has_budget;
      if (const auto good = read(option::budget_, parse_size, r_.bytes); !good) return good;
    }
    if (spec_.kind == abi::effect::partition) {
      r_.how = abi::down_how::blackhole;
      r_.amount = abi::certain;
      if (const auto good = read(option::drop_, parse_probability, r_.amount); !good) return good;
      if (r_.amount == 0) return problem{problem_code::bad_value, "--drop: a partition that loses nothing is none", "0", {"10%"}};
      if (given(option::oneway_)) {
        const auto at = parse_choice("--oneway", spec_.get(option::oneway_), {"in", "out"});
        if (!at) return at.error();
        constexpr abi::class_set in = classes::stream_in | classes::datagram_in;
        r_.classes &= *at == 0 ? in | classes::connect : (classes::data & ~in) | classes::connect;
      }
    }
    if (spec_.kind == abi::effect::crash) {
      if (given(option::exit_) && given(option::signal_)) return combination("--exit and --signal contradict each other", "--signal");
      if (given(option::exit_)) {
        const auto status = parse_seed("--exit", spec_.get(option::exit_));
        if (!status) return status.error();
        if (*status > 255) return problem{problem_code::bad_value, "--exit: an exit status is at most 255", spec_.get(option::exit_), {"1"}};
        r_.flags |= abi::rule_flags::exit_code;
        r_.number = static_cast<std::int32_t>(*status);
      } else {
        static constexpr int numbers[] = {SIGABRT, SIGBUS, SIGFPE, SIGHUP, SIGILL, SIGINT, SIGKILL, SIGQUIT, SIGSEGV, SIGTERM, SIGUSR1, SIGUSR2};
        std::string name = given(option::signal_) ? spec_.get(option::signal_) : "KILL";
        if (name.rfind("SIG", 0) == 0) name.erase(0, 3);
        const auto words = choices_of(option_form::signal);
        const auto at = parse_choice("--signal", name, {words.begin(), words.end()});
        if (!at) return at.error();
        r_.number = numbers[*at];
      }
    }
    if (target_.sort == target_sort::process && !r_.process_glob && !r_.process_id && !r_.run && !given(option::everything_))
      return problem{problem_code::needs_everything, "'process' is every attached process: say which with --process or --pid, or --everything",
                     "process", {"--process", "--pid", "--everything"}};
    return done{};
  }

  result<done> errors() {
    if (kind_.value != abi::value_form::errors && kind_.value != abi::value_form::optional_errors) return done{};
    const auto named = parse_errors(std::string(kind_.name) + " value", spec_.value.empty() ? "EIO" : spec_.value);
    if (!named) {
      problem p = named.error();
      if (p.code == problem_code::unknown_errno) p.expected = possible_errnos(chosen_);
      return p;
    }
    for (const named_error& e : *named) {
      if (r_.late && (e.error == EINTR || e.error == EAGAIN) && !e.of_names)
        return combination("--late makes the call first, and " + e.name + " says that it was not made", e.name);
      abi::error_choice choice{e.error, e.weight, functions_returning(chosen_, e)};
      if (choice.functions.empty() && !given(option::force_)) return impossible(e);
      if (choice.functions.empty()) choice.functions = functions_in(chosen_);
      if (r_.late) {
        abi::function_set late;
        for (unsigned i = 0; i < abi::function_count; ++i)
          if (const auto f = static_cast<abi::function_id>(i); choice.functions.has(f) && can_be_late(f)) late.add(f);
        choice.functions = late;
        if (late.empty())
          return combination("--late: none of the calls that can return " + e.name +
                             " can report it late (connect send* write* fsync close open socket accept can)", "--late");
      }
      r_.errors[r_.error_count++] = choice;
    }
    return done{};
  }

  problem impossible(const named_error& e) {
    const auto possible = possible_errnos(chosen_);
    std::string list;
    for (const std::string& name : possible) list += (list.empty() ? "" : " ") + name;
    return {problem_code::impossible_errno,
            "no call that this rule acts on can return " + e.name + "; they can return: " + list + " (--force overrides)", e.name, possible};
  }

  bool add_term(const term& t, abi::term_kind kind, const ip_address& address, std::uint8_t prefix) {
    if (r_.term_count == abi::term_max) return false;
    abi::target_term& to = r_.terms[r_.term_count++];
    to.kind = kind;
    to.over = t.over;
    to.exclude = t.exclude;
    to.prefix = prefix;
    to.port_low = t.port_low;
    to.port_high = t.port_high;
    to.text = kind == abi::term_kind::cidr ? 0 : pool(t.text);
    to.path = pool(t.path);
    std::copy(address.begin(), address.end(), to.address);
    return true;
  }

  result<done> terms() {
    for (const term& t : target_.terms) add_term(t, t.kind, t.address, t.prefix);
    if (!set_.names) return done{};
    for (const bool exclude : {true, false})  // exclusions first: without room, rather one address too few is hit
      for (const term& t : target_.terms) {
        const auto known = set_.names->find(t.text);
        if (t.kind != abi::term_kind::hostname || t.exclude != exclude || known == set_.names->end()) continue;
        for (const ip_address& address : known->second)
          if (!add_term(t, abi::term_kind::cidr, address, 128)) {
            out_.warnings.push_back("'" + t.text + "' has more addresses than a rule has room for: the rest is met only where the target looks the name up");
            break;
          }
      }
    return done{};
  }

  result<done> transports() {
    for (const term& t : target_.terms) {
      if ((kind_.traits & abi::traits::stream_only) && t.over == abi::transport::datagram)
        return combination(std::string(kind_.name) + " acts on streams only, and udp:// has none", "udp://");
      if ((kind_.traits & abi::traits::datagram_only) && t.over == abi::transport::stream)
        return combination(std::string(kind_.name) + " acts on datagrams only, and tcp:// has none", "tcp://");
    }
    const auto wanted = r_.classes & classes::data;
    const auto possible = kind_.traits & abi::traits::stream_only ? classes::streams
                          : kind_.traits & abi::traits::datagram_only ? classes::datagrams : classes::data;
    if (wanted && !(wanted & possible))
      return combination(std::string(kind_.name) + " acts on " + (possible == classes::streams ? "streams" : "datagrams") +
                         " only, and --on names none", "--on");
    r_.classes &= ~classes::data | possible;
    if (functions_in(chosen_).empty()) return combination("the rule acts on no function at all", "--on");
    return done{};
  }
};

}  // namespace

result<compiled_rule> compile(const rule_spec& spec, const compile_setting& setting) { return compilation(spec, setting).run(); }

abi::class_set classes_to_arm(const abi::rule& rule) {
  abi::class_set armed = rule.classes;
  if (rule.flags & abi::rule_flags::http) armed |= classes::streams;  // questions and answers are both followed
  if (rule.flags & abi::rule_flags::process_wide) armed |= ~(classes::alloc | classes::env | classes::api);  // whatever another thread does
  armed |= abi::owed_by_arrivals(rule.kind, rule.classes);
  for (unsigned i = 0; i < rule.term_count; ++i) {
    switch (rule.terms[i].kind) {
      case abi::term_kind::cidr:
      case abi::term_kind::hostname:
      case abi::term_kind::listen:
      case abi::term_kind::unix_path:
      case abi::term_kind::descriptor:
      case abi::term_kind::everything:
        // connect: what is put into an epoll set before it is connected is known from there on
        armed |= classes::close | classes::descriptor | classes::option | classes::readiness | classes::process | classes::connect;
        break;
      case abi::term_kind::file_path: armed |= classes::close | classes::descriptor; break;
      default: break;
    }
  }
  return armed;
}

}  // namespace chaos::rules
