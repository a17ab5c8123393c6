"""Promise 6, doctor --rule: why a rule that is in force does nothing, told from what there really is."""
import os
import socket
import subprocess
import sys
import unittest

from harness import CTL, SessionTest, free_port, until

CLIENT = r"""
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
print("connected", flush=True)
for line in sys.stdin:
    s.sendall(b"ping"); s.recv(4); print("done", flush=True)
"""


class Why(SessionTest):
    def client(self):
        """A connected client; each line that it is sent is one exchange with the echo at the other end."""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.port = self.listener.getsockname()[1]
        p = self.start([CTL, "run", "--", sys.executable, "-c", CLIENT, str(self.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.peer, _ = self.listener.accept()
        self.addCleanup(self.peer.close)
        p.stdout.readline()
        return p

    def exchange(self, p):
        p.stdin.write("go\n")
        p.stdin.flush()
        self.assertEqual(self.peer.recv(4), b"ping")
        self.peer.sendall(b"pong")
        p.stdout.readline()

    def why(self, rule="r"):
        answer = self.ok("doctor", "--rule", rule, "--json").json
        self.assertEqual(answer["reasons"], [w["text"] for w in answer["why"]])
        return {w["code"]: w for w in answer["why"]}

    def test_no_process_at_all(self):
        self.ok("set", "latency", "127.0.0.1:1", "1ms", "--name", "r")
        self.assertEqual(list(self.why()), ["no_process"])

    def test_processes_that_the_rule_does_not_mean(self):
        p = self.client()
        for words in (["--process", "nginx"], ["--pid", os.getpid()]):
            self.ok("set", "latency", f"127.0.0.1:{self.port}", "1ms", "--name", "r", *words)
            why = self.why()
            self.assertEqual(list(why), ["other_process"])
            self.assertIn(str(words[1]), why["other_process"]["text"])
            self.assertIn(f"(pid {p.pid})", why["other_process"]["nearest"][0])

    def test_no_such_connection_names_the_nearest(self):
        p = self.client()
        self.ok("set", "latency", f"127.0.0.1:{free_port()}", "1ms", "--name", "r")
        why = self.why()
        self.assertEqual(list(why), ["no_connection"])
        self.assertIn(f"127.0.0.1:{self.port} of ", why["no_connection"]["nearest"][0])
        self.assertIn(f"pid {p.pid}", why["no_connection"]["nearest"][0])
        self.assertIn(f"127.0.0.1:{self.port}", self.ok("doctor", "--rule", "r").out)

    def test_a_connection_that_is_there_and_calls_nothing(self):
        self.client()
        self.ok("set", "latency", f"127.0.0.1:{self.port}", "1ms", "--name", "r")
        why = self.why()
        self.assertEqual(list(why), ["not_called"])
        self.assertIn("stream_in", why["not_called"]["text"])
        self.ok("set", "latency", f"127.0.0.1:{self.port}", "1ms", "--name", "r", "--on", "connect")
        self.assertEqual(list(self.why()), ["not_called", "narrowed"])

    def test_names_are_looked_at_as_chaosd_resolves_them(self):
        self.client()
        self.ok("set", "latency", f"localhost:{self.port}", "1ms", "--name", "r")
        self.assertEqual(list(self.why()), ["not_called"])
        self.assertIn("127.0.0.1", self.rule("r")["addresses"]["localhost"])
        self.ok("set", "latency", "no-such-host.invalid:1", "1ms", "--name", "r")
        self.assertEqual(list(self.why()), ["unresolved", "no_connection"])

    def test_triggers_that_are_never_due(self):
        p = self.client()
        for name, value in (("when", "100+"), ("after", "1MB"), ("probability", "0"), ("toxicity", "0")):
            self.ok("set", "latency", f"127.0.0.1:{self.port}", "1ms", "--name", "r", "--" + name, value)
            self.exchange(p)
            until(lambda: self.rule("r")["matched"], "a match")
            why = self.why()
            self.assertEqual(list(why), [name])
            self.assertIn(value, why[name]["text"])

    def test_a_rule_that_works(self):
        p = self.client()
        self.ok("set", "latency", f"127.0.0.1:{self.port}", "1ms", "--name", "r")
        self.exchange(p)
        until(lambda: self.rule("r")["fired"], "a fault")
        self.assertEqual(self.why(), {})

    def test_dry_runs_and_pauses_say_so(self):
        p = self.client()
        self.ok("set", "latency", f"127.0.0.1:{self.port}", "1ms", "--name", "r", "--dry-run")
        self.exchange(p)
        until(lambda: self.rule("r")["fired"], "a decision")
        self.assertEqual(list(self.why()), ["dry_run"])
        self.ok("pause", "r")
        self.assertEqual(list(self.why()), ["paused", "dry_run"])
        self.ok("rm", "r")
        self.assertEqual(list(self.why()), ["ended"])


if __name__ == "__main__":
    unittest.main()
