"""The experiment high-cpu, which keeps every CPU busy: alone on the machine."""
import unittest

from shop_stage import StageTest


class HighCpu(StageTest):
    def test_it_holds(self):
        self.holds("high-cpu")

    def test_it_fails_for_a_shop_that_is_kept_off_the_cpus(self):
        self.fails("high-cpu", "shop p95 < 60ms")


if __name__ == "__main__":
    unittest.main()
