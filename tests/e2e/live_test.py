"""Live connections under closing rules: broken when the rule comes into force, not at the next call."""
import json
import os
import socket
import subprocess
import sys
import time
import unittest

from harness import CTL, SessionTest, until

WAKE_MAX = 0.2  # seconds from the rule to the end of a recv that was waiting before it

CLIENT = r"""
import errno, os, socket, sys, threading, time
def say(*words): os.write(1, (" ".join(map(str, words)) + "\n").encode())  # one write: lines of two threads do not mix
def wait(name, s):
    say(name, "waits", threading.get_native_id())
    try:
        data = s.recv(100) if name != "w" else s.sendall(b"x" * (64 << 20))
        say(name, "got", data)
    except OSError as e:
        say(name, errno.errorcode[e.errno], time.clock_gettime_ns(time.CLOCK_MONOTONIC))
threads = []
for word in sys.argv[1:]:
    name, port = word.split(":")
    s = socket.create_connection(("127.0.0.1", int(port)))
    threads.append(threading.Thread(target=wait, args=(name, s)))
    threads[-1].start()
for t in threads: t.join()
"""


class Live(SessionTest):
    def listener(self):
        s = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(s.close)
        return s, s.getsockname()[1]

    def client(self, *ends, run=()):
        """A client whose threads all wait in the kernel. ends: name:port."""
        p = self.start([CTL, "run", *run, "--", sys.executable, "-c", CLIENT, *ends], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in ends:
            self.assertIn(" waits ", line := p.stdout.readline(), line)
            tid = line.split()[-1]
            def waiting():
                with open(f"/proc/{p.pid}/task/{tid}/syscall") as f:
                    return f.read().split()[0] in ("0", "45", "1", "44", "47", "63", "207", "206")
            until(waiting, "the wait in the kernel")
        return p

    def accept(self, listener):
        s, _ = listener.accept()
        self.addCleanup(s.close)
        s.settimeout(30)
        return s

    def said(self, p):
        name, what, when = p.stdout.readline().split()
        return name, what, int(when) / 1e9

    def break_by(self, kind):
        (hit, hit_port), (other, other_port) = self.listener(), self.listener()
        p = self.client(f"a:{hit_port}", f"b:{other_port}")
        peer, bystander = self.accept(hit), self.accept(other)
        self.ok("daemon", "status")
        began = time.monotonic()
        rule = self.ok("set", kind, f"127.0.0.1:{hit_port}", "--name", "r").out.strip()
        ended = time.monotonic()
        name, what, when = self.said(p)
        self.assertEqual((name, what), ("a", "ECONNRESET"))
        self.assertSoon(when - ended, WAKE_MAX)
        self.assertGreater(when, began)
        with self.assertRaises(ConnectionResetError):
            peer.recv(10)
        found = until(lambda: (r := self.rule(rule)) and r["broken_live"] and r, "the count")
        self.assertEqual((found["broken_live"], found["unreached_live"]), (1, 0))
        self.assertFalse(found["never_matched"])
        self.assertEqual(found["fired"], found["events"])
        self.assertGreaterEqual(found["matched"], found["fired"])
        self.assertIn("1 broken at once", self.ok("list").out)
        with open(f"{self.dir}/default/timeline.jsonl") as f:
            events = [e for e in map(json.loads, f) if e.get("function") == "live"]
        self.assertEqual(len(events), 1)
        self.assertEqual((events[0]["kind"], events[0]["pid"], events[0]["errno"], events[0]["effect"], events[0]["target"], events[0]["rule_name"]),
                         ("injection", p.pid, "ECONNRESET", kind, f"127.0.0.1:{hit_port}", "r"))
        stats = self.ok("stats", "--json").json
        self.assertEqual(stats["events"] + stats["events_lost"], stats["events_published"])
        bystander.sendall(b"still here")
        self.assertEqual(p.stdout.readline().strip(), "b got b'still here'")
        self.assertEqual(p.wait(30), 0)

    def test_reset_peer_wakes_a_thread_that_waits_in_recv(self):
        self.break_by("reset_peer")

    def test_reset_peer_wakes_it_when_its_time_is_up(self):
        s, port = self.listener()
        p = self.client(f"a:{port}")
        peer = self.accept(s)
        self.ok("daemon", "status")
        began = time.monotonic()
        rule = self.ok("set", "reset_peer", f"127.0.0.1:{port}", "400ms").out.strip()
        ended = time.monotonic()
        name, what, when = self.said(p)
        self.assertEqual((name, what), ("a", "ECONNRESET"))
        self.assertGreater(when - began, 0.4)
        self.assertSoon(when - ended, 0.4 + WAKE_MAX)
        with self.assertRaises(ConnectionResetError):
            peer.recv(10)
        found = until(lambda: (r := self.rule(rule)) and r["broken_live"] and r, "the count")
        self.assertEqual((found["broken_live"], found["unreached_live"]), (1, 0))
        self.assertEqual(found["fired"], found["events"])

    def test_reset_peer_that_is_removed_in_time_breaks_nothing(self):
        s, port = self.listener()
        p = self.client(f"a:{port}")
        peer = self.accept(s)
        began = time.monotonic()
        self.ok("set", "reset_peer", f"127.0.0.1:{port}", "1s", "--name", "r")
        self.ok("rm", "r")
        self.assertSoon(time.monotonic() - began, 1, "removed when it had broken it")
        time.sleep(1.1)
        peer.sendall(b"alive")
        self.assertEqual(p.stdout.readline().strip(), "a got b'alive'")

    def test_down_wakes_a_thread_that_waits_in_recv(self):
        self.break_by("down")

    def test_a_thread_that_waits_in_send_wakes_too(self):
        s, port = self.listener()
        p = self.client(f"w:{port}")
        self.accept(s)
        self.ok("set", "reset_peer", f"127.0.0.1:{port}")
        self.assertIn(self.said(p)[1], ("ECONNRESET", "EPIPE"))  # what was sent before may have failed with the first

    def test_accepted_connections_by_their_port(self):
        server = r"""
import errno, socket, sys
l = socket.create_server(("127.0.0.1", 0)); print(l.getsockname()[1], flush=True)
s, _ = l.accept(); print("accepted", flush=True)
try: print(s.recv(10), flush=True)
except OSError as e: print(errno.errorcode[e.errno], flush=True)
"""
        p = self.start([CTL, "run", "--", sys.executable, "-c", server], stdout=subprocess.PIPE)
        port = int(p.stdout.readline())
        c = socket.create_connection(("127.0.0.1", port))
        self.addCleanup(c.close)
        c.settimeout(30)
        p.stdout.readline()
        self.ok("set", "reset_peer", f"listen:{port}")
        with self.assertRaises(ConnectionResetError):
            c.recv(10)
        self.assertEqual(p.stdout.readline().strip(), "ECONNRESET")

    def test_a_socket_shared_by_parent_and_child_is_broken_once(self):
        s, port = self.listener()
        program = f"""
import errno, os, socket
s = socket.create_connection(("127.0.0.1", {port}))
if os.fork() == 0:
    print("child", flush=True)
    try: s.recv(10)
    except OSError as e: print(errno.errorcode[e.errno], flush=True)
    os._exit(0)
os.wait()
"""
        # the child was forked while nothing was armed: it has no line of its own in the report page yet
        p = self.start([CTL, "run", "--", sys.executable, "-c", program], stdout=subprocess.PIPE)
        self.accept(s)
        p.stdout.readline()
        rule = self.ok("set", "reset_peer", f"127.0.0.1:{port}").out.strip()
        self.assertEqual(p.stdout.readline().strip(), "ECONNRESET")
        until(lambda: self.rule(rule)["broken_live"], "the count")
        self.assertEqual(self.rule(rule)["broken_live"], 1)

    def test_narrowed_dry_and_foreign_rules_break_nothing_at_once(self):
        s, port = self.listener()
        p = self.client(f"a:{port}")
        peer = self.accept(s)
        where = f"127.0.0.1:{port}"
        for extra in (["--probability", "50%"], ["--when", "3"], ["--times", "1"], ["--after", "1KB"], ["--toxicity", "50%"], ["--caller", "x"],
                      ["--thread", "x"], ["--dry-run"], ["--process", "nobody"], ["--pid", str(os.getpid())], ["--on", "recv"]):
            self.ok("set", "reset_peer", where, *extra)
        self.ok("set", "reset_peer", where, "1min")
        self.ok("set", "down", where, "--how", "unreachable", "--dry-run")
        rule = self.ok("set", "reset_peer", where, "--pid", str(p.pid), "--dry-run", "--name", "last").out.strip()
        self.assertTrue(rule)
        self.assertEqual([r["broken_live"] + r["unreached_live"] for r in self.rules()], [0] * len(self.rules()))
        peer.sendall(b"alive")
        self.assertEqual(p.stdout.readline().strip(), "a got b'alive'")

    def test_resume_breaks_what_pause_had_spared(self):
        s, port = self.listener()
        self.ok("set", "reset_peer", f"127.0.0.1:{port}", "--name", "r")
        self.ok("pause", "r")
        p = self.client(f"a:{port}")
        peer = self.accept(s)
        self.assertEqual(self.rule("r")["broken_live"], 0)
        self.ok("resume", "r")
        self.assertEqual(self.said(p)[1], "ECONNRESET")
        with self.assertRaises(ConnectionResetError):
            peer.recv(10)
        until(lambda: self.rule("r")["broken_live"] == 1, "the count")

    def test_rules_of_another_run_spare_this_one(self):
        (a, a_port), (b, b_port) = self.listener(), self.listener()
        p = self.client(f"a:{a_port}")
        peer = self.accept(a)
        q = self.client(f"a:{b_port}", run=["--set", f"reset_peer 127.0.0.1:{a_port}"])
        bystander = self.accept(b)
        for s in (peer, bystander):
            s.sendall(b"alive")
        for one in (p, q):
            self.assertEqual(one.stdout.readline().strip(), "a got b'alive'")

    def test_a_hundred_connections_of_an_event_loop(self):
        s, port = self.listener()
        s.listen(200)
        program = f"""
import errno, select, socket
e = select.epoll(); all = {{}}
for i in range(100):
    c = socket.create_connection(("127.0.0.1", {port})); c.setblocking(False); all[c.fileno()] = c; e.register(c, select.EPOLLIN | select.EPOLLET)
print("ready", flush=True)
told = {{}}
while len(told) < 100:
    for fd, events in e.poll():
        try: told.setdefault(fd, str(all[fd].recv(10)))
        except BlockingIOError: pass
        except OSError as x: told.setdefault(fd, errno.errorcode[x.errno])
print(set(told.values()), flush=True)
"""
        p = self.start([CTL, "run", "--", sys.executable, "-c", program], stdout=subprocess.PIPE)
        peers = [self.accept(s) for _ in range(100)]
        p.stdout.readline()
        rule = self.ok("set", "down", f"127.0.0.1:{port}").out.strip()
        self.assertEqual(p.stdout.readline().strip(), "{'ECONNRESET'}")
        for peer in peers:
            with self.assertRaises(ConnectionResetError):
                peer.recv(10)
        until(lambda: self.rule(rule)["broken_live"] == 100, "the count")
        until(lambda: (r := self.rule(rule))["fired"] == r["events"], "every event")


class Linger(SessionTest):
    def test_books_stay_armed_for_a_while_after_the_last_rule_and_then_nothing(self):
        target = self.target()
        armed = lambda: self.order(target, "page")["armed"]
        self.ok("set", "latency", "127.0.0.1:1", "1ms", "--name", "r")
        in_force = armed()
        self.ok("rm", "r")
        lingering = armed()
        self.assertNotEqual(lingering, 0)
        self.assertEqual(lingering & ~in_force, 0)
        until(lambda: armed() == 0, "the end of what lingers", deadline=10)

    def test_stop_disarms_at_once_also_what_lingers(self):
        target = self.target()
        armed = lambda: self.order(target, "page")["armed"]
        self.ok("set", "down", "127.0.0.1:1", "--how", "blackhole", "--name", "r")
        self.ok("rm", "r")
        self.assertNotEqual(armed(), 0)
        self.ok("stop")
        self.assertEqual(armed(), 0)


if __name__ == "__main__":
    unittest.main()
