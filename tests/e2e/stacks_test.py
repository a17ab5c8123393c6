"""Rules with --stack and watch --stacks: what people type, what they see, and what they are told where stacks are not on."""
import errno
import json
import os
import subprocess
import unittest

from harness import BUILD, CTL, FAILED, SHIM, SessionTest, until

SERVICE = os.path.join(BUILD, "tests/stack_service")


class StackTest(SessionTest):
    def setUp(self):
        super().setUp()
        self.file = os.path.join(self.dir, "page")
        with open(self.file, "w") as f:
            f.write("x")
        self.rule = ["error", f"file:{self.file}", "EIO", "--on", "pread"]

    def service(self, *options, env=None):
        p = self.start([CTL, "run", *options, "--", SERVICE, self.file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env or {})
        self.assertEqual(self.call(p, "basket"), 0)  # it is attached by now
        return p

    def call(self, p, how):
        p.stdin.write(how + "\n")
        p.stdin.flush()
        return int(p.stdout.readline())

    def assertCount(self, rule, fired):
        counted = next(r for r in self.rules() if str(r["id"]) == rule or r["name"] == rule)
        self.assertEqual((counted["matched"], counted["fired"]), (fired, fired))


@unittest.skipUnless(os.path.exists(SERVICE), "stack_service is not built")
class StackRules(StackTest):
    def test_only_calls_with_that_function_on_the_stack(self):
        p = self.service("--stacks")
        ident = self.ok("set", *self.rule, "--stack", "fetch_ord*").out.strip()
        self.assertEqual([self.call(p, how) for how in ("order", "basket", "library", "order")], [errno.EIO, 0, 0, errno.EIO])
        self.assertCount(ident, 2)

    def test_a_module_a_thread_and_a_forked_child(self):
        p = self.service("--stacks")
        ident = self.ok("set", *self.rule, "--stack", "libstack_library.so").out.strip()
        self.assertEqual([self.call(p, how) for how in ("library", "order")], [errno.EIO, 0])
        self.assertCount(ident, 1)
        self.ok("rm", "--all")
        ident = self.ok("set", *self.rule, "--stack", "fetch_order").out.strip()
        self.assertEqual([self.call(p, how) for how in ("thread", "child", "basket")], [errno.EIO, errno.EIO, 0])
        self.assertCount(ident, 2)

    def test_rules_of_a_run(self):
        words = " ".join(self.rule + ["--name", "r", "--stack", "fetch_order"])
        refused = self.ctl("run", "--set", words, "--", SERVICE, self.file, check=FAILED)
        self.assertIn("run --stacks", refused.err)
        p = self.service("--stacks", "--set", words)
        self.assertEqual([self.call(p, how) for how in ("basket", "order")], [0, errno.EIO])
        self.assertCount("r", 1)

    def test_the_environment_does_it_too(self):
        self.ok("daemon", "start")
        p = self.start([SERVICE, self.file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"LD_PRELOAD": SHIM, "CHAOS_STACKS": "1"})
        self.assertEqual(self.call(p, "order"), 0)
        ident = self.ok("set", *self.rule, "--stack", "fetch_order").out.strip()
        self.assertEqual(self.call(p, "order"), errno.EIO)
        self.assertCount(ident, 1)
        self.assertTrue(self.ok("ps", "--json").json["processes"][0]["stacks"])

    def test_refused_where_no_stack_can_be_looked_at(self):
        p = self.service()
        self.assertFalse(self.ok("ps", "--json").json["processes"][0]["stacks"])
        refused = self.ctl("set", *self.rule, "--stack", "fetch_order", check=FAILED)
        self.assertIn("chaos-ctl run --stacks", refused.err)
        self.assertEqual(self.rules(), [])
        self.assertEqual(self.call(p, "order"), 0)

    def test_told_where_it_will_do_nothing(self):
        set_before = self.ok("set", *self.rule, "--stack", "fetch_order", "--name", "before")
        self.assertIn("run --stacks", set_before.err)
        p = self.service()
        self.assertEqual(self.call(p, "order"), 0)
        reasons = {w["code"]: w["text"] for w in self.ok("doctor", "--rule", "before", "--json").json["why"]}
        self.assertIn("run --stacks", reasons["no_stacks"])
        self.ok("rm", "--all")
        q = self.service("--stacks")
        both = self.ok("set", *self.rule, "--stack", "fetch_order")
        self.assertIn("1 of the attached processes", both.err)
        self.assertEqual([self.call(p, "order"), self.call(q, "order")], [0, errno.EIO])

    def test_doctor_says_that_no_such_stack_was_seen(self):
        p = self.service("--stacks")
        self.ok("set", *self.rule, "--stack", "nowhere", "--name", "r")
        self.assertEqual(self.call(p, "order"), 0)
        reasons = {w["code"]: w["text"] for w in self.ok("doctor", "--rule", "r", "--json").json["why"]}
        self.assertIn("--stack nowhere", reasons["narrowed"])
        self.assertNotIn("no_stacks", reasons)


@unittest.skipUnless(os.path.exists(SERVICE), "stack_service is not built")
class WatchedStacks(StackTest):
    def watching(self, *words):
        """A watcher for whom stacks are being recorded."""
        w = self.start([CTL, "watch", "--stacks", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until(lambda: self.ok("daemon", "status", "--json").json["stack_watchers"], "the watcher")
        return w

    def test_the_frames_stand_under_the_line(self):
        p = self.service("--stacks")
        self.ok("set", *self.rule)
        w = self.watching("--count", "1")
        self.assertEqual(self.call(p, "library"), errno.EIO)
        out, err = w.communicate(timeout=20)
        lines = out.splitlines()
        self.assertRegex(lines[0], r"^#\d+ \[pid %d\] pread\(.*\) = -1 EIO" % p.pid)
        self.assertRegex(lines[1], r"^    stack_service\(read_page\+0x[0-9a-f]+\)$")
        self.assertRegex(lines[2], r"^    libstack_library\.so\(quiet_helper\+0x[0-9a-f]+\)$")
        self.assertRegex(lines[3], r"^    libstack_library\.so\(library_calls_quietly\+0x[0-9a-f]+\)$")
        self.assertRegex(lines[4], r"^    stack_service\(main\+0x[0-9a-f]+\)$")
        self.assertEqual(err, "")

    def test_as_json_of_a_program_that_is_over(self):
        self.ok("set", *self.rule)
        w = self.watching("--count", "1", "--json")
        subprocess.run([CTL, "run", "--stacks", "--", SERVICE, self.file], input="order\n", text=True, env=self.env, capture_output=True, timeout=20, check=True)
        out, err = w.communicate(timeout=20)
        stack = json.loads(out)["stack"]
        self.assertRegex(stack[1], r"^stack_service\(fetch_order\+0x")
        self.assertIn("run --stacks", err)  # nobody was attached when the watch began
        events = self.ok("watch", "--last", "1", "--count", "1", "--json").json
        self.assertEqual(events["stack"], stack)

    def test_recorded_only_while_somebody_watches(self):
        p = self.service("--stacks")
        self.ok("set", *self.rule)
        w = self.watching("--count", "1")
        self.call(p, "order")
        w.communicate(timeout=20)
        until(lambda: not self.ok("daemon", "status", "--json").json["stack_watchers"], "end of the watcher")
        self.call(p, "order")
        seen = until(lambda: (e := self.ok("watch", "--last", "2", "--count", "2", "--json").out.splitlines()) and len(e) == 2 and e, "both events")
        self.assertEqual(["stack" in json.loads(e) for e in seen], [True, False])


if __name__ == "__main__":
    unittest.main()
