#include "session.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>
#include <stdexcept>

#include "waiting.hpp"

namespace chaos::testing_support {
namespace {

protocol::session_location located(const std::string& base) {
  const auto where = protocol::locate_session(base, "default");
  if (!where) throw std::runtime_error(where.error().message);
  if (const auto made = protocol::make_session(*where); !made) throw std::runtime_error(made.error().message);
  return *where;
}

daemon::page_writer writer_in(const protocol::session_location& where) {
  auto w = daemon::page_writer::open(where);
  if (!w) throw std::runtime_error(w.error().message);
  return std::move(*w);
}

template <class Page>
Page* mapped(const std::string& path, std::uint64_t magic) {
  int fd = -1;
  if (abi::make_page<protocol::libc_sys, Page>(path.c_str(), magic, 1, true, fd) != abi::page_state::ready)
    throw std::runtime_error("no page " + path);
  void* const at = mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (at == MAP_FAILED) throw std::runtime_error("can not map " + path);
  return static_cast<Page*>(at);
}

std::vector<std::string> split_words(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string w; in >> w;) words.push_back(w);
  return words;
}

rules::result<rules::compiled_rule> compiled(const std::string& text, std::uint32_t id, std::uint64_t seed) {
  const auto words = split_words(text);
  const auto spec = rules::spec_from_words(words);
  if (!spec) return spec.error();
  rules::compile_setting setting;
  setting.id = id;
  setting.slot = id % abi::rule_max;
  setting.now_ns = monotonic_ns();
  setting.session_seed = seed;
  return rules::compile(*spec, setting);
}

daemon::report_reader opened_report(const protocol::session_location& where) {
  auto reader = daemon::report_reader::open(where);
  if (!reader) throw std::runtime_error(reader.error().message);
  return std::move(*reader);
}

}  // namespace

session::session(const std::string& base)
    : where_(located(base)),
      writer_(writer_in(where_)),
      page_(mapped<abi::rule_page>(where_.file(abi::rule_page_name), abi::rule_page_magic)),
      report_(mapped<abi::report_page>(where_.file(abi::report_page_name), abi::report_page_magic)),
      reader_(opened_report(where_)),
      next_(writer_.highest_id() + 1) {
  writer_.renew_lease();
}

session::~session() {
  writer_.end_lease();
  munmap(page_, sizeof *page_);
  munmap(report_, sizeof *report_);
}

session& session::of_this_process() {
  static session* const only = [] {
    const char* const base = std::getenv("CHAOS_DIR");
    if (!base) throw std::runtime_error("this test needs a main of tests/support/under_shim.cpp");
    return new session(base);  // lives as long as the process
  }();
  return *only;
}

std::uint32_t session::add(const std::string& words) {
  const std::uint32_t id = next_++;
  auto rule = compiled(words, id, seed_);
  EXPECT_TRUE(rule) << words << ": " << (rule ? "" : rule.error().message);
  if (!rule) return 0;
  abi::rule_counters& c = report_->rules[id % abi::rule_max];  // as chaosd does before it gives a slot out again
  c.rule.store(id);
  for (auto* counter : {&c.matched, &c.fired, &c.delayed_ns, &c.bytes, &c.first_matched_ns, &c.last_fired_ns, &c.shared.operations,
                        &c.shared.fired, &c.bucket})
    counter->store(0);
  for (auto& lanes : report_->lanes) {
    lanes[id % abi::rule_max].matched.store(0);
    lanes[id % abi::rule_max].bytes.store(0);
  }
  rules_[id] = std::make_unique<rules::compiled_rule>(std::move(*rule));
  return id;
}

std::uint32_t session::set(const std::string& words) {
  const std::uint32_t id = add(words);
  publish();
  return id;
}

void session::set_all(const std::vector<std::string>& rules, std::vector<std::uint32_t>& ids) {
  for (const auto& words : rules) ids.push_back(add(words));
  publish();
}

std::string session::refusal(const std::string& words) const {
  const auto rule = compiled(words, 1, seed_);
  return rule ? "" : rule.error().message;
}

void session::remove(std::uint32_t id) {
  rules_.erase(id);
  publish();
}

void session::clear() {
  rules_.clear();
  publish();
}

void session::publish() {
  std::vector<const rules::compiled_rule*> all;
  for (const auto& [id, rule] : rules_) all.push_back(rule.get());
  const auto bank = rules::make_bank(all);
  ASSERT_TRUE(bank);
  writer_.publish(*bank);
}

counts session::count(std::uint32_t id) const {
  const abi::rule_counters& c = report_->rules[id % abi::rule_max];
  counts out{c.matched.load(), c.fired.load(), c.delayed_ns.load(), c.bytes.load()};
  for (const auto& lanes : report_->lanes) {
    out.matched += lanes[id % abi::rule_max].matched.load();
    out.bytes += lanes[id % abi::rule_max].bytes.load();
  }
  return out;
}

std::vector<abi::event> session::events(std::uint32_t rule) const {
  std::vector<abi::event> out;
  const std::uint64_t head = report_->ring_head.load();
  for (std::uint64_t t = head > abi::ring_slots ? head - abi::ring_slots : 0; t < head; ++t) {
    const abi::ring_slot& slot = report_->ring[t % abi::ring_slots];
    if (slot.sequence.load() != 2 * t + 2) continue;
    if (rule == 0 || slot.entry.rule == rule) out.push_back(slot.entry);
  }
  return out;
}

std::vector<std::vector<std::string>> session::stacks(std::uint32_t rule) const {
  std::vector<std::vector<std::string>> out;
  for (std::uint64_t t = 0, head = report_->ring_head.load(); t < head; ++t) {
    const abi::ring_slot& slot = report_->ring[t % abi::ring_slots];
    if (slot.sequence.load() != 2 * t + 2 || slot.entry.rule != rule || !(slot.entry.flags & abi::event_flags::stack)) continue;
    out.push_back(reader_.stack(t));
  }
  return out;
}

bool session::attached(int pid) const {
  for (const auto& slot : report_->attached)
    if (slot.pid.load() == pid) return true;
  return false;
}

void session::renew_lease() {
  std::uint64_t seen = page_->lease_until_ns.load();
  while (seen != 0 && !page_->lease_until_ns.compare_exchange_weak(seen, monotonic_ns() + abi::lease_ns)) {}
}

void session::end_lease() { writer_.end_lease(); }

}  // namespace chaos::testing_support
