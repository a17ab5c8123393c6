/* For LD_PRELOAD: names that begin with "slow" are looked up for ever, as with a name server that does not answer; others are
 * not known. */
#include <netdb.h>
#include <string.h>
#include <unistd.h>

int getaddrinfo(const char* node, const char* service, const struct addrinfo* hints, struct addrinfo** found) {
  (void)service, (void)hints, (void)found;
  while (node && strncmp(node, "slow", 4) == 0) pause();
  return EAI_NONAME;
}
