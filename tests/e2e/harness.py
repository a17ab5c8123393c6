"""What every end-to-end test needs: a session folder of its own, chaos-ctl, targets, and waiting for conditions.

No test sleeps and hopes: `until` asks again and again, with a deadline. Processes are ended by their pid, and only those
that the test started (daemons are known by the test's own folder on their command line). A test that leaves a process
behind fails, however far down that stands: orphans come to the parent of this process, not to init."""
import atexit
import ctypes
import json
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import unittest

BUILD = os.environ.get("CHAOS_BUILD") or os.path.join(os.path.dirname(__file__), "../../build/release")
BUILD = os.path.abspath(BUILD)
CTL = os.path.join(BUILD, "bin/chaos-ctl")
DAEMON = os.path.join(BUILD, "bin/chaosd")
SHIM = os.path.join(BUILD, "lib/libchaos.so")
FAKE = os.path.join(BUILD, "tests/fake_target")

DONE, FAILED, USAGE, NO_DAEMON = 0, 1, 2, 3
DEADLINE = 30.0  # seconds: for what should happen at once, on a busy machine
GRACE = 10.0     # seconds: for processes to end after the one that started them
TRIES = 3        # of a test in which nothing is wrong but that something took too long
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def take_in_orphans():
    """Goes on in a child; the process itself waits for it, and for whatever below loses its parent."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = os.fork()
    if child == 0:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


take_in_orphans()


def until(condition, what, deadline=DEADLINE, every=0.01):
    """The first true value of condition(), or a failure that says what never came."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise (TooLate if deadline < DEADLINE else AssertionError)(f"never came within {deadline} s: {what}")
        time.sleep(every)


taken_ports = []  # held as long as this process lives


def free_port():
    """A port that nobody else gets before it is listened on: below those that the kernel gives to outgoing connections, and taken by
    an abstract socket of its name, as by the tests in other processes (tests/support/free_port.hpp)."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
        above = min(int(f.read().split()[0]), 32768)
    for port in random.SystemRandom().sample(range(10000, above if above > 12000 else 32768), 1000):
        taken = socket.socket(socket.AF_UNIX)
        try:
            taken.bind(f"\0chaos-test-port-{port}")
            for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
                with socket.socket(socket.AF_INET, kind) as s:
                    s.bind(("0.0.0.0", port))
        except OSError:
            taken.close()
            continue
        taken_ports.append(taken)
        return port
    raise AssertionError("no free port")


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False


def end(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    until(lambda: not alive(pid), f"end of process {pid}")


def processes():
    """pid -> (parent, name, state) of every process that can be seen."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as f:
                before, after = f.read().rsplit(")", 1)
        except OSError:
            continue
        state, parent = after.split()[:2]
        found[int(name)] = (int(parent), before.split("(", 1)[1], state)
    return found


def descendants(known=frozenset()):
    """pid -> name of the living processes below this one or orphaned; what is known, and what is below that, is left out."""
    everything, below, found = processes(), {os.getpid(), os.getppid()}, {}
    while below:
        below = {pid for pid, (parent, _, _) in everything.items() if parent in below} - known - {os.getpid()}
        found |= {pid: everything[pid][1] for pid in below if everything[pid][2] not in "ZX"}
    return found


def for_others():
    """The build's folder; where other users can not go there, a copy of what programs of theirs need of it, in a folder that is open."""
    global copy_for_others
    folder = BUILD
    while folder != "/":
        if not os.stat(folder).st_mode & stat.S_IXOTH:
            break
        folder = os.path.dirname(folder)
    else:
        return BUILD
    if not copy_for_others:
        copy_for_others = tempfile.mkdtemp(prefix="chaos-build-")
        atexit.register(shutil.rmtree, copy_for_others, ignore_errors=True)
        os.chmod(copy_for_others, 0o755)
        for path in CTL, DAEMON, SHIM:
            to = os.path.join(copy_for_others, os.path.relpath(path, BUILD))
            os.makedirs(os.path.dirname(to), exist_ok=True)
            shutil.copy(path, to)
    return copy_for_others


copy_for_others = None


def with_log(folder, log):
    """Words before a command that give it a /dev of its own, in which /dev/log is this socket; the test's folder stays where it is."""
    script = (f"mkdir -p /tmp/shm.$$ && mount --bind {folder} /tmp/shm.$$ && mount -t tmpfs none /dev && mkdir -p {folder} && mount --move /tmp/shm.$$ {folder} && rmdir /tmp/shm.$$ && "
              f'mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9 && ln -s {log} /dev/log && exec "$@"')
    return ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]


class Answer:
    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f"exit {self.code}\n--- stdout\n{self.out}--- stderr\n{self.err}"


class TooLate(AssertionError):
    """Something came, and later than it may: because of the product, or of a machine that has other things to do as well."""


