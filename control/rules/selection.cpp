#include "selection.hpp"

#include <algorithm>

namespace chaos::rules {

namespace {

namespace classes = abi::classes;

bool lists(const char* errnos, std::string_view name) {
  const std::string_view all = errnos;
  for (std::size_t at = 0; (at = all.find(name, at)) != std::string_view::npos; at += name.size()) {
    const std::size_t end = at + name.size();
    if ((at == 0 || all[at - 1] == ' ') && (end == all.size() || all[end] == ' ')) return true;
  }
  return false;
}

// Some function that exists for nothing but `wanted` returns it.
bool usual_in(abi::class_set wanted, std::string_view name) {
  for (const auto& f : abi::function_table)
    if ((f.classes & wanted) && !(f.classes & ~wanted) && lists(f.errnos, name)) return true;
  return false;
}

bool returns(const abi::function_info& f, abi::class_set acting, std::string_view name) {
  if (!lists(f.errnos, name)) return false;
  const abi::class_set data = classes::data | classes::file_io;
  if (acting & classes::data) acting |= classes::data;  // recv serves streams and datagrams alike: only files are another world
  const abi::class_set elsewhere = f.classes & data & ~acting;
  abi::class_set here = f.classes & acting & data;
  if (here & classes::stream_in) here |= classes::datagram_in;  // nobody exists for streams alone
  if (here & classes::stream_out) here |= classes::datagram_out;
  return !elsewhere || !here || usual_in(here, name);
}

// The name that people call a function by, of what compilers and headers make of it: `open` of __open64_2, `recv` of __recv_chk.
std::string plain_name(std::string_view name) {
  std::string_view tail;
  if (name.starts_with("__")) {
    name.remove_prefix(2);
    for (const std::string_view checked : {"_chk", "_2"})
      if (name.ends_with(checked)) name.remove_suffix(checked.size());
  }
  if (name.ends_with("64v2")) {
    name.remove_suffix(4);
    tail = "2";
  } else if (name.ends_with("64")) {
    name.remove_suffix(2);
  }
  return std::string(name).append(tail);
}

constexpr std::string_view late_names[] = {
    "connect", "__connect", "send", "__send", "sendto", "sendmsg", "sendmmsg", "write", "__write", "writev", "pwrite",
    "pwrite64", "__pwrite64", "pwritev", "pwritev64", "pwritev2", "pwritev64v2", "fsync", "fdatasync", "close", "__close",
    "open", "open64", "__open", "__open64", "__open_2", "__open64_2", "openat", "openat64", "__openat_2", "__openat64_2",
    "creat", "creat64", "socket", "accept", "accept4"};

}  // namespace

std::vector<std::string> function_and_class_names() {
  std::vector<std::string> names;
  for (const auto& c : abi::class_table) names.emplace_back(c.name);
  for (const auto& f : abi::function_table)
    if (std::find(names.begin(), names.end(), f.name) == names.end()) names.emplace_back(f.name);
  return names;
}

result<named_functions> parse_functions(std::string_view what, std::string_view text) {
  named_functions out;
  for (const std::string& name : split(text, ',')) {
    bool known = false;
    // `connect`, `accept` and `close` are a class and a function: the class is the wider one
    for (unsigned i = 0; i < static_cast<unsigned>(abi::class_index::count) && !known; ++i)
      if (name == abi::class_table[i].name) {
        out.classes |= abi::class_set{1} << i;
        known = true;
      }
    const bool known_class = known;
    for (unsigned i = 0; i < abi::function_count && !known_class; ++i)
      if (name == abi::function_table[i].name || name == plain_name(abi::function_table[i].name)) {
        out.functions.add(static_cast<abi::function_id>(i));
        out.function_classes |= abi::function_table[i].classes;
        known = true;
      }
    if (known) continue;
    if (name.empty()) return bad_value(what, text, "there is an empty place in '" + std::string(text) + "'", {"recv,send"});
    problem p = unknown_word(problem_code::unknown_function, "function or class", name, function_and_class_names());
    if (p.message.find("did you mean") == std::string::npos) p.message += ": `chaos-ctl hooks` lists them";
    p.message = std::string(what) + ": " + p.message;
    return p;
  }
  return out;
}

abi::class_set universe_of(target_sort sort) {
  constexpr abi::class_set sockets = classes::connect | classes::accept | classes::data | classes::close;
  constexpr abi::class_set files = classes::files | classes::close;
  switch (sort) {
    case target_sort::address: return sockets;
    case target_sort::http: return classes::streams;
    case target_sort::file: return files;
    case target_sort::address_or_file: return sockets | files;
    case target_sort::memory: return classes::alloc;
    case target_sort::dns: return classes::dns;
    case target_sort::environment: return classes::env;
    case target_sort::process: return sockets | files | classes::descriptor | classes::dns;
  }
  return 0;
}

namespace {

abi::class_set defaults_for(abi::effect kind, target_sort sort) {
  const abi::effect_info& k = abi::effect_table[static_cast<unsigned>(kind)];
  switch (sort) {
    case target_sort::address: return k.address_classes;
    case target_sort::http: return k.address_classes & classes::streams;
    case target_sort::file: return k.file_classes;
    case target_sort::address_or_file:
      return (k.targets & abi::target_kinds::to_address ? k.address_classes : 0) |
             (k.targets & abi::target_kinds::to_file ? k.file_classes : 0);
    default: return k.other_classes & universe_of(sort);
  }
}

abi::class_set towards(direction way) {
  constexpr abi::class_set in = classes::stream_in | classes::datagram_in;
  return way == direction::up ? classes::data & ~in : way == direction::down ? in : classes::data;
}

std::string class_list(abi::class_set set) {
  std::string out;
  for (unsigned i = 0; i < static_cast<unsigned>(abi::class_index::count); ++i)
    if (set >> i & 1) out += (out.empty() ? "" : ", ") + std::string(abi::class_table[i].name);
  return out;
}

}  // namespace

namespace {

// Does the hook ask rules when it acts as this class? Some stand in front of libc for bookkeeping, or ask as another class.
bool asks(const abi::function_info& f, abi::class_set as) {
  constexpr std::string_view never[] = {"close_range", "closefrom", "free"};
  constexpr abi::class_set silent = classes::readiness | classes::option | classes::process | classes::api;
  if (as & silent || std::find(std::begin(never), std::end(never), f.name) != std::end(never)) return false;
  if (as == classes::close) return !(f.classes & classes::descriptor);                            // dup2 closes on the way
  if (as == classes::descriptor) return !(f.classes & (classes::accept | classes::file_open));  // open and accept make one on the way
  return true;
}

// Kinds that act on the bytes of a call, or on what makes a file longer: what some calls do not have.
bool reaches(abi::effect kind, const abi::function_info& f) {
  const std::string_view name = f.name;
  const auto is = [&](std::initializer_list<std::string_view> names) { return std::find(names.begin(), names.end(), name) != names.end(); };
  const bool stdio = std::string_view(f.errnos) == CHAOS_E_STDIO || name == "fclose";
  const bool puts_bytes = is({"fwrite", "fwrite_unlocked", "fputs", "fputs_unlocked"});
  const bool no_bytes = is({"fflush", "fflush_unlocked", "fclose", "__uflow", "__overflow"});  // of its own
  const bool resizes = std::string_view(f.errnos) == CHAOS_E_RESIZE;
  const bool transfers = is({"sendfile", "sendfile64", "splice", "copy_file_range"});
  switch (kind) {
    case abi::effect::corrupt: return !no_bytes && !resizes && name != "splice";
    case abi::effect::slicer: return !stdio || puts_bytes;
    case abi::effect::bandwidth: return !stdio || puts_bytes || (f.classes & classes::stream_in);
    case abi::effect::http_error: return !stdio && !transfers;
    case abi::effect::full:
      return resizes || transfers || puts_bytes || (f.classes & classes::sync) || is({"fflush", "fflush_unlocked", "fclose"}) ||
             name.find("write") != std::string_view::npos;
    case abi::effect::emfile: return f.classes & classes::descriptor;
    default: return true;
  }
}

// The classes in which one function, or every function of some classes, can meet the rule.
abi::class_set met_in(abi::effect kind, const abi::function_info& f, abi::class_set among) {
  abi::class_set met = 0;
  for (abi::class_set rest = f.classes & among; rest; rest &= rest - 1)
    if (const abi::class_set as = rest & -rest; asks(f, as) && reaches(kind, f)) met |= as;
  return met;
}

abi::class_set acted_on(abi::effect kind) {
  const abi::effect_info& k = abi::effect_table[static_cast<unsigned>(kind)];
  return k.address_classes | k.file_classes | k.other_classes | k.further_classes;
}

problem never_acts(abi::effect kind, target_sort sort, const std::string& word, const named_functions& named, direction way) {
  const std::string name = abi::effect_table[static_cast<unsigned>(kind)].name;
  const abi::class_set wanted = named.classes | named.function_classes, met = universe_of(sort), acting = met & acted_on(kind);
  std::vector<std::string> expected;
  for (unsigned i = 0; i < static_cast<unsigned>(abi::class_index::count); ++i)
    if (acting >> i & 1) expected.emplace_back(abi::class_table[i].name);
  const auto refuse = [&](const std::string& why) { return problem{problem_code::bad_combination, why, word, expected}; };
  const std::string such = std::string("a target that is ") + name_of(sort);
  if (!(wanted & met)) return refuse("--on " + word + " can not meet " + such + ": such a target is met in " + class_list(met));
  if (!(wanted & acting)) return refuse(name + " does nothing to " + word + ": on " + such + " it acts in " + class_list(acting));
  if (way != direction::by_kind && !(wanted & acting & (~classes::data | towards(way))))
    return {problem_code::bad_combination, "--on " + word + " has nothing in that --direction", word, {}};
  std::vector<std::string> others;
  for (const auto& f : abi::function_table)
    if (met_in(kind, f, acting & wanted)) others.emplace_back(f.name);
  std::string list;
  for (const auto& other : others) list += (list.empty() ? "" : ", ") + other;
  expected = others;
  return refuse(name + " can not reach " + word + (others.empty() ? "" : "; of its kind it reaches: " + list));
}

}  // namespace

result<selection> select(abi::effect kind, target_sort sort, const std::string& on, direction way) {
  selection out;
  if (on.empty()) {
    out.classes = defaults_for(kind, sort);
    if (way != direction::by_kind) {
      if (!(out.classes & classes::data))
        return problem{problem_code::bad_combination, "--direction has no meaning for a target that is " +
                           std::string(name_of(sort)), "--direction", {}};
      const abi::class_set families = (out.classes & classes::streams ? classes::streams : 0) |
                                      (out.classes & classes::datagrams ? classes::datagrams : 0);
      out.classes = (out.classes & ~classes::data) | (families & towards(way));
    }
    return out;
  }
  const auto named = parse_functions("--on", on);
  if (!named) return named.error();
  const abi::class_set among = universe_of(sort) & acted_on(kind) & (way == direction::by_kind ? classes::all : ~classes::data | towards(way));
  abi::function_set functions;  // functions and classes mixed: the classes' functions as well
  for (const std::string& word : split(on, ',')) {
    const auto one = parse_functions("--on", word);
    if (!one) return one.error();
    abi::class_set met = 0;
    for (unsigned i = 0; i < abi::function_count; ++i) {
      const auto f = static_cast<abi::function_id>(i);
      const abi::function_info& info = abi::function_table[i];
      const abi::class_set here = met_in(kind, info, one->functions.has(f) ? among : among & one->classes);
      if (here) functions.add(f);
      met |= here;
    }
    if (!met) return never_acts(kind, sort, word, *one, way);
    out.classes |= met;
  }
  if (!named->functions.empty()) out.functions = functions;
  return out;
}

abi::function_set functions_in(const selection& chosen) {
  abi::function_set out;
  for (unsigned i = 0; i < abi::function_count; ++i) {
    const auto f = static_cast<abi::function_id>(i);
    if ((abi::function_table[i].classes & chosen.classes) && (chosen.functions.empty() || chosen.functions.has(f))) out.add(f);
  }
  return out;
}

abi::function_set functions_returning(const selection& chosen, const named_error& error) {
  abi::function_set out;
  const abi::function_set all = functions_in(chosen);
  for (unsigned i = 0; i < abi::function_count; ++i) {
    const abi::function_info& f = abi::function_table[i];
    if (all.has(static_cast<abi::function_id>(i)) && ((f.classes & classes::dns) != 0) == error.of_names &&
        returns(f, chosen.classes, error.name))
      out.add(static_cast<abi::function_id>(i));
  }
  return out;
}

std::vector<std::string> possible_errnos(const selection& chosen) {
  std::vector<std::string> names;
  const abi::function_set all = functions_in(chosen);
  for (unsigned i = 0; i < abi::function_count; ++i) {
    if (!all.has(static_cast<abi::function_id>(i))) continue;
    for (const std::string& name : split(abi::function_table[i].errnos, ' '))
      if (!name.empty() && std::find(names.begin(), names.end(), name) == names.end() &&
          returns(abi::function_table[i], chosen.classes, name))
        names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool can_be_torn(abi::function_id f) {
  const std::string_view name = abi::function_table[static_cast<unsigned>(f)].name;
  for (const std::string_view part : {"write", "puts", "sendfile", "splice", "copy_file_range"})
    if (name.find(part) != name.npos) return true;
  return false;
}

bool can_be_late(abi::function_id f) {
  const std::string_view name = abi::function_table[static_cast<unsigned>(f)].name;
  return std::find(std::begin(late_names), std::end(late_names), name) != std::end(late_names);
}

}  // namespace chaos::rules
