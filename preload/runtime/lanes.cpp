#include "lanes.hpp"

#include <dlfcn.h>

namespace chaos {

constinit std::ptrdiff_t rseq_offset = 0;

void find_rseq() {  // not linked to: glibc before 2.35 and musl have none
  const auto* offset = static_cast<const std::ptrdiff_t*>(dlsym(RTLD_DEFAULT, "__rseq_offset"));
  const auto* size = static_cast<const unsigned*>(dlsym(RTLD_DEFAULT, "__rseq_size"));
  if (offset && size && *size) rseq_offset = *offset;
}

}  // namespace chaos
