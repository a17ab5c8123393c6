// Streams of stdio, over a file of two lines that a rule for `target` hits, and over connections.
#pragma once
#include "channels.hpp"

#include <cstdio>
#include <memory>

namespace chaos::gate {

struct stream_closer {
  void operator()(FILE* f) const { fclose(f); }
};
using stream = std::unique_ptr<FILE, stream_closer>;

class Stdio : public Gate {
 protected:
  temporary_folder folder;
  const std::string path = folder.path() + "/file", target = "file:" + folder.path() + "/**";
  unique_fd file = open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  Stdio() { EXPECT_EQ(write(file, "first line\nsecond line\n", 23), 23); }
};

}  // namespace chaos::gate
