// A schedule that was sent: what it may hold, and that everything else is refused where it stands.
#include "control/schedule/only_injects.hpp"

#include <gtest/gtest.h>

namespace {

using namespace chaos::schedule;
using chaos::rules::problem_code;

const std::string storm = "[schedule]\nname = storm\n[scenario slow]\nrule = latency 127.0.0.1:1 {1..5}ms\n";  // four lines

TEST(OnlyInjects, RulesTimesAndLooksAtHealthAreWelcome) {
  for (const std::string more : {"weight = 3\nrecovery = 1s\nmode = slow\n", "[target shop]\nprocess = shop\n", "[health]\ncheck = http://127.0.0.1:1/healthz\ntimeout = 1s\nwiden = 3\ninterval_max = 1h\n",
                                 "[health]\ncheck = tcp://127.0.0.1:1\n", "# ${HOME} in a comment\n"}) {
    const auto p = plan_that_only_injects(storm + more);
    ASSERT_TRUE(p) << more << p.error().message;
    EXPECT_EQ(p->name, "storm");
  }
}

TEST(OnlyInjects, WhatDoesMoreIsRefusedOnItsLine) {
  for (const std::string more : {"command = true", "undo = true", "restart = true", "[health]\ncheck = true", "[audit]\nfile = /x", "[audit]\nsyslog = false", "[notify]\ncommand = true",
                                 "[notify]\nwebhook = http://127.0.0.1:1/", "[notify]\ntimeout = 1s", "[target x]\nstart = true", "[target x]\nrestart = true", "[target x]\nstate_file = /x"}) {
    const auto p = plan_that_only_injects(storm + more + "\n");
    ASSERT_FALSE(p) << more;
    EXPECT_EQ(p.error().code, problem_code::not_allowed) << more << ": " << p.error().message;
    EXPECT_TRUE(p.error().message.starts_with(more.front() == '[' ? "line 6: " : "line 5: ")) << p.error().message;
  }
  EXPECT_EQ(plan_that_only_injects("[schedule]\nstate_file = /x\ncommand_timeout = 1s\n").error().code, problem_code::not_allowed);
}

TEST(OnlyInjects, NoVariableOfTheDaemonIsRead) {
  for (const std::string more : {"mode = ${HOME}", "mode = ${HOME:-x}", "mode = ${NOT_SET_ANYWHERE:-x}"}) EXPECT_EQ(plan_that_only_injects(storm + more + "\n").error().code, problem_code::not_allowed) << more;
}

TEST(OnlyInjects, WhatIsMisspeltIsSaidAsEver) {
  EXPECT_NE(plan_that_only_injects(storm + "weigth = 1\n").error().message.find("did you mean 'weight'"), std::string::npos);
  EXPECT_EQ(plan_that_only_injects(storm + "[notfy]\n").error().code, problem_code::unknown_section);
  EXPECT_EQ(plan_that_only_injects("").error().code, problem_code::missing_word);
  EXPECT_EQ(plan_that_only_injects(storm + "recovery = soon\n").error().code, problem_code::bad_value);
}

}  // namespace
