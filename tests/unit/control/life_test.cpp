// How chaosd begins, who may start it, what a crash leaves, and how it ends.
#include <sys/stat.h>

#include "chaos/abi/rule_page.hpp"
#include "control/daemon/loop.hpp"
#include "daemon_process.hpp"

namespace chaos::testing_support {
namespace {

using rules::problem_code;

class Life : public daemon_process {
 protected:
  std::uint64_t read_page(std::size_t at) const {
    std::uint64_t value = 0;
    const int fd = open((folder() + "/rules").c_str(), O_RDONLY | O_CLOEXEC);
    EXPECT_EQ(pread(fd, &value, sizeof value, static_cast<off_t>(at)), static_cast<ssize_t>(sizeof value));
    close(fd);
    return value;
  }
  bool lease_is_valid() const {
    const std::uint64_t until = read_page(offsetof(abi::rule_page, lease_until_ns)), now = daemon::monotonic_ns();
    return until > now && until - now <= abi::lease_ns;
  }
  void crash() const {
    const pid_t pid = lock_pid();
    kill(pid, SIGKILL);
    ASSERT_TRUE(wait_until([&] { return ended(pid); }));
  }
};

TEST_F(Life, StartReturnsWhenTheSocketAnswersAndTheLeaseIsRenewed) {
  ASSERT_EQ(start(), 0);
  EXPECT_TRUE(ask(command::status));
  set({"latency", "127.0.0.1:1", "1ms"});
  EXPECT_TRUE(lease_is_valid());
  const std::uint64_t first = read_page(offsetof(abi::rule_page, lease_until_ns));
  EXPECT_TRUE(wait_until([&] { return read_page(offsetof(abi::rule_page, lease_until_ns)) > first; }));
  EXPECT_TRUE(lease_is_valid());
}

TEST_F(Life, TheDaemonHasItsOwnSessionAndNoDescriptorOfItsStarter) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);  // inherited by whatever is started
  ASSERT_EQ(start(), 0);
  close(ends[1]);
  char byte = 0;
  EXPECT_EQ(read(ends[0], &byte, 1), 0) << "id=$(chaos-ctl set …) would hang";
  close(ends[0]);
  const pid_t pid = lock_pid();
  EXPECT_NE(getsid(pid), getsid(0));
  for (const char* fd : {"0", "1", "2"})
    EXPECT_EQ(std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/fd/" + fd), "/dev/null");
}

TEST_F(Life, ReadyFdGetsOneByte) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(start({"--ready-fd", std::to_string(ends[1])}), 0);
  close(ends[1]);
  char bytes[4];
  EXPECT_EQ(read(ends[0], bytes, sizeof bytes), 1);
  close(ends[0]);
}

TEST_F(Life, RacingStartsGiveOneDaemon) {
  std::vector<pid_t> starters;
  for (int i = 0; i < 8; ++i) {
    const pid_t pid = fork();
    if (pid == 0) _exit(start());
    starters.push_back(pid);
  }
  for (const pid_t pid : starters) {
    int status = 0;
    waitpid(pid, &status, 0);
    EXPECT_EQ(status, 0) << "each of them may go on and ask";
  }
  EXPECT_EQ(good(command::status)["pid"], lock_pid());
}

TEST_F(Life, ASecondOneInTheForegroundSaysWhoIsThere) {
  ASSERT_EQ(start(), 0);
  std::string text;
  EXPECT_EQ(start({"--foreground"}, &text), 1);
  EXPECT_NE(text.find("already has a daemon (pid " + std::to_string(lock_pid())), std::string::npos) << text;
}

