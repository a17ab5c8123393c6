// One target for many surroundings: `target MODE [ARGUMENT]` does what its mode says and prints one line that tells how it
// went. Plain C, so that it also builds with musl-gcc and with sanitizers.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/filter.h>
#include <linux/seccomp.h>
#endif

extern char** environ;

static int dial(int port) {  // 0, or the errno
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  const int error = connect(fd, (struct sockaddr*)&to, sizeof to) == 0 ? 0 : errno;
  close(fd);
  return error;
}
static const char* answer(int error) { return error == 0 ? "connected" : error == ECONNREFUSED ? "refused" : error == EHOSTUNREACH ? "unreachable" : "other"; }

// The same in a module that is to prefer its own libraries' names to everybody else's, as PHP loads its extensions.
static int dial_in_module(int port, const char* path) {
#ifdef RTLD_DEEPBIND
  void* module = dlopen(path, RTLD_NOW | RTLD_DEEPBIND);
#else
  void* module = dlopen(path, RTLD_NOW);
#endif
  int (*dials)(int) = module ? (int (*)(int))dlsym(module, "module_dial") : NULL;
  return dials ? dials(port) : -1;
}

// Enough of libc to notice a broken hook: memory, a file, a socket pair, the environment.
static int works(void) {
  int pair[2];
  char b[8] = "";
  char* m = malloc(1000);
  if (!m || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return 0;
  memset(m, 1, 1000);
  m = realloc(m, 100000);
  const int good = m && write(pair[0], "hello", 5) == 5 && read(pair[1], b, 8) == 5 && strcmp(b, "hello") == 0;
  free(m);
  close(pair[0]);
  close(pair[1]);
  return good;
}

static void* work_a_while(void* count) {
  for (int i = 0; i < 20; ++i)
    if (works()) __atomic_add_fetch((int*)count, 1, __ATOMIC_RELAXED);
  return NULL;
}

static int threads(int n) {
  pthread_t* t = calloc((size_t)n, sizeof *t);
  pthread_attr_t small;
  int good = 0, made = 0;
  struct rlimit files = {8192, 8192};
  setrlimit(RLIMIT_NOFILE, &files);
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 128 * 1024);
  for (; made < n && pthread_create(&t[made], &small, work_a_while, &good) == 0; ++made) {}
  for (int i = 0; i < made; ++i) pthread_join(t[i], NULL);
  free(t);
  printf("%d threads %d good\n", made, good);
  return 0;
}

static volatile int stop, ticks;
static void on_tick(int s) {
  (void)s;
  char c = 0;
  const int before = errno, fd = open("/dev/null", O_WRONLY);
  if (write(fd, &c, 1) == 1) ++ticks;
  close(fd);
  errno = before;
}
static void* keep_working(void* port) {
  while (!stop) {
    works();
    dial(*(int*)port);
  }
  return NULL;
}

// Threads in hooks, a timer signal that calls hooks, and forks in between: every child must be able to work and be hit.
static int forks(int port) {
  struct sigaction tick = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &tick, NULL);
  const struct itimerval often = {{0, 500}, {0, 500}};
  setitimer(ITIMER_REAL, &often, NULL);
  pthread_t t[4];
  for (int i = 0; i < 4; ++i) pthread_create(&t[i], NULL, keep_working, &port);
  int good = 0;
  for (int i = 0; i < 40; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(10);
      _exit(works() && dial(port) == ECONNREFUSED ? 0 : 1);
    }
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    good += status == 0;
  }
  stop = 1;
  for (int i = 0; i < 4; ++i) pthread_join(t[i], NULL);
  const struct itimerval never = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &never, NULL);
  printf("%d children good, %s\n", good, ticks > 0 ? "ticked" : "no tick");
  return 0;
}

static int vforks(int port) {
  int pair[2];
  volatile int good = 0;
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return 1;
  const int first = dial(port);
  for (int i = 0; i < 20; ++i) {
    const pid_t child = vfork();
    if (child == 0) {  // shares our memory: what it closes must stay known here
      close(pair[0]);
      dup2(pair[1], 50);
      execl("/bin/true", "true", (char*)NULL);
      _exit(127);
    }
    int status;
    waitpid(child, &status, 0);
    good = good + (status == 0 && write(pair[0], "x", 1) == 1 && dial(port) == first);
  }
  printf("%d good, %s\n", good, answer(first));
  return 0;
}

