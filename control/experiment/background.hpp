// A command that runs beside the experiment and never outlives it. Between the two stands a guard, a small process that
// ends the command and everything that it started when it is told to, and when chaos-ctl is gone, however that went.
#pragma once
#include <string>
#include <vector>

namespace chaos::experiment {

class background {
 public:
  // Throws std::runtime_error when there can be no process. Its standard output and error go nowhere.
  explicit background(const std::vector<std::string>& words);
  ~background();  // ends it
  background(const background&) = delete;

  void end();             // returns when nothing of it is left
  bool running();         // false once the command itself has ended
  int status() const { return status_; }  // of a command that has ended: exit status, or 128 + signal

 private:
  int guard_ = -1, leash_ = -1, told_ = -1;
  int status_ = -1;
};

}  // namespace chaos::experiment
