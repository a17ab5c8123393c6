// Compiled rules put together into one bank of the rule page.
#include "compile.hpp"

namespace chaos::rules {

std::uint64_t fnv1a64(const void* data, std::size_t n, std::uint64_t start) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  for (std::size_t i = 0; i < n; ++i) start = (start ^ bytes[i]) * 0x100000001b3;
  return start;
}

result<bank_image> make_bank(const std::vector<const compiled_rule*>& rules) {
  bank_image image;
  if (rules.size() > abi::rule_max)
    return problem{problem_code::too_many, "there are already " + std::to_string(abi::rule_max) + " rules, which is the most: remove one first", "", {}};
  image.rules.reserve(rules.size());
  for (const compiled_rule* compiled : rules) {
    abi::rule& r = image.rules.emplace_back(compiled->rule);
    const auto base = static_cast<abi::pool_offset>(image.text.size() - 1);  // offset 1 of a rule's own pool comes next
    image.text.append(compiled->text, 1);
    for (abi::pool_offset* at : {&r.name, &r.process_glob, &r.thread_glob, &r.caller_glob, &r.stack_glob, &r.text})
      if (*at) *at += base;
    for (unsigned i = 0; i < r.term_count; ++i)
      for (abi::pool_offset* at : {&r.terms[i].text, &r.terms[i].path})
        if (*at) *at += base;
    if (r.paused) {
      image.paused |= classes_to_arm(r);
      continue;
    }
    image.armed |= classes_to_arm(r);
    if ((r.kind == abi::effect::down && r.how == abi::down_how::blackhole) || r.kind == abi::effect::timeout || r.kind == abi::effect::partition) image.holds = true;
  }
  if (image.text.size() > abi::text_pool_bytes)
    return problem{problem_code::too_many, "the names and patterns of all rules together are longer than " +
                       std::to_string(abi::text_pool_bytes) + " bytes: remove a rule first", "", {}};
  return image;
}

std::uint64_t checksum_of(const abi::rule* rules, std::uint32_t count, const char* text, std::uint32_t text_used) {
  return fnv1a64(text, text_used, fnv1a64(rules, count * sizeof(abi::rule)));
}

}  // namespace chaos::rules
