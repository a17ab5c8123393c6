"""chaos-ctl breaker, and the breaker's moves in watch: a real program under the real shim."""
import json
import os
import re
import signal
import socket
import subprocess
import unittest

from harness import BUILD, CTL, FAILED, NO_DAEMON, SHIM, USAGE, SessionTest, until

PROGRAM = os.path.join(BUILD, "tests/breaker_program")
FIELDS = {"name": str, "pid": int, "process": str, "state": str, "command": (str, type(None)), "calls_ok": int,
          "calls_failed": int, "rejected": int, "changed_ms": int}


@unittest.skipUnless(os.path.exists(SHIM), "no libchaos.so in this build")
class Breakers(SessionTest):
    def program(self):
        """With its breaker `early`, made before main."""
        p = self.start([CTL, "run", "--", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.assertEqual(self.order(p, "early state")["state"], "closed")
        return p

    def call(self, p, what="ok", name="early"):
        return self.order(p, f"{name} {what}")["result"]

    def state(self, p, name="early"):
        return self.order(p, f"{name} state")["state"]

    def breakers(self):
        return self.ok("breaker", "list", "--json").json["breakers"]

    def breaker(self, name="early"):
        found = [b for b in self.breakers() if b["name"] == name]
        self.assertEqual(len(found), 1, found)
        return found[0]

    def test_list_shows_state_and_counters(self):
        p = self.program()
        for _ in range(7):
            self.assertEqual(self.call(p), "ok")
        self.call(p, "fail")
        self.ok("breaker", "list")  # asks
        self.call(p)                # answers
        b = self.breaker()
        for name, kind in FIELDS.items():
            self.assertIsInstance(b[name], kind, name)
        self.assertEqual((b["name"], b["pid"], b["state"], b["command"]), ("early", p.pid, "closed", None))
        self.assertEqual((b["process"], b["calls_ok"], b["calls_failed"], b["rejected"]), ("breaker_program", 7, 1, 0))
        out = self.ok("breaker", "list").out
        self.assertRegex(out, r"(?m)^early +\d+ +breaker_program +closed ")

    def test_a_breaker_keeps_its_place_when_another_program_leaves_one_free(self):
        before, p = self.program(), self.program()
        before.stdin.close()
        before.wait(10)
        self.order(p, "early twin")
        self.assertEqual([b["pid"] for b in self.breakers()], [p.pid])
        self.assertEqual(self.call(p), "ok")
        self.ok("breaker", "open", "early")
        self.assertEqual(self.call(p), "rejected")
        self.assertEqual(self.breaker()["state"], "forced_open")

    def test_a_breaker_of_a_static_initializer_obeys_like_any_other(self):
        p = self.program()
        for name in ("early", "late"):
            with self.subTest(name):
                self.assertEqual(self.call(p, name=name), "ok")
                said = self.ok("breaker", "open", name)
                self.assertEqual(said.out, f"{name}: open, from its next call on, in 1 process\n")
                self.assertEqual(self.call(p, name=name), "rejected", "the very next call")
                self.assertEqual((self.breaker(name)["state"], self.breaker(name)["command"]), ("forced_open", "open"))
                self.ok("breaker", "close", name)
                self.assertEqual(self.call(p, name=name), "ok")
                self.assertEqual((self.breaker(name)["state"], self.breaker(name)["command"]), ("closed", None))

    def test_disable_admits_what_an_open_breaker_would_reject(self):
        p = self.program()
        self.ok("breaker", "disable", "early")
        for _ in range(20):
            self.assertEqual(self.call(p, "fail"), "failed")
        self.assertEqual(self.state(p), "disabled")
        self.ok("breaker", "none", "early")
        self.assertEqual(self.call(p), "ok")
        self.assertEqual(self.state(p), "closed")

    def test_metrics_only_admits_and_counts(self):
        p = self.program()
        self.ok("breaker", "metrics_only", "early")
        for _ in range(20):
            self.assertEqual(self.call(p, "fail"), "failed")
        self.ok("breaker", "reset", "early")
        self.assertEqual(self.state(p), "closed")
        self.assertEqual(self.breaker()["calls_failed"], 20)

    def test_reset_closes_and_forgets(self):
        p = self.program()
        for _ in range(5):
            self.call(p, "fail")
        self.assertEqual(self.state(p), "open")
        self.ok("breaker", "reset", "early")
        self.assertEqual(self.call(p), "ok")
        for _ in range(4):
            self.call(p, "fail")
        self.ok("breaker", "reset", "early")
        for _ in range(4):
            self.assertEqual(self.call(p, "fail"), "failed")
        self.assertEqual(self.state(p), "closed", "four and four are not five in a row")

    def test_open_holds_for_a_program_started_later_and_close_does_not_return(self):
        p = self.program()
        self.ok("breaker", "open", "early")
        later = self.start([CTL, "run", "--", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.assertEqual(self.call(later), "rejected")
        answer = self.ok("breaker", "reset", "early", "--json").json
        self.assertEqual((answer["name"], answer["command"], sorted(answer["pids"])), ("early", "reset", sorted([p.pid, later.pid])))
        self.assertEqual((self.call(p), self.call(later)), ("ok", "ok"))
        third = self.program()
        with open(os.path.join(self.dir, "default", "timeline.jsonl"), encoding="utf-8") as f:
            moves = [e for e in map(json.loads, f) if e.get("category") == "breaker" and e["pid"] == third.pid]
        self.assertEqual(moves, [], "a reset of the past is nothing that happens to a new breaker")

    def test_commands_end_with_stop_with_the_daemon_and_with_its_death(self):
        p = self.program()
        self.ok("breaker", "open", "early")
        self.assertEqual(self.call(p), "rejected")
        self.assertIn("1 breakers have control again", self.ok("stop").out)
        self.assertEqual(self.call(p), "ok")
        self.ok("breaker", "open", "early")
        self.assertEqual(self.call(p), "rejected")
        self.ok("daemon", "stop")
        self.assertEqual(self.call(p), "ok")
        self.ok("daemon", "start")
        self.assertEqual(self.breaker()["command"], None)
        self.ok("breaker", "open", "early")
        self.assertEqual(self.call(p), "rejected")
        os.kill(self.daemon_pid(), signal.SIGKILL)
        until(lambda: self.call(p) == "ok", "the end of a command whose daemon died")
        self.ok("daemon", "start")
        self.assertEqual(self.breaker()["command"], None, "nothing of it is saved")
        self.assertEqual(self.call(p), "ok")

    def test_a_breaker_ends_with_its_process(self):
        p = self.program()
        self.assertEqual(self.call(p, name="late"), "ok")
        self.assertEqual([b["name"] for b in self.breakers()], ["early", "late"])
        p.kill()
        p.wait()
        self.assertEqual(self.breakers(), [])
        self.assertIn("no breaker", self.ok("breaker", "list").out)

    def test_wrong_words(self):
        self.assertEqual(self.ctl("breaker", "list").code, NO_DAEMON)
        p = self.program()
        for words, code, expected in ((["breaker"], USAGE, "list"), (["breaker", "opne", "early"], USAGE, "open"),
                                      (["breaker", "open"], USAGE, None), (["breaker", "open", "early", "late"], USAGE, None),
                                      (["breaker", "list", "early"], USAGE, None), (["breaker", "open", "erly"], FAILED, "early")):
            answer = self.ctl(*words, "--json")
            self.assertEqual(answer.code, code, (words, answer))
            if expected:
                self.assertIn(expected, answer.json["error"]["expected"])
            self.assertNotEqual(self.ctl(*words).err, "")
        error = self.ctl("breaker", "open", "erly", "--json").json["error"]
        self.assertEqual((error["word"], error["expected"]), ("erly", ["early"]))
        self.assertIn("did you mean 'early'?", error["message"])
        self.assertEqual(self.ok("breaker", "list", "--json").json["commands"], [])
        self.assertEqual(self.call(p), "ok")

    def test_watch_tells_after_which_injections_a_breaker_opened(self):
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen(64)
            port = server.getsockname()[1]
            p, other = self.program(), self.program()
            self.assertEqual(self.call(p, f"connect {port}"), "ok")
            self.ok("set", "observe", f"127.0.0.1:{port}", "--on", "connect")
            self.assertEqual(self.call(p, f"connect {port}"), "ok")
            rule = self.ok("set", "error", f"127.0.0.1:{port}", "ECONNREFUSED", "--on", "connect").out.strip()
            watch = self.start([CTL, "watch", "--json"], stdout=subprocess.PIPE)
            people = self.start([CTL, "watch"], stdout=subprocess.PIPE)
            until(lambda: self.ok("daemon", "status", "--json").json["watchers"] == 2, "the watchers")
            for _ in range(3):  # of another process, between: no cause
                self.assertEqual(self.call(other, f"connect {port}"), "failed")
            for _ in range(5):
                self.assertEqual(self.call(p, f"connect {port}"), "failed")
            self.assertEqual(self.call(p, f"connect {port}"), "rejected")
            events = []

            def next_move():
                while True:
                    events.append(json.loads(watch.stdout.readline()))
                    if " -> " in events[-1].get("text", ""):
                        return events[-1]
            move = next_move()
            self.assertEqual(move["text"], "early: closed -> open (consecutive_failures) after 5 failures")
            mine = [e["seq"] for e in events if e["kind"] == "injection" and e["pid"] == p.pid and e["errno"]]
            self.assertEqual(len(mine), 5)
            self.assertEqual((move["after"], move["after_count"]), ([mine[0], mine[-1]], 5))

            # the probe fails as well: only its own injection is the cause
            until(lambda: self.state(p) == "half_open", "the recovery time")
            self.assertEqual(self.call(p, f"connect {port}"), "failed")
            self.assertIn("open -> half_open", next_move()["text"])
            move = next_move()
            self.assertIn("half_open -> open (probe_failed)", move["text"])
            probe = [e["seq"] for e in events if e["kind"] == "injection" and e["pid"] == p.pid and e["errno"]][-1]
            self.assertEqual((move["after"], move["after_count"]), ([probe, probe], 1))

            # a real failure has no injection to show
            self.ok("rm", rule)
            self.ok("breaker", "reset", "early")
            self.assertEqual(self.call(p), "ok")
            self.assertIn("-> closed", next_move()["text"])
            for _ in range(5):
                self.assertEqual(self.call(p, "fail"), "failed")
            move = next_move()
            self.assertIn("closed -> open", move["text"])
            self.assertNotIn("after", move)

        line = ""
        while "opened after" not in line:
            line = people.stdout.readline()
        shown = re.fullmatch(r"#(\d+) \[pid (\d+)\] -- breaker: early: closed -> open \(consecutive_failures\) after 5 failures --"
                             r" opened after #(\d+)–#(\d+)( \(5 injections\))?\n", line)
        self.assertTrue(shown, line)
        self.assertEqual((int(shown[2]), int(shown[3]), int(shown[4])), (p.pid, mine[0], mine[-1]))
        with open(os.path.join(self.dir, "default", "timeline.jsonl"), encoding="utf-8") as f:
            stored = [e for e in map(json.loads, f) if "after" in e]
        self.assertEqual(stored[0]["after"], [mine[0], mine[-1]])


if __name__ == "__main__":
    unittest.main()
