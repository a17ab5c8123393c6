"""Promise 4: what was injected is known. Counters are exact, events + events lost = counters, and both are what the target saw."""
import json
import os
import socket
import subprocess
import sys
import threading
import unittest

from harness import CTL, SessionTest, until

# Sends so often; the number of calls that failed, and of those that did not.
CLIENT = r"""
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
for line in sys.stdin:
    failed = good = 0
    for i in range(int(line)):
        try:
            s.send(b"x")
            good += 1
        except OSError as e:
            assert e.errno == 32
            failed += 1
    print(failed, good, flush=True)
"""


class Counted(SessionTest):
    def setUp(self):
        super().setUp()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.port = self.listener.getsockname()[1]
        self.ok("daemon", "start")
        self.client = self.start([CTL, "run", "--", sys.executable, "-c", CLIENT, str(self.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        peer, _ = self.listener.accept()
        self.addCleanup(peer.close)
        drain = threading.Thread(target=self.drain, args=(peer,), daemon=True)
        drain.start()

    @staticmethod
    def drain(peer):
        try:
            while peer.recv(65536):
                pass
        except OSError:
            pass

    def send(self, times):
        self.client.stdin.write(f"{times}\n")
        self.client.stdin.flush()
        return map(int, self.client.stdout.readline().split())

    def fault(self, *words):
        return int(self.ok("set", "error", f"127.0.0.1:{self.port}", "EPIPE", "--on", "send", *words).out)

    def timeline(self, rule):
        """Injections of the rule that stand on the timeline: one a line, or so many in one."""
        path = next(os.path.join(at, "timeline.jsonl") for at, _, files in os.walk(self.dir) if "timeline.jsonl" in files)
        with open(path, encoding="utf-8") as f:
            lines = [json.loads(line) for line in f]
        mine = [e for e in lines if e.get("rule") == rule]
        return [e for e in mine if not e.get("aggregated")], [e for e in mine if e.get("aggregated")]

    def test_each_injection_is_an_event_with_what_happened(self):
        rule = self.fault("--when", "3+2", "--name", "third")
        failed, good = self.send(101)
        self.assertEqual((failed, good), (50, 51))
        until(lambda: len(self.timeline(rule)[0]) >= failed, "every event on the timeline")
        events, aggregated = self.timeline(rule)
        self.assertEqual((len(events), aggregated), (failed, []))
        for n, e in enumerate(events):
            self.assertEqual((e["kind"], e["function"], e["effect"], e["errno"], e["pid"], e["rule_name"], e["op"]),
                             ("injection", "send", "error", "EPIPE", self.client.pid, "third", 3 + 2 * n))
            self.assertIn(str(self.port), e["target"])
        counted = self.rule(rule)
        self.assertEqual((counted["matched"], counted["fired"]), (101, 50))
        self.assertEqual(self.ok("stats", "--json").json["events_lost"], 0)

    def test_events_and_events_lost_are_the_counters_in_a_storm(self):
        rule = self.fault("--probability", "50%")
        failed, good = self.send(200_000)
        self.assertEqual(failed + good, 200_000)
        counted = self.rule(rule)
        self.assertEqual((counted["matched"], counted["fired"]), (200_000, failed))

        def all_told():
            events, aggregated = self.timeline(rule)
            lost = self.ok("stats", "--json").json["events_lost"]
            return len(events) + sum(e["count"] for e in aggregated) + lost == failed and aggregated
        until(all_told, "events, and those lost, are what was counted", every=0.1)


if __name__ == "__main__":
    unittest.main()
