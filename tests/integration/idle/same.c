// Prints what must not change when the shim is loaded: errno across calls that succeed, random sequences, results.
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEEPS(call) do { errno = 77; const long r = (long)(call); printf("%s %d errno %d\n", #call, r >= 0, errno); } while (0)

int main(void) {
  closefrom(3);  // descriptors have the same numbers whoever started us
  int pair[2], ends[2];
  char b[64] = "hello";
  KEEPS(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
  KEEPS(pipe(ends));
  KEEPS(write(pair[0], b, 5));
  KEEPS(recv(pair[1], b, 64, MSG_PEEK));
  KEEPS(read(pair[1], b, 64));
  struct pollfd p = {pair[1], POLLIN, 0};
  KEEPS(poll(&p, 1, 0));
  KEEPS(dup(ends[0]));
  KEEPS(open("/dev/null", O_RDWR));
  KEEPS(fcntl(pair[0], F_SETFL, O_NONBLOCK));
  KEEPS(recv(pair[0], b, 1, 0));  // EAGAIN
  KEEPS(read(-1, b, 1));          // EBADF
  KEEPS(close(ends[1]));
  void* m = malloc(100);
  errno = 77;
  m = realloc(m, 10000);
  free(m);
  printf("memory errno %d\n", errno);
  struct addrinfo* list = NULL;
  printf("getaddrinfo %d\n", getaddrinfo("127.0.0.1", "80", NULL, &list));
  for (int i = 0; i < 5; ++i) printf("%d %ld %ld\n", rand(), random(), lrand48());
  printf("getenv %s\n", getenv("CHAOS_SAME") ? getenv("CHAOS_SAME") : "none");
  return 0;
}
