"""What the tests of real programs need beside a session: programs under the shim, servers that are awaited, stopwatches,
and counters.

Everything listens on loopback, on ports of its own. Times are compared with the tolerances stated here, nowhere else:
what a fault delays is never early, and late by at most LATE on a busy machine."""
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from harness import DEADLINE, SHIM, SessionTest, TooLate, free_port, until  # noqa: F401 (for the tests)

PYTHON = os.path.realpath(sys.executable)
HERE = os.path.dirname(os.path.abspath(__file__))
LATE = 0.35         # seconds: how much later than due something may be seen on a machine that builds as well
EARLY = 0.002       # clocks and rounding
PROMPT = 0.001      # seconds: p99 of those whom a fault does not concern, beyond what it is without the fault
GOOD = 2            # runs of a timing comparison that must pass
TRIES = 4           # among so many: this may be a machine that builds as well
PROGRAM_TIMEOUT = 20


def need(program, package):
    """Where the program is. It is an error, not a reason to skip, when it is not installed."""
    for folder in (None, "/usr/sbin:/usr/local/sbin:/usr/local/bin"):
        found = shutil.which(program, path=folder)
        if found:
            return found
    raise AssertionError(f"{program} is not installed: apt-get install {package}")


def answers(port, host="127.0.0.1"):
    try:
        socket.create_connection((host, port), timeout=1).close()
        return True
    except OSError:
        return False


class Ran:
    """A program that has ended: what it said, its exit status, and how long it took."""

    def __init__(self, done, seconds):
        self.code, self.out, self.err, self.seconds = done.returncode, done.stdout, done.stderr, seconds

    def __repr__(self):
        return f"exit {self.code} after {self.seconds:.3f} s\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class ProgramTestCase(SessionTest):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="chaos-programs-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        super().setUp()
        self.shimmed = {**self.env, "LD_PRELOAD": SHIM}

    # --- programs

    def run_shimmed(self, *argv, env=None, **more):
        return self.run_plain(*argv, env={"LD_PRELOAD": SHIM, **(env or {})}, **more)

    def run_plain(self, *argv, env=None, timeout=PROGRAM_TIMEOUT, stdin=None, text=True):
        began = time.monotonic()
        done = subprocess.run([str(a) for a in argv], env={**self.env, **(env or {})}, input=stdin, text=text,
                              stdin=subprocess.DEVNULL if stdin is None else None, capture_output=True, timeout=timeout)
        return Ran(done, time.monotonic() - began)

    def server(self, argv, port, shimmed=False, host="127.0.0.1", env=None, **more):
        """A server that is ended with the test; back when it answers."""
        with open(os.path.join(self.folder, f"server-{port}.log"), "a+") as log:
            p = self.start([str(a) for a in argv], env={**({"LD_PRELOAD": SHIM} if shimmed else {}), **(env or {})},
                           stdin=subprocess.DEVNULL, stdout=log, stderr=log, **more)
        until(lambda: p.poll() is not None or answers(port, host), f"an answer of {argv[0]} on {port}")
        if p.poll() is not None:
            with open(log.name) as said:
                raise AssertionError(f"{argv[0]} ended with {p.returncode}: {said.read()}")
        if shimmed:
            self.assertMapped(p.pid)
        return p

    def assertMapped(self, pid):
        with open(f"/proc/{pid}/maps") as maps:
            self.assertIn("libchaos", maps.read(), f"the shim is not in process {pid}")

    # --- rules and counters

    def fault(self, *words):
        """Puts a rule in force, and names it; --name is made up from the kind."""
        words = [str(w) for w in words]
        if "--name" not in words:
            words += ["--name", words[0]]
        self.ok("set", *words, "--for", "5min")
        return words[words.index("--name") + 1]

    def counted(self, name):
        return next(r for r in self.ok("stats", "--json").json["rules"] if r["name"] == name)

    def fired(self, name):
        return self.counted(name)["fired"]

    def assertFired(self, name, times=None, at_least=1):
        n = self.fired(name)
        if times is not None:
            self.assertEqual(n, times, f"rule {name} fired")
        self.assertGreaterEqual(n, at_least, f"rule {name} fired")
        return n

    def assertNotFired(self, name):
        self.assertEqual(self.fired(name), 0, f"rule {name} fired")

    def assertNothingLost(self):
        self.assertEqual(self.ok("stats", "--json").json["events_lost"], 0)

    # --- times

    def assertOnlyOneIsSlow(self, port, question, answer_ends, seconds, rounds=8):
        """A server under the shim: the client that comes from 127.0.0.2 is late by `seconds`, and nobody else notices."""
        rule = self.fault("latency", "127.0.0.2", f"{round(seconds * 1000)}ms")

        def attempt():
            before = self.fired(rule)
            undisturbed = Crowd(port, question, answer_ends).during(lambda: time.sleep(0.5))
            slow = Talker(port, question, answer_ends, source="127.0.0.2")
            others = Crowd(port, question, answer_ends).during(lambda: slow.ask_often(rounds))
            fired = self.fired(rule) - before
            slow.close()  # its end is delayed as well, and counts
            self.assertTook(min(slow.times), seconds)
            self.assertSoon(median(slow.times), seconds + 0.003)
            self.assertSoon(others, undisturbed + PROMPT)
            self.assertEqual(fired, rounds)
        self.mostly(attempt)

    def assertTook(self, seconds, expected, late=LATE):
        self.assertGreaterEqual(seconds, expected - EARLY, "too early")
        self.assertSoon(seconds, expected + late, "too late")

    def mostly(self, attempt, tries=TRIES):
        """A comparison of times passes when GOOD of so many runs do: other work on this machine may disturb one."""
        failures, good = [], 0
        while good < GOOD:
            try:
                attempt()
                good += 1
            except AssertionError as failure:
                failures.append(failure)
                if len(failures) > tries - GOOD:
                    raise next((f for f in failures if not isinstance(f, TooLate)), failures[0])


