"""Schedules over HTTP: listed, started from a file of the folder or from a text that only injects, stopped, and gone with chaosd."""
import json
import os
import signal
import subprocess
import time
import unittest

from harness import CTL, alive, until
from http_harness import HttpTest

STORM = """[schedule]
name = storm
start_wait = {wait}
interval = 60s
minimum_interval = 100ms
recovery = 50s
[scenario slow]
rule = latency 127.0.0.1:1 1ms
{more}"""


class Schedules(HttpTest):
    def storm(self, wait="0s", more=""):
        return STORM.format(wait=wait, more=more)

    def file(self, name, text):
        return self.write(f"schedules/{name}.ini", text)

    def running(self):
        return {s["name"]: s["pid"] for s in self.get("/v1/schedules").json["schedules"] if s["running"] and "pid" in s}

    def in_force(self):
        return [r["name"] for r in self.rules() if r["state"] == "active"]

    def begin(self, **body):
        return self.post("/v1/schedules", body, 201).json

    def refused(self, status=400, **body):
        answer = self.post("/v1/schedules", body, status).json["error"]
        self.assertEqual(self.running(), {})
        return answer

    def audit(self):
        with open(f"{self.dir}/default/audit.jsonl") as f:
            return [json.loads(line) for line in f]

    def test_what_chaos_ctl_started_is_listed_and_stopped(self):
        self.assertEqual(self.get("/v1/schedules").json, {"schedules": [], "files": []})
        self.post("/v1/schedules/none/stop", status=404)
        p = self.start([CTL, "schedule", "run", self.write("plan.ini", self.storm(wait="1min"))], stdout=subprocess.DEVNULL)
        until(self.running, "the schedule")
        self.assertEqual(self.running(), {"storm": p.pid})
        self.assertEqual(self.post("/v1/schedules/storm/stop", status=202).json, {"name": "storm", "pid": p.pid})
        p.wait(timeout=20)
        self.assertEqual(self.running(), {})

    def test_a_file_of_the_folder(self):
        undone = f"{self.dir}/undone"
        self.file("storm", self.storm(more=f"command = touch {self.dir}/done\nundo = touch {undone}\n"))
        self.assertEqual(self.get("/v1/schedules").json["files"], ["storm"])
        begun = self.begin(name="storm", seed=7, count=1)
        self.assertEqual((begun["name"], begun["running"], begun["seed"]), ("storm", True, 7))
        until(lambda: self.in_force() == ["storm-slow"], "the injection")
        until(lambda: os.path.exists(f"{self.dir}/done"), "its command")
        self.assertEqual(self.post("/v1/schedules", {"name": "storm"}, 409).json["error"]["word"], "storm")
        self.assertEqual(self.post("/v1/schedules/storm/stop", status=202).json["pid"], begun["pid"])
        until(lambda: not alive(begun["pid"]), "its end")
        self.assertEqual(self.in_force(), [])
        self.assertTrue(os.path.exists(undone), "what it did is taken back")
        changes = [(a["request"].get("action"), a["request"].get("name")) for a in self.audit() if a["command"] == "schedule"]
        self.assertEqual(changes, [("started", "storm"), ("told_to_end", "storm")])
        for line in self.audit():
            if line["command"] == "schedule":
                self.assertRegex(line["remote"], r"^127\.0\.0\.1:\d+$")

    def test_a_text_that_only_injects(self):
        begun = self.begin(text=self.storm())
        until(lambda: self.in_force() == ["storm-slow"], "the injection")
        self.assertEqual(self.running(), {"storm": begun["pid"]})
        self.ok("schedule", "stop", "storm")
        self.assertEqual((self.running(), self.in_force()), ({}, []))
        begun = self.begin(text=self.storm(), count=1)
        until(lambda: self.in_force() == ["storm-slow"], "the injection")
        self.post("/v1/stop")
        until(lambda: not alive(begun["pid"]), "the end of a schedule whose rule was taken away")

    def test_metrics_tell_of_schedules_and_of_one_that_died(self):
        def figure(name):
            return next((float(line.rsplit(" ", 1)[1]) for line in self.get("/metrics").text.splitlines() if line.startswith(name + " ")), None)
        states = lambda: [figure(f'chaos_schedules{{state="{s}"}}') for s in ("running", "ended", "died")]
        self.assertEqual(states(), [0, 0, 0])
        begun = self.begin(text=self.storm())
        until(lambda: figure('chaos_schedule_injections_total{schedule="storm"}') == 1 or self.in_force(), "the injection")
        self.assertEqual(states(), [1, 0, 0])
        self.assertLess(abs(figure('chaos_schedule_last_injection_timestamp_seconds{schedule="storm"}') - time.time()), 30)
        os.kill(begun["pid"], signal.SIGKILL)
        until(lambda: states() == [0, 0, 1], "its death")
        until(lambda: self.in_force() == [], "the end of its rule")
        begun = self.begin(text=self.storm(wait="1min"))
        self.assertEqual(states(), [1, 0, 0])
        self.post("/v1/schedules/storm/stop", status=202)
        until(lambda: states() == [0, 1, 0], "its end")

    def test_it_does_not_outlive_chaosd(self):
        for end in (lambda: self.ok("daemon", "stop"), lambda: os.kill(self.daemon_pid(), signal.SIGKILL)):
            for wait, in_force in (("0s", ["storm-slow"]), ("1min", [])):
                begun = self.begin(text=self.storm(wait=wait))
                until(lambda: self.in_force() == in_force, "the injection")
                end()
                until(lambda: not alive(begun["pid"]), "the end of the schedule")
                until(lambda: not self.daemons(), "the end of chaosd")
                self.configure()
                self.assertEqual(self.in_force(), [])

    def test_a_dry_run_tells_the_plan_and_starts_nothing(self):
        text = "[schedule]\nname = storm\nseed = 7\n[scenario slow]\nrule = latency 127.0.0.1:1 {1..50}ms\nrule = loss 127.0.0.1:1 {1..9}%\n[scenario broken]\nweight = 2\nrule = error 127.0.0.1:1 ECONNRESET\n"
        told = self.post("/v1/schedules", {"text": text, "dry_run": True, "count": 30}).json
        (words,) = [[CTL, "schedule", "run", self.write("plan.ini", text), "--dry-run", "--json", "--count", "30"]]
        printed = json.loads(subprocess.run(words, env=self.env, capture_output=True, text=True, timeout=20, check=True).stdout)
        self.assertEqual({row.pop("command") for row in told["plan"]}, {False})
        self.assertEqual({row.pop("command") for row in printed["plan"]}, {""})
        self.assertEqual(told, printed, "the plan of this seed, as chaos-ctl tells it")
        self.assertEqual((told["seed"], len(told["plan"]), {row["scenario"] for row in told["plan"]}), (7, 30, {"slow", "broken"}))
        other = self.post("/v1/schedules", {"text": text, "dry_run": True, "count": 30, "seed": 8}).json
        self.assertNotEqual(other["plan"], told["plan"])
        self.file("storm", self.storm(more=f"command = touch {self.dir}/mark-secret\n").replace("name = storm", "name = storm\nenabled = false"))
        answer = self.post("/v1/schedules", {"name": "storm", "dry_run": True})
        self.assertEqual([row["command"] for row in answer.json["plan"]], [True] * 10)
        self.assertNotIn("secret", answer.text)
        self.assertIsInstance(answer.json["seed"], int)
        self.write("stop", "")
        self.post("/v1/schedules", {"text": text, "dry_run": True})
        for more, status in (({"dry_run": "yes"}, 400), ({"dry_run": 1}, 400), ({"dry_run": True, "count": 0}, 400), ({"dry_run": True, "seed": -1}, 400), ({"dry_run": False}, 403)):
            self.refused(status=status, text=text, **more)
        self.assertIn("at most 5000 ", self.refused(text=text, dry_run=True, count=5001)["message"])
        self.assertEqual(len(self.post("/v1/schedules", {"text": text, "dry_run": True, "count": 5000}).json["plan"]), 5000)
        self.assertEqual(self.refused(status=403, text=self.storm(more="command = true"), dry_run=True)["word"], "command")
        many = self.storm(more="rule = loss 127.0.0.1:1 1%\n" * 256)
        self.assertIn("no more than 256 rules", self.refused(status=409, text=many, dry_run=True)["message"])
        self.assertEqual((self.get("/v1/schedules").json["schedules"], self.rules()), ([], []))
        self.assertFalse(os.path.exists(f"{self.dir}/default/schedule-storm.json"))
        self.assertEqual([a for a in self.audit() if a["command"] == "schedule"] if os.path.exists(f"{self.dir}/default/audit.jsonl") else [], [])

    def test_a_wrong_text_is_refused_with_its_line(self):
        for text, said in ((self.storm(more="weigth = 1"), "line 9: unknown key of [scenario slow] 'weigth'"), (self.storm(more="[scenari x]"), "line 9: unknown section"),
                           (self.storm(wait="soon"), "line 3: "), ("[schedule]\nnonsense\n", "line 2"), ("", "[schedule]"), (self.storm(more="rule = latncy a:1 1ms"), "did you mean"),
                           ("[schedule]\ninterval = 1s\n", "minimum_interval")):
            self.assertIn(said, self.refused(text=text)["message"], text)

    def test_a_text_may_run_nothing_and_write_nothing(self):
        mark = f"{self.dir}/mark"
        for more, word, line in ((f"command = touch {mark}", "command", 9), (f"command = true\nundo = touch {mark}", "command", 9), (f"undo = touch {mark}", "undo", 9), ("restart = true", "restart", 9),
                                 (f"[target x]\nprocess = x\nstart = touch {mark}", "start", 11), (f"[target x]\nrestart = touch {mark}", "restart", 10),
                                 (f"[target x]\nstate_file = {mark}", "state_file", 10), (f"[health]\ncheck = touch {mark}", "check", 10), (f"[audit]\nfile = {mark}", "file", 10),
                                 ("[audit]\nsyslog = true", "syslog", 10), (f"[notify]\ncommand = touch {mark}", "command", 10), ("[notify]\nwebhook = http://127.0.0.1:1/", "webhook", 10)):
            refused = self.refused(text=self.storm(more=more), status=403)
            self.assertEqual((refused["word"], refused["message"].split(":")[0]), (word, f"line {line}"), refused)
        self.assertEqual(self.refused(text=self.storm().replace("[scenario", f"state_file = {mark}\n[scenario"), status=403)["word"], "state_file")
        for text in (self.storm(more="mode = ${HOME}"), self.storm(more="mode = ${HOME:-x}"), self.storm(more="[health]\ncheck = http://127.0.0.1:1/${CHAOS_DIR:-x}")):
            self.assertIn("a variable of chaosd", self.refused(text=text, status=403)["message"])
        self.assertIn("--process", self.refused(text="[schedule]\ninterval = 1min\n")["message"], "the scenarios that there are without one want a target")
        self.assertFalse(os.path.exists(mark))
        self.begin(text=self.storm(more="[health]\ncheck = tcp://127.0.0.1:1"))

    def test_wrong_requests(self):
        self.file("storm", self.storm())
        self.write("outside.ini", self.storm())
        os.symlink(f"{self.dir}/outside.ini", f"{self.schedules}/link.ini")
        for body in ({}, {"name": "storm", "text": self.storm()}, {"name": 1}, {"text": []}, {"name": "storm", "seed": -1}, {"name": "storm", "seed": "7"}, {"name": "storm", "count": 0},
                     {"name": "storm", "count": 1.5}, {"name": "storm", "path": "x"}, {"name": "../outside"}, {"name": "-"}, {"name": ""}):
            self.refused(**body)
        for name in ("none", "link"):
            self.refused(status=404, name=name)
        self.file("off", self.storm().replace("name = storm", "name = off\nenabled = false"))
        self.assertIn("not enabled", self.refused(status=403, name="off")["message"])
        self.write("stop", "")
        self.assertIn("stop file", self.refused(status=403, name="storm")["message"])
        os.unlink(f"{self.dir}/stop")
        self.configure(enabled="false")
        self.assertIn("enabled", self.refused(status=403, name="storm")["message"])
        self.configure(schedules="")
        self.assertIn("folder", self.refused(status=403, name="storm")["message"])
        self.assertEqual(self.begin(text=self.storm(wait="1min"))["name"], "storm", "a text needs no folder")


if __name__ == "__main__":
    unittest.main()
