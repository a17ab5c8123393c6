"""chaosd's table of experiments: who may begin, what stop, pause and resume do, and that no fault outlives its experiment."""
import json
import os
import signal
import subprocess
import unittest

import side_by_side
from control_socket import ControlSocket
from harness import CTL, DONE, FAILED, NO_DAEMON, SHIM, USAGE, SessionTest, free_port, until

FILE = """[experiment]
name = {name}
hypothesis = nothing in particular
baseline = 300ms
observe = {observe}
recover = 5s
[probe redis]
kind = tcp
address = 127.0.0.1:${{PORT}}
send = PING\\r\\n
expect = PONG
rate = 50/s
timeout = 1s
[fault {fault}]
kind = latency
target = listen:${{PORT}}
value = 20ms
{more}
[expect during]
success_rate >= 99%
"""


class ExperimentTable(SessionTest):
    def setUp(self):
        super().setUp()
        self.sockets = []

    def tearDown(self):
        for s in self.sockets:
            s.close()
        super().tearDown()

    def configure(self, **settings):
        with open(f"{self.dir}/chaos.ini", "w") as f:
            f.write("[chaosd]\n" + "".join(f"{k} = {v}\n" for k, v in settings.items()))
        self.ok("daemon", "start")

    def connect(self):
        self.sockets.append(ControlSocket(f"{self.dir}/default"))
        return self.sockets[-1]

    def redis(self):
        self.port = free_port()
        self.env["PORT"] = str(self.port)
        self.start(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.dir],
                   env={"LD_PRELOAD": SHIM}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: subprocess.run(["redis-cli", "-p", str(self.port), "ping"], capture_output=True).returncode == 0, "redis-server")

    def file(self, name="slow", observe="60s", fault="slow", more=""):
        path = os.path.join(self.dir, f"{name}.ini")
        with open(path, "w") as f:
            f.write(FILE.format(name=name, observe=observe, fault=fault, more=more))
        return path

    def run_file(self, path, *words):
        return self.start([CTL, "experiment", "run", path, "--json", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def table(self):
        return self.ok("experiment", "list", "--json").json["experiments"]

    def states(self):
        return {e["name"]: e["state"] for e in self.table()}

    def in_force(self):
        return [r["name"] for r in self.rules() if r["state"] == "active"]

    def observing(self, path, fault="slow"):
        self.ok("daemon", "start")
        p = self.run_file(path)
        until(lambda: fault in self.in_force(), "the fault")
        until(lambda: any(e["pid"] == p.pid and e["phase"] == "observe" for e in self.table()), "the phase in the table")
        return p

    def verdict_of(self, p):
        out, err = p.communicate(timeout=30)
        self.assertTrue(out, err)
        return json.loads(out)

    def audit(self):
        with open(f"{self.dir}/default/audit.jsonl") as f:
            return [json.loads(line) for line in f]

    # --- a runner's life

    def test_an_experiment_is_in_the_table_while_it_runs_and_afterwards(self):
        self.redis()
        p = self.observing(self.file(observe="1s"))
        (e,) = self.table()
        self.assertEqual((e["name"], e["state"], e["pid"], e["uid"], e["dry_run"]), ("slow", "running", p.pid, os.getuid(), False))
        self.assertGreater(e["remaining_ms"], 0)
        (status,) = self.ok("experiment", "status", "slow", "--json").json["experiments"]
        self.assertEqual([r["name"] for r in status["rules"]], ["slow"])
        self.assertEqual(self.verdict_of(p)["verdict"], "held")
        (e,) = self.table()
        self.assertEqual((e["state"], e["verdict"], e["removed"]), ("ended", "held", []))
        self.assertIn("held", self.ok("experiment", "list").out)
        changes = [a["request"].get("action", a["command"]) for a in self.audit()]
        self.assertEqual(changes, ["begin", "apply", "rm", "end"])
        self.assertEqual({a["uid"] for a in self.audit()}, {os.getuid()})
        self.assertEqual({a["pid"] for a in self.audit()}, {p.pid})

    def test_a_killed_runner_is_lost_and_its_rules_with_it(self):
        self.redis()
        p = self.observing(self.file())
        p.kill()
        p.communicate()
        until(lambda: self.states() == {"slow": "ended"}, "the loss of the runner")
        (e,) = self.table()
        self.assertEqual((e["verdict"], e["removed"]), ("lost", ["slow"]))
        self.assertIn(f"pid {p.pid}", e["reason"])
        self.assertEqual(self.rule("slow")["ended_reason"], "the runner of its experiment is gone")
        lost = [a for a in self.audit() if a["request"].get("action") == "lost"]
        self.assertEqual([(a["pid"], a["request"]["removed"]) for a in lost], [(0, ["slow"])])

    def test_stop_removes_the_rules_at_once_and_ends_the_runner(self):
        self.redis()
        p, other = self.observing(self.file()), self.observing(self.file("other", fault="slow2"), "slow2")
        self.assertEqual(self.ok("experiment", "stop", "slow").out, "stopped slow (1); removed: slow\n")
        self.assertEqual(self.in_force(), ["slow2"])
        out = self.verdict_of(p)
        self.assertEqual((p.returncode, out["verdict"]), (FAILED, "aborted"))
        self.assertRegex(out["reason"], f"experiment stop \\(uid {os.getuid()}, pid \\d+\\)|ended from outside")
        self.assertEqual(self.states(), {"slow": "ended", "other": "running"})
        self.assertIn("has ended already", self.ctl("experiment", "stop", "slow", check=FAILED).err)
        self.ok("experiment", "stop")
        self.assertEqual(self.verdict_of(other)["verdict"], "aborted")
        self.assertEqual(self.ok("experiment", "stop").out, "no experiment runs\n")

    def test_pause_and_resume(self):
        self.redis()
        p = self.observing(self.file(observe="2s"))
        self.assertEqual(self.ok("experiment", "pause", "1").out, "paused slow (1): 1 rule\n")
        self.assertEqual((self.states()["slow"], self.rule("slow")["state"]), ("paused", "paused"))
        began = self.rule("slow")["fired"]
        pings = subprocess.run(["redis-cli", "-p", str(self.port), "-r", "20", "-i", "0.05", "ping"], capture_output=True, text=True, timeout=20).stdout
        self.assertEqual(pings.count("PONG"), 20)
        self.assertLessEqual(self.rule("slow")["fired"] - began, 1, "a paused rule fires no more")
        self.assertEqual(self.ok("experiment", "resume", "slow", "--json").json["experiments"][0]["ids"], [self.rule("slow")["id"]])
        until(lambda: self.rule("slow")["fired"] > began + 1, "the fault again")
        out = self.verdict_of(p)
        self.assertTrue(any("paused for" in n for n in out["notes"]), out["notes"])
        self.assertIn("can not be paused", self.ctl("experiment", "pause", "slow", check=FAILED).err)

    # --- who may begin

    def test_no_more_than_may_run_at_the_same_time(self):
        self.configure(experiments_max=5)
        # one runner a process: each is a shell that holds its connection
        code = ("import json,socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); f=s.makefile('rwb'); "
                "f.write(json.dumps({'v':1,'command':'experiment','action':'begin','name':sys.argv[2]}).encode()+b'\\n'); f.flush(); "
                "print(f.readline().decode().strip(), flush=True); sys.stdin.read()")
        runners = [self.start(["python3", "-c", code, f"{self.dir}/default/control.sock", f"e{i}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                   for i in range(5)]
        for r in runners:
            self.assertTrue(json.loads(r.stdout.readline())["ok"])
        sixth = self.connect()
        error = sixth.ask("experiment", action="begin", name="sixth")["error"]
        self.assertEqual(error["code"], "too_many")
        self.assertIn("experiments_max", error["message"])
        runners[2].kill()
        until(lambda: list(self.states().values()).count("running") == 4, "a free place")
        self.assertTrue(sixth.ask("experiment", action="begin", name="sixth")["ok"])

    def test_one_that_may_take_too_long_does_not_begin(self):
        self.redis()
        self.configure(experiment_timeout="2s")
        answer = self.ctl("experiment", "run", self.file(), check=FAILED)
        self.assertIn("experiment_timeout", answer.err)
        self.assertEqual(self.rules(), [])

    def test_time_is_up_whatever_the_runner_said(self):
        self.configure(experiment_timeout="500ms")
        s = self.connect()
        self.assertTrue(s.ask("experiment", action="begin", name="endless")["ok"])
        self.assertTrue(s.ask("set", words=["latency", "127.0.0.1:1", "1ms", "--owner", str(os.getpid()), "--name", "mine"])["ok"])
        until(lambda: self.states() == {"endless": "stopping"}, "the time-out")
        self.assertEqual(self.rule("mine")["state"], "ended")
        self.assertIn("experiment_timeout", s.ask("experiment", action="progress", phase="observe")["result"]["stop"])
        again = s.ask("set", words=["latency", "127.0.0.1:1", "1ms", "--owner", str(os.getpid())])
        self.assertEqual(again["error"]["code"], "not_allowed", "nothing comes back into force")
        self.assertTrue(s.ask("experiment", action="end", verdict="aborted")["ok"])
        self.assertEqual(self.states(), {"endless": "ended"})

    def test_the_stop_file_ends_everything_and_keeps_it_ended(self):
        self.redis()
        p = self.observing(self.file())
        self.ok("set", "latency", "127.0.0.1:1", "1ms")
        with open(f"{self.dir}/stop", "w"):
            pass
        until(lambda: not self.in_force(), "the end of the rules", deadline=5)
        out = self.verdict_of(p)
        self.assertEqual(out["verdict"], "aborted")
        for words in (("set", "latency", "127.0.0.1:1", "1ms"), ("experiment", "run", self.file()), ("resume", "--all")):
            self.assertIn(f"{self.dir}/stop", self.ctl(*words, check=FAILED).err)
        self.assertIn("stop_file", [a["command"] for a in self.audit()])
        os.unlink(f"{self.dir}/stop")
        self.ok("set", "latency", "127.0.0.1:1", "1ms")

    def test_disabled_means_nothing_begins(self):
        self.configure(enabled="false")
        self.assertIn("enabled = false", self.ctl("set", "latency", "127.0.0.1:1", "1ms", check=FAILED).err)
        self.assertFalse(self.connect().ask("experiment", action="begin", name="e")["ok"])
        self.assertEqual(self.rules(), [])

    def test_dry_run_of_the_daemon_is_that_of_every_rule(self):
        self.redis()
        self.configure(dry_run="true")
        self.ok("set", "latency", f"listen:{self.port}", "20ms", "--name", "by-hand")
        self.assertTrue(self.rule("by-hand")["dry_run"])
        self.ok("rm", "by-hand")
        out = self.verdict_of(self.run_file(self.file(observe="500ms")))
        self.assertEqual((out["verdict"], out["dry_run"]), ("dry run", True))
        self.assertGreater(out["faults"][0]["fired"], 0)

    def test_the_blast_radius_holds_for_experiments(self):
        self.redis()
        self.configure(max_toxicity="50%", only_processes="redis-*, shop")
        for more, said in (("toxicity = 60%", "50%"), ("toxicity = 50%", "--process"), ("toxicity = 0.5\nprocess = nginx", "nginx"), ("process = redis-server", "100%")):
            answer = self.ctl("experiment", "run", self.file(more=more), "--json", check=FAILED)
            self.assertEqual(answer.json["verdict"], "not run", more)
            self.assertIn(said, answer.json["reason"], more)
        self.ok("set", "latency", "127.0.0.1:1", "1ms")  # by hand: as asked for
        out = self.verdict_of(self.run_file(self.file(observe="300ms", more="toxicity = 50%\nprocess = redis-server")))
        self.assertNotEqual(out["verdict"], "not run")

    # --- what the daemon's settings fill in

    def test_defaults_fill_in_what_an_experiment_leaves_unsaid(self):
        self.redis()
        path = self.file(observe="1s", more="[fault broken]\nkind = error\ntarget = listen:${PORT}\nvalue = ECONNRESET")
        with open(path) as f:
            text = f.read().replace("value = 20ms\n", "")
        with open(path, "w") as f:
            f.write(text)
        self.ok("experiment", "validate", path)
        self.configure()
        answer = self.ctl("experiment", "run", path, "--json", check=FAILED)
        self.assertEqual(answer.json["verdict"], "not run")
        self.assertIn("needs a value", answer.json["reason"])
        self.assertIn("needs a value", self.ctl("set", "latency", "127.0.0.1:1", check=USAGE).err)
        self.ok("daemon", "stop")
        self.configure(default_latency="10ms..30ms", default_error_rate="2%")
        p = self.observing(path)
        rules = {r["name"]: r["text"] for r in self.rules() if r["state"] == "active"}
        self.assertRegex(rules["slow"], r"latency listen:\d+ 20ms --jitter 10ms")
        self.assertRegex(rules["broken"], r"error listen:\d+ ECONNRESET --probability 0\.02")
        self.verdict_of(p)
        slow = self.rule("slow")
        self.assertGreaterEqual(slow["fired"], 10)
        self.assertTrue(10e6 <= slow["delayed_ns"] / slow["fired"] <= 31e6, slow)
        self.ok("set", "error", "127.0.0.1:1", "EPIPE", "--name", "by-hand")
        self.assertNotIn("probability", self.rule("by-hand")["text"], "who sets a rule by hand says what it is")
        self.assertIn("needs a value", self.ctl("set", "latency", "127.0.0.1:1", check=USAGE).err)

    # --- reports

    def test_the_report_of_one_that_has_ended_is_kept(self):
        self.redis()
        p = self.observing(self.file(observe="500ms"))
        self.assertIn("has not ended", self.ctl("experiment", "report", "slow", check=FAILED).err)
        self.assertFalse(self.table()[0]["report"])
        out = self.verdict_of(p)
        self.assertEqual(out["verdict"], "held")
        self.assertEqual(self.ok("experiment", "report", "slow", "--json").json, out, "to the last number what the runner itself has shown")
        self.assertTrue(self.table()[0]["report"])
        self.assertIn("chaos-ctl experiment report 1\n", self.ok("experiment", "status", "slow").out)
        self.assertIn("PASS: the hypothesis held", self.ok("experiment", "report", "1").out)
        page = f"{self.dir}/page.html"
        self.ok("experiment", "report", "slow", "--report", page)
        with open(page, encoding="utf-8") as f:
            self.assertIn("PASS: ", f.read())
        self.ok("daemon", "stop")
        self.ctl("experiment", "report", "slow", check=NO_DAEMON)
        self.ok("daemon", "start")
        self.assertEqual(self.ok("experiment", "report", "1", "--json").json, out, "the daemon after this one has it, too")
        with open(f"{self.dir}/default/experiment-1.json", "w") as f:
            f.write("{")
        self.assertIn("kept as", self.ctl("experiment", "report", "slow", check=FAILED).err)
        self.assertFalse(self.table()[0]["report"])

    def test_a_stopped_experiment_has_a_report_and_a_lost_one_has_none(self):
        self.redis()
        p, other = self.observing(self.file()), self.observing(self.file("other", fault="slow2"), "slow2")
        self.ok("experiment", "stop", "slow")
        out = self.verdict_of(p)
        self.assertEqual(out["verdict"], "aborted")
        self.assertEqual(self.ok("experiment", "report", "slow", "--json").json, out)
        other.kill()
        other.communicate()
        until(lambda: self.states()["other"] == "ended", "the loss of the runner")
        self.assertIn("no report of the experiment other (2) is kept", self.ctl("experiment", "report", "other", check=FAILED).err)
        self.assertEqual([n for n in os.listdir(f"{self.dir}/default") if n.startswith("experiment-")], ["experiment-1.json"])

    def test_what_is_handed_in_is_bounded_and_has_to_be_a_report(self):
        self.configure()
        s, piece = self.connect(), "x" * 500_000
        self.assertEqual(s.ask("experiment", action="hand_in", part="{}")["error"]["code"], "bad_request", "nothing was begun")

        def hand_in(*parts):
            s.ask("experiment", action="begin", name="e")
            answers = [s.ask("experiment", action="hand_in", part=p) for p in parts]
            self.assertTrue(s.ask("experiment", action="end", verdict="held")["ok"])
            return answers[-1], s.ask("experiment", action="report", experiment="e")
        told, asked = hand_in('{"a":"', piece, piece, piece, piece, '"}')
        self.assertEqual((told["result"]["bytes"], asked["result"]["report"]), (2_000_008, {"a": piece * 4}))
        told, asked = hand_in('{"a":"', piece, piece, piece, piece, piece)
        self.assertEqual(told["error"]["code"], "too_many")
        self.assertIn("larger than", asked["error"]["message"])
        _, asked = hand_in('{"a":')
        self.assertIn("no JSON object", asked["error"]["message"])
        told, asked = hand_in({"a": 1})
        self.assertEqual((told["error"]["code"], asked["error"]["code"]), ("missing_word", "not_found"))
        self.assertEqual(s.ask("experiment", action="report")["error"]["code"], "missing_word")
        self.assertEqual(hand_in("[" * 500_000)[1]["error"]["code"], "not_found")
        self.assertIn("not a report", self.ctl("experiment", "report", "1", check=USAGE).err, "what another runner has handed in is looked at before it is shown")
        self.assertEqual({a["request"].get("action") for a in self.audit()}, {"begin", "end"})

    # --- beyond the daemon

    def test_the_table_survives_a_restart_and_a_crash(self):
        self.configure()
        s = self.connect()
        s.ask("experiment", action="begin", name="early", hypothesis="holds")
        s.ask("experiment", action="end", verdict="held", reason="as expected")
        self.ok("daemon", "stop")
        self.ok("daemon", "start")
        (e,) = self.table()
        self.assertEqual((e["id"], e["name"], e["hypothesis"], e["state"], e["verdict"], e["reason"], e["restored"]), (1, "early", "holds", "ended", "held", "as expected", True))
        s = self.connect()
        s.ask("experiment", action="begin", name="runs")
        s.ask("experiment", action="progress", phase="observe", figures={"shop": "20/s"})
        self.assertEqual([e["restored"] for e in self.table()], [True, False])
        pid = self.daemon_pid()
        os.kill(pid, signal.SIGKILL)
        until(lambda: not self.daemons(), "the end of chaosd")
        self.ok("daemon", "start")
        self.assertEqual([(e["id"], e["state"], e["verdict"]) for e in self.table()], [(1, "ended", "held"), (2, "ended", "aborted")])
        (e,) = self.ok("experiment", "status", "runs", "--json").json["experiments"]
        self.assertEqual((e["reason"], e["rules"]), ("chaosd went away in the phase observe", []))
        self.assertRegex(self.ok("experiment", "list").out, r"runs +aborted .*chaosd went away")
        self.assertIn("has ended already", self.ctl("experiment", "stop", "runs", check=FAILED).err)
        s = self.connect()
        self.assertEqual(s.ask("experiment", action="begin", name="later")["result"]["id"], 3)

    def test_a_runner_whose_daemon_went_away_is_aborted_in_the_next_one(self):
        self.redis()
        p = self.observing(self.file())
        os.kill(self.daemon_pid(), signal.SIGKILL)
        self.assertEqual(self.verdict_of(p)["verdict"], "aborted")
        self.ok("daemon", "start")
        (e,) = self.table()
        self.assertEqual((e["name"], e["verdict"], e["phase"]), ("slow", "aborted", "observe"))
        self.assertEqual(self.in_force(), [])

    def test_a_damaged_table_is_kept_aside_and_said(self):
        self.configure()
        self.ok("daemon", "stop")
        path = f"{self.dir}/default/experiments.json"
        with open(path, "w") as f:
            f.write('{"format":1,')
        self.ok("daemon", "start")
        self.assertEqual(self.table(), [])
        (note,) = self.ok("daemon", "status", "--json").json["notes"]
        self.assertIn("table of experiments", note)
        self.assertIn("not JSON", note)
        (aside,) = [n for n in os.listdir(f"{self.dir}/default") if n.startswith("experiments.json.corrupt-")]
        self.assertIn(aside, note)
        with open(f"{self.dir}/default/{aside}") as f:
            self.assertEqual(f.read(), '{"format":1,')

    # --- wrong use

    def test_wrong_use(self):
        for words in (("list",), ("status",), ("stop",), ("pause",), ("resume", "x")):
            self.ctl("experiment", *words, check=NO_DAEMON)
        self.assertNoDaemon()
        self.configure()
        self.assertEqual(self.ok("experiment", "list").out, "no experiment has run\n")
        s = self.connect()
        self.assertTrue(s.ask("experiment", action="begin", name="a-name")["ok"])
        self.assertIn("did you mean 'a-name'", self.ctl("experiment", "stop", "a-nam", check=FAILED).err)
        self.ctl("experiment", "list", "x", check=USAGE)
        self.assertIn("has not ended", self.ctl("experiment", "report", "a-name", check=FAILED).err)
        self.assertIn("did you mean 'a-name'", self.ctl("experiment", "report", "a-nam", check=FAILED).err)
        for word in ("none.json", "./a-name"):
            self.assertIn(f"can not read {word}", self.ctl("experiment", "report", word, check=FAILED).err)
        for words in ((), ("a-name", "b")):
            self.assertIn("ID or NAME", self.ctl("experiment", "report", *words, check=USAGE).err)
        self.ctl("experiment", "stop", "x", "y", check=USAGE)
        self.ctl("experiment", "stop", "--dry-run", check=USAGE)
        for arguments, code in (({}, "missing_word"), ({"action": "lst"}, "unexpected_word"), ({"action": 7}, "missing_word"),
                                ({"action": "begin", "name": "again"}, "bad_request"), ({"action": "end"}, "missing_word"),
                                ({"action": "stop", "experiment": []}, "bad_request"), ({"action": "stop", "experiment": 99}, "not_found")):
            self.assertEqual(s.ask("experiment", **arguments)["error"]["code"], code, arguments)
        other = self.connect()
        for action in ("progress", "end"):
            self.assertEqual(other.ask("experiment", action=action)["error"]["code"], "bad_request")

    def test_the_table_is_bounded(self):
        self.configure()
        s = self.connect()
        for i in range(80):
            s.ask("experiment", action="begin", name=f"e{i}", hypothesis="x" * 5000)
            s.ask("experiment", action="end", verdict=f"v{i}")
        table = self.table()
        self.assertEqual([e["name"] for e in table], [f"e{i}" for i in range(16, 80)])
        self.assertEqual(len(table[0]["hypothesis"]), 1024)

    def test_wrong_settings_are_refused(self):
        for line, said in (("enabled = maybe", "true"), ("experiments_max = 0", "line 2: experiments_max: "), ("experiments_max = 1000", "64"), ("experiment_timeout = 5", "unit"),
                           ("experiment_timeout = 0", "every experiment"), ("max_toxicity = 120%", "line 2: max_toxicity: "), ("experiment_timout = 5s", "did you mean 'experiment_timeout'"),
                           ("default_latency = 1s..100ms", "ends before"), ("default_latency = fast", "duration"),
                           ("default_latency = 1s..10min", "5min"), ("default_error_rate = 2", "line 2: default_error_rate: "), ("metrics = off", "neither true nor false"), ("session = x", "session")):
            with open(f"{self.dir}/chaos.ini", "w") as f:
                f.write(f"[chaosd]\n{line}\n")
            answer = self.ctl("daemon", "start", check=FAILED)
            self.assertIn(said, answer.err, line)
            self.assertNoDaemon()

load_tests = side_by_side.share

if __name__ == "__main__":
    unittest.main()
