"""chaos-ctl stress with a real stress-ng: it presses, it ends in time, and nothing of it outlives its owner."""
import json
import os
import signal
import subprocess
import tempfile
import time
import unittest

from harness import CTL, DONE, FAILED, USAGE, SessionTest, alive, until


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            direct = [int(p) for p in f.read().split()]
    except OSError:
        return []
    return direct + [below for p in direct for below in children(p)]


def resident(pid):
    try:
        with open(f"/proc/{pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


class Stress(SessionTest):
    def under_way(self, *words, workers=1, **more):
        """chaos-ctl stress, and every process below it once stress-ng has its workers."""
        p = self.start([CTL, "stress", *words, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
        until(lambda: len(children(p.pid)) >= 2 + workers, f"stress-ng at work: {words}")
        return p

    def gone(self, pids):
        until(lambda: not any(alive(p) for p in pids), "the end of all of stress-ng", deadline=8)

    def test_it_ends_when_time_is_up_and_leaves_nothing(self):
        began = time.monotonic()
        p = self.under_way("cpu", "1", "50%", "--for", "3s")
        below = children(p.pid)
        out, err = p.communicate(timeout=20)
        self.assertEqual(p.returncode, DONE, err)
        self.assertEqual(json.loads(out)["ended"], "time is up")
        self.assertGreaterEqual(time.monotonic() - began, 3)
        self.assertFalse(any(alive(c) for c in below), "not one process when chaos-ctl has ended")

    def test_memory_is_really_held(self):
        p = self.under_way("memory", "150MB", "--for", "30s", workers=2)
        until(lambda: max((resident(c) for c in children(p.pid)), default=0) > 150_000_000, "150 MB in one process")
        p.terminate()
        p.communicate(timeout=30)
        self.assertEqual(p.returncode, FAILED)

    def test_disk_writes_below_its_folder_and_cleans_up(self):
        with tempfile.TemporaryDirectory(prefix="chaos-stress-test-", dir="/tmp") as folder:
            p = self.under_way("disk", "5MB", "--path", folder, "--for", "30s")
            until(lambda: sum(len(f) for _, _, f in os.walk(folder)), "a file")
            below = children(p.pid)
            p.send_signal(signal.SIGINT)
            out, _ = p.communicate(timeout=30)
            self.assertIn("stopped", out)
            self.gone(below)
            self.assertEqual(os.listdir(folder), [])

    def test_network_moves_data_over_loopback(self):
        def moved():
            with open("/proc/net/dev") as f:
                return next(int(line.split()[1]) for line in f if line.strip().startswith("lo:"))
        before = moved()
        self.under_way("network", "2", "--for", "30s", workers=2)
        until(lambda: moved() - before > 50_000_000, "50 MB over loopback")

    def test_a_killed_owner_takes_everything_with_it(self):
        p = self.under_way("cpu", "2", "20%", "--for", "60s", workers=2)
        below = children(p.pid)
        self.assertGreaterEqual(len(below), 4)  # the guard, stress-ng, two workers
        p.kill()
        self.gone(below)

    def test_a_killed_guard_takes_everything_with_it(self):
        p = self.under_way("cpu", "1", "20%", "--for", "60s")
        below = children(p.pid)
        os.kill(below[0], signal.SIGKILL)
        self.gone(below)
        p.communicate(timeout=30)
        self.assertEqual(p.returncode, FAILED)

    def test_a_killed_guard_leaves_no_folder(self):
        with tempfile.TemporaryDirectory(prefix="chaos-stress-test-", dir="/tmp") as folder:
            p = self.under_way("disk", "5MB", "--path", folder, "--for", "60s")
            until(lambda: sum(len(f) for _, _, f in os.walk(folder)), "a file")
            below = children(p.pid)
            os.kill(below[0], signal.SIGKILL)
            p.communicate(timeout=30)
            self.assertEqual(p.returncode, FAILED)
            self.gone(below)
            self.assertEqual(os.listdir(folder), [])

    def test_another_owner_that_is_killed_ends_it(self):
        owner = self.start(["sleep", "60"])
        p = self.under_way("cpu", "1", "20%", "--for", "60s", "--owner", str(owner.pid))
        below = children(p.pid)
        owner.kill()
        out, _ = p.communicate(timeout=30)
        self.assertEqual(p.returncode, FAILED)
        self.assertIn("its owner ended", out)
        self.gone(below)

    def test_without_stress_ng_it_says_how_to_get_it(self):
        answer = self.ctl("stress", "cpu", "1", "--for", "1s", env={"PATH": "/nowhere"}, check=FAILED)
        self.assertIn("apt-get install stress-ng", answer.err)

    def test_more_than_there_is_is_refused(self):
        for words in (("memory", "900TB"), ("disk", "900TB")):
            self.assertIn("more", self.ctl("stress", *words, "--for", "1s", check=FAILED).err)

    def test_dry_run_says_what_would_be_run(self):
        answer = self.ok("stress", "memory", "200MB", "--for", "1min", "--dry-run")
        self.assertIn("--vm 1 --vm-bytes 200000000", answer.out)
        self.assertIn("--timeout 61s", answer.out)

    def test_wrong_use(self):
        for words, said in (((), "stress"), (("cpus",), "did you mean 'cpu'"), (("memory", "200"), "has no unit"), (("cpu", "--for", "5"), "has no unit"),
                            (("cpu", "--for", "2h"), "1h"), (("cpu", "--path", "/tmp"), "goes with disk"), (("cpu", "--owner", "x"), "--owner")):
            self.assertIn(said, self.ctl("stress", *words, check=USAGE).err)
        self.assertNoDaemon()


if __name__ == "__main__":
    unittest.main()
