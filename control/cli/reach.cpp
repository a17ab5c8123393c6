#include "reach.hpp"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

#include "chaos/abi/functions.hpp"
#include "elf.hpp"

namespace chaos::cli {

using rules::problem;
using rules::problem_code;
using rules::result;

namespace {

constexpr unsigned descriptors_max = 4096;  // of a process that are looked at
constexpr std::size_t library_max = 96;
constexpr unsigned preload_names_max = 8;
constexpr int script_depth_max = 5;  // the kernel's own limit is 4

constexpr std::string_view io_like[] = {
#define IO_LIKE(symbol) #symbol,
#include "io_like.def"
#undef IO_LIKE
};

bool hooked(std::string_view symbol) {
  return std::ranges::any_of(abi::function_table, [&](const auto& row) { return symbol == row.name; });
}

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// libc and the loader: what they call inside themselves does not go through the symbol table.
bool part_of_libc(const std::string& library) {
  constexpr std::string_view names[] = {"libc.so", "ld-linux", "libpthread.so", "libdl.so", "librt.so", "libm.so", "libresolv.so", "ld-musl", "libc.musl", "linux-vdso"};
  return std::ranges::any_of(names, [&](std::string_view n) { return library.starts_with(n); });
}

std::vector<std::string> library_folders(const elf_facts& facts, const std::string& file) {
  std::vector<std::string> folders;
  const auto add_list = [&](std::string list) {
    std::istringstream in(std::move(list));
    for (std::string f; std::getline(in, f, ':');) {
      for (const std::string origin : {"$ORIGIN", "${ORIGIN}"})
        if (const auto at = f.find(origin); at != std::string::npos) f.replace(at, origin.size(), file.substr(0, file.rfind('/')));
      if (!f.empty()) folders.push_back(f);
    }
  };
  if (const char* path = std::getenv("LD_LIBRARY_PATH")) add_list(path);
  add_list(facts.runpath);
#if defined(__x86_64__)
  add_list("/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu");
#elif defined(__aarch64__)
  add_list("/lib/aarch64-linux-gnu:/usr/lib/aarch64-linux-gnu");
#endif
  add_list("/usr/local/lib:/lib64:/usr/lib64:/lib:/usr/lib");
  return folders;
}

struct examiner {
  reach_report report{};

  void say(severity level, std::string code, std::string text, std::string instead = "") {
    report.findings.push_back({level, std::move(code), std::move(text), std::move(instead)});
  }

  // Follows #! lines to the program that the kernel really loads.
  result<rules::done> follow(const std::string& path) {
    std::string file = path;
    for (int depth = 0; depth < script_depth_max; ++depth) {
      report.chain.push_back(file);
      std::ifstream in(file, std::ios::binary);
      char head[256] = {};
      if (!in.read(head, 2) && in.gcount() < 2) {
        if (!in.is_open())
          return problem{problem_code::failed, "can not read " + file + ", so it can not be checked", file, {}};
        return problem{problem_code::failed, file + " is too short to be a program", file, {}};
      }
      if (head[0] != '#' || head[1] != '!') return rules::done{};
      in.read(head, sizeof head - 1);
      std::istringstream line(std::string(head, static_cast<std::size_t>(in.gcount())).substr(0, std::string(head).find('\n')));
      std::string interpreter, argument;
      line >> interpreter;
      if (interpreter.empty()) return problem{problem_code::failed, file + " has a #! line without an interpreter", file, {}};
      if (base_name(interpreter) == "env") {
        while (line >> argument && (argument[0] == '-' || argument.find('=') != std::string::npos))
          if (argument == "-i" || argument == "--ignore-environment")
            say(severity::refused, "env_cleared", file + " starts its interpreter with `env -i`, which drops LD_PRELOAD", "set LD_PRELOAD after `env -i`");
        if (!argument.empty()) {
          report.chain.push_back(interpreter);
          auto found = find_program(argument);
          if (!found) return found.error();
          interpreter = *found;
        }
      }
      file = interpreter;
    }
    return problem{problem_code::failed, path + " is a script of scripts, deeper than the kernel allows", path, {}};
  }