class Attempt(unittest.TestResult):
    """What a test said, to be told to another result or to be forgotten."""

    def __init__(self):
        super().__init__()
        self.said = []

    def only_late(self):
        problems = [raised[0] for _, raised in self.raised()]
        return bool(problems) and all(issubclass(p, TooLate) for p in problems)

    def raised(self):
        return [(name, args[-1]) for name, args in self.said if name in ("addError", "addFailure", "addSubTest") and args[-1] is not None]

    def tell(self, result):
        for name, args in self.said:
            if hasattr(result, name):
                getattr(result, name)(*args)


for _name in ("addSuccess", "addError", "addFailure", "addSkip", "addExpectedFailure", "addUnexpectedSuccess", "addSubTest", "addDuration"):
    setattr(Attempt, _name, lambda self, *args, name=_name: self.said.append((name, args)))


class SessionTest(unittest.TestCase):
    maxDiff = None

    def run(self, result=None):
        """A test that fails because something was late, and because of nothing else, is tried again: whether the product is quick
        enough is shown by the best of TRIES."""
        result = self.defaultTestResult() if result is None else result
        result.startTest(self)
        for left in reversed(range(TRIES)):
            attempt = Attempt()
            super().run(attempt)
            if not left or not attempt.only_late():
                break
            print("too late, and tried again: " + "; ".join(str(raised[1]) for _, raised in attempt.raised()), file=sys.stderr, flush=True)
        attempt.tell(result)
        result.stopTest(self)
        return result

    def assertSoon(self, seconds, limit, message="it took too long"):
        if seconds >= limit:
            raise TooLate(f"{message}: {seconds:.3f} s, and less than {limit} s is expected")

    def assertEnough(self, count, least):
        """So many of what is done as often as there is time."""
        if count < least:
            raise TooLate(f"only {count} in that time, and at least {least} are expected")

    def setUp(self):
        self.older = frozenset(descendants())
        self.dir = tempfile.mkdtemp(prefix="chaos-test-", dir="/dev/shm")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("CHAOS_") and k != "LD_PRELOAD"}
        self.env["CHAOS_DIR"] = self.dir
        self.started = []
        self.addCleanup(self.end_everything)  # the last one to run: a server's own, graceful end comes before it

    def end_everything(self):
        for p in self.started:
            if p.poll() is None:
                p.kill()
            p.wait()
            for pipe in (p.stdin, p.stdout, p.stderr):
                if pipe:
                    pipe.close()
        for pid in self.daemons():
            end(pid)
        shutil.rmtree(self.dir, ignore_errors=True)
        self.assertNothingLeft()

    def assertNothingLeft(self):
        try:
            until(lambda: not descendants(self.older), "end of every process", deadline=GRACE)
        except AssertionError:
            left = descendants(self.older)
            for pid in left:
                end(pid)
            self.assertEqual(left, {}, "processes stayed behind")

    def daemons(self, folder=None):
        """Pids of the daemons that serve this test's folder."""
        mine = []
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                with open(f"/proc/{name}/cmdline", "rb") as f:
                    words = f.read().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"chaosd") and (folder or self.dir).encode() in words and alive(int(name)):
                mine.append(int(name))
        return mine

    # One that was refused, or that came second, has said so and may still be about to end.
    def assertNoDaemon(self, folder=None, message="no chaosd"):
        until(lambda: not self.daemons(folder), message, deadline=GRACE)

    def assertOneDaemon(self):
        (pid,) = until(lambda: len(found := self.daemons()) == 1 and found, "one chaosd and no more", deadline=GRACE)
        return pid

    def ctl(self, *words, env=None, stdin=None, timeout=30, check=None):
        done = subprocess.run([CTL, *map(str, words)], env={**self.env, **(env or {})}, input=stdin, text=True,
                              capture_output=True, timeout=timeout)
        answer = Answer(done)
        if check is not None:
            self.assertEqual(answer.code, check, f"chaos-ctl {' '.join(map(str, words))}: {answer}")
        return answer

    def ok(self, *words, **more):
        return self.ctl(*words, check=DONE, **more)

    def start(self, argv, **more):
        p = subprocess.Popen(argv, env={**self.env, **more.pop("env", {})}, text=True, **more)
        self.started.append(p)
        return p

    def target(self, name="fake", env=None):
        """A process that stands in the report page as the shim would put it there."""
        p = self.start([FAKE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env or {})
        self.order(p, f"attach {name}")
        return p

    def order(self, target, line):
        target.stdin.write(line + "\n")
        target.stdin.flush()
        return json.loads(target.stdout.readline())

    def rules(self):
        return self.ok("list", "--json").json["rules"]

    def rule(self, ident):
        return next(r for r in self.rules() if str(r["id"]) == str(ident) or r["name"] == ident)

    def daemon_pid(self):
        return self.ok("daemon", "status", "--json").json["pid"]
