"""bench/gate: says that something became slower when it did, and only then."""
import copy
import json
import os
import subprocess
import sys
import tempfile
import unittest

BENCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../bench")
STORED = os.path.join(BENCH, "baseline.json")


class Gate(unittest.TestCase):
    def gate(self, run):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
            json.dump(run, f)
            f.flush()
            return subprocess.run([sys.executable, os.path.join(BENCH, "gate"), f.name], capture_output=True, text=True)

    def setUp(self):
        with open(STORED) as f:
            self.stored = json.load(f)

    def test_the_same_is_not_slower(self):
        done = self.gate(self.stored)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_a_slower_call_and_a_slower_server_are_told(self):
        calls, redis = copy.deepcopy(self.stored), copy.deepcopy(self.stored)
        calls["calls"]["libchaos, idle"]["write"]["ratio"] = {"median": 1.5, "low": 1.49, "high": 1.51}
        redis["redis"]["libchaos, idle"]["1"] = {"median": 0.7, "low": 0.69, "high": 0.71}
        for run, what in ((calls, "libchaos, idle: write"), (redis, "libchaos, idle: redis GET, P=1")):
            done = self.gate(run)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn(f"slower: {what}", done.stdout)

    def test_a_figure_that_is_gone_and_a_broken_file_are_no_success(self):
        del self.stored["calls"]["libchaos, idle"]["malloc+free"]
        self.assertEqual(self.gate(self.stored).returncode, 1)
        self.assertEqual(self.gate({"no": "figures"}).returncode, 2)


if __name__ == "__main__":
    unittest.main()
