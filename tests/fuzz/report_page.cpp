// The report page as a hostile target leaves it: patches anywhere in it, and its file cut short. chaosd reads all of it, and
// counts each ticket of the ring once, as taken or as lost.
#include <fcntl.h>
#include <unistd.h>

#include "control/daemon/causes.hpp"
#include "control/daemon/drain.hpp"
#include "control/daemon/processes.hpp"
#include "control/daemon/report_reader.hpp"
#include "control/daemon/timeline.hpp"
#include "fuzz.hpp"
#include "tests/support/temporary_folder.hpp"

namespace {

using namespace chaos;

// Offsets are drawn towards the parts that are read first.
off_t place(fuzz::input& in) {
  constexpr std::size_t parts[] = {0, offsetof(abi::report_page, ring_head), offsetof(abi::report_page, session), offsetof(abi::report_page, rules),
                                   offsetof(abi::report_page, attached), offsetof(abi::report_page, ordinals), offsetof(abi::report_page, breakers),
                                   offsetof(abi::report_page, ring), offsetof(abi::report_page, stacks)};
  const std::size_t part = parts[in.number<std::uint8_t>() % std::size(parts)];
  return static_cast<off_t>((part + in.number<std::uint16_t>()) % sizeof(abi::report_page));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const testing_support::temporary_folder folder;
  static const std::string path = folder.path() + "/report";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  fuzz::require(fd >= 0 && ftruncate(fd, sizeof(abi::report_page)) == 0, "a page can be made");
  const int writer = dup(fd);
  const daemon::report_reader report(fd);
  daemon::drain drain(report);
  std::uint64_t told = 0;
  const auto take = [&](std::uint64_t seq, const abi::event& e) {
    static daemon::timeline timeline(folder.path() + "/timeline.jsonl", [](std::uint32_t) { return daemon::rule_names{}; }, [](const std::string&) {});
    const auto stack = report.stack(seq);
    std::size_t letters = 0;
    for (const std::string& frame : stack) letters += frame.size() + 1;
    fuzz::require(stack.size() <= abi::stack_frame_max && letters <= sizeof abi::stack_slot::text + 1, "a stack is no longer than its slot");
    timeline.take(seq, e, e.time_ns, stack);
    ++told;
  };
  fuzz::input in(data, size);
  std::uint64_t now = 1;
  for (unsigned steps = 0; !in.empty() && steps < 64; ++steps) {
    const auto what = in.number<std::uint8_t>();
    if (what < 250) {
      const off_t at = place(in);
      const std::string patch = in.text(what % 200 + 1);
      if (pwrite(writer, patch.data(), patch.size(), at) < 0) break;
    } else if (what < 253) {
      if (ftruncate(writer, place(in)) < 0) break;
    } else {
      now += in.number<std::uint32_t>();
    }
    const std::uint64_t before = drain.taken() + drain.lost(), next = drain.next();
    drain.run(now, take);
    if (drain.next() >= next) fuzz::require(drain.taken() + drain.lost() - before == drain.next() - next, "each ticket is counted once");
    fuzz::require(told == drain.taken(), "what was taken was told");
  }
  for (const unsigned slot : {0u, 255u, 256u, ~0u}) report.counters(slot);
  report.session();
  for (const auto& p : report.attached()) {
    fuzz::require(p.slot < abi::attach_max && p.pid > 0 && p.comm.size() <= 16 && p.executable.size() <= 128, "an attach slot makes sense");
    (void)daemon::processes::describe(p);
  }
  for (const unsigned slot : report.half_filled()) report.free_slot(slot, -1);
  for (const auto& b : report.breakers()) fuzz::require(b.name.size() <= 56, "a name has an end");
  close(writer);
  return 0;
}