  void examine_privilege(const std::string& file) {
    struct stat s{};
    struct statvfs fs{};
    if (stat(file.c_str(), &s) < 0) return;
    if (statvfs(file.c_str(), &fs) == 0 && (fs.f_flag & ST_NOSUID)) return;  // the bits mean nothing there
    const std::string why = ": the loader ignores LD_PRELOAD for it";
    const std::string instead = "run a copy without the bit (cp keeps none), or start it as that user with --user";
    if (s.st_mode & S_ISUID) {
      const bool now = s.st_uid != geteuid();
      say(now ? severity::refused : severity::note, "setuid",
          file + " is set-user-ID" + (now ? why : ": harmless for you, but for other users the loader ignores LD_PRELOAD"), instead);
    }
    if ((s.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP)) {
      const bool now = s.st_gid != getegid();
      say(now ? severity::refused : severity::note, "setgid",
          file + " is set-group-ID" + (now ? why : ": harmless for you, but for others the loader ignores LD_PRELOAD"), instead);
    }
    if (getxattr(file.c_str(), "security.capability", nullptr, 0) > 0) {
      const bool now = geteuid() != 0;
      say(now ? severity::refused : severity::note, "capabilities",
          file + " has file capabilities" + (now ? why : ": harmless for root, but for other users the loader ignores LD_PRELOAD"),
          "run a copy without them, or give the capability to the starting process (ambient)");
    }
  }

  // The loaded program itself; false when nothing more can be said.
  bool examine_elf(const std::string& file, const elf_facts& facts) {
    if (facts.kind == elf_class::not_elf) {
      say(severity::refused, "not_a_program", file + " is neither an ELF program nor a script with a #! line", "name the program that runs it");
      return false;
    }
    if (facts.kind == elf_class::elf32) {
      say(severity::refused, "32bit", file + " is a 32-bit program, and libchaos.so is a 64-bit library", "use a 64-bit build of it");
      return false;
    }
    if (facts.malformed && facts.imports.empty()) {
      say(severity::refused, "malformed", file + " contradicts itself where it describes its segments", "");
      return false;
    }
    if (native_machine && facts.machine != native_machine) {
      say(severity::refused, "other_machine", file + " is built for another processor", "");
      return false;
    }
    if (facts.go)
      say(severity::refused, "go", file + " is a Go program: it makes its system calls without libc" +
                                       std::string(facts.interpreter.empty() ? " and loads no library" : ", cgo or not"),
          "put the fault on the other side of the connection, or use a proxy (toxiproxy) or tc-netem");
    if (facts.interpreter.empty()) {
      if (!facts.go)
        say(severity::refused, "static", file + " is statically linked: it has no loader that could preload anything",
            "link it dynamically, or put the fault on the other side of the connection");
      return false;
    }
    const std::string loader = base_name(facts.interpreter);
    report.musl = loader.starts_with("ld-musl");
    if (report.musl)
      say(severity::note, "musl", file + " uses musl (" + facts.interpreter + "): supported, as libchaos.so needs nothing that only glibc has; "
          "names that musl lacks are simply never called");
    else if (!loader.starts_with("ld-linux"))
      say(severity::limited, "other_libc", file + " is loaded by " + facts.interpreter + ", which was never tried with the shim");
    return true;
  }

  void examine_symbols(const elf_facts& program, const std::vector<std::pair<std::string, elf_facts>>& libraries) {
    std::set<std::string> imports = program.imports;
    std::vector<std::string> all_needed = program.needed;
    for (const auto& [file, facts] : libraries) {
      imports.insert(facts.imports.begin(), facts.imports.end());
      all_needed.insert(all_needed.end(), facts.needed.begin(), facts.needed.end());
    }
    // what one of its own objects defines never was libc's
    for (const auto& name : imports)
      if (hooked(name)) report.interposed.push_back(name);
      else if (looks_like_io(name)) report.not_covered.push_back(name);

    if (program.defines.contains("malloc"))
      say(severity::limited, "own_allocator", "the program brings its own malloc, which wins over any preload: enomem can not reach it",
          "use a build with the libc allocator, or a memory limit (ulimit -v, cgroup)");
    for (const auto& name : all_needed)
      if (name.starts_with("libasan.so") || name.starts_with("libtsan.so")) {
        if (!report.needs_asan_first)
          say(severity::note, name.starts_with("libasan") ? "asan" : "tsan",
              "the program uses " + name + ", whose runtime must come first: `run` puts it in front of libchaos.so",
              "by hand: LD_PRELOAD=" + name + ":libchaos.so");
        report.needs_asan_first = true;
        report.asan_library = name;
      }
    if (!report.needs_asan_first && (program.defines.contains("__asan_init") || program.defines.contains("__tsan_init"))) {
      const bool asan = program.defines.contains("__asan_init");
      say(severity::note, asan ? "asan" : "tsan", std::string("the program contains a sanitizer runtime of its own, whose malloc wins over any preload"),
          asan ? "if it refuses to start: ASAN_OPTIONS=verify_asan_link_order=0" : "");
    }
    if (std::ranges::any_of(imports, [](const std::string& n) { return n.starts_with("io_uring_"); }) ||
        std::ranges::any_of(all_needed, [](const std::string& n) { return n.starts_with("liburing"); }))
      say(severity::limited, "io_uring", "the program can use io_uring, whose operations never pass through libc",
          "chaos-ctl run --no-io-uring, or switch it off in the program (for node: UV_USE_IO_URING=0)");
    if (imports.contains("syscall"))
      say(severity::note, "raw_syscalls", "the program calls syscall(): of what it does that way only close, recvmmsg and sendmmsg are seen");
    if (report.interposed.empty())
      say(severity::limited, "nothing_imported", "it imports none of the functions that libchaos.so stands in front of");
  }