static int held_fd;
static void* held(void* reached) {
  char c;
  *(volatile int*)reached = 1;
  return (void*)recv(held_fd, &c, 1, 0);
}
// A thread that a rule holds in recv is cancelled there, as it would be in libc's own.
static int cancel(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  if (connect(fd, (struct sockaddr*)&to, sizeof to) != 0) return 1;
  held_fd = fd;
  volatile int reached = 0;
  pthread_t t;
  pthread_create(&t, NULL, held, (void*)&reached);
  while (!reached) sched_yield();
  printf("held\n");
  fflush(stdout);
  char go;
  if (read(0, &go, 1) != 1) return 1;
  pthread_cancel(t);
  void* result;
  pthread_join(t, &result);
  printf("%s, %s\n", result == PTHREAD_CANCELED ? "cancelled" : "not cancelled", works() ? "works" : "broken");
  return 0;
}

#ifdef SECCOMP_MODE_FILTER
// A sandbox that kills for any call beyond these: an idle hook must not make another.
static int sandbox(void) {
  int pair[2];
  char b[8];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return 1;
  struct pollfd p = {pair[1], POLLIN, 0};
  void* volatile warm = malloc(64);  // or the heap would grow inside
  free(warm);
  const struct sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 7, 0),       BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 6, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 5, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_poll, 4, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendto, 3, 0),     BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_recvfrom, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close, 1, 0),      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const struct sock_fprog program = {sizeof rules / sizeof *rules, (struct sock_filter*)rules};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) return 1;
  void* m = malloc(64);
  const int good = m && send(pair[0], "hello", 5, 0) == 5 && poll(&p, 1, 0) == 1 && recv(pair[1], b, 8, 0) == 5 && getenv("PATH");
  free(m);
  close(pair[0]);
  const char* said = good ? "works\n" : "broken\n";
  return write(1, said, strlen(said)) > 0 ? 0 : 1;
}
#endif

int main(int argc, char** argv) {
  const char* mode = argc > 1 ? argv[1] : "";
  const int number = argc > 2 ? atoi(argv[2]) : 0;
  if (!strcmp(mode, "works")) return puts(works() ? "works" : "broken") < 0;
  if (!strcmp(mode, "dial")) return puts(answer(dial(number))) < 0;
  if (!strcmp(mode, "module")) return puts(answer(dial_in_module(number, argv[3]))) < 0;
  if (!strcmp(mode, "threads")) return threads(number);
  if (!strcmp(mode, "forks")) return forks(number);
  if (!strcmp(mode, "vforks")) return vforks(number);
  if (!strcmp(mode, "cancel")) return cancel(number);
#ifdef SECCOMP_MODE_FILTER
  if (!strcmp(mode, "sandbox")) return sandbox();
#endif
  if (!strcmp(mode, "closefrom")) {  // as daemons do: nothing of ours may have stood on a descriptor
    for (int fd = 3; fd < 1024; ++fd) close(fd);
    syscall(SYS_close_range, 3, ~0u, 0);
    return printf("%s %s\n", works() ? "works" : "broken", answer(dial(number))) < 0;
  }
  if (!strcmp(mode, "chroot")) {
    if (chroot("/proc/self/fdinfo") != 0 || chdir("/") != 0) return 77;
    return printf("%s %s\n", works() ? "works" : "broken", answer(dial(number))) < 0;
  }
  if (!strcmp(mode, "environ")) {  // as redis and nginx do for their titles
    static char* mine[] = {(char*)"ONLY=this", NULL};
    for (char** e = environ; *e; ++e) memset(*e, 'x', strlen(*e));
    environ = mine;
    const int seen = getenv("ONLY") && !getenv("PATH");
    return printf("%s %s\n", seen && works() ? "works" : "broken", answer(dial(number))) < 0;
  }
  if (!strcmp(mode, "wait")) {  // one line for each line: the rules change in between
    char line[32];
    while (fgets(line, sizeof line, stdin)) {
      puts(answer(dial(number)));
      fflush(stdout);
    }
    return 0;
  }
  return 2;
}
