// A target that marks single calls with a breakpoint before and after them, so that a tracer can count what lies between.
// Each call is made twice unmarked first: symbols are bound and lines are warm.   probe FD SOCKET
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MARK() __asm__ volatile("int3")
#define PROBE(name, call) do { call; call; strcpy(probe_name, name); MARK(); call; MARK(); } while (0)

char probe_name[32];
volatile long sink;

int main(void) {
  closefrom(3);  // descriptors have the same numbers whoever started us
  int pair[2];
  char b[64] = "x";
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return 1;
  const int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDONLY), epoll = epoll_create1(0);
  struct pollfd p = {pair[0], POLLOUT, 0};
  struct epoll_event e;
  PROBE("write", sink = write(null, b, 1));
  PROBE("read", sink = read(zero, b, 1));
  PROBE("pread", sink = pread(zero, b, 1, 0));
  PROBE("fsync", sink = fsync(null));
  PROBE("send", sink = send(pair[0], b, 1, 0));
  PROBE("recv", sink = recv(pair[1], b, 1, 0));
  PROBE("sendto", sink = sendto(pair[0], b, 1, 0, NULL, 0));
  PROBE("recvfrom", sink = recvfrom(pair[1], b, 1, 0, NULL, NULL));
  PROBE("poll", sink = poll(&p, 1, 0));
  PROBE("epoll_wait", sink = epoll_wait(epoll, &e, 1, 0));
  PROBE("getsockopt", { int v; socklen_t n = sizeof v; sink = getsockopt(pair[0], SOL_SOCKET, SO_TYPE, &v, &n); });
  PROBE("dup2", sink = dup2(null, null));
  PROBE("connect", sink = connect(-1, NULL, 0));
  PROBE("malloc", sink = (long)malloc(64));
  void* volatile none = NULL;
  PROBE("free", free(none));
  PROBE("getenv", sink = (long)getenv("PATH"));
  strcpy(probe_name, "end");
  MARK();
  return 0;
}
