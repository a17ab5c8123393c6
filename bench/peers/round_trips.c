/* What a delay of 1 ms really is. `serve` echoes on a port that it prints, until its standard input ends; `PORT COUNT blocking|epoll`
 * makes that many round trips and prints their p50 and p99 in microseconds. The client runs natively and under each peer. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { connection_max = 64 };

static void no_delay(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static int serve(void) {
  struct pollfd set[connection_max + 2] = {{0, POLLIN, 0}, {socket(AF_INET, SOCK_STREAM, 0), POLLIN, 0}};
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t n = sizeof a;
  nfds_t used = 2;
  if (bind(set[1].fd, (struct sockaddr*)&a, n) != 0 || listen(set[1].fd, connection_max) != 0) return 1;
  getsockname(set[1].fd, (struct sockaddr*)&a, &n);
  printf("%d\n", ntohs(a.sin_port));
  fflush(stdout);
  for (;;) {
    poll(set, used, -1);
    if (set[0].revents) return 0;
    for (nfds_t i = 2; i < used; ++i) {
      char b[64];
      if (!set[i].revents) continue;
      const ssize_t got = recv(set[i].fd, b, sizeof b, 0);
      if (got > 0 && send(set[i].fd, b, (size_t)got, MSG_NOSIGNAL) == got) continue;
      close(set[i].fd);
      set[i--] = set[--used];
    }
    if (set[1].revents && used < connection_max + 2) {
      set[used].fd = accept(set[1].fd, NULL, NULL);
      no_delay(set[used].fd);
      set[used].revents = 0;
      set[used++].events = POLLIN;
    }
  }
}

static double now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static int rising(const void* a, const void* b) { return (*(const double*)a > *(const double*)b) - (*(const double*)a < *(const double*)b); }

int main(int argc, char** argv) {
  if (argc == 2 && strcmp(argv[1], "serve") == 0) return serve();
  if (argc != 4) return 2;
  const int count = atoi(argv[2]), loop = strcmp(argv[3], "epoll") == 0;
  const struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  const int fd = socket(AF_INET, SOCK_STREAM, 0), set = epoll_create1(0);
  struct epoll_event e = {.events = EPOLLIN};
  if (connect(fd, (const struct sockaddr*)&to, sizeof to) != 0) return 1;
  no_delay(fd);
  if (loop) epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
  double* const us = calloc((size_t)count, sizeof *us);
  for (int i = -5; i < count; ++i) { /* the first ones warm up */
    const double from = now_us();
    char c = 'x';
    if (send(fd, &c, 1, MSG_NOSIGNAL) != 1) return 1;
    do
      if (loop && epoll_wait(set, &e, 1, 5000) != 1) return 1;
    while (recv(fd, &c, 1, loop ? MSG_DONTWAIT : 0) != 1);
    if (i >= 0) us[i] = now_us() - from;
  }
  qsort(us, (size_t)count, sizeof *us, rising);
  printf("%.1f %.1f\n", us[count / 2], us[count * 99 / 100]);
  return 0;
}
