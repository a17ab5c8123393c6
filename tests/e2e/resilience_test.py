"""The resilience suite of seven, shortened: all of it holds on the shop as it is, and each of the seven fails on a shop without
breakers, fallback and time-outs, for its own reason."""
import os
import unittest

import side_by_side
from harness import DONE, USAGE
from shop_stage import EXPERIMENTS, HYPOTHESIS_FAILED, SHOP_ITSELF, StageTest

FOLDER = os.path.join(EXPERIMENTS, "resilience")
WHY = {  # without resilience: what must be among the expectations that are not met
    "redis-connection": ["shop success_rate >= 99%", "shop fallback_ratio >= 95%"],
    "breaker-states": ["opens_within redis = 5 failures", "shop success_rate >= 99%"],
    "fallback": ["shop fallback_ratio >= 0.99", "shop status 5xx < 1%"],
    "graceful-degradation": ["shop status 503 >= 10%"],
    "performance-under-load": ["shop p95 < 500ms"],
    "error-handling": ["shop status 503 >= 95%", "shop status 500 < 1%"],
    "timeout-handling": ["shop max < 2s", "shop status 503 >= 90%", "log log_contains timed out"],
}


class Resilience(StageTest):
    def test_every_experiment_of_the_suite_is_tested(self):
        self.assertEqual(sorted(WHY), sorted(f[:-4] for f in os.listdir(FOLDER)))

    def test_the_suite_of_seven_passes_and_says_so(self):
        self.set_up_stage()
        report = os.path.join(self.dir, "report.xml")
        answer = self.ctl("experiment", "run", FOLDER, "--json", "--report", report, timeout=150)
        out = answer.json
        for one in out["experiments"]:
            self.assertSteady(one)
            self.assertHeld(one)
        self.assertEqual((out["passed"], out["total"], answer.code), (7, 7, DONE))
        self.assertEqual(sorted(f for f in os.listdir(self.dir) if f.startswith("report")), sorted(f"report-{name}.xml" for name in WHY))
        self.assert_nothing_in_force()

    def test_one_of_the_suite_alone(self):
        self.set_up_stage()
        answer = self.ctl("experiment", "run", FOLDER, "--only", "fallback", timeout=60)
        self.assertEqual(answer.code, DONE, answer)
        self.assertRegex(answer.out, r"PASS +fallback")
        self.assertIn("1 of 1 passed", answer.out)
        wrong = self.ctl("experiment", "run", FOLDER, "--only", "falback", check=USAGE)
        self.assertIn("did you mean 'fallback'", wrong.err)

    def test_a_suite_in_which_one_fails_says_which(self):
        self.set_up_stage(without=SHOP_ITSELF)
        answer = self.ctl("experiment", "run", f"{FOLDER}/error-handling.ini", f"{FOLDER}/fallback.ini", timeout=90)
        self.assertEqual(answer.code, HYPOTHESIS_FAILED, answer)
        self.assertRegex(answer.out, r"FAIL +error-handling")
        self.assertIn("0 of 2 passed", answer.out)


def add(name):
    def test(self):
        self.fails(f"resilience/{name}", *WHY[name])
    setattr(Resilience, f"test_without_resilience_{name.replace('-', '_')}_fails", test)


for experiment in WHY:
    add(experiment)

load_tests = side_by_side.share

if __name__ == "__main__":
    unittest.main()
