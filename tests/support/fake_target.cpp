// Stands in for a program under the shim: fills an attach slot, counts and publishes events, and shows what the rule page
// says, so that chaos-ctl and chaosd are tested without the shim's help. Reads orders from standard input, answers each
// with one line of JSON:   attach NAME · fire RULE TIMES · page · pid
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <ctime>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

#include "control/protocol/session_folder.hpp"

namespace {

using namespace chaos;

std::uint64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_nsec);
}

std::uint64_t own_start_ticks() {
  std::ifstream in("/proc/self/stat");
  std::string line;
  std::getline(in, line);
  std::istringstream fields(line.substr(line.rfind(')') + 2));
  std::string skip;
  for (int i = 3; i < 22; ++i) fields >> skip;
  std::uint64_t ticks = 0;
  fields >> ticks;
  return ticks;
}

template <class Page>
Page* map_page(const std::string& path, std::uint64_t magic) {
  int fd = -1;
  if (abi::make_page<protocol::libc_sys, Page>(path.c_str(), magic, 1, true, fd) != abi::page_state::ready) return nullptr;
  void* const at = mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  return at == MAP_FAILED ? nullptr : static_cast<Page*>(at);
}

void attach(abi::report_page& page, const std::string& name) {
  for (auto& slot : page.attached) {
    std::int32_t free = 0;
    if (!slot.pid.compare_exchange_strong(free, -1)) continue;
    slot.ordinal = 1;
    slot.start_ticks = own_start_ticks();
    slot.attached_ns = now_ns();
    slot.functions = 42;
    std::strncpy(slot.comm, name.c_str(), sizeof slot.comm - 1);
    std::strncpy(slot.executable, ("/usr/bin/" + name).c_str(), sizeof slot.executable - 1);
    slot.pid.store(static_cast<std::int32_t>(getpid()));
    return;
  }
}

// As the shim does for a latency rule: counters first, then the event.
bool fire(const abi::rule_page& rules, abi::report_page& page, std::uint32_t id) {
  const auto& bank = rules.banks[rules.generation.load() % 2];
  for (std::uint32_t i = 0; i < bank.count && i < abi::rule_max; ++i) {
    const auto& rule = bank.rules[i];
    if (rule.id != id || rule.slot >= abi::rule_max) continue;
    auto& counters = page.rules[rule.slot];
    counters.matched.fetch_add(1);
    counters.fired.fetch_add(1);
    counters.delayed_ns.fetch_add(100'000'000);
    const std::uint64_t ticket = page.ring_head.fetch_add(1);
    auto& slot = page.ring[ticket % abi::ring_slots];
    slot.sequence.store(2 * ticket + 1);
    abi::event& e = slot.entry;
    std::memset(static_cast<void*>(&e), 0, sizeof e);
    e.time_ns = now_ns();
    e.pid = e.tid = static_cast<std::int32_t>(getpid());
    e.rule = id;
    e.function = static_cast<std::uint16_t>(abi::function_id::recv);
    e.kind = abi::event_kind::injection;
    e.effect = static_cast<std::uint8_t>(abi::effect::latency);
    e.delay_ns = 100'000'000;
    e.connection = e.operation = 1;
    std::strcpy(e.text, "127.0.0.1:6379");
    slot.sequence.store(2 * ticket + 2);
    return true;
  }
  return false;
}

}  // namespace

int main() {
  const auto where = protocol::locate_session("", "");
  if (!where || !protocol::make_session(*where)) return 1;
  auto* const rules = map_page<abi::rule_page>(where->file(abi::rule_page_name), abi::rule_page_magic);
  auto* const report = map_page<abi::report_page>(where->file(abi::report_page_name), abi::report_page_magic);
  if (!rules || !report) return 1;
  for (std::string line, order, argument; std::getline(std::cin, line);) {
    std::istringstream in(line);
    in >> order >> argument;
    unsigned times = 1;
    in >> times;
    if (order == "attach") attach(*report, argument);
    else if (order == "fire")
      for (unsigned i = 0; i < times; ++i) fire(*rules, *report, static_cast<std::uint32_t>(std::stoul(argument)));
    std::cout << "{\"pid\":" << getpid() << ",\"armed\":" << rules->armed_classes.load() << ",\"stop\":" << rules->stop.load()
              << ",\"generation\":" << rules->generation.load()
              << ",\"lease_ms\":" << (static_cast<std::int64_t>(rules->lease_until_ns.load()) - static_cast<std::int64_t>(now_ns())) / 1'000'000
              << "}" << std::endl;
  }
}
