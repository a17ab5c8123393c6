// Drives a fuzz target where libFuzzer is not to be had: replays the corpus, then mutations of it, the same ones in every
// run. What broke it is left as a file that can be given as an argument, and belongs into the corpus once it is mended.
//
//   fuzz_NAME [--runs N] [--seconds S] [--seed N] FILE|FOLDER…       stops at whichever comes first
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "fuzz.hpp"
#include "preload/core/prng.hpp"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace {

using bytes = std::vector<std::uint8_t>;

constexpr std::size_t size_max = 4096;

bytes current;
const char* program = "fuzz";

void keep_current() {
  const std::string path = std::string("crash-") + program;
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(current.data()), static_cast<std::streamsize>(current.size()));
  std::fprintf(stderr, "fuzz: the input is in %s/%s\n", std::filesystem::current_path().c_str(), path.c_str());
}

void on_signal(int number) {
  std::signal(number, SIG_DFL);
  keep_current();
  std::raise(number);
}

void run_one(const bytes& data) {
  current = data;
  alarm(20);  // an input that takes so long is a defect, too
  LLVMFuzzerTestOneInput(current.data(), current.size());
}

class mutator {
 public:
  explicit mutator(std::uint64_t seed) : draws_({seed}, 0) {}

  bytes mutated(const std::vector<bytes>& corpus) {
    bytes out = any(corpus);
    for (std::uint64_t i = 0, n = 1 + draws_.below(4); i < n; ++i) change(out, corpus);
    if (out.size() > size_max) out.resize(size_max);
    return out;
  }

 private:
  const bytes& any(const std::vector<bytes>& corpus) { return corpus[draws_.below(corpus.size())]; }

  void change(bytes& out, const std::vector<bytes>& corpus) {
    static constexpr std::uint64_t interesting[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0xffffffff, 0x7fffffffffffffff, ~0ull};
    const std::size_t at = draws_.below(out.size() + 1), n = std::min<std::size_t>(draws_.below(16) + 1, out.size() - at);
    const auto place = out.begin() + static_cast<std::ptrdiff_t>(at);
    switch (draws_.below(7)) {
      case 0:
        if (n) *place ^= static_cast<std::uint8_t>(1u << draws_.below(8));
        break;
      case 1:
        if (n) *place = static_cast<std::uint8_t>(draws_.word());
        break;
      case 2: out.insert(place, static_cast<std::uint8_t>(draws_.word())); break;
      case 3: out.erase(place, place + static_cast<std::ptrdiff_t>(n)); break;
      case 4: {
        const bytes again(place, place + static_cast<std::ptrdiff_t>(n));
        out.insert(place, again.begin(), again.end());
        break;
      }
      case 5: {
        const std::uint64_t value = interesting[draws_.below(std::size(interesting))];
        if (n) std::memcpy(out.data() + at, &value, std::min<std::size_t>(n, std::size_t{1} << draws_.below(4)));
        break;
      }
      default: {  // a piece of another input, over or between what is there
        const bytes& other = any(corpus);
        if (other.empty()) break;
        const std::size_t from = draws_.below(other.size()), length = draws_.below(other.size() - from) + 1;
        if (draws_.chance(1ull << 31)) out.erase(place, out.begin() + static_cast<std::ptrdiff_t>(std::min(out.size(), at + length)));
        out.insert(out.begin() + static_cast<std::ptrdiff_t>(at), other.begin() + static_cast<std::ptrdiff_t>(from),
                   other.begin() + static_cast<std::ptrdiff_t>(from + length));
      }
    }
  }

  chaos::core::draws draws_;
};

bytes read_input(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t runs = 20'000, seed = 1;
  double seconds = 1e9;
  std::vector<std::filesystem::path> files;
  program = std::strrchr(argv[0], '/') ? std::strrchr(argv[0], '/') + 1 : argv[0];
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool more = i + 1 < argc;
    if (word == "--runs" && more) runs = std::strtoull(argv[++i], nullptr, 10);
    else if (word == "--seconds" && more) seconds = std::strtod(argv[++i], nullptr);
    else if (word == "--seed" && more) seed = std::strtoull(argv[++i], nullptr, 10);
    else if (std::filesystem::is_directory(word))
      for (const auto& entry : std::filesystem::directory_iterator(word)) files.push_back(entry.path());
    else files.emplace_back(word);
  }
  std::sort(files.begin(), files.end());
  std::vector<bytes> corpus;
  for (const auto& f : files) corpus.push_back(read_input(f));
  if (corpus.empty()) {
    std::fprintf(stderr, "%s: no input: a corpus folder or a file is expected\n", program);
    return 2;
  }
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  __sanitizer_set_death_callback(keep_current);
#else
  for (const int s : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(s, on_signal);
#endif
  for (const int s : {SIGABRT, SIGALRM}) std::signal(s, on_signal);

  for (const bytes& b : corpus) run_one(b);
  mutator m(seed);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  std::uint64_t done = 0;
  while (done < runs && std::chrono::steady_clock::now() < end) {
    run_one(m.mutated(corpus));
    ++done;
  }
  std::printf("%s: %zu inputs, %llu mutations\n", program, corpus.size(), static_cast<unsigned long long>(done));
}
