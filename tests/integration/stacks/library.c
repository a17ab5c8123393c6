// A module of its own, with functions that call back: exported ones, and one that only the full symbol table knows.
long library_calls(long (*call)(void*), void* with) { return call(with) + 0 * (long)with; }

__attribute__((noinline)) static long quiet_helper(long (*call)(void*), void* with) {
  volatile long result = call(with);
  return result;
}
long library_calls_quietly(long (*call)(void*), void* with) {
  volatile long result = quiet_helper(call, with);
  return result;
}
