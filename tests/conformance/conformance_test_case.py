"""Programs run three ways: natively, under the idle shim, and armed (rules that match nothing, of every class). What they
do is compared; that no rule fired is asserted."""
import os
import shutil
import subprocess
import tempfile

from harness import SHIM, SessionTest
from program_test_case import need  # noqa: F401 (for the tests)

# Nothing that a test here talks to, opens or is: but every class is armed, and each call is judged.
RULES = [
    ["latency", "10.254.1.1:9", "1s"], ["error", "10.254.0.0/16", "ECONNRESET"], ["down", "10.254.2.2:1-9"], ["loss", "udp://10.254.3.3", "50%"],
    ["bandwidth", "10.254.4.4:9", "1KB/s"], ["slow_close", "10.254.5.5:9", "1s"], ["corrupt", "unix:/nowhere/*", "10%"],
    ["latency", "file:/nowhere/**", "1s"], ["full", "file:/nowhere/**", "1KB"], ["error", "file:/nowhere/**", "EIO"], ["dns", "dns:nowhere.invalid", "EAI_AGAIN"],
    ["enomem", "malloc", "--caller", "nowhere.so"], ["unset", "env:NOWHERE_TO_BE_FOUND"], ["emfile", "process", "--process", "nobody-is-called-so"],
    ["crash", "process", "--process", "nobody-is-called-so"],
]


class ConformanceTestCase(SessionTest):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(prefix="chaos-conformance-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.idle = tempfile.mkdtemp(prefix="chaos-idle-", dir="/dev/shm")
        self.addCleanup(shutil.rmtree, self.idle, ignore_errors=True)

    def natively(self):
        return {k: v for k, v in self.env.items() if k not in ("CHAOS_DIR", "LD_PRELOAD")}

    def shimmed_ways(self):
        """(name, environment) of a run under the idle shim and of one with rules armed; each proves that the shim is there."""
        for n, rule in enumerate(RULES):
            self.ok("set", *rule, "--name", f"unmatched-{n}", "--forever")
        for name, folder in (("idle", self.idle), ("armed", self.dir)):
            environment = {**self.natively(), "CHAOS_DIR": folder, "LD_PRELOAD": SHIM}
            maps = subprocess.run(["cat", "/proc/self/maps"], env=environment, capture_output=True, text=True, check=True).stdout
            self.assertIn("libchaos.so", maps)
            self.assertIn(f"{folder}/default/", maps)
            yield name, environment

    def run_program(self, *words, env, timeout=120, **more):
        done = subprocess.run([str(w) for w in words], env=env, capture_output=True, text=True, timeout=timeout, cwd=more.pop("cwd", self.folder),
                              stdin=subprocess.DEVNULL, **more)
        return f"exit {done.returncode}\n{done.stdout}{done.stderr}"

    def assertNothingFired(self, name):
        rules = self.rules()
        self.assertEqual([r["name"] for r in rules if r["fired"]], [])
        self.assertEqual(len([r for r in rules if r["state"] == "active"]), len(RULES), name)
