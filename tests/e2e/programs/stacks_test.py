"""Call stacks of programs whose code is made at run time (V8, the JVM), of an interpreter and of servers: rules with --stack act
where the function stands on the stack and nowhere else, and what `watch --stacks` shows leads from the call to the start."""
import json
import os
import re
import subprocess
import tempfile
import textwrap
import unittest

from harness import CTL
from program_test_case import HERE, PROGRAM_TIMEOUT, PYTHON, SHIM, ProgramTestCase, Talker, free_port, need, until

NODE = need("node", "nodejs")
JAVA = need("java", "default-jdk-headless")
JAVAC = need("javac", "default-jdk-headless")
REDIS = need("redis-server", "redis-server")
WALKED = {"LD_PRELOAD": SHIM, "CHAOS_STACKS": "1"}
FRAME = re.compile(r"^([^ ()]+\(\S+\+0x[0-9a-f]+\)|[^ ()]+\+0x[0-9a-f]+|0x[0-9a-f]+)$")


class Stacks(ProgramTestCase):
    def setUp(self):
        super().setUp()
        self.file = os.path.join(self.folder, "ledger")
        with open(self.file, "w") as f:
            f.write("x")

    def assertCount(self, rule, fired):
        counted = self.counted(rule)
        self.assertEqual((counted["matched"], counted["fired"]), (fired, fired))

    def stacks(self, count, action):
        """The stacks of the first `count` injections while action() runs; each line of them has one of the documented forms."""
        w = self.start([CTL, "watch", "--stacks", "--json", "--count", str(count)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        until(lambda: self.ok("daemon", "status", "--json").json["stack_watchers"], "the watcher")
        action()
        out, _ = w.communicate(timeout=PROGRAM_TIMEOUT)
        found = [json.loads(line)["stack"] for line in out.splitlines()]
        self.assertEqual(len(found), count)
        for stack in found:
            for frame in stack:
                self.assertRegex(frame, FRAME)
        return found

    def assertOn(self, stack, function):
        self.assertTrue(any(f"({function}+" in frame for frame in stack), stack)


class Node(Stacks):
    READ_TWICE = """
        const fs = require('fs');
        const read = () => { try { fs.readFileSync(process.argv[1]); return 'read'; } catch (e) { return e.code; } };
        console.log(read());
        setTimeout(() => console.log(read()), 1);
    """

    def read_twice(self):
        ran = self.run_plain(NODE, "-e", textwrap.dedent(self.READ_TWICE), self.file, env=WALKED)
        self.assertEqual(ran.code, 0, ran)
        return ran.out.split()

    def test_only_what_a_timer_calls(self):
        rule = self.fault("error", f"file:{self.file}", "EIO", "--on", "read", "--stack", "uv_run")
        self.assertEqual(self.read_twice(), ["read", "EIO"])  # through JavaScript, which has no tables
        self.assertCount(rule, 1)

    def test_the_stack_leads_through_javascript(self):
        self.fault("observe", f"file:{self.file}", "--on", "read", "--times", "1")
        [stack] = self.stacks(1, self.read_twice)
        self.assertOn(stack, "_start")
        self.assertGreater(len(stack), 10)


class Jvm(Stacks):
    @classmethod
    def setUpClass(cls):
        cls.classes = tempfile.TemporaryDirectory(prefix="chaos-java-")
        made = subprocess.run([JAVAC, "-d", cls.classes.name, os.path.join(HERE, "java/Ledger.java")], capture_output=True, text=True, timeout=120)
        if made.returncode != 0:
            raise AssertionError(made.stderr)

    @classmethod
    def tearDownClass(cls):
        cls.classes.cleanup()

    def failures(self, rounds, *options):
        ran = self.run_plain(JAVA, "-XX:+UseSerialGC", "-Xshare:auto", "-Xmx128m", *options, "-cp", self.classes.name, "Ledger", self.file, rounds, env=WALKED)
        self.assertEqual(ran.code, 0, ran)
        return [int(n) for n in ran.out.split()]

    def below_main(self):
        return self.fault("error", f"file:{self.file}", "EIO", "--on", "read", "--stack", "JavaMain")

    def test_through_interpreted_code(self):
        rule = self.below_main()
        self.assertEqual(self.failures(20, "-Xint"), [20, 0])
        self.assertCount(rule, 20)

    def test_through_compiled_code_that_keeps_frame_pointers(self):
        rule = self.below_main()
        self.assertEqual(self.failures(5000, "-XX:+PreserveFramePointer"), [5000, 0])
        self.assertCount(rule, 5000)

    def test_other_compiled_code_may_end_the_stack_and_disturbs_nothing(self):
        rule = self.below_main()
        here, there = self.failures(5000)
        self.assertGreater(here, 0)  # interpreted at first
        self.assertEqual(there, 0)
        self.assertCount(rule, here)

    def test_the_library_below_java_is_met_however_java_was_compiled(self):
        rule = self.fault("error", f"file:{self.file}", "EIO", "--on", "read", "--stack", "libjava.so")
        self.assertEqual(self.failures(5000), [5000, 5000])
        self.assertCount(rule, 10000)

    def test_the_stack_leads_through_java(self):
        self.fault("observe", f"file:{self.file}", "--on", "read", "--times", "1")
        [stack] = self.stacks(1, lambda: self.failures(1))
        self.assertTrue(any(frame.startswith("0x") for frame in stack), stack)
        self.assertOn(stack, "JavaMain")


class CPython(Stacks):
    def test_the_main_thread_and_no_other(self):
        program = """
            import sys, threading
            def read():
                try:
                    open(sys.argv[1]).read()
                    print("read")
                except OSError as e:
                    print(e.errno)
            def deep(n):
                return deep(n - 1) if n else read()
            deep(20)
            other = threading.Thread(target=deep, args=(20,))
            other.start()
            other.join()
        """
        rule = self.fault("error", f"file:{self.file}", "EIO", "--on", "open", "--stack", "Py_RunMain")
        ran = self.run_plain(PYTHON, "-c", textwrap.dedent(program), self.file, env=WALKED)
        self.assertEqual((ran.code, ran.out.split()), (0, ["5", "read"]), ran)
        self.assertCount(rule, 1)


class Redis(Stacks):
    def test_the_stack_of_a_wait_is_the_loops(self):
        port = free_port()
        rule = self.fault("latency", "127.0.0.2", "1ms", "--stack", "aeMain")
        self.server([REDIS, "--port", port, "--save", "", "--protected-mode", "no", "--dir", self.folder], port, env=WALKED)
        client = Talker(port, b"PING\r\n", b"+PONG\r\n", source="127.0.0.2")
        [stack] = self.stacks(1, client.ask)
        client.close()
        self.assertOn(stack, "aeMain")
        self.assertOn(stack, "main")
        self.assertFired(rule)


if __name__ == "__main__":
    unittest.main()
