// A program that brings its own malloc, which can not be called before the program has begun (clang's TSan).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int begun;
static void begin(void) { begun = 1; }
__attribute__((section(".preinit_array"), used)) static void (*const first)(void) = begin;

static _Alignas(16) char room[1 << 20];
static size_t used;
void* malloc(size_t n) {
  if (!begun) __builtin_trap();
  n = (n + 15) / 16 * 16;
  if (n > sizeof room - used) return NULL;
  used += n;
  return room + used - n;
}
void free(void* p) { (void)p; }
void* calloc(size_t n, size_t size) {
  void* p = malloc(n * size);
  return p ? memset(p, 0, n * size) : p;
}
void* realloc(void* p, size_t n) {
  void* fresh = malloc(n);
  if (fresh && p) memcpy(fresh, p, n < (size_t)(room + used - (char*)p) ? n : (size_t)(room + used - (char*)p));
  return fresh;
}

int main(void) {
  puts(getenv("HOME_OF_NOBODY") ? "a variable" : "no variable");
  return 0;
}
