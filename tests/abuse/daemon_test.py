"""chaosd under abuse: killed at random while rules change, asked to tell a million events, on a full disk, stopped in time, in another time."""
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

from control_socket import ControlSocket
from harness import BUILD, CTL, DAEMON, DONE, FAILED, FAKE, SHIM, SessionTest, alive, until

LONG = bool(os.environ.get("CHAOS_ABUSE_LONG"))
WATCHER = os.path.join(BUILD, "tests/page_watcher")

# A target that works all the time, under the shim, and says in the end how often; what it reads is what it wrote.
WORKER = r"""
import os, socket, sys, threading
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
server = socket.create_server(("127.0.0.1", 0))
near = socket.create_connection(server.getsockname())
far, _ = server.accept()
rounds = 0
while not over.is_set():
    sent = os.urandom(50)
    far.sendall(sent)
    got = b""
    while len(got) < 50: got += near.recv(50 - len(got))
    assert got == sent
    rounds += 1
print(rounds)
"""


def rules_at_random(chance, n):
    kinds = ["latency 127.{a}.0.1:{p} {t}us", "observe 10.{a}.0.0/16:{p}", "error unix:/x/{a}/* EPIPE --probability 1%", "loss udp://10.0.{a}.1:{p} 5%"]
    for i in range(n):
        words = chance.choice(kinds).format(a=chance.randrange(256), p=chance.randrange(1, 65536), t=chance.randrange(1, 1000)).split()
        yield {"v": 1, "command": "set", "words": [*words, "--name", f"r{chance.randrange(40)}"]}
        if chance.random() < 0.2:
            yield {"v": 1, "command": "rm", "words": [f"r{chance.randrange(40)}"]}


