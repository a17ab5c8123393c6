// A library whose constructor runs before ours (it is the one that has initfirst) and calls what we hook, and whose malloc
// calls hooked functions itself.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef CALLS_BACK
static __thread int depth __attribute__((tls_model("initial-exec")));
static volatile unsigned long calls;
extern void* __libc_malloc(size_t);
void* malloc(size_t n) {
  if (depth++ == 0) {
    const int fd = open("/dev/null", O_WRONLY);
    if (write(fd, "x", 1) == 1 && getenv("PATH")) ++calls;
    close(fd);
  }
  --depth;
  return __libc_malloc(n);
}
__attribute__((destructor)) static void tell(void) {
  const char* text = calls ? "called back\n" : "never called\n";
  if (write(2, text, strlen(text)) < 0) return;
}
#else
__attribute__((constructor)) static void early(void) {
  void* p = malloc(100);
  void* q = calloc(3, 50);
  p = realloc(p, 5000);
  void* aligned = NULL;
  const int fd = open("/dev/null", O_RDWR);
  char c = 'x';
  const int good = p && q && posix_memalign(&aligned, 64, 100) == 0 && write(fd, &c, 1) == 1 && read(fd, &c, 1) == 0;
  getenv("PATH");  // may be NULL this early
  close(fd);
  memset(p, 1, 5000);
  free(p);
  free(q);
  free(aligned);
  const char* text = good ? "early works\n" : "early broken\n";
  if (write(2, text, strlen(text)) < 0) return;
}
#endif