TEST_F(Life, ACrashLeavesRulesPausedAndTheSocketIsRecognisedAsStale) {
  ASSERT_EQ(start(), 0);
  set({"latency", "127.0.0.1:1", "1ms", "--for", "60s", "--name", "x"});
  crash();
  EXPECT_EQ(bad(command::list).code, problem_code::no_daemon);
  EXPECT_TRUE(wait_until([&] { return !lease_is_valid(); })) << "nobody renews it: targets are clean again";
  ASSERT_EQ(start(), 0);
  const json rule = good(command::list)["rules"][0];
  EXPECT_EQ(rule["name"], "x");
  EXPECT_EQ(rule["state"], "paused");
  EXPECT_EQ(rule["restored"], true);
  EXPECT_LT(rule["remaining_ms"], 60'000);
  EXPECT_GT(rule["remaining_ms"], 40'000);
  EXPECT_EQ(good(command::status)["armed_classes"], 0);
  EXPECT_NE(good(command::status)["notes"][0].get<std::string>().find("paused"), std::string::npos);
  good(command::resume, {{"all", true}});
  EXPECT_NE(good(command::status)["armed_classes"], 0);
}

TEST_F(Life, WithRestoreTheyComeBackInForce) {
  ASSERT_EQ(start(), 0);
  set({"latency", "127.0.0.1:1", "1ms"});
  crash();
  ASSERT_EQ(start({"--restore"}), 0);
  EXPECT_EQ(state_of(1), "active");
  EXPECT_NE(good(command::status)["armed_classes"], 0);
}

TEST_F(Life, RunsWhoseRootIsGoneDoNotComeBack) {
  ASSERT_EQ(start(), 0);
  const pid_t root = fork();
  if (root == 0) {
    pause();
    _exit(0);
  }
  good(command::run_begin, {{"pid", root}, {"rules", {{"latency", "127.0.0.1:1", "1ms"}}}});
  crash();
  kill(root, SIGKILL);
  waitpid(root, nullptr, 0);
  ASSERT_EQ(start({"--restore"}), 0);
  EXPECT_EQ(state_of(1), "ended: its run ended");
}

TEST_F(Life, ShutdownEndsRulesAndTheDaemon) {
  ASSERT_EQ(start(), 0);
  set({"latency", "127.0.0.1:1", "1ms", "--forever"});
  const pid_t pid = lock_pid();
  EXPECT_EQ(good(command::shutdown)["ended"], 1);
  EXPECT_TRUE(wait_until([&] { return ended(pid); }));
  EXPECT_FALSE(lease_is_valid());
  EXPECT_EQ(read_page(offsetof(abi::rule_page, armed_classes)) & 0xffffffff, 0u);
  EXPECT_FALSE(std::filesystem::exists(folder() + "/control.sock"));
  ASSERT_EQ(start(), 0);
  EXPECT_TRUE(good(command::list)["rules"].empty());
}

TEST_F(Life, SigtermDoesToo) {
  ASSERT_EQ(start(), 0);
  const pid_t pid = lock_pid();
  kill(pid, SIGTERM);
  EXPECT_TRUE(wait_until([&] { return ended(pid); }));
}

TEST_F(Life, TheStopWordInThePageIsHonouredWhenADaemonWakes) {
  ASSERT_EQ(start(), 0);
  set({"latency", "127.0.0.1:1", "1ms", "--forever"});
  const pid_t pid = lock_pid();
  kill(pid, SIGSTOP);
  const int fd = open((folder() + "/rules").c_str(), O_RDWR | O_CLOEXEC);
  const std::uint32_t one = 1;
  ASSERT_EQ(pwrite(fd, &one, sizeof one, offsetof(abi::rule_page, stop)), 4);
  close(fd);
  kill(pid, SIGCONT);
  EXPECT_TRUE(wait_until([&] { return state_of(1) == "ended: emergency stop"; }));
  EXPECT_EQ(read_page(offsetof(abi::rule_page, stop)) & 0xffffffff, 0u);
}

TEST_F(Life, ACorruptStateFileIsKeptAsideAndSaid) {
  std::filesystem::create_directory(folder());
  chmod(folder().c_str(), 0700);
  std::ofstream(folder() + "/state.json") << "{broken";
  ASSERT_EQ(start(), 0);
  const json notes = good(command::status)["notes"];
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_NE(notes[0].get<std::string>().find("state.json.corrupt-"), std::string::npos);
}

TEST_F(Life, AFolderOfSomeoneElseIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to give a folder away";
  ASSERT_EQ(chown(dir_.path().c_str(), 1, 1), 0);
  std::string text;
  EXPECT_EQ(start({}, &text), 1);
  EXPECT_NE(text.find("is owned by another user"), std::string::npos) << text;
}

TEST_F(Life, AFolderThatOthersMayWriteIsRefused) {
  ASSERT_EQ(chmod(dir_.path().c_str(), 0777), 0);
  std::string text;
  EXPECT_EQ(start({}, &text), 1);
  EXPECT_NE(text.find("may be written by others"), std::string::npos) << text;
}

TEST_F(Life, APageOfAnotherVersionIsRefused) {
  ASSERT_EQ(start(), 0);
  good(command::shutdown);
  ASSERT_TRUE(wait_until([&] { return ended(lock_pid()); }));
  const int fd = open((folder() + "/report").c_str(), O_RDWR | O_CLOEXEC);
  const std::uint32_t version = 99;
  ASSERT_EQ(pwrite(fd, &version, sizeof version, 8), 4);
  close(fd);
  std::string text;
  EXPECT_EQ(start({}, &text), 1);
  EXPECT_NE(text.find("version 99"), std::string::npos) << text;
}

TEST_F(Life, ALongPathIsNoObstacle) {
  const std::string deep = dir_.path() + "/" + std::string(120, 'd');
  ASSERT_EQ(run({CHAOSD, "--dir", deep}), 0);
  auto c = protocol::client::connect(deep + "/default");
  ASSERT_TRUE(c) << c.error().message;
  EXPECT_TRUE(c->call(command::shutdown));
}

TEST_F(Life, BadStartOptionsAreNamed) {
  std::string text;
  EXPECT_EQ(start({"--sesion", "x"}, &text), 2);
  EXPECT_NE(text.find("did you mean '--session'"), std::string::npos) << text;
  EXPECT_EQ(start({"--session", "../x"}), 2);
  EXPECT_EQ(start({"--seed", "x"}), 2);
  EXPECT_EQ(start({"--config", "/no/such/file"}), 1);
  EXPECT_EQ(start({"--config", dir_.path()}, &text), 1) << "a folder is no file";
  EXPECT_NE(text.find("Is a directory"), std::string::npos) << text;
  for (const auto& [words, part] : {std::pair{std::vector<std::string>{"--http", "--token-file", "x"}, "--http needs a value"},
                                    {{"--session", ""}, "--session: nothing stands behind it"},
                                    {{"--default-for", "5"}, "--default-for: '5' has no unit"},
                                    {{"--default-latency", "1s..100ms"}, "'1s..100ms' ends before it begins"},
                                    {{"--http", "8080"}, "such as 127.0.0.1:8080"}}) {
    EXPECT_EQ(start(words, &text), 2) << part;
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
}

TEST_F(Life, TheConfigFileSetsTheDefaultLife) {
  const std::string ini = dir_.path() + "/chaos.ini";
  std::ofstream(ini) << "[chaosd]\ndefault_for = 5s\nseed = 7\n";
  ASSERT_EQ(start({"--config", ini}), 0);
  EXPECT_LE(set({"observe", "127.0.0.1:1"})["remaining_ms"], 5000);
  EXPECT_EQ(good(command::status)["seed"], 7);
  std::ofstream(ini) << "[chaosd]\ndefault_fro = 5s\n";
  std::string text;
  EXPECT_EQ(start({"--config", ini}, &text), 2);
  EXPECT_NE(text.find(ini + ", line 2: unknown key 'default_fro': did you mean 'default_for'?"), std::string::npos) << text;
  for (const auto& [wrong, part] : {std::pair{"seed = 1\n", ", line 1: 'seed = 1' stands before any [section]"},
                                    {"[chaosd]\n\nseed = x\n", ", line 3: seed: 'x' is not a seed"},
                                    {"[chaosd]\nseed = 1\nseed = 2\n", ", line 3: the key 'seed' stands twice; the first is on line 2"},
                                    {"[chaosd]\nrestore = yes\n", ", line 2: restore: 'yes' is neither true nor false"},
                                    {"[chaosd]\nnonsense\n", ", line 2: 'nonsense' is neither"},
                                    {"[chaos]\nseed = 1\n", ", line 1: unknown section [chaos]: [chaosd] is expected"},
                                    {"[chaosd]\nseed =\n", ", line 2: seed: "}}) {
    std::ofstream(ini, std::ios::trunc) << wrong;
    EXPECT_EQ(start({"--config", ini}, &text), 2) << wrong;
    EXPECT_NE(text.find(ini + part), std::string::npos) << text;
  }
}

TEST_F(Life, AFullDiskRefusesAChangeAndTellsWhy) {
  ASSERT_EQ(start(), 0);
  set({"observe", "127.0.0.1:1", "--name", "first"});
  std::filesystem::create_directory(folder() + "/state.json.new");  // the next state can not be written
  const auto p = bad(command::set, {{"words", {"observe", "127.0.0.1:2"}}});
  EXPECT_EQ(p.code, problem_code::not_saved);
  EXPECT_EQ(good(command::list)["rules"].size(), 1u);
  const auto stopped = ask(command::stop);
  ASSERT_TRUE(stopped);
  EXPECT_EQ(stopped->warnings.size(), 1u);
  EXPECT_EQ(good(command::status)["armed_classes"], 0);
}

}  // namespace
}  // namespace chaos::testing_support