class Daemon(SessionTest):
    def lock_pid(self):
        with open(f"{self.dir}/default/chaosd.lock") as f:
            return int(f.read() or 0)

    def start_daemon(self, *words):
        done = subprocess.run([DAEMON, "--dir", self.dir, *words], env=self.env, capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        return self.lock_pid()

    def test_killed_at_random_while_rules_change_no_torn_rule_is_seen(self):
        chance = random.Random(1)
        kills = 1000 if LONG else 60
        self.start_daemon()
        watcher = self.start([WATCHER, f"{self.dir}/default"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.assertEqual(watcher.stdout.readline(), "watching\n")
        worker = self.start([sys.executable, "-c", WORKER], env={"LD_PRELOAD": SHIM}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        answered = 0
        for _ in range(kills):
            pid = self.lock_pid()
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(f"{self.dir}/default/control.sock")
                killer = threading.Timer(chance.random() * 0.02, os.kill, (pid, signal.SIGKILL))
                killer.start()
                try:
                    s.sendall(b"".join(json.dumps(r).encode() + b"\n" for r in rules_at_random(chance, 60)))
                    while part := s.recv(65536):
                        answered += part.count(b"\n")
                except (BrokenPipeError, ConnectionResetError):
                    pass
                killer.join()
            until(lambda: not alive(pid), "the end of chaosd")
            self.start_daemon(*(["--restore"] if chance.random() < 0.5 else []))
        out, _ = watcher.communicate(timeout=30)
        seen = json.loads(out)
        self.assertEqual(seen["torn"], 0, seen)
        # Whoever shares the only CPU with chaosd looks once in some milliseconds, and it lives for ten.
        self.assertGreater(seen["generations"], kills * (3 if len(os.sched_getaffinity(0)) > 1 else 1), seen)
        self.assertGreater(answered, kills * 3)
        out, _ = worker.communicate(timeout=20)
        self.assertEqual(worker.returncode, 0)
        self.assertGreater(int(out), 1000)
        self.assertEqual([name for name in os.listdir(f"{self.dir}/default") if "corrupt" in name], [], "state.json was always whole")
        self.assertEqual(self.ok("set", "latency", "127.0.0.1:1", "1ms").code, DONE)
        print(f"{kills} kills, {seen}", flush=True)

    def control(self):
        socket_there = ControlSocket(f"{self.dir}/default")
        self.addCleanup(socket_there.close)
        return socket_there

    def test_memory_is_flat_over_ten_thousand_rule_changes(self):
        self.start_daemon()
        control = self.control()

        def change(times):
            for _ in range(times // 2):
                made = control.ask("set", words=["latency", "127.0.0.1:1", "1ms", "--name", "x", "--forever"])
                self.assertTrue(made["ok"], made)
                self.assertTrue(control.ask("rm", words=["x"])["ok"])
        memory = lambda: control.ask("status")["result"]["memory_kib"]
        change(3000)  # the ended rules that are remembered fill up
        warm = memory()
        change(10_000 if LONG else 2000)
        self.assertLess(memory() - warm, 1024)

    def test_memory_is_flat_over_a_million_events(self):
        events, batch = 1_000_000 if LONG else 200_000, 2000
        self.start_daemon()
        self.ok("set", "latency", "127.0.0.1:1", "100ms", "--forever", "--name", "slow")
        target = self.start([FAKE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.order(target, "attach fake")
        watching = self.start([CTL, "watch", "--json"], stdout=subprocess.DEVNULL)
        control = self.control()
        ask = lambda command: control.ask(command)["result"]
        until(lambda: ask("status")["watchers"], "the watcher")
        before, warm = ask("stats")["events"], 0
        for done in range(batch, events + 1, batch):  # in pieces that fit the ring: none is missed
            self.order(target, f"fire 1 {batch}")
            until(lambda: ask("stats")["events"] - before >= done, "the events")
            if done == events // 4:  # its buffers are what they will be
                warm = ask("status")["memory_kib"]
        stats, after = ask("stats"), ask("status")["memory_kib"]
        self.assertEqual((stats["events"] - before, stats["events_lost"]), (events, 0))
        self.assertEqual((self.rule("slow")["fired"], self.rule("slow")["events"]), (events, events))
        self.assertLessEqual(after, warm + 1024, f"{warm} KiB after a quarter of the events")
        self.assertLessEqual(after, 24 * 1024)
        self.assertIsNone(watching.poll())
        kept = sum(os.path.getsize(f"{self.dir}/default/{name}") for name in os.listdir(f"{self.dir}/default") if name.startswith("timeline"))
        self.assertLessEqual(kept, 64 * 1024 * 1024)
        print(f"{events} events: {warm} -> {after} KiB, {kept} bytes of timeline", flush=True)

    def disk_is_full(self, fill, free):
        """Whatever makes the disk full: changes are refused and say so, what is in force stays, stop works."""
        self.ok("set", "latency", "127.0.0.1:1", "1ms", "--name", "before")
        fill()
        answer = self.ctl("set", "latency", "127.0.0.1:2", "1ms", "--name", "during")
        self.assertEqual(answer.code, FAILED, answer)
        self.assertIn("nothing was changed", answer.err)
        self.assertEqual([r["name"] for r in self.rules()], ["before"])
        self.assertEqual(self.rule("before")["state"], "active")
        free()
        self.ok("set", "latency", "127.0.0.1:2", "1ms", "--name", "after")
        fill()
        self.ok("stop")
        self.assertEqual([r for r in self.rules() if r["state"] == "active"], [])
        self.assertIn("could not be written", json.dumps(self.ok("daemon", "status", "--json").json["notes"]))
        free()
        self.ok("set", "latency", "127.0.0.1:3", "1ms")

    def test_a_file_size_limit(self):
        pid = self.start_daemon()
        usual = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        self.disk_is_full(lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, usual[1])), lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, usual))

    @unittest.skipUnless(os.geteuid() == 0, "mounting needs root")
    def test_a_full_file_system(self):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m,mode=700", "tmpfs", self.dir], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", self.dir], check=False)
        self.start_daemon()
        ballast = f"{self.dir}/ballast"

        def fill():
            with open(ballast, "wb", buffering=0) as f:
                try:
                    while f.write(b"x" * 4096) == 4096:
                        pass
                except OSError:
                    pass
        self.disk_is_full(fill, lambda: os.unlink(ballast))
        os.kill(self.lock_pid(), signal.SIGKILL)
        until(lambda: not self.daemons(), "the end of chaosd")
        for name in os.listdir(f"{self.dir}/default"):
            os.unlink(f"{self.dir}/default/{name}")
        fill()
        done = subprocess.run([DAEMON, "--dir", self.dir], env=self.env, capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("No space left", done.stderr)

    # --- clocks: the lease is all that time means to a target

    def delayed(self, *before):
        """Seconds that a target, started anew, waits for a byte that is there."""
        script = "import socket,time\na,b=socket.socketpair()\ns=socket.create_server(('127.0.0.1',0))\nn=socket.create_connection(s.getsockname())\n" \
                 "f,_=s.accept()\nf.send(b'x')\nt=time.perf_counter()\nn.recv(1)\nprint(time.perf_counter()-t)"
        done = subprocess.run([*before, sys.executable, "-c", script], env={**self.env, "LD_PRELOAD": SHIM}, capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        return float(done.stdout)

    def test_a_daemon_that_was_stopped_in_time(self):
        self.ok("set", "latency", "127.0.0.0/8", "200ms")
        pid = self.daemon_pid()
        self.assertGreater(self.delayed(), 0.19)
        os.kill(pid, signal.SIGSTOP)
        until(lambda: self.delayed() < 0.1, "the end of the lease", deadline=8)
        os.kill(pid, signal.SIGCONT)
        until(lambda: self.delayed() > 0.19, "the lease again", deadline=8)

    @unittest.skipUnless(os.geteuid() == 0, "a time namespace needs root")
    def test_a_target_in_another_time_is_not_held_for_ever(self):
        self.ok("set", "latency", "127.0.0.0/8", "200ms")
        self.assertGreater(self.delayed(), 0.19)
        for offset in (1_000_000, -1):
            self.assertSoon(self.delayed("unshare", "--time", "--fork", "--monotonic", str(offset * 1000 if offset > 0 else -100), "--"), 1, str(offset))


if __name__ == "__main__":
    unittest.main()
