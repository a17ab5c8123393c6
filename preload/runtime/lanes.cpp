#include "lanes.hpp"

#include <dlfcn.h>

namespace chaos {
namespace {

// Stands for the kernel's area where there is none: it says that this CPU has no words of its own.
struct absent_rseq { std::uint32_t cpu_id_start, cpu_id; std::uint64_t rseq_cs; };
constinit thread_local absent_rseq absent __attribute__((tls_model("initial-exec"))) = {0, ~0u, 0};

}  // namespace

constinit std::ptrdiff_t rseq_offset = 0;
constinit bool rseq_registered = false;

void find_rseq() {  // not linked to: glibc before 2.35 and musl have none
  const auto* offset = static_cast<const std::ptrdiff_t*>(dlsym(RTLD_DEFAULT, "__rseq_offset"));
  const auto* size = static_cast<const unsigned*>(dlsym(RTLD_DEFAULT, "__rseq_size"));
  rseq_registered = offset && size && *size;
  rseq_offset = rseq_registered ? *offset : reinterpret_cast<char*>(&absent) - static_cast<char*>(__builtin_thread_pointer());
}

}  // namespace chaos
