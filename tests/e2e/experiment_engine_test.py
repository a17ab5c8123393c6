"""The engine of experiments with real programs: loads, probes of every kind, stress, steps and ramps, breakers on the timeline,
conditions that abort, and that nothing which it started outlives it."""
import json
import os
import re
import signal
import subprocess
import threading
import time
import unittest
import xml.etree.ElementTree as xml

import side_by_side
from harness import BUILD, CTL, DONE, FAILED, SHIM, USAGE, SessionTest, TooLate, alive, free_port, until

HYPOTHESIS_FAILED = 4
SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
BREAKER = os.path.join(BUILD, "tests/breaker_program")

HEAD = """[experiment]
name = engine
hypothesis = it does what it says
baseline = 500ms
observe = {observe}
recover = 5s
"""
REDIS = """[probe redis]
kind = redis
address = 127.0.0.1:${PORT}
rate = 40/s
timeout = 1s
"""
SLOW = """[fault slow]
kind = latency
target = listen:${PORT}
value = 20ms
"""


class Engine(SessionTest):
    def setUp(self):
        super().setUp()
        self.port = free_port()
        self.env["PORT"] = str(self.port)
        self.redis = self.start(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.dir],
                                env={"LD_PRELOAD": SHIM}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: subprocess.run(["redis-cli", "-p", str(self.port), "ping"], capture_output=True).returncode == 0, "redis-server")

    def file(self, *parts, observe="1s"):
        path = os.path.join(self.dir, "e.ini")
        with open(path, "w") as f:
            f.write(HEAD.format(observe=observe) + "\n".join(parts))
        return path

    def run_it(self, *parts, check=DONE, observe="1s", more=()):
        answer = self.ctl("experiment", "run", self.file(*parts, observe=observe), "--json", *more, timeout=60)
        if (answer.code, check) == (HYPOTHESIS_FAILED, DONE):
            failed = [(e["text"], e["measured_text"]) for e in answer.json["expectations"] if e["state"] != "pass"]
            if not any("fired" in text for text, _ in failed):  # ratios of times, and shares of what is answered in time
                raise TooLate(str(failed))
        self.assertEqual(answer.code, check, answer)
        return answer.json

    def active(self):
        return [r["name"] for r in self.rules() if r["state"] != "ended"]

    def text_of(self, name):
        with open(os.path.join(self.dir, name), encoding="utf-8") as f:
            return f.read()

    def test_a_redis_load_shows_the_delay_and_goes_on(self):
        out = self.run_it("[load l]\nkind = redis\naddress = 127.0.0.1:${PORT}\ncommand = SET key:{1..50} x\nexpect = OK\nrate = 200/s\nconnections = 16\n", SLOW,
                          "[expect]\nerror_rate < 1%\np50 >= 20ms\nlatency_p99_ratio >= 2\nthroughput_ratio >= 0.8\nno_hang\nno_crash\n")
        load = out["probes"][0]
        self.assertTrue(load["load"])
        self.assertEqual(load["during"]["samples"], sum(n for _, n in load["during"]["latency_histogram"]))
        self.assertEnough(load["during"]["samples"], 190)
        self.assertEqual(subprocess.run(["redis-cli", "-p", str(self.port), "dbsize"], capture_output=True, text=True).stdout.strip(), "50")

    def test_a_load_with_too_few_connections_shows_the_queue(self):
        """Two connections at 20 ms an answer carry 100 requests a second; 200 are due: the rest waits, and that is measured."""
        out = self.run_it("[load l]\nkind = redis\naddress = 127.0.0.1:${PORT}\nrate = 200/s\nconnections = 2\ntimeout = 5s\n", SLOW, "[expect]\np99 >= 200ms\nsamples >= 190\n")
        self.assertGreaterEqual(out["probes"][0]["during"]["p50_ns"], 100_000_000)

    def test_logs_counters_and_the_timeline_are_probes(self):
        log = os.path.join(self.dir, "app.log")
        open(log, "w").close()
        self.env["LOG"] = log
        out = self.run_it(REDIS, SLOW,
                          "[probe app]\nkind = log\npath = ${LOG}\nmatch = PANIC\nrate = 20/s\n",
                          "[probe count]\nkind = stat\nrule = slow\ncounter = fired\nat_least = 1\nrate = 10/s\n",
                          "[probe seen]\nkind = timeline\nmatch = \"rule_name\":\"slow\"\nrate = 10/s\n",
                          "[load writer]\nkind = command\ncommand = while sleep 0.05; do echo all is well >> ${LOG}; done\n",
                          "[expect during]\nredis p50 >= 20ms\napp log_contains all is well\napp log_lacks PANIC\ncount success_rate >= 50%\nseen success_rate >= 50%\n")
        self.assertEqual({e["state"] for e in out["expectations"]}, {"pass"}, out["expectations"])
        out = self.run_it(REDIS, SLOW, "[probe app]\nkind = log\npath = ${LOG}\nmatch = well\nrate = 20/s\n",
                          "[load writer]\nkind = command\ncommand = sleep 0.7; while sleep 0.05; do echo all is well >> ${LOG}; done\n",
                          "[expect during]\napp log_lacks all is well\napp log_contains nothing like it\napp success_rate >= 90%\n", check=HYPOTHESIS_FAILED)
        self.assertEqual([e["state"] for e in out["expectations"] if e["probe"] == "app" and e["window"] == "during"], ["fail"] * 3)

    def calls_through_a_breaker(self, *orders):
        """A program that connects to Redis a hundred times a second, in these ways in turn, until the test ends."""
        program = self.start([BREAKER], env={"LD_PRELOAD": SHIM}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        over = threading.Event()

        def feed():
            n = 0
            while not over.wait(0.01):
                try:
                    program.stdin.write(f"early {orders[n % len(orders)]} {self.port}\n")
                    program.stdin.flush()
                    program.stdout.readline()
                except (OSError, ValueError):
                    return
                n += 1
        thread = threading.Thread(target=feed)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(over.set)
        return program

    BREAKER_FILE = "[fault cut]\nkind = down\ntarget = 127.0.0.1:${PORT}\n[probe breaker]\nkind = breaker\nbreaker = early\nrate = 10/s\n"

    def test_what_a_breaker_does_is_judged_by_the_timeline(self):
        self.calls_through_a_breaker("connect")
        out = self.run_it(REDIS, self.BREAKER_FILE, "[expect]\nopens_within early = 5 failures\nhalf_opens_after early = 200ms ±20%\nno_calls_while_open early cut\n"
                          "redis fails_fast_under early = 500ms\nbreaker success_rate < 60%\nno_crash\nrecovers_within = 3s\n", observe="2s")
        self.assertEqual({e["state"] for e in out["expectations"]}, {"pass"}, out["expectations"])
        self.assertEqual((out["transitions"][0]["breaker"], out["transitions"][0]["failures"]), ("early", 5))
        self.assertGreaterEqual(len([t for t in out["transitions"] if t["to"] == "half_open"]), 5)
        self.assertEqual({b["text"] for b in out["bands"] if b["of"] == "breaker"}, {"closed", "open", "half_open"})

    def test_what_a_breaker_does_not_do_is_found_out(self):
        self.calls_through_a_breaker("connect", "around")
        wrong = ["opens_within early = 4 failures", "half_opens_after early = 300ms ±5%", "no_calls_while_open early cut", "redis fails_fast_under early = 1us", "opens_within other = 5 failures"]
        out = self.run_it(REDIS, self.BREAKER_FILE, "[expect]\n" + "\n".join(wrong) + "\n", observe="2s", check=HYPOTHESIS_FAILED)
        self.assertEqual([e["text"] for e in out["expectations"] if e["state"] == "fail"], wrong)
        self.assertEqual(next(e["reason"] for e in out["expectations"] if e["text"] == wrong[4]), "the breaker other did not open")

    def test_a_ramp_rises_and_its_counters_go_on(self):
        out = self.run_it(REDIS, SLOW + "ramp_to = 60ms\nramp_over = 800ms\n", "[fault later]\nkind = observe\ntarget = listen:${PORT}\nstart = 500ms\n[expect during]\nsuccess_rate >= 99%\nmax >= 60ms\n",
                          observe="1500ms")
        bands = [b for b in out["bands"] if b["name"] == "slow"]
        self.assertEqual([b["text"].split()[1] for b in bands], ["20ms", "33333us", "46667us", "60ms"])
        self.assertTrue(all(a["to_ms"] <= b["from_ms"] for a, b in zip(bands, bands[1:])))
        later = next(b for b in out["bands"] if b["name"] == "later")
        self.assertGreaterEqual(later["from_ms"] - bands[0]["from_ms"], 490)
        slow = next(f for f in out["faults"] if f["name"] == "slow")
        self.assertGreaterEqual(slow["fired"], out["probes"][0]["during"]["samples"] - 5, "what the replaced rules counted is not lost")
        self.assertEqual(self.active(), [])

    def test_an_abort_condition_ends_it_with_clean_up(self):
        began = time.monotonic()
        out = self.run_it(REDIS, "[fault cut]\nkind = down\ntarget = listen:${PORT}\n[abort]\nredis error_rate > 50%\n[expect]\nsuccess_rate >= 99%\n", check=FAILED, observe="60s")
        self.assertSoon(time.monotonic() - began, 20)
        self.assertEqual(out["verdict"], "aborted")
        self.assertIn("a condition of [abort] was met: redis error_rate > 50%", out["reason"])
        self.assertEqual(out["notes"][-1], "clean-up: removed fault cut")
        self.assertEqual(self.active(), [])

    def test_a_process_that_is_killed_is_a_crash(self):
        self.env["PID"] = str(self.redis.pid)
        p = self.start([CTL, "experiment", "run", self.file(REDIS, SLOW, "[process server]\npid = ${PID}\n[abort]\nno_crash\n[expect]\nno_crash\nsuccess_rate >= 1%\n", observe="60s"), "--json"],
                       stdout=subprocess.PIPE)
        until(lambda: self.ctl("daemon", "status").code == DONE and self.active() == ["slow"], "the fault")
        self.redis.kill()
        self.redis.wait()
        out, _ = p.communicate(timeout=20)
        self.assertEqual((p.returncode, json.loads(out)["verdict"]), (FAILED, "aborted"))
        self.assertIn("no_crash (measured 1", json.loads(out)["reason"])

    def stress_and_load(self):
        """An experiment with a fault, stress and a command that hides its child in a session of its own; the pids of the latter two."""
        path = self.file(REDIS, SLOW, "[stress cpu]\nrun = cpu 1 5%\n[load bg]\nkind = command\ncommand = cd " + self.dir + "; setsid sh -c 'echo $$ > hidden; exec sleep 1000' & wait\n[expect]\nsuccess_rate >= 1%\n", observe="60s")
        p = self.start([CTL, "experiment", "run", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until(lambda: self.ctl("daemon", "status").code == DONE and self.active() == ["slow"], "the fault")
        hidden = int(until(lambda: os.path.exists(self.dir + "/hidden") and self.text_of("hidden").strip(), "the load's command"))
        stress = until(lambda: self.stressors(p.pid), "stress-ng")
        return p, [hidden, *stress]

    @staticmethod
    def stressors(owner):
        """stress-ng processes that descend from this one."""
        parents, names = {}, {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/stat") as f:
                    text = f.read()
            except OSError:
                continue
            parents[int(name)] = int(text.rsplit(")", 1)[1].split()[1])
            names[int(name)] = text[text.index("(") + 1:text.rindex(")")]

        def descends(pid):
            while pid in parents:
                pid = parents[pid]
                if pid == owner:
                    return True
            return False
        return [pid for pid, name in names.items() if name.startswith("stress-ng") and descends(pid)]

    def test_signals_end_everything_and_say_what_was_removed(self):
        for s in (signal.SIGINT, signal.SIGTERM):
            p, pids = self.stress_and_load()
            p.send_signal(s)
            out, _ = p.communicate(timeout=20)
            self.assertEqual(p.returncode, FAILED)
            self.assertIn("clean-up: removed stress cpu, fault slow\nclean-up: ended load bg\naborted: stopped by " + s.name, out)
            self.assertEqual(self.active(), [])
            self.assertEqual([pid for pid in pids if alive(pid)], [])
            os.remove(self.dir + "/hidden")

    def test_a_killed_runner_leaves_nothing(self):
        p, pids = self.stress_and_load()
        p.kill()
        p.communicate()
        until(lambda: self.active() == [], "the end of the fault")
        until(lambda: not any(alive(pid) for pid in pids), "the end of stress-ng and of the load's command")

    def test_stress_shows_in_the_cpu(self):
        out = self.run_it(REDIS, "[stress burn]\nrun = cpu 2 100%\n[expect]\nsuccess_rate >= 99%\ncpu >= 30%\nmemory < 99%\n", observe="2s")
        self.assertEqual([b["name"] for b in out["bands"]], ["burn"])
        self.assertGreater(len(out["processes"][0]["series"]), 5)

    def test_reports_in_every_form_and_again_from_the_one_that_was_kept(self):
        paths = {e: os.path.join(self.dir, "r." + e) for e in ("txt", "md", "json", "xml", "html")}
        self.run_it(REDIS, SLOW, "[expect]\np50 >= 20ms\np95 < 10ms\n", check=HYPOTHESIS_FAILED, more=[w for p in paths.values() for w in ("--report", p)])
        texts = {ending: self.text_of(os.path.basename(path)) for ending, path in paths.items()}
        suite = xml.fromstring(texts["xml"]).find("testsuite")
        self.assertEqual((suite.get("tests"), suite.get("failures"), suite.get("errors")), ("5", "1", "0"))
        self.assertEqual([c.get("name") for c in suite.findall("testcase") if c.find("failure") is not None], ["p95 < 10ms"])
        self.assertIn("FAIL: the hypothesis failed", texts["txt"])
        self.assertFalse(re.search(r"(src|href)=", texts["html"]), "self-contained")
        for form, ending in (("text", "txt"), ("markdown", "md"), ("junit", "xml"), ("html", "html"), ("json", "json")):
            self.assertEqual(self.ctl("experiment", "report", paths["json"], "--format", form, check=DONE).out, texts[ending])
        again = os.path.join(self.dir, "again.html")
        self.assertEqual(self.ctl("experiment", "report", paths["json"], "--report", again, check=DONE).out, "")
        self.assertEqual(self.text_of("again.html"), texts["html"])
        self.assertIn("did you mean 'junit'", self.ctl("experiment", "report", paths["json"], "--format", "junt", check=USAGE).err)
        self.assertIn("not a report", self.ctl("experiment", "report", paths["md"], check=USAGE).err)

    def test_wrong_files_name_line_word_and_what_would_be_right(self):
        rows = ((SLOW + "ramp_to = 50ms\n", "ramp_to and ramp_over go together"), (SLOW + "ramp_over = 1s\nramp_to = 5%\n", "there is no way"), (SLOW + "start = 2s\n", "not before the end of observe"),
                (SLOW + "[stress x]\nrun = cpuu 2\n", "did you mean 'cpu'"), (SLOW + "[process x]\n", "one of match, pid and pid_file"), (SLOW + "[load redis]\nkind = redis\n", "both called 'redis'"),
                (SLOW + "[load x]\nkind = redis\nconections = 2\n", "did you mean 'connections'"), (SLOW + "[probe x]\nkind = log\npath = /x\nmatch = (\n", "not an extended regular expression"),
                (SLOW + "[abort]\nlatency_ratio > 5\n", "can not be told at a moment"), (SLOW + "[expect]\nopens_within > 5\n", "where = or < is expected"), (SLOW + "[expect]\nhalf_opens_after = 3s 5%\n", "±5%"),
                (SLOW + "[expect]\nfallback_ratio > 1%\n", "fallback = X-Source: postgres"), (SLOW + "[expect]\nno_crsh\n", "did you mean 'no_crash'"), (SLOW + "[expect]\nlog_contains x\n", "no probe of the kind log"))
        for text, said in rows:
            answer = self.ctl("experiment", "validate", self.file(REDIS, text), "--json", check=USAGE)
            message = answer.json["error"]["message"]
            self.assertIn(said, message)
            self.assertRegex(message, r"e\.ini, line \d+: ")

    def test_the_progress_line_is_for_terminals_alone(self):
        path = self.file(REDIS, SLOW, "[expect]\nsuccess_rate >= 99%\n")
        quiet = self.ctl("experiment", "run", path, check=DONE)
        self.assertNotIn("\r", quiet.err)
        self.assertIn("· observe (1s)\n", quiet.err)
        shown = subprocess.run(["script", "-qec", f"{CTL} experiment run {path}", "/dev/null"], env={**self.env, "TERM": "xterm"}, capture_output=True, timeout=60).stdout.decode()
        self.assertRegex(shown, r"\r\x1b\[K[█░]+ observe \d\.\d/1\.0 s · \d+/s · errors 0% · p95 [\d.]+ .s · fired \d+")


class Documents(unittest.TestCase):
    def test_the_reference_has_every_key_and_every_expectation_with_its_meaning(self):
        with open(os.path.join(SOURCE, "docs/experiments.md"), encoding="utf-8") as f:
            text = f.read()
        known = json.loads(subprocess.run([CTL, "experiment", "keys", "--json"], capture_output=True, check=True).stdout)
        self.assertGreater(len(known["keys"]), 40)
        for k in known["keys"]:
            default = "**needed**" if k["needed"] else f"`{k['default']}`" if k["default"] else ""
            self.assertIn(f"| {k['kinds'] or 'all'} | `{k['name']}` | {default} | {k['meaning'].replace('|', chr(92) + '|')} |\n", text)
        for m in known["metrics"]:
            self.assertRegex(text, rf"(?m)^\| `{m['name']}` \|.*\| {re.escape(m['meaning'])} \|$")

load_tests = side_by_side.share

if __name__ == "__main__":
    unittest.main()
