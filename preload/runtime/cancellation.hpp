// What a wait leaves behind when its thread is cancelled in it (pthread_cancel): libc's own list of clean-ups, whose functions are
// found by name. glibc and musl agree on them. No destructor would be called: the shim has no exceptions.
#pragma once

namespace chaos {

struct clean_up {
  void* room[4];  // _pthread_cleanup_buffer; musl needs three of them
};
[[gnu::visibility("hidden")]] extern void (*push_clean_up)(clean_up*, void (*)(void*), void*);  // both, or neither
[[gnu::visibility("hidden")]] extern void (*pop_clean_up)(clean_up*, int);
void find_clean_ups();

// What `wait` returns. Cancelled in it, the thread calls undo(), which leaves everything as it would be after the wait.
template <class Wait, class Undo>
auto wait_cancellable(Wait wait, Undo undo) {
  if (!push_clean_up) return wait();
  clean_up entry;
  push_clean_up(&entry, [](void* of) { (*static_cast<Undo*>(of))(); }, &undo);
  const auto result = wait();
  pop_clean_up(&entry, 0);
  return result;
}

}  // namespace chaos