  std::vector<std::pair<std::string, elf_facts>> load_libraries(const std::string& file, const elf_facts& program) {
    std::vector<std::pair<std::string, elf_facts>> loaded;
    std::set<std::string> seen;
    const auto load = [&](const std::string& owner, const elf_facts& facts) {
      const auto folders = library_folders(facts, owner);
      for (const auto& name : facts.needed) {
        if (loaded.size() >= library_max || part_of_libc(name) || !seen.insert(name).second) continue;
        for (const auto& folder : folders) {
          const std::string path = name.find('/') == std::string::npos ? folder + "/" + name : name;
          int error = 0;
          elf_facts library = read_elf(path, error);
          if (error == 0 && library.kind == elf_class::elf64) {
            loaded.emplace_back(path, std::move(library));
            break;
          }
        }
      }
    };
    load(file, program);
    for (std::size_t i = 0; i < loaded.size(); ++i) {
      const auto [path, facts] = loaded[i];  // a copy: the list grows
      load(path, facts);
    }
    return loaded;
  }
};

std::string environment_of(const std::string& proc, const std::string& name) {
  std::ifstream in(proc + "/environ", std::ios::binary);
  for (std::string line; std::getline(in, line, '\0');)
    if (line.starts_with(name + "=")) return line.substr(name.size() + 1);
  return {};
}

// Other libraries that are preloaded beside ours: the first one that defines a function is the one that is called.
void examine_preloads(examiner& e, const std::string& list, bool ours_comes_first) {
  bool before_ours = !ours_comes_first;
  std::string path;
  for (std::size_t at = 0; at < list.size();) {
    const std::size_t end = std::min(list.find_first_of(": \t\n", at), list.size());
    path = list.substr(at, end - at);
    at = end + 1;
    if (path.empty()) continue;
    if (base_name(path).starts_with("libchaos.so")) {
      before_ours = false;
      continue;
    }
    int error = 0;
    const elf_facts facts = read_elf(path, error);
    std::string both;
    unsigned n = 0;
    for (const auto& name : facts.defines)
      if (hooked(name) && ++n <= preload_names_max) both += (both.empty() ? "" : " ") + name;
    if (n > preload_names_max) both += " …";
    if (n == 0) e.say(severity::note, "preload", path + " is preloaded as well");
    else if (before_ours)
      e.say(severity::limited, "preload", path + " is preloaded in front of libchaos.so and stands before " + std::to_string(n) + " functions that rules bend (" + both + "): faults in them reach the program only as far as it calls on",
            "LD_PRELOAD=libchaos.so:" + path);
    else e.say(severity::note, "preload", path + " is preloaded behind libchaos.so: calls of " + both + " go through rules first, then through it");
  }
}

std::string read_link(const std::string& path) {
  char target[4096];
  const ssize_t n = readlink(path.c_str(), target, sizeof target);
  return n > 0 ? std::string(target, static_cast<std::size_t>(n)) : std::string();
}

}  // namespace

bool reach_report::refused() const { return first_refusal() != nullptr; }

const finding* reach_report::first_refusal() const {
  const auto found = std::ranges::find(findings, severity::refused, &finding::level);
  return found == findings.end() ? nullptr : &*found;
}

bool looks_like_io(std::string_view symbol) {
  return !hooked(symbol) && (std::ranges::find(io_like, symbol) != std::end(io_like) || symbol.starts_with("io_uring_"));
}

result<std::string> find_program(const std::string& name) {
  if (name.empty()) return problem{problem_code::missing_word, "no program was named", "", {"CMD"}};
  const auto usable = [](const std::string& path) {
    struct stat s{};
    return stat(path.c_str(), &s) == 0 && S_ISREG(s.st_mode) && access(path.c_str(), X_OK) == 0;
  };
  if (name.find('/') != std::string::npos) {
    if (usable(name)) return name;
    struct stat s{};
    if (stat(name.c_str(), &s) < 0) return problem{problem_code::not_found, "there is no program " + name + " (" + std::strerror(errno) + ")", name, {}};
    return problem{problem_code::failed, name + (S_ISDIR(s.st_mode) ? " is a folder" : " is not executable for you"), name, {}};
  }
  const char* path = std::getenv("PATH");
  std::istringstream folders(path && *path ? path : "/usr/local/bin:/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string candidate = (folder.empty() ? std::string(".") : folder) + "/" + name;
    if (usable(candidate)) return candidate;
  }
  return problem{problem_code::not_found, "no program '" + name + "' in PATH", name, {}};
}

result<reach_report> examine_program(const std::string& name) {
  auto path = find_program(name);
  if (!path) return path.error();
  examiner e;
  e.report.asked = name;
  if (auto r = e.follow(*path); !r) return r.error();
  const std::string file = e.report.program();
  int error = 0;
  const elf_facts facts = read_elf(file, error);
  if (error) return problem{problem_code::failed, "can not read " + file + " (" + std::strerror(error) + "), so it can not be checked", file, {}};
  if (e.report.chain.size() > 1)
    e.say(severity::note, "script", e.report.chain.front() + " is a script: it is " + file + " that is loaded and bent");
  e.examine_privilege(file);
  if (e.examine_elf(file, facts)) e.examine_symbols(facts, e.load_libraries(file, facts));
  if (const char* const list = std::getenv("LD_PRELOAD")) examine_preloads(e, list, true);  // `run` puts ours in front
  return std::move(e.report);
}

result<reach_report> examine_process(pid_t pid) {
  const std::string proc = "/proc/" + std::to_string(pid);
  const std::string exe = read_link(proc + "/exe");
  if (exe.empty()) {
    const bool there = access(proc.c_str(), F_OK) == 0;
    return problem{there ? problem_code::not_allowed : problem_code::not_found,
                   there ? "process " + std::to_string(pid) + " may not be examined by you" : "there is no process " + std::to_string(pid),
                   std::to_string(pid), {}};
  }
  examiner e;
  e.report.asked = std::to_string(pid);
  e.report.chain.push_back(exe);
  std::set<std::string> files;
  std::ifstream maps(proc + "/maps");
  bool shim = false;
  for (std::string line; std::getline(maps, line);) {
    const auto at = line.find('/');
    if (at == std::string::npos) continue;
    const std::string file = line.substr(at);
    if (base_name(file).starts_with("libchaos.so")) shim = true;
    else if (file != exe && file.find(".so") != std::string::npos && files.size() < library_max) files.insert(file);
  }
  int error = 0;
  const elf_facts facts = read_elf(proc + "/exe", error);  // also when the file was replaced since
  if (!error && e.examine_elf(exe, facts)) {
    std::vector<std::pair<std::string, elf_facts>> libraries;
    for (const auto& file : files) {
      if (part_of_libc(base_name(file))) continue;
      int unreadable = 0;
      libraries.emplace_back(file, read_elf(file, unreadable));
    }
    e.examine_symbols(facts, libraries);
  }
  if (!shim && !e.report.refused()) {
    e.examine_privilege(exe);
    e.say(severity::refused, "not_loaded", "libchaos.so is not loaded in process " + std::to_string(pid),
          "a preload acts from the start of a program: start it with `chaos-ctl run -- …` or LD_PRELOAD=libchaos.so");
    if (environment_of(proc, "LD_PRELOAD").find("libchaos.so") == std::string::npos)
      e.say(severity::note, "no_preload", "its environment has no LD_PRELOAD that names libchaos.so: it was started without, or something cleared it on the way (env -i, sudo, su -, a service manager)",
            "put `chaos-ctl run --` behind what clears it: env -i chaos-ctl run -- …");
    else
      e.say(severity::note, "preload_ignored", "its environment names libchaos.so in LD_PRELOAD, and the loader did not take it: the path, the processor, or a privilege that the program gained");
  }
  examine_preloads(e, environment_of(proc, "LD_PRELOAD"), false);
  for (const std::string& limit : observed_limits(pid)) {
    if (limit == "io_uring")
      e.say(severity::limited, "io_uring_in_use", "the process has an io_uring open: what it does there passes no rule", "start it with chaos-ctl run --no-io-uring");
    else
      e.say(severity::note, limit, "the process runs under a seccomp filter: a system call that the filter forbids can not be used to carry a fault out");
  }
  return std::move(e.report);
}

std::vector<std::string> observed_limits(pid_t pid) {
  const std::string proc = "/proc/" + std::to_string(pid);
  std::vector<std::string> out;
  if (DIR* const d = opendir((proc + "/fd").c_str())) {
    for (unsigned budget = descriptors_max; const dirent* entry = budget-- > 0 ? readdir(d) : nullptr;)
      if (read_link(proc + "/fd/" + entry->d_name) == "anon_inode:[io_uring]") {
        out.push_back("io_uring");
        break;
      }
    closedir(d);
  }
  std::ifstream status(proc + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("Seccomp:") && line.find('2') != std::string::npos)
      out.push_back("seccomp");
  return out;
}

}  // namespace chaos::cli
