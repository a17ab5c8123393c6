"""Runs the tests of a file in several processes at a time:  side_by_side.py PROCESSES FILE

For tests that mostly wait and share nothing: each has its own session, servers and ports. Whoever is done takes the next one. A
file that may be run so has `load_tests = side_by_side.share`; run by hand, without this, all of it runs in one process."""
import fcntl
import os
import subprocess
import sys
import tempfile
import unittest

TAKEN = "CHAOS_TESTS_TAKEN"  # a file: how many of them have been


def flat(suite):
    for one in suite:
        if isinstance(one, unittest.TestSuite):
            yield from flat(one)
        else:
            yield one


class Share(unittest.TestSuite):
    """Of all tests those that no other process has taken, one after the other."""

    def __init__(self, tests, path):
        super().__init__(tests)
        self.every, self.path = list(tests), path

    def __iter__(self):
        while (i := self.take()) < len(self.every):
            yield self.every[i]

    def countTestCases(self):
        return len(self.every)

    def take(self):
        with open(self.path, "r+") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            i = int(f.read() or 0)
            f.seek(0)
            f.write(str(i + 1))
        return i


def share(loader, tests, pattern):
    every = list(flat(tests))
    return Share(every, os.environ[TAKEN]) if TAKEN in os.environ else unittest.TestSuite(every)


def main(processes, file):
    with tempfile.NamedTemporaryFile("w", prefix="chaos-tests-taken-") as taken:
        running = [subprocess.Popen([sys.executable, "-B", "-m", "unittest", "-v", file], env={**os.environ, TAKEN: taken.name}, text=True,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(int(processes))]
        outcomes = []
        for p in running:
            print(p.communicate()[0], flush=True)
            outcomes.append(p.returncode)
    nothing_left = 5  # what newer Pythons say of a process that ran no test
    return 0 if 0 in outcomes and set(outcomes) <= {0, nothing_left} else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
