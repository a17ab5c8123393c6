"""chaos-ctl experiment against a real redis-server under the shim: verdicts, exit statuses, reports, and that no fault
outlives its experiment, whatever ends it."""
import json
import os
import re
import signal
import subprocess
import unittest

import side_by_side
from harness import CTL, DONE, FAILED, SHIM, USAGE, SessionTest, alive, free_port, until

HYPOTHESIS_FAILED = 4

FILE = """[experiment]
name = slow <redis>
hypothesis = a slow network makes answers slow
  and nothing else
baseline = 600ms
observe = {observe}
recover = 5s

[probe redis]
kind = tcp
address = 127.0.0.1:${{PORT}}
send = PING\\r\\n
expect = PONG
rate = 50/s
timeout = 1s

[fault slow]
kind = latency
target = {target}
value = 30ms

[expect during]
success_rate >= 99%
p50 >= 30ms
{during}
[expect after]
success_rate >= 99%   ; and this is a comment
"""


class Experiment(SessionTest):
    def setUp(self):
        super().setUp()
        self.port = free_port()
        self.env["PORT"] = str(self.port)
        self.redis = self.start(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.dir],
                                env={"LD_PRELOAD": SHIM}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: subprocess.run(["redis-cli", "-p", str(self.port), "ping"], capture_output=True).returncode == 0, "redis-server")

    def file(self, during="", observe="1s", target="listen:${PORT}"):
        path = os.path.join(self.dir, "e.ini")
        with open(path, "w") as f:
            f.write(FILE.format(during=during, observe=observe, target=target))
        return path

    def make_folder(self, name):
        os.mkdir(f"{self.dir}/{name}")
        return f"{self.dir}/{name}"

    def active(self):
        return [r["name"] for r in self.rules() if r["state"] != "ended"]

    def test_a_hypothesis_that_holds(self):
        answer = self.ctl("experiment", "run", self.file(), "--json", check=DONE)
        out = answer.json
        self.assertEqual((out["verdict"], out["name"], out["dry_run"]), ("held", "slow <redis>", False), answer)
        self.assertEqual(out["hypothesis"], "a slow network makes answers slow and nothing else")
        self.assertEqual([p["phase"] for p in out["phases"]], ["baseline", "inject", "observe", "clean up", "recover", "after", "analyse"])
        probe = out["probes"][0]
        self.assertGreaterEqual(probe["during"]["p50_ns"], 30_000_000)
        self.assertSoon(probe["baseline"]["p50_ns"] / 1e9, 0.03)
        self.assertEnough(probe["during"]["samples"], 45)
        self.assertIsInstance(probe["recovery_ms"], int)
        self.assertEnough(out["faults"][0]["fired"], 40)
        self.assertEqual({e["state"] for e in out["expectations"]}, {"pass"})
        self.assertIn(("during", "fired slow >= 1", True), [(e["window"], e["text"], e["implied"]) for e in out["expectations"]])
        self.assertEqual(self.active(), [])

    def test_a_hypothesis_that_fails_names_the_measured_value(self):
        answer = self.ctl("experiment", "run", self.file("p95 < 10ms"), check=HYPOTHESIS_FAILED)
        self.assertRegex(answer.out, r"FAIL  during    p95 < 10ms +\d+(\.\d+)? ms\n")
        self.assertRegex(answer.out, r"PASS  during    success_rate >= 99% +100%\n")
        self.assertIn("FAIL: the hypothesis failed: 1 of ", answer.out)

    def test_a_fault_that_never_fired_fails(self):
        answer = self.ctl("experiment", "run", self.file(target="10.9.8.7:1"), check=HYPOTHESIS_FAILED)
        self.assertIn("the hypothesis was not put to the test: slow never fired", answer.out)

    def test_a_broken_steady_state_is_left_alone(self):
        self.redis.kill()
        self.redis.wait()
        answer = self.ctl("experiment", "run", self.file(), "--json", check=FAILED)
        self.assertEqual(answer.json["verdict"], "not run")
        self.assertEqual(answer.json["faults"], [])
        self.assertEqual(self.rules(), [], "nothing was ever injected")

    def test_dry_run_injects_nothing_and_tells_what_would_fire(self):
        out = self.ctl("experiment", "run", self.file(), "--dry-run", "--json", check=DONE).json
        self.assertEqual((out["verdict"], out["dry_run"]), ("dry run", True))
        self.assertGreater(out["faults"][0]["fired"], 0)
        self.assertSoon(out["probes"][0]["during"]["p50_ns"] / 1e9, 0.03)

    def during(self, path):
        self.ok("daemon", "start")
        p = self.start([CTL, "experiment", "run", path, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until(lambda: self.active() == ["slow"], "the fault")
        return p

    def test_ctrl_c_and_sigterm_take_the_fault_back_first(self):
        for s, name in ((signal.SIGINT, "SIGINT"), (signal.SIGTERM, "SIGTERM")):
            p = self.during(self.file(observe="60s"))
            p.send_signal(s)
            out, _ = p.communicate(timeout=20)
            self.assertEqual(p.returncode, FAILED)
            self.assertEqual((json.loads(out)["verdict"], json.loads(out)["reason"]), ("aborted", f"stopped by {name}"))
            self.assertEqual(self.active(), [])

    def test_a_killed_runner_leaves_no_fault(self):
        p = self.during(self.file(observe="60s"))
        p.kill()
        p.communicate()
        until(lambda: self.active() == [], "the end of the fault")
        self.assertEqual(self.rule("slow")["ended_reason"], "the runner of its experiment is gone")

    def test_an_emergency_stop_aborts(self):
        p = self.during(self.file(observe="60s"))
        self.ok("stop")
        out, _ = p.communicate(timeout=20)
        self.assertEqual((p.returncode, json.loads(out)["verdict"]), (FAILED, "aborted"))
        self.assertRegex(json.loads(out)["reason"], "ended from outside|stopped: chaos-ctl stop")

    def test_a_killed_daemon_aborts(self):
        p = self.during(self.file(observe="60s"))
        os.kill(self.daemon_pid(), signal.SIGKILL)
        out, _ = p.communicate(timeout=20)
        self.assertEqual((p.returncode, json.loads(out)["verdict"]), (FAILED, "aborted"))

    def test_two_at_once_do_not_share_a_fault(self):
        p = self.during(self.file(observe="60s"))
        answer = self.ctl("experiment", "run", self.file(), check=FAILED)
        self.assertIn("in force already", answer.out)
        self.assertEqual(self.active(), ["slow"])
        p.terminate()
        p.communicate(timeout=20)

    def test_reports_in_three_forms(self):
        path = self.file()
        for ending in ("md", "html", "json"):
            where = os.path.join(self.dir, "report." + ending)
            self.ctl("experiment", "run", path, "--report", where, check=DONE)
            with open(where, encoding="utf-8") as f:
                text = f.read()
            if ending == "json":
                self.assertEqual(json.loads(text)["verdict"], "held")
                continue
            self.assertIn("PASS: ", text)
            self.assertIn("slow &lt;redis", text)
            self.assertNotIn("<redis>", text)
            if ending == "html":
                self.assertIn("var uPlot=", text)
                self.assertFalse(re.search(r"(src|href)=", text), "self-contained")

    def test_wrong_use(self):
        path = self.file()
        for words, said in ((["run"], "FILE"), (["runn", path], "did you mean 'run'"), (["validate", path, path], "one FILE"), ([], "run, validate, report, keys"),
                            (["run", path, "--report", "x.pdf"], ".html"), (["validate", path, "--dry-run"], "experiment run")):
            answer = self.ctl("experiment", *words, check=USAGE)
            self.assertIn(said, answer.err)
        self.assertEqual(self.ctl("experiment", "validate", "/nowhere").code, FAILED)
        self.assertEqual(self.ctl("experiment", "run", path, "--report", f"{self.dir}/x.md", "--report", "/nowhere/x.md").code, FAILED)
        self.assertIn("directory", self.ctl("experiment", "run", path, "--report", f"{self.dir}/x.md", "--report", self.make_folder("x.html"), check=FAILED).err)
        self.assertFalse(os.path.exists(f"{self.dir}/x.md"), "what is refused leaves no file behind")
        self.assertNoDaemon(message="wrong use starts no daemon")

    def test_validate_names_word_and_line(self):
        self.assertIn("recovers_within = 5s (implied)", self.ctl("experiment", "validate", self.file(), check=DONE).out)
        answer = self.ctl("experiment", "validate", self.file("sucess_rate > 1%"), "--json", check=USAGE)
        self.assertEqual(answer.json["error"]["word"], "sucess_rate")
        self.assertIn("line 25: ", answer.json["error"]["message"])
        self.assertIn("did you mean 'success_rate'", answer.json["error"]["message"])
        self.assertNoDaemon()

load_tests = side_by_side.share

if __name__ == "__main__":
    unittest.main()
