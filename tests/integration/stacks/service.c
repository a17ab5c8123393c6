// A program for rules with --stack: each line of its input is a way to read from the file that it was given, and is answered
// with the errno, 0 for none.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

long library_calls_quietly(long (*call)(void*), void* with);

static int file = -1;

__attribute__((noinline)) static long read_page(void* unused) {
  (void)unused;
  char byte;
  volatile long n = pread(file, &byte, 1, 0);
  return n < 0 ? errno : 0;
}
__attribute__((noinline)) long fetch_order(void) {
  volatile long error = read_page(NULL);
  return error;
}
__attribute__((noinline)) long fetch_basket(void) {
  volatile long error = read_page(NULL);
  return error;
}
static void* in_thread(void* unused) {
  (void)unused;
  return (void*)fetch_order();
}

int main(int argc, char** argv) {
  file = argc > 1 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return 2;
  char line[64];
  while (fgets(line, sizeof line, stdin)) {
    long error = -1;
    line[strcspn(line, "\n")] = 0;
    if (!strcmp(line, "order")) error = fetch_order();
    else if (!strcmp(line, "basket")) error = fetch_basket();
    else if (!strcmp(line, "library")) error = library_calls_quietly(read_page, NULL);
    else if (!strcmp(line, "thread")) {
      pthread_t t;
      void* result = NULL;
      pthread_create(&t, NULL, in_thread, NULL);
      pthread_join(t, &result);
      error = (long)result;
    } else if (!strcmp(line, "child")) {
      const pid_t child = fork();
      if (child == 0) _exit((int)fetch_order());
      int status = 0;
      waitpid(child, &status, 0);
      error = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    printf("%ld\n", error);
    fflush(stdout);
  }
  return 0;
}
