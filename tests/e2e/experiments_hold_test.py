"""The experiments of examples/experiments, shortened, on two replicas of the shop behind nginx with a real Redis and a real
PostgreSQL: each holds on a system that is built to survive."""
import json
import os
import unittest

import side_by_side
from harness import FAILED
from shop_experiments import WHY
from shop_stage import EXPERIMENTS, StageTest

ELSEWHERE = {"redis-failure", "database-failure", "network-latency", "emergency-stop", "high-cpu"}  # experiment_shop_test, below, high_cpu_test


class ExperimentsHold(StageTest):
    def test_every_experiment_is_tested(self):
        self.assertEqual(sorted(WHY.keys() | ELSEWHERE), sorted(f[:-4] for f in os.listdir(EXPERIMENTS) if f.endswith(".ini")))

    def test_an_emergency_stop_ends_an_experiment_and_everything_that_it_injected(self):
        self.set_up_stage()
        p = self.start_emergency()
        self.ok("stop")
        self.assert_nothing_in_force()
        out, _ = p.communicate(timeout=20)
        self.assertEqual((p.returncode, json.loads(out)["verdict"]), (FAILED, "aborted"))
        self.assertEqual(self.sells(), True)


def add(name):
    setattr(ExperimentsHold, f"test_{name.replace('-', '_')}", lambda self: self.holds(name))


for experiment in WHY:
    add(experiment)

load_tests = side_by_side.share

if __name__ == "__main__":
    unittest.main()
