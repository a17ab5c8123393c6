"""chaos-ctl schedule on a small real service under the shim: what is drawn happens, is taken back, and is told; and nothing of
it outlives the schedule."""
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

from harness import CTL, DONE, FAILED, USAGE, SessionTest, alive, free_port, until, with_log

SERVICE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support/schedule_service.py")
SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
PYTHON = os.path.realpath(sys.executable)


def pending(pid, number):
    with open(f"/proc/{pid}/status") as f:
        masks = dict(line.split(":\t") for line in f)
    return any(int(masks[of], 16) >> (number - 1) & 1 for of in ("SigPnd", "ShdPnd"))


class Schedule(SessionTest):
    def setUp(self):
        super().setUp()
        self.port = free_port()
        self.pid_file = os.path.join(self.dir, "service.pid")
        self.state_file = os.path.join(self.dir, "state.json")
        # Background and all: what a service manager would do.
        start = os.path.join(self.dir, "start")
        with open(start, "w") as f:
            f.write(f"DATABASE_URL=postgres://db {CTL} run -- {PYTHON} {SERVICE} {self.port} >/dev/null 2>&1 &\necho $! > {self.pid_file}\n")
        self.start_command = f"sh {start}"
        self.restart_command = f"kill -9 $(cat {self.pid_file}); sh {start}"
        self.glob = os.path.basename(PYTHON)

    def tearDown(self):
        self.kill_service()
        super().tearDown()

    def service(self):
        try:
            with open(self.pid_file) as f:
                return int(f.read())
        except (OSError, ValueError):
            return 0

    def kill_service(self):
        if self.service() and alive(self.service()):
            os.kill(self.service(), signal.SIGKILL)
            until(lambda: not alive(self.service()), "the end of the service")

    def ask(self, timeout=5):
        """Status and seconds; 0: no answer."""
        began = time.monotonic()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=timeout) as answer:
                return answer.status, time.monotonic() - began
        except urllib.error.HTTPError as e:
            return e.code, time.monotonic() - began
        except OSError:
            return 0, time.monotonic() - began

    def file(self, body="", target=True, **keys):
        settings = {"name": "t", "interval": "1h", "minimum_interval": "100ms", "start_wait": "0", "recovery": "30s", "command_timeout": "10s", "state_file": self.state_file, **keys}
        text = "[schedule]\n" + "".join(f"{k} = {v}\n" for k, v in settings.items() if v)
        if target:
            text += f"[target service]\nprocess = {self.glob}\nstart = {self.start_command}\nrestart = {self.restart_command}\n"
        path = os.path.join(self.dir, "schedule.ini")
        with open(path, "w") as f:
            f.write(text + body)
        return path

    def run_schedule(self, path, *words, **more):
        return self.start([CTL, "schedule", "run", path, "--json", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)

    def status(self):
        return next(iter(self.ok("schedule", "status", "--json").json["schedules"]), {})

    def injecting(self):
        return until(lambda: self.status().get("state") == "injecting" and self.status(), "an injection")

    def active(self):
        return [r["name"] for r in self.rules() if r["state"] != "ended"]

    def state(self):
        with open(self.state_file) as f:
            return json.load(f)

    def audit(self, name="t"):
        with open(os.path.join(self.dir, "default", f"schedule-{name}.jsonl")) as f:
            return [json.loads(line) for line in f]

    # --- the three scenarios that there are without asking

    def only(self, name):
        """One of the default scenarios alone, the slowdown shortened."""
        rules = {"crash": "crash process --exit 1 --times 1 --scope session", "slowdown": "latency listen:* {1..2}s --everything", "config_error": "unset env:DATABASE_URL"}
        modes = {"crash": "crash", "slowdown": "slow", "config_error": "config_error"}
        return f"[scenario {name}]\nmode = {modes[name]}\nrule = {rules[name]}\nrestart = {'true' if name == 'config_error' else 'false'}\n"

    def test_commands_may_have_any_bytes(self):
        path = self.file("[scenario odd]\ncommand = touch mark; true MARK\nundo = true MARK\n", target=False, recovery="100ms", count=1)
        with open(path, "rb") as f:
            text = f.read().replace(b"mark", self.dir.encode() + b"/mark").replace(b"MARK", b"\xff\xfe")
        with open(path, "wb") as f:
            f.write(text)
        p = self.run_schedule(path)
        out, err = p.communicate(timeout=20)
        self.assertEqual((p.returncode, err), (DONE, ""))
        self.assertEqual([json.loads(line)["event"] for line in out.splitlines()], ["start", "inject", "clear", "end"])
        self.assertTrue(os.path.exists(f"{self.dir}/mark"))

    def test_crash_the_service_ends_and_is_started_again(self):
        p = self.run_schedule(self.file(self.only("crash"), recovery="4s"), "--count", "1")
        self.injecting()
        before = self.service()
        until(lambda: not alive(before) or self.ask()[0] == -1, "the crash")  # of who is asked once it listens and the rule is in force
        until(lambda: self.state()["mode"] == "crash", "the state file", deadline=4)
        out, err = p.communicate(timeout=30)
        self.assertEqual(p.returncode, DONE, err)
        self.assertNotEqual(self.service(), before)
        self.assertEqual(until(lambda: self.ask()[0], "an answer"), 200)
        events = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([e["event"] for e in events], ["start", "started", "inject", "started", "clear", "end"])
        self.assertEqual(events[4]["fired"], 1)
        self.assertEqual(self.active(), [])

    def test_slowdown_answers_take_seconds_and_the_state_file_says_so(self):
        p = self.run_schedule(self.file(self.only("slowdown")), "--count", "1")
        self.injecting()
        until(lambda: "t-slowdown" in self.active(), "the rule")
        until(lambda: self.state()["mode"] == "slow", "the state file")
        state = self.state()
        self.assertEqual((state["mode"], state["injected_by"], state["scenario"], state["target"]), ("slow", "chaos-ctl schedule", "slowdown", "service"))
        self.assertIn(state["delay"], (1, 2))
        status, seconds = until(lambda: (answer := self.ask())[0] and answer, "an answer")  # once it listens
        self.assertEqual(status, 200)
        self.assertGreaterEqual(seconds, state["delay"] - 0.01)
        self.assertGreaterEqual(self.rule("t-slowdown")["fired"], 1)
        p.terminate()
        out, _ = p.communicate(timeout=20)
        self.assertEqual(p.returncode, DONE)
        self.assertEqual(self.state()["mode"], "healthy")
        self.assertEqual(self.active(), [])
        self.assertSoon(self.ask()[1], 0.9)

    def test_configuration_error_the_service_is_started_without_its_database(self):
        p = self.run_schedule(self.file(self.only("config_error")), "--count", "1")
        self.injecting()
        until(lambda: self.ask()[0] == 500, "a 500")
        self.assertEqual(self.ask()[0], 500)
        self.ok("schedule", "stop", "t")
        out, err = p.communicate(timeout=20)
        self.assertEqual(p.returncode, DONE, err)
        self.assertEqual(until(lambda: self.ask()[0], "an answer"), 200)
        clear = next(json.loads(line) for line in out.splitlines() if json.loads(line)["event"] == "clear")
        self.assertGreaterEqual(clear["fired"], 1)

    def test_without_scenarios_those_three_are_drawn(self):
        plan = self.ok("schedule", "run", self.file(), "--dry-run", "--seed", "1", "--count", "10000", "--json").json["plan"]
        seen = {name: sum(e["scenario"] == name for e in plan) for name in ("crash", "slowdown", "config_error")}
        expected = {"crash": 3000, "slowdown": 4000, "config_error": 3000}
        chi_square = sum((seen[n] - e) ** 2 / e for n, e in expected.items())
        self.assertLess(chi_square, 13.8, seen)  # two degrees of freedom, p = 0.001
        slow = [e for e in plan if e["scenario"] == "slowdown"]
        self.assertEqual((min(e["delay_seconds"] for e in slow), max(e["delay_seconds"] for e in slow)), (10, 30))
        self.assertNoDaemon(message="a plan needs no daemon")

    # --- time

    def test_same_seed_same_plan_and_the_plan_is_what_happens(self):
        body = "[scenario a]\ncommand = true\n[scenario b]\ncommand = true\nweight = 2\n"
        path = self.file(body, target=False, interval="200ms", recovery="50ms")
        words = ("schedule", "run", path, "--count", "6", "--seed")
        plan = self.ok(*words, "9", "--dry-run", "--json").json
        self.assertEqual(plan, self.ok(*words, "9", "--dry-run", "--json").json)
        self.assertNotEqual([e["scenario"] for e in plan["plan"]], [e["scenario"] for e in self.ok(*words, "10", "--dry-run", "--json").json["plan"]])
        done = self.ok(*words, "9", "--json", timeout=60)
        events = [json.loads(line) for line in done.out.splitlines()]
        injected = [e for e in events if e["event"] == "inject"]
        self.assertEqual([e["scenario"] for e in injected], [e["scenario"] for e in plan["plan"]])
        for n, e in enumerate(injected):  # each told after its command, which takes its time
            self.assertGreaterEqual(e["time_unix_ms"] - events[0]["time_unix_ms"], n * 200 - 5)

    def test_start_up_wait(self):
        p = self.run_schedule(self.file("[scenario a]\ncommand = true\n", target=False, start_wait="1h"))
        self.assertEqual(until(lambda: self.status().get("state") == "waiting" and self.status(), "the wait")["injections"], 0)
        self.assertEqual(self.status()["pid"], p.pid)
        self.ok("schedule", "stop")
        self.assertEqual((p.wait(), self.status()["state"]), (DONE, "ended"))

    def test_the_minimum_interval_holds_across_restarts(self):
        path = self.file("[scenario a]\ncommand = true\n", target=False, interval="1h", minimum_interval="30min", recovery="50ms")
        self.ok("schedule", "run", path, "--count", "1")
        p = self.run_schedule(path, "--count", "1")
        waiting = until(lambda: self.status().get("state") == "waiting" and self.status(), "the wait")
        self.assertGreater(waiting["until_unix_ms"] - waiting["since_unix_ms"], 29 * 60_000)
        p.terminate()
        self.assertEqual(p.wait(), DONE)

    def test_a_failing_system_is_left_alone_and_asked_less_and_less(self):
        flag = os.path.join(self.dir, "well")
        body = f"[health]\ncheck = test -e {flag}\ninterval_max = 500ms\n[scenario a]\ncommand = true\n"
        p = self.run_schedule(self.file(body, target=False, interval="100ms", recovery="50ms"), "--count", "1")
        skips = lambda: [e["interval_ms"] for e in self.audit() if e["event"] == "skip"]
        until(lambda: os.path.exists(os.path.join(self.dir, "default", "schedule-t.jsonl")) and len(skips()) >= 4, "four looks")
        self.assertEqual(skips()[:4], [200, 400, 500, 500])
        self.assertFalse([e for e in self.audit() if e["event"] == "inject"])
        open(flag, "w").close()
        p.communicate(timeout=20)
        self.assertEqual(len([e for e in self.audit() if e["event"] == "inject"]), 1)

    def test_health_by_http_and_tcp(self):
        self.ok("daemon", "start")
        subprocess.run(["sh", "-c", self.start_command], env=self.env, check=True)
        until(lambda: self.ask()[0] == 200, "the service")
        for good, bad in ((f"http://127.0.0.1:{self.port}/", f"http://127.0.0.1:{free_port()}/"), (f"tcp://127.0.0.1:{self.port}", f"tcp://127.0.0.1:{free_port()}")):
            body = "[health]\ncheck = {}\n[scenario a]\ncommand = true\n"
            self.ok("schedule", "run", self.file(body.format(good), target=False, recovery="50ms", name="good"), "--count", "1")
            p = self.run_schedule(self.file(body.format(bad), target=False, recovery="50ms", name="bad"), "--count", "1")
            until(lambda: next((s for s in self.ok("schedule", "status", "--json").json["schedules"] if s["name"] == "bad" and s["state"] == "failing"), None), "that it is seen to fail")
            p.terminate()
            p.wait()

    # --- taking back

    def test_ctrl_c_takes_everything_back(self):
        trace = os.path.join(self.dir, "trace")
        body = f"[scenario a]\nrule = latency *:1 1ms\ncommand = echo did $CHAOS_SCENARIO >> {trace}\nundo = echo undid $CHAOS_NUMBER >> {trace}\n"
        p = self.run_schedule(self.file(body, target=False))
        self.injecting()
        until(lambda: os.path.exists(trace) and self.active() == ["t-a"], "the injection")
        p.send_signal(signal.SIGINT)
        p.communicate(timeout=20)
        self.assertEqual(p.returncode, DONE)
        self.assertEqual(self.active(), [])
        with open(trace) as f:
            self.assertEqual(f.read(), "did a\nundid 1\n")
        self.assertEqual(self.state()["mode"], "healthy")

    def test_after_kill_9_the_rules_end_and_the_next_run_takes_back_the_rest(self):
        trace = os.path.join(self.dir, "trace")
        body = f"[scenario a]\nrule = latency *:1 1ms\ncommand = true\nundo = echo undid $CHAOS_SCENARIO >> {trace}\n"
        path = self.file(body, target=False)
        p = self.run_schedule(path)
        self.injecting()
        until(lambda: self.active() == ["t-a"], "the rule")
        until(lambda: self.state()["mode"] == "a", "the state file")
        p.kill()
        p.communicate()
        until(lambda: self.active() == [], "the end of the rule")
        self.assertEqual(self.rule("t-a")["ended_reason"], "its owner ended")
        self.assertEqual((self.status()["state"], self.status()["running"]), ("died", False))
        self.assertEqual(self.state()["mode"], "a", "nobody was there to clear it")
        p = self.run_schedule(self.file(body, target=False, start_wait="1h"))
        until(lambda: self.state()["mode"] == "healthy", "that it is cleared on start")
        with open(trace) as f:
            self.assertEqual(f.read(), "undid a\n")
        self.assertIn("recovered", [e["event"] for e in self.audit()])
        p.terminate()
        p.wait()

    def test_while_it_takes_back_stop_means_it_and_not_the_one_that_died(self):
        begun, go = os.path.join(self.dir, "begun"), os.path.join(self.dir, "go")
        self.ok("daemon", "start")
        innocent = self.start(["sleep", "60"])  # has the number of the run that died
        with open(os.path.join(self.dir, "default", "schedule-t.json"), "w") as f:
            json.dump({"name": "t", "pid": innocent.pid, "state": "injecting", "scenario": "a", "undo": f"touch {begun}; while test -e {begun} -a ! -e {go}; do sleep 0.02; done"}, f)
        p = self.run_schedule(self.file("[scenario a]\ncommand = true\n", target=False, start_wait="1h"))
        until(lambda: os.path.exists(begun), "the taking back")
        self.assertEqual((self.status()["running"], self.status()["pid"]), (True, p.pid))
        stop = self.start([CTL, "schedule", "stop", "t"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until(lambda: pending(p.pid, signal.SIGTERM), "the signal")
        open(go, "w").close()
        out, err = stop.communicate(timeout=20)
        self.assertEqual((stop.returncode, out), (DONE, "stopped\n"), err)
        self.assertIn("told to end", p.communicate(timeout=20)[0])
        self.assertIsNone(innocent.poll())

    def test_a_record_that_somebody_has_edited_stops_nothing(self):
        self.ok("daemon", "start")
        for record in {"state": 5}, {"state": "injecting", "undo": 7, "scenario": []}, {"last_injection_unix_ms": "x"}, {"pid": "x", "state": "injecting"}:
            with open(os.path.join(self.dir, "default", "schedule-t.json"), "w") as f:
                json.dump(record, f)
            p = self.run_schedule(self.file("[scenario a]\ncommand = true\n", target=False, recovery="10ms"), "--count", "1")
            out, err = p.communicate(timeout=20)
            self.assertEqual((p.returncode, err), (DONE, ""), record)
            self.assertIn("ended after 1 injection", out)

    def test_an_emergency_stop_ends_it_injecting_or_waiting(self):
        p = self.run_schedule(self.file("[scenario a]\nrule = latency *:1 1ms\n", target=False))
        self.injecting()
        until(lambda: self.active() == ["t-a"], "the rule")
        self.assertIn("1 schedule was told to end", self.ok("stop").out)
        p.communicate(timeout=20)
        self.assertEqual(self.active(), [])
        p = self.run_schedule(self.file("[scenario a]\ncommand = true\n", target=False, start_wait="1h"))
        until(lambda: self.status().get("state") == "waiting", "the wait")
        self.ok("stop")
        p.communicate(timeout=20)
        self.assertEqual(p.returncode, DONE)

    def test_a_rule_that_somebody_removes_ends_it(self):
        p = self.run_schedule(self.file("[scenario a]\nrule = latency *:1 1ms\n", target=False))
        self.injecting()
        until(lambda: self.active() == ["t-a"], "the rule")
        self.ok("rm", "t-a")
        out, _ = p.communicate(timeout=20)
        self.assertEqual(p.returncode, FAILED)
        self.assertIn("ended from outside", out)

    # --- telling

    def test_audit_notification_and_webhook_tell_who_did_what(self):
        posted = []

        class Hook(BaseHTTPRequestHandler):
            def do_POST(self):
                posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass
        server = HTTPServer(("127.0.0.1", 0), Hook)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        said, audit = os.path.join(self.dir, "said"), os.path.join(self.dir, "audit.jsonl")
        body = (f"[audit]\nfile = {audit}\n[notify]\ncommand = cat >> {said}; echo $CHAOS_EVENT $CHAOS_SCENARIO >> {said}\nwebhook = http://127.0.0.1:{server.server_port}/hook\n"
                "[scenario a]\nrule = latency *:1 {1..9}ms\n")
        self.ok("schedule", "run", self.file(body, target=False, recovery="50ms"), "--count", "1", "--seed", "4")
        with open(audit) as f:
            lines = [json.loads(line) for line in f]
        self.assertEqual([e["event"] for e in lines], ["start", "inject", "clear", "end"])
        for e in lines:
            self.assertEqual((e["schedule"], e["seed"], e["uid"]), ("t", 4, os.getuid()))
        self.assertRegex(lines[1]["rules"][0], r"^latency \*:1 [1-9]ms$")
        self.assertEqual(posted, lines)
        with open(said) as f:
            told = f.read()
        self.assertIn("inject a\n", told)
        self.assertEqual([json.loads(line) for line in told.splitlines() if line.startswith("{")], lines)

    def test_a_hook_that_fails_or_hangs_is_told_and_stops_nothing(self):
        body = f"[notify]\ncommand = sleep 60\nwebhook = http://127.0.0.1:{free_port()}/\ntimeout = 100ms\n[scenario a]\ncommand = exit 3\n"
        self.ok("schedule", "run", self.file(body, target=False, recovery="50ms"), "--count", "1")
        texts = [e["text"] for e in self.audit() if e["event"] == "warning"]
        for said in ("notification command failed: not done within its time", "the webhook failed: no answer", "command: exit status 3"):
            self.assertTrue([t for t in texts if said in t], texts)

    @unittest.skipIf(os.geteuid() != 0, "a private /dev needs root")
    def test_syslog(self):
        path = os.path.join(self.dir, "log")
        log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(log.close)
        log.bind(path)
        log.settimeout(20)
        file = self.file("[audit]\nsyslog = true\n[scenario a]\ncommand = true\n", target=False, recovery="50ms")
        done = subprocess.run([*with_log(self.dir, path), CTL, "schedule", "run", file, "--count", "1"], env=self.env, text=True, capture_output=True, timeout=30)
        self.assertEqual(done.returncode, DONE, done)
        said = [log.recv(4096).decode() for _ in range(4)]
        self.assertRegex(said[1], r"^<29>.*chaos-schedule\[\d+\]: t #1: a: injected for 50ms$")

    # --- use

    def test_several_targets_one_after_the_other(self):
        trace = os.path.join(self.dir, "trace")
        body = "".join(f"[target {t}]\nstate_file = {self.dir}/{t}.json\n" for t in ("one", "two", "three")) + f"[scenario a]\ncommand = echo $CHAOS_TARGET $(cat {self.dir}/$CHAOS_TARGET.json) >> {trace}\n"
        self.ok("schedule", "run", self.file(body, target=False, interval="100ms", recovery="10ms"), "--count", "12", "--seed", "2", timeout=60)
        with open(trace) as f:
            rows = [line.split(" ", 1) for line in f]
        self.assertEqual({name for name, _ in rows}, {"one", "two", "three"})
        for name, state in rows:
            self.assertEqual((json.loads(state)["mode"], json.loads(state)["target"]), ("a", name))
        for name in ("one", "two", "three"):
            with open(f"{self.dir}/{name}.json") as f:
                self.assertEqual(json.load(f)["mode"], "healthy")

    def test_not_enabled_does_nothing(self):
        self.assertIn("not enabled", self.ok("schedule", "run", self.file("[scenario a]\ncommand = true\n", target=False, enabled="false")).out)
        self.assertNoDaemon()

    def test_two_of_one_name_do_not_run_at_once(self):
        path = self.file("[scenario a]\ncommand = true\n", target=False, start_wait="1h")
        p = self.run_schedule(path)
        until(lambda: self.status().get("state") == "waiting", "the first")
        self.assertIn("runs already", self.ctl("schedule", "run", path, check=FAILED).err)
        p.terminate()
        p.wait()

    def test_validate(self):
        answer = self.ok("schedule", "validate", self.file())
        for said in ("crash", "30.0%", "slowdown", "40.0%", "latency listen:* {10..30}s", "config_error"):
            self.assertIn(said, answer.out)
        self.assertEqual([s["weight"] for s in self.ok("schedule", "validate", self.file(), "--json").json["scenarios"]], [30, 40, 30])

    def test_every_key_is_documented_and_the_examples_are_valid(self):
        with open(os.path.join(SOURCE, "docs/schedule.md"), encoding="utf-8") as f:
            text = f.read()
        for section in ("schedule", "health", "audit", "notify", "target x", "scenario x"):
            path = os.path.join(self.dir, "keys.ini")
            with open(path, "w") as f:
                f.write("[schedule]\n" * (section != "schedule") + f"[{section}]\nqqqqqqqqqqqqqqqqqq = 1\n")
            keys = self.ctl("schedule", "validate", path, "--json", check=USAGE).json["error"]["expected"]
            self.assertGreaterEqual(len(keys), 2)
            for key in keys:
                self.assertIn(f"`{key}`", text, section)
        folder = os.path.join(SOURCE, "examples/schedules")
        for name in os.listdir(folder):
            self.ok("schedule", "validate", os.path.join(folder, name))

    def test_wrong_use(self):
        path = self.file("[scenario a]\ncommand = true\n", target=False)
        for words, said in (((), "run, validate, status or stop"), (("runn", path), "did you mean 'run'"), (("run",), "FILE"), (("run", path, path), "too many"),
                            (("validate", path, "--seed", "1"), "schedule run"), (("run", path, "--seed", "x"), "--seed"), (("run", path, "--count", "0"), "--count")):
            self.assertIn(said, self.ctl("schedule", *words, check=USAGE).err)
        with open(path, "a") as f:
            f.write("[scenario b]\nrule = latancy *:1 1ms\n")
        answer = self.ctl("schedule", "validate", path, "--json", check=USAGE)
        self.assertIn("did you mean 'latency'", answer.json["error"]["message"])
        self.assertRegex(answer.json["error"]["message"], r"schedule.ini, line \d+: ")
        self.assertEqual(self.ctl("schedule", "run", "/nowhere").code, FAILED)
        self.assertIn("no schedule", self.ctl("schedule", "stop", check=FAILED).err)
        self.assertIn("no schedule", self.ok("schedule", "status").out)
        self.assertNoDaemon(message="wrong use starts no daemon")


if __name__ == "__main__":
    unittest.main()
