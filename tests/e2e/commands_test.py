"""What the commands do and print: for people, and for programs (field names are a promise)."""
import json
import os
import resource
import signal
import subprocess
import unittest

from harness import CTL, DONE, FAILED, NO_DAEMON, USAGE, SessionTest, until

RULE_FIELDS = {"id": int, "name": str, "kind": str, "target": str, "matched": int, "fired": int, "delayed_ns": int,
               "remaining_ms": (int, type(None)), "paused": bool, "dry_run": bool}
PROCESS_FIELDS = {"pid": int, "name": str, "executable": str, "attached_ms": int, "functions": int, "limits": list}
EVENT_FIELDS = {"seq": int, "time_ns": int, "pid": int, "tid": int, "function": str, "rule": int, "kind": str,
                "target": str, "effect": str, "errno": (str, type(None)), "delay_ns": int, "bytes": int,
                "connection": int, "op": int, "caller": (str, type(None))}


class Commands(SessionTest):
    def assertFields(self, thing, fields):
        for name, kind in fields.items():
            self.assertIn(name, thing)
            self.assertIsInstance(thing[name], kind, f"{name} of {thing}")

    def test_set_prints_the_id_and_nothing_else(self):
        answer = self.ok("set", "latency", "127.0.0.1:6379", "200ms")
        self.assertEqual(answer.out, "1\n")
        self.assertIn("10min", answer.err.replace(" ", ""))
        self.assertIn("--forever", answer.err)
        self.assertEqual(self.ok("set", "latency", "127.0.0.1:6380", "200ms", "--forever").out, "2\n")
        self.assertEqual(self.ok("set", "latency", "127.0.0.1:6381", "200ms", "--for", "1h").err, "")

    def test_set_says_what_a_rule_on_the_environment_reaches(self):
        for words in (["unset", "env:HOME"], ["replace", "env:HOME", "/elsewhere"]):
            answer = self.ok("set", *words, "--forever")
            self.assertRegex(answer.out, r"^\d+\n$")
            self.assertIn("getenv() alone", answer.err)
        self.assertEqual(self.ok("set", "observe", "env:HOME", "--forever").err, "")

    def test_rules_have_the_promised_fields(self):
        self.ok("set", "latency", "127.0.0.1:6379", "200ms", "--name", "slow", "--dry-run", "--forever")
        rule = self.rules()[0]
        self.assertFields(rule, RULE_FIELDS)
        self.assertEqual((rule["id"], rule["name"], rule["kind"], rule["target"]), (1, "slow", "latency", "127.0.0.1:6379"))
        self.assertTrue(rule["dry_run"])
        self.assertIsNone(rule["remaining_ms"])
        stats = self.ok("stats", "--json").json
        self.assertFields(stats, {"rules": list, "processes": list, "events_lost": int})
        status = self.ok("daemon", "status", "--json").json
        self.assertFields(status, {"pid": int, "version": str, "session": str, "lease_ms": int, "http": (str, type(None))})

    def test_set_as_json_is_the_rule(self):
        answer = self.ok("set", "latency", "127.0.0.1:6379", "200ms", "--json").json
        self.assertFields(answer, RULE_FIELDS)

    def test_processes_and_events_have_the_promised_fields(self):
        self.ok("set", "latency", "127.0.0.1:6379", "100ms", "--name", "slow")
        target = self.target("redis-cli")
        process = self.ok("ps", "--json").json["processes"][0]
        self.assertFields(process, PROCESS_FIELDS)
        self.assertEqual((process["pid"], process["name"]), (target.pid, "redis-cli"))
        watch = self.start([CTL, "watch", "--json", "--count", "3"], stdout=subprocess.PIPE)
        until(lambda: self.ok("daemon", "status", "--json").json["watchers"], "the watcher")
        self.order(target, "fire 1 3")
        events = [json.loads(line) for line in watch.communicate(timeout=20)[0].splitlines()]
        self.assertEqual(len(events), 3)
        for event in events:
            self.assertFields(event, EVENT_FIELDS)
        self.assertEqual(events[0]["rule"], 1)
        self.assertEqual(events[0]["delay_ns"], 100_000_000)
        rule = self.rule("slow")
        self.assertEqual((rule["matched"], rule["fired"], rule["delayed_ns"]), (3, 3, 300_000_000))

    def test_watch_reads_like_strace(self):
        self.ok("set", "latency", "127.0.0.1:6379", "100ms")
        target = self.target()
        watch = self.start([CTL, "watch", "--count", "1"], stdout=subprocess.PIPE)
        until(lambda: self.ok("daemon", "status", "--json").json["watchers"], "the watcher")
        self.order(target, "fire 1")
        out = watch.communicate(timeout=20)[0]
        self.assertEqual(out, f"#0 [pid {target.pid}] recv(fd to 127.0.0.1:6379) = delayed 100 ms  (latency-1)\n")
        again = self.ok("watch", "--last", "1", "--count", "1").out
        self.assertEqual(again, out)

    def test_watch_ends_when_its_reader_does(self):
        self.ok("set", "latency", "127.0.0.1:6379", "100ms")
        target = self.target()
        self.order(target, "fire 1")
        read, write = os.pipe()
        watch = self.start([CTL, "watch", "--json"], stdout=write)
        os.close(write)
        until(lambda: self.ok("daemon", "status", "--json").json["watchers"], "the watcher")
        os.close(read)

        def ended():
            self.order(target, "fire 1")
            return watch.poll() is not None
        until(ended, "the end of watch")

    def test_list_marks_a_rule_that_never_matched(self):
        self.ok("set", "latency", "127.0.0.1:6379", "100ms")
        self.assertIn("never matched", self.ok("list").out)
        target = self.target()
        self.order(target, "fire 1")
        self.assertNotIn("never matched", self.ok("list").out)
        self.assertIn("100 ms", self.ok("list").out)
        self.assertIn("100.0%", self.ok("stats").out)

    def test_rm_by_id_name_kind_and_target_and_all(self):
        for port in range(4):
            self.ok("set", "latency", f"127.0.0.1:{7000 + port}", "1ms", "--name", f"n{port}")
        self.ok("rm", "1")
        self.ok("rm", "n1")
        self.ok("rm", "latency", "127.0.0.1:7002")
        active = [r["name"] for r in self.rules() if r["state"] != "ended"]
        self.assertEqual(active, ["n3"])
        self.ok("rm", "--all")
        self.assertEqual([r for r in self.rules() if r["state"] != "ended"], [])
        self.assertEqual(self.ctl("rm", "n3").code, FAILED)
        self.assertEqual(self.ctl("rm").code, USAGE)
        self.assertEqual(self.ctl("rm", "--all", "1").code, USAGE)

    def test_pause_keeps_the_rule_and_disarms_it(self):
        self.ok("set", "latency", "127.0.0.1:6379", "1ms")
        target = self.target()
        self.assertNotEqual(self.order(target, "page")["armed"], 0)
        self.ok("pause", "1")
        self.assertTrue(self.rule(1)["paused"])
        self.assertIn("paused", self.ok("list").out)
        self.assertEqual(self.order(target, "page")["armed"], 0)
        self.ok("resume", "latency-1")
        self.assertFalse(self.rule(1)["paused"])
        self.assertNotEqual(self.order(target, "page")["armed"], 0)

    def test_a_rule_of_the_same_name_replaces(self):
        self.ok("set", "latency", "127.0.0.1:6379", "1ms", "--name", "x")
        self.ok("set", "error", "127.0.0.1:6379", "ECONNRESET", "--name", "x")
        active = [r for r in self.rules() if r["state"] != "ended"]
        self.assertEqual([(r["name"], r["kind"]) for r in active], [("x", "error")])

    def test_a_word_of_a_file_is_shown_where_it_stands_there(self):
        path = os.path.join(self.dir, "run.ini")  # its wrong word is one of the command line, too
        with open(path, "w") as f:
            f.write("[experiment]\nname = x\nrun = run\n")
        for words in (["experiment", "run", path], ["experiment", "validate", path]):
            err = self.ctl(*words, check=USAGE).err
            self.assertIn(f"{path}, line 3: ", err)
            self.assertTrue(err.splitlines()[1:3] == ["  run = run", "  ^~~"], err)

    def test_rm_of_a_rule_that_has_ended_says_so(self):
        self.ok("set", "latency", "127.0.0.1:6379", "1ms", "--name", "slow")
        self.ok("rm", "slow")
        for word in ("slow", "1"):
            self.assertRegex(self.ctl("rm", word, check=FAILED).err, r"rule 1 'slow' is not in force any more: it ended (just now|\d+s ago) \(removed\)")
        self.assertIn("no rule 'fast' is in force", self.ctl("rm", "fast", check=FAILED).err)

    def test_saved_rules_are_applied_again(self):
        self.ok("set", "latency", "127.0.0.1:6379", "200ms", "--jitter", "50ms", "--probability", "10%", "--name", "slow")
        self.ok("set", "error", "file:/var/lib/app/**", "EIO", "--on", "fsync", "--name", "torn")
        path = os.path.join(self.dir, "faults.ini")
        self.ok("save", path)
        with open(path) as f:
            self.assertEqual(f.read(), self.ok("save").out)
        before = {r["name"]: r["text"] for r in self.rules()}
        self.ok("rm", "--all")
        self.ok("apply", path)
        self.assertEqual({r["name"]: r["text"] for r in self.rules() if r["state"] != "ended"}, before)
        with open(path) as f:
            self.ok("apply", "-", stdin=f.read())

    def test_save_replaces_a_file_as_a_whole_or_leaves_it(self):
        self.ok("set", "latency", "127.0.0.1:6379", "200ms", "--name", "slow")
        folder = os.path.join(self.dir, "kept")
        os.mkdir(folder)
        path, link = os.path.join(folder, "faults.ini"), os.path.join(folder, "link.ini")
        with open(path, "w") as f:
            f.write("what was there\n")
        os.chmod(path, 0o640)
        os.symlink("faults.ini", link)
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))  # a disk that is full after ten bytes
        p = self.start([CTL, "save", path], preexec_fn=lambda: (signal.signal(signal.SIGXFSZ, signal.SIG_IGN), limit()), stderr=subprocess.PIPE)
        self.assertEqual((p.wait(30), p.stderr.read()), (FAILED, f"chaos-ctl save: can not replace {path}: File too large\n"
                                                         f"  chaos-ctl save {path}\n  {' ' * 15}^{'~' * (len(path) - 1)}\n"))
        with open(path) as f:
            self.assertEqual(f.read(), "what was there\n")
        self.assertEqual(sorted(os.listdir(folder)), ["faults.ini", "link.ini"])
        with open(path) as open_before:
            self.ok("save", link)
            self.assertEqual(open_before.read(), "what was there\n", "who reads the old one reads all of it")
        with open(path) as f:
            self.assertEqual(f.read(), self.ok("save", "-").out)
        self.assertEqual((os.stat(path).st_mode & 0o777, os.readlink(link)), (0o640, "faults.ini"))
        self.assertIn("[fault slow]", self.ok("save", "/dev/stdout").out)
        subprocess.run([CTL, "save", "new.ini"], env=self.env, cwd=folder, check=True, timeout=30)
        self.assertEqual(sorted(os.listdir(folder)), ["faults.ini", "link.ini", "new.ini"])
        self.assertIn("Is a directory", self.ctl("save", folder, check=FAILED).err)
        self.assertIn("No such file or directory", self.ctl("save", folder + "/none/x", check=FAILED).err)

    def test_apply_puts_all_in_force_or_none(self):
        text = "[fault a]\nkind = latency\ntarget = 127.0.0.1:1\nvalue = 5ms\n\n[fault b]\nkind = latency\ntarget = 127.0.0.1:2\nvalue = 5\n"
        answer = self.ctl("apply", "-", stdin=text)
        self.assertEqual(answer.code, USAGE, answer)
        self.assertNoDaemon(message="bad input starts no daemon")
        self.assertEqual(answer.err, "chaos-ctl apply: standard input, line 9: [fault b]: latency value: '5' has no unit; units are ns, us, ms, s, min, h, d\n"
                                     "  value = 5\n          ^\n  expected: 5ns, 5us, 5ms, 5s, 5min, 5h, 5d\n")
        path = os.path.join(self.dir, "some.ini")
        with open(path, "w") as f:
            f.write("[fault a]\nkind = latency\ntarget = 127.0.0.1:1\nvalue = 5ms\njiter = 1ms\n")
        self.assertEqual(self.ctl("apply", path, check=USAGE).err, f"chaos-ctl apply: {path}, line 5: [fault a]: unknown option '--jiter': did you mean '--jitter'?\n"
                                                                   "  jiter = 1ms\n  ^~~~~\n")
        self.assertIn("there is no [fault NAME]", self.ctl("apply", "-", stdin="# nothing\n", check=USAGE).err)
        self.assertNoDaemon(message="bad input starts no daemon")
        self.assertEqual(self.ctl("apply", self.dir + "/none.ini").code, FAILED)
        self.assertIn("Is a directory", self.ctl("apply", self.dir, check=FAILED).err)

    def test_commands_that_do_not_start_a_daemon_exit_3(self):
        for words in (["list"], ["rm", "1"], ["rm", "--all"], ["pause", "--all"], ["resume", "1"], ["stats"], ["watch"], ["ps"], ["save"],
                      ["daemon", "status"], ["daemon", "stop"], ["stop"], ["doctor", "--rule", "1"]):
            answer = self.ctl(*words)
            self.assertEqual(answer.code, NO_DAEMON, (words, answer))
            self.assertNotEqual(answer.err, "")
            answer = self.ctl(*words, "--json")
            self.assertEqual(answer.code, NO_DAEMON)
            self.assertEqual(answer.json["error"]["code"], "no_daemon")
        self.assertNoDaemon()

    def test_commands_that_need_no_daemon(self):
        for words in (["hooks"], ["hooks", "recv"], ["hooks", "sync"], ["effects"], ["effects", "latency"], ["doctor"], ["--help"], ["--version"]):
            self.assertEqual(self.ctl(*words).code, DONE, words)
        functions = self.ok("hooks", "--json").json["functions"]
        self.assertGreater(len(functions), 100)
        self.assertFields(functions[0], {"function": str, "classes": list, "fails": str, "errnos": list})
        kinds = [e["kind"] for e in self.ok("effects", "--json").json["effects"]]
        self.assertIn("latency", kinds)
        self.assertEqual(self.ctl("hooks", "recvv").code, USAGE)
        self.assertIn("latency", self.ctl("effects", "latncy").err)

    def test_sessions_are_apart(self):
        self.ok("set", "latency", "127.0.0.1:1", "1ms", "--session", "a")
        self.ok("--session", "b", "set", "latency", "127.0.0.1:2", "1ms")
        self.assertEqual(self.ok("list", "--json", "--session=a").json["rules"][0]["target"], "127.0.0.1:1")
        self.assertEqual(self.ok("list", "--json", env={"CHAOS_SESSION": "b"}).json["rules"][0]["target"], "127.0.0.1:2")
        self.assertEqual(self.ctl("list").code, NO_DAEMON)
        self.assertEqual(self.ctl("list", "--session", "../x").code, USAGE)

    def test_new_session_is_private_and_told(self):
        answer = self.ok("set", "latency", "127.0.0.1:1", "1ms", "--session", "new", "--for", "1min")
        self.assertEqual(answer.out, "1\n")
        name = answer.err.strip().split("CHAOS_SESSION=")[1]
        self.assertEqual(len(self.ok("list", "--json", "--session", name).json["rules"]), 1)
        self.assertEqual(self.ctl("list", "--session", "new").code, USAGE)
        told = self.ok("daemon", "start", "--session", "new").out
        self.assertRegex(told, r"^CHAOS_SESSION=\S+\n$")

    def test_processes_in_another_session_are_pointed_at(self):
        self.target(env={"CHAOS_SESSION": "other"})
        answer = self.ok("set", "latency", "127.0.0.1:1", "1ms")
        self.assertIn("--session other", answer.err)
        self.assertIn("--session other", self.ok("list").err)
        self.assertIn("--session other", self.ok("doctor", "--rule", "1").out.replace("\n    ", " "))
        self.target()
        self.assertNotIn("--session other", self.ok("list").err)

    def test_doctor_says_why_a_rule_never_matched(self):
        self.ok("set", "latency", "127.0.0.1:1", "1ms", "--process", "nginx", "--name", "r")
        reasons = lambda: " ".join(self.ok("doctor", "--rule", "r", "--json").json["reasons"])
        self.assertIn("no process is attached", reasons())
        target = self.target("redis-cli")
        self.assertIn("nginx", reasons())
        self.ok("pause", "r")
        self.assertIn("paused", reasons())
        self.ok("resume", "r")
        self.order(target, "fire 1")
        self.assertEqual(self.ok("doctor", "--rule", "r", "--json").json["reasons"], [])
        self.assertEqual(self.ctl("doctor", "--rule", "nope").code, FAILED)

    def test_no_colour_but_on_a_terminal(self):
        self.ok("set", "latency", "127.0.0.1:1", "1ms")
        self.assertNotIn("\x1b", self.ok("list").out)
        main, side = os.openpty()
        p = self.start([CTL, "list"], stdout=side, stderr=subprocess.DEVNULL, env={"TERM": "xterm"})
        p.wait(timeout=20)
        os.close(side)
        self.assertIn(b"\x1b", os.read(main, 65536))
        os.close(main)

    def test_daemon_start_twice_is_one(self):
        first = self.ok("daemon", "start", "--json").json["pid"]
        self.assertEqual(self.ok("daemon", "start", "--json").json["pid"], first)
        self.ok("daemon", "stop")
        self.assertNoDaemon()
        self.assertEqual(self.ctl("daemon", "stop").code, NO_DAEMON)
        self.assertEqual(self.ctl("daemon", "strat").code, USAGE)
        self.assertEqual(self.ctl("daemon").code, USAGE)


if __name__ == "__main__":
    unittest.main()
