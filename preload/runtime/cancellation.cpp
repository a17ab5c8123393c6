#include "cancellation.hpp"

#include <dlfcn.h>

namespace chaos {

void (*push_clean_up)(clean_up*, void (*)(void*), void*) = nullptr;
void (*pop_clean_up)(clean_up*, int) = nullptr;

void find_clean_ups() {
  push_clean_up = reinterpret_cast<decltype(push_clean_up)>(dlsym(RTLD_DEFAULT, "_pthread_cleanup_push"));
  pop_clean_up = reinterpret_cast<decltype(pop_clean_up)>(dlsym(RTLD_DEFAULT, "_pthread_cleanup_pop"));
  if (!push_clean_up || !pop_clean_up) push_clean_up = nullptr, pop_clean_up = nullptr;
}

}  // namespace chaos