def stopwatch(action, *args):
    began = time.perf_counter()
    result = action(*args)
    return time.perf_counter() - began, result


def p99(times):
    times = sorted(times)
    return times[min(len(times) - 1, int(len(times) * 0.99))]


class Talker:
    """A client on one connection that asks the same question again and again, and keeps the times."""

    def __init__(self, port, question, answer_ends, source="127.0.0.1"):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PROGRAM_TIMEOUT, source_address=(source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.question, self.answer_ends = question, answer_ends
        self.times, self.last = [], b""

    def ask(self):
        self.socket.sendall(self.question)
        got = b""
        while not got.endswith(self.answer_ends):
            part = self.socket.recv(65536)
            if not part:
                raise EOFError(f"the server closed the connection after {got!r}")
            got += part
        return got

    def ask_often(self, rounds):
        for _ in range(rounds):
            seconds, self.last = stopwatch(self.ask)
            self.times.append(seconds)

    def close(self):
        self.socket.close()


class Crowd(threading.Thread):
    """Clients that the fault does not concern, asking in turn (so that they do not wait for each other in this process)."""

    def __init__(self, *args, size=8, **more):
        super().__init__(daemon=True)
        self.talkers = [Talker(*args, **more) for _ in range(size)]
        self.times, self.failure, self.over = [], None, threading.Event()

    def run(self):
        try:
            while not self.over.is_set():
                for t in self.talkers:
                    self.times.append(stopwatch(t.ask)[0])
                time.sleep(0.001)
        except Exception as failure:
            self.failure = failure

    def during(self, action):
        """p99 of the crowd's times while `action` goes on."""
        self.start()
        try:
            action()
        finally:
            self.over.set()
            self.join(PROGRAM_TIMEOUT)
            for t in self.talkers:
                t.close()
        if self.failure:
            raise AssertionError(f"a client failed: {self.failure!r}")
        if len(self.times) < 200:
            raise TooLate(f"only {len(self.times)} answers")
        return p99(self.times)


def median(times):
    return statistics.median(times)
