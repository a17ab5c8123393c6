// A client with a fixed amount of work for each connection and each thread, in whatever order its threads come to run:
//   replay_client PORT FILE SCHEDULE
// Connections are made one after the other, and so are the threads' first calls: that is what their ordinals go by. Then
// each thread makes round trips on its own connection, and reads the file. SCHEDULE shuffles when which of them runs.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

namespace {

constexpr int connections = 8, rounds = 60;
std::atomic<int> next{0};
std::atomic<bool> all_there{false};

void work(int fd, int file, int number, unsigned schedule) {
  char c = 'x';
  while (next != number) std::this_thread::yield();
  (void)!pread(file, &c, 1, 0);
  ++next;
  while (!all_there) std::this_thread::yield();
  std::minstd_rand order(schedule * 1000 + static_cast<unsigned>(number));
  for (int i = 0; i < rounds; ++i) {
    if (order() % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(order() % 300));
    if (send(fd, &c, 1, MSG_NOSIGNAL) == 1)
      while (recv(fd, &c, 1, 0) == -1) {}  // an error of ours: the byte is still there
    (void)!pread(file, &c, 1, 0);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(std::atoi(argv[1])));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int file = open(argv[2], O_RDONLY | O_CLOEXEC);
  const unsigned schedule = static_cast<unsigned>(std::atoi(argv[3]));
  std::vector<int> fds;
  for (int i = 0; i < connections; ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) return 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fds.push_back(fd);
  }
  std::vector<std::thread> threads;
  for (int i = 0; i < connections; ++i) threads.emplace_back(work, fds[static_cast<std::size_t>(i)], file, i, schedule);
  while (next != connections) std::this_thread::yield();
  all_there = true;
  for (auto& t : threads) t.join();
}
