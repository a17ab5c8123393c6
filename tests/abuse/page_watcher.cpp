// Reads the rule page as a shim does, as fast as it can, and compares each bank that it accepts with its checksum. Ends with its
// standard input; prints what it saw: {"checked": N, "torn": N, "generations": N}.
//
//   page_watcher SESSION_FOLDER
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "chaos/abi/rule_page.hpp"
#include "chaos/abi/session.hpp"
#include "control/rules/compile.hpp"

using namespace chaos;

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::string path = std::string(argv[1]) + "/" + abi::rule_page_name;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  void* const at = fd < 0 ? MAP_FAILED : mmap(nullptr, sizeof(abi::rule_page), PROT_READ, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) {
    std::perror(path.c_str());
    return 1;
  }
  const auto& page = *static_cast<const abi::rule_page*>(at);
  const auto copy = std::make_unique<abi::rule_bank>();
  unsigned long checked = 0, torn = 0, generations = 0;
  std::uint32_t latest = 0;
  std::puts("watching");
  std::fflush(stdout);
  for (pollfd in{0, POLLIN, 0}; poll(&in, 1, 0) == 0;) {
    const std::uint32_t generation = page.generation.load(std::memory_order_acquire);
    const abi::rule_bank& bank = page.banks[generation % 2];
    if (generation == 0 || bank.generation.load(std::memory_order_acquire) != generation) continue;
    copy->count = bank.count;
    copy->text_used = bank.text_used;
    copy->checksum = bank.checksum;
    if (copy->count <= abi::rule_max) std::memcpy(copy->rules, bank.rules, copy->count * sizeof(abi::rule));
    if (copy->text_used <= abi::text_pool_bytes) std::memcpy(copy->text, bank.text, copy->text_used);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (bank.generation.load(std::memory_order_relaxed) != generation) continue;  // it was being written over
    ++checked;
    if (generation != latest) ++generations;
    latest = generation;
    const bool whole = copy->count <= abi::rule_max && copy->text_used <= abi::text_pool_bytes &&
                       rules::checksum_of(copy->rules, copy->count, copy->text, copy->text_used) == copy->checksum;
    if (!whole) ++torn;
  }
  std::printf("{\"checked\": %lu, \"torn\": %lu, \"generations\": %lu}\n", checked, torn, generations);
}
