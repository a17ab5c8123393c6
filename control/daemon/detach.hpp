// Becoming a daemon: own process session, no inherited descriptor, stdio on /dev/null; and telling whoever started it
// when it answers, or why it does not.
#pragma once
#include <string>

namespace chaos::daemon {

class starter {
 public:
  // In the foreground this does nothing but remember `ready_fd`. Else it forks: the caller goes on as the daemon, and
  // the process that was started waits for ready() or fail(), then ends with status 0 or 1.
  starter(bool foreground, int ready_fd);

  void ready();
  [[noreturn]] void fail(const std::string& why);
  [[noreturn]] void already_running(const std::string& what);  // status 0 unless in the foreground

 private:
  void finish(char verdict, const std::string& text);
  bool foreground_;
  int ready_fd_;
  int pipe_ = -1;
};

}  // namespace chaos::daemon
