/* What a preload adds to calls: prints "name ns" for write, malloc+free and a TCP round trip, medians of many batches. The same
 * program runs natively and under each peer; built by bench/peers/run. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int null_fd, near_fd, far_fd;
static char b[64];

static void one_write(void) { if (write(null_fd, b, 1) != 1) abort(); }
static void one_malloc(void) {
  void* p = malloc(64);
  __asm__ volatile("" : : "r"(p) : "memory");
  free(p);
}
static void one_round(void) { if (send(far_fd, b, 1, 0) != 1 || recv(near_fd, b, 1, 0) != 1) abort(); }

static int rising(const void* a, const void* c) { return (*(const double*)a > *(const double*)c) - (*(const double*)a < *(const double*)c); }

static void measure(const char* name, void (*call)(void), int calls, int batches) {
  double* ns = calloc((size_t)batches, sizeof *ns);
  for (int i = 0; i < batches; ++i) {
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int k = 0; k < calls; ++k) call();
    clock_gettime(CLOCK_MONOTONIC, &to);
    ns[i] = ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / calls;
  }
  qsort(ns, (size_t)batches, sizeof *ns, rising);
  printf("%s %.1f\n", name, ns[batches / 2]);
}

int main(int argc, char** argv) {
  const int slower = argc > 1 ? atoi(argv[1]) : 1;  /* fewer calls, for who takes microseconds */
  null_fd = open("/dev/null", O_WRONLY);
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in a;
  socklen_t n = sizeof a;
  memset(&a, 0, sizeof a);
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  bind(listener, (struct sockaddr*)&a, n);
  listen(listener, 1);
  getsockname(listener, (struct sockaddr*)&a, &n);
  near_fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(near_fd, (struct sockaddr*)&a, n) != 0) return 1;
  far_fd = accept(listener, NULL, NULL);
  measure("write", one_write, 2000 / slower, 100);
  measure("malloc+free", one_malloc, 20000 / slower, 100);
  measure("send+recv", one_round, 200 / slower + 1, 100);
  return 0;
}
