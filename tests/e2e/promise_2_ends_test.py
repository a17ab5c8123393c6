"""Promise 2: a fault ends when its time is up, when it is removed, when its owner goes away, at `stop`, and when chaosd dies; and
those who are held in it go on then, in the same process, on the same connection."""
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

from harness import CTL, SessionTest, until

HELD = "60s"
QUICK = 0.5     # seconds: an exchange without a fault, on a busy machine
PROMPT = 1.0    # from the end of a rule to the end of the wait
LEASE = 3.0     # a daemon that dies is noticed when its lease is over

CLIENT = r"""
import selectors, socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
loops = sys.argv[2] == "loops"
if loops:
    s.setblocking(False)
    chosen = selectors.DefaultSelector()
    chosen.register(s, selectors.EVENT_READ)
print("ready", flush=True)
for line in sys.stdin:
    s.send(b"ping")
    got = b""
    while len(got) < 4:
        if loops:
            chosen.select()
        got += s.recv(4 - len(got))
    print(got.decode(), flush=True)
"""


class Ends(SessionTest):
    def setUp(self):
        super().setUp()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.port = self.listener.getsockname()[1]
        self.ok("daemon", "start")
        self.clients = []
        for way in ("blocks", "loops"):
            p = self.start([CTL, "run", "--", sys.executable, "-c", CLIENT, str(self.port), way], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            peer, _ = self.listener.accept()
            self.addCleanup(peer.close)
            self.assertEqual(p.stdout.readline(), "ready\n")
            self.clients.append((p, peer))
        self.assertExchangeIsQuick()

    def ask(self, which):
        p, peer = which
        p.stdin.write("go\n")
        p.stdin.flush()
        self.assertEqual(peer.recv(4), b"ping")
        peer.sendall(b"pong")

    def assertExchangeIsQuick(self):
        for which in self.clients:
            began = time.monotonic()
            self.ask(which)
            self.assertEqual(which[0].stdout.readline(), "pong\n")
            self.assertSoon(time.monotonic() - began, QUICK)

    def assertEnds(self, end, within, *options, end_of_rule=None):
        """Both clients are held, `end` is done, and both go on within the time."""
        ident = self.ok("set", "latency", f"127.0.0.1:{self.port}", HELD, *options).out.strip()
        for which in self.clients:
            self.ask(which)
        until(lambda: self.rule(ident)["fired"] == 2, "both are held")
        late = []
        waiting = [threading.Thread(target=lambda p=p: (p.stdout.readline(), late.append(time.monotonic()))) for p, _ in self.clients]
        for w in waiting:
            w.start()
        began = time.monotonic()
        time.sleep(0.1)
        self.assertEqual(late, [], "held")
        end(ident)
        began = time.monotonic() if end_of_rule is None else end_of_rule(began)
        for w in waiting:
            w.join(within + 10)
        self.assertEqual(len(late), 2, "both went on")
        self.assertSoon(max(late) - began, within)
        return ident

    def test_when_it_is_removed(self):
        self.assertEnds(lambda ident: self.ok("rm", ident), PROMPT)
        self.assertExchangeIsQuick()

    def test_when_its_time_is_up(self):
        ident = self.assertEnds(lambda ident: None, 3 + PROMPT, "--for", "3s")
        self.assertEqual(self.rule(ident)["state"], "ended")
        self.assertExchangeIsQuick()

    def test_when_its_owner_goes_away(self):
        owner = self.start(["sleep", "60"])
        self.assertEnds(lambda ident: (owner.kill(), owner.wait()), PROMPT, "--owner", str(owner.pid))
        self.assertExchangeIsQuick()

    def test_when_everything_is_stopped(self):
        self.assertEnds(lambda ident: self.ok("stop"), PROMPT)
        self.assertExchangeIsQuick()

    def test_when_chaosd_dies(self):
        self.assertEnds(lambda ident: os.kill(self.daemon_pid(), signal.SIGKILL), LEASE + PROMPT)
        self.assertExchangeIsQuick()


if __name__ == "__main__":
    unittest.main()
