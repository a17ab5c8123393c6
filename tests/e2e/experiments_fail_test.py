"""A hypothesis that cannot fail is worth nothing: each experiment of examples/experiments fails, and for its own reason, on a system
that lacks what it rests on: the resilience of the shop, or that of the platform (shop_stage.py)."""
import unittest

import side_by_side
from harness import until
from shop_experiments import WHY
from shop_stage import SHOP_ITSELF, StageTest


class ExperimentsFail(StageTest):
    def test_the_emergency_stop_of_a_system_that_suffers_helps_at_once(self):
        self.set_up_stage(without=SHOP_ITSELF)
        p = self.start_emergency()
        self.assertFalse(self.sells(), "without resilience it does not sell meanwhile")
        self.ok("stop")
        until(self.sells, "that it sells again", deadline=5)
        p.communicate(timeout=20)


def add(name):
    setattr(ExperimentsFail, f"test_{name.replace('-', '_')}", lambda self: self.fails(name, *WHY[name]))


for experiment in WHY:
    add(experiment)

load_tests = side_by_side.share

if __name__ == "__main__":
    unittest.main()
