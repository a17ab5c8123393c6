// A folder of a test's own on tmpfs, gone afterwards.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

namespace chaos::testing_support {

class temporary_folder {
 public:
  temporary_folder() {
    std::string pattern = "/dev/shm/chaos-test-XXXXXX";
    if (mkdtemp(pattern.data())) path_ = pattern;
  }
  ~temporary_folder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace chaos::testing_support
