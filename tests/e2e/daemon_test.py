"""The daemon's life: started on demand, by many at once, killed, hung, restored."""
import fcntl
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

from control_socket import ControlSocket
from harness import BUILD, CTL, DAEMON, DONE, FAILED, NO_DAEMON, SHIM, SessionTest, alive, until


SLOW_NAMES = os.path.join(BUILD, "tests/slow_names.so")


def sleeps(pid):
    try:
        with open(f"/proc/{pid}/syscall") as f:
            return f.read().split()[0] in ("230", "115")  # clock_nanosleep of x86-64, of aarch64
    except OSError:
        return False


class Daemon(SessionTest):
    def test_twenty_at_once_make_one_daemon(self):
        many = [subprocess.Popen([CTL, "set", "latency", f"127.0.0.1:{7000 + i}", "1ms"], env=self.env, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE) for i in range(20)]
        done = [p.communicate(timeout=60) + (p.returncode,) for p in many]
        self.assertEqual([d[2] for d in done], [0] * 20, [d[1] for d in done if d[2]])
        self.assertEqual(sorted(int(d[0]) for d in done), list(range(1, 21)))
        self.assertOneDaemon()
        self.assertEqual(len(self.rules()), 20)

    def test_command_substitution_returns(self):
        began = time.monotonic()
        done = subprocess.run(["bash", "-c", f'id=$("{CTL}" set latency 127.0.0.1:1 1ms 2>/dev/null); echo "[$id]"'], env=self.env,
                              text=True, capture_output=True, timeout=20)
        self.assertEqual(done.stdout, "[1]\n")
        self.assertSoon(time.monotonic() - began, 10)
        both = subprocess.run(["bash", "-c", f'all=$("{CTL}" --session b set latency 127.0.0.1:1 1ms 2>&1); echo "[$all]"'], env=self.env,
                              text=True, capture_output=True, timeout=20)
        self.assertIn("[", both.stdout)

    def test_daemon_is_detached(self):
        read, write = os.pipe()
        os.set_inheritable(write, True)
        subprocess.run([CTL, "set", "latency", "127.0.0.1:1", "1ms"], env=self.env, capture_output=True, close_fds=False, timeout=20, check=True)
        os.close(write)
        pid = self.daemon_pid()
        self.assertEqual(os.read(read, 1), b"", "the daemon holds a descriptor of its starter")
        os.close(read)
        self.assertNotEqual(os.getsid(pid), os.getsid(0))
        for fd in range(3):
            self.assertEqual(os.readlink(f"/proc/{pid}/fd/{fd}"), "/dev/null")
        self.assertEqual(os.readlink(f"/proc/{pid}/cwd"), "/")

    def test_stale_socket_is_recognised(self):
        self.ok("set", "latency", "127.0.0.1:1", "1ms")
        os.kill(self.daemon_pid(), signal.SIGKILL)
        until(lambda: not self.daemons(), "the end of chaosd")
        self.assertTrue(os.path.exists(f"{self.dir}/default/control.sock"))
        self.assertEqual(self.ctl("list").code, NO_DAEMON)
        self.ok("set", "latency", "127.0.0.1:2", "1ms")
        self.assertOneDaemon()

    def test_a_daemon_that_is_about_to_end_is_waited_for(self):
        os.mkdir(f"{self.dir}/default", 0o700)
        with open(f"{self.dir}/default/chaosd.lock", "w") as lock:  # as one that no longer listens, and is not gone yet
            fcntl.flock(lock, fcntl.LOCK_EX)
            starting = self.start([CTL, "set", "latency", "127.0.0.1:1", "1ms"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            until(lambda: any(sleeps(pid) for pid in self.daemons()), "a chaosd that met the lock and waits")
        said, complaint = starting.communicate(timeout=20)
        self.assertEqual((starting.returncode, said), (DONE, "1\n"), complaint)
        for _ in range(20):
            os.kill(self.daemon_pid(), signal.SIGTERM)
            self.ok("daemon", "start")

    def test_a_daemon_that_took_the_connection_and_not_the_question_is_replaced(self):
        os.mkdir(f"{self.dir}/default", 0o700)
        for words, says in (("set", "latency", "127.0.0.1:1", "1ms"), "1\n"), (("daemon", "start"), "chaosd "), (("run", "--set", "latency 127.0.0.1:1 1ms", "--", "echo", "ran"), "ran\n"):
            ending = socket.socket(socket.AF_UNIX)
            ending.bind(f"{self.dir}/default/control.sock")
            ending.listen()
            starting = self.start([CTL, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            client, _ = ending.accept()
            os.unlink(f"{self.dir}/default/control.sock")
            ending.close()
            client.close()
            said, complaint = starting.communicate(timeout=20)
            self.assertEqual(starting.returncode, DONE, complaint)
            self.assertTrue(said.startswith(says), said)
            self.ok("daemon", "stop")

    def test_closed_standard_streams_are_no_files_of_the_session(self):
        closed = {"preexec_fn": lambda: os.closerange(0, 3), "close_fds": False}
        os.mkdir(f"{self.dir}/default", 0o700)
        self.assertEqual(subprocess.run([CTL, "set", "latency", "127.0.0.1:1", "1ms"], env=self.env, timeout=20, **closed).returncode, FAILED, "it could not say the id")
        self.assertEqual(len(self.rules()), 1)
        for words in ("list",), ("stop",), ("doctor",), ("experiment", "list"):
            self.assertEqual(subprocess.run([CTL, *words], env=self.env, timeout=20, **closed).returncode, FAILED, words)
        self.ok("daemon", "stop")
        self.assertEqual(subprocess.run([DAEMON, "--dir", self.dir], env=self.env, timeout=20, **closed).returncode, DONE)
        self.ok("daemon", "stop")
        daemon = self.start([DAEMON, "--dir", self.dir, "--foreground"], **closed)
        until(lambda: self.ctl("daemon", "status").code == DONE, "chaosd in the foreground")
        for fd in range(3):
            self.assertEqual(os.readlink(f"/proc/{daemon.pid}/fd/{fd}"), "/dev/null")
        self.ok("daemon", "stop")

    def test_rules_that_come_later_do_not_put_off_one_whose_name_is_being_looked_up(self):
        self.start([DAEMON, "--dir", self.dir, "--foreground"], stderr=subprocess.DEVNULL, env={"LD_PRELOAD": SLOW_NAMES})
        until(lambda: self.ctl("daemon", "status").code == DONE, "chaosd in the foreground")
        clients = [ControlSocket(f"{self.dir}/default")]
        self.addCleanup(lambda: [c.close() for c in clients])
        clients[0].send("set", words=["latency", "slow.example:1", "1ms"])

        def answered():
            if select.select([clients[0].socket], [], [], 0)[0]:
                return True
            clients.append(ControlSocket(f"{self.dir}/default"))
            clients[-1].send("set", words=["latency", f"127.0.0.1:{len(clients)}", "1ms"])
            return False

        until(answered, "an answer to who came first", deadline=5, every=0.2)  # chaosd waits 1.5 s for a name
        first = clients[0].answer()
        self.assertTrue(first["ok"], first)
        self.assertIn("can not be resolved here (yet)", first["warnings"][-1])
        self.assertEqual([c.answer()["result"]["id"] for c in clients[1:]], list(range(2, len(clients) + 1)), "in the order in which they came")

    def test_rules_of_a_killed_daemon_come_back_paused_with_what_was_left(self):
        self.ok("set", "latency", "127.0.0.1:1", "1ms", "--for", "60s", "--name", "a")
        self.ok("set", "latency", "127.0.0.1:2", "1ms", "--forever", "--name", "b")
        before = self.rule("a")["remaining_ms"]
        os.kill(self.daemon_pid(), signal.SIGKILL)
        until(lambda: not self.daemons(), "the end of chaosd")
        answer = self.ctl("list")
        self.assertEqual(answer.code, NO_DAEMON)
        target = self.target()
        until(lambda: self.order(target, "page")["lease_ms"] <= 0, "the end of the lease", deadline=5)
        self.ok("daemon", "start")
        for name in "ab":
            self.assertTrue(self.rule(name)["paused"])
        self.assertLess(self.rule("a")["remaining_ms"], before)
        self.assertGreater(self.rule("a")["remaining_ms"], 0)
        self.assertIsNone(self.rule("b")["remaining_ms"])
        self.assertEqual(self.order(target, "page")["armed"], 0)
        self.ok("resume", "--all")
        self.assertFalse(self.rule("a")["paused"])
        self.assertNotEqual(self.order(target, "page")["armed"], 0)

    def test_restore_brings_rules_back_in_force(self):
        self.ok("set", "latency", "127.0.0.1:1", "1ms", "--for", "60s", "--name", "a")
        os.kill(self.daemon_pid(), signal.SIGKILL)
        until(lambda: not self.daemons(), "the end of chaosd")
        self.ok("daemon", "start", "--restore")
        self.assertFalse(self.rule("a")["paused"])
        self.assertLessEqual(self.rule("a")["remaining_ms"], 60_000)

    def test_a_daemon_that_was_stopped_leaves_nothing(self):
        self.ok("set", "latency", "127.0.0.1:1", "1ms")
        target = self.target()
        self.ok("daemon", "stop")
        page = self.order(target, "page")
        self.assertEqual(page["armed"], 0)
        self.assertLessEqual(page["lease_ms"], 0)
        self.ok("daemon", "start")
        self.assertEqual([r for r in self.rules() if r["state"] != "ended"], [])

    def test_a_daemon_is_gone_also_where_nobody_reaps(self):
        """As in a container whose first process is no init."""
        nobody_reaps = "import ctypes, subprocess, sys\nctypes.CDLL(None).prctl(36, 1)\nfor c in 'start', 'stop', 'start': subprocess.run([sys.argv[1], 'daemon', c], check=True)"
        self.assertEqual(subprocess.run([sys.executable, "-c", nobody_reaps, CTL], env=self.env, stdout=subprocess.DEVNULL, timeout=60).returncode, DONE)
        self.assertOneDaemon()

    def test_without_a_free_descriptor_clients_are_refused_and_told(self):
        self.ok("daemon", "start")
        pid = self.daemon_pid()
        usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (max(map(int, os.listdir(f"/proc/{pid}/fd"))) + 1, usual[1]))
        clients = [ControlSocket(f"{self.dir}/default") for _ in range(32)]  # descriptors below the highest may be free
        for _ in range(3):
            self.assertIn("ulimit -n", self.ctl("list", check=FAILED).err)
        self.assertIn("the shared page itself was marked", self.ok("stop").out, "what matters works without one")
        for client in clients:
            client.close()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
        self.assertEqual(self.rules(), [])

    def test_takes_at_most_20_mib_with_all_the_rules_that_there_can_be(self):
        ini = "".join(f"[fault r{i}]\nkind = latency\ntarget = 10.0.0.1:{1 + i},10.1.0.0/16,!10.1.2.3\nvalue = 1ms\nprocess = nobody-{i}\n" for i in range(256))
        self.ok("apply", "-", stdin=ini)
        self.assertEqual(len(self.rules()), 256)
        with open(f"/proc/{self.daemon_pid()}/status") as f:
            resident = next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))
        self.assertLessEqual(resident, 20 * 1024)

    def test_stop_asks_the_daemon(self):
        self.ok("set", "latency", "127.0.0.1:1", "1ms")
        target = self.target()
        self.assertEqual(self.ok("stop", "--json").json, {"stopped": True, "by": "daemon", "schedules": 0})
        self.assertEqual(self.order(target, "page")["armed"], 0)

    def test_stop_works_with_a_hung_daemon(self):
        self.ok("set", "latency", "127.0.0.1:1", "1ms")
        target = self.target()
        pid = self.daemon_pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            self.assertEqual(self.ok("stop", "--json").json, {"stopped": True, "by": "page", "schedules": 0})
            self.assertSoon(time.monotonic() - began, 4)
            page = self.order(target, "page")
            self.assertEqual((page["armed"], page["stop"]), (0, 1))
        finally:
            os.kill(pid, signal.SIGCONT)
        # the daemon that wakes up respects it
        until(lambda: all(r["state"] == "ended" for r in self.rules()), "the end of the rules")
        self.assertEqual(self.order(target, "page")["armed"], 0)

    def test_stop_works_with_a_dead_daemon(self):
        self.ok("set", "latency", "127.0.0.1:1", "1ms")
        os.kill(self.daemon_pid(), signal.SIGKILL)
        until(lambda: not self.daemons(), "the end of chaosd")
        self.assertEqual(self.ok("stop", "--json").json["by"], "page")
        self.assertEqual(self.order(self.target(), "page")["armed"], 0)

    def test_a_rule_ends_with_its_time_and_its_owner(self):
        target = self.target()
        owner = self.start(["sleep", "600"])
        self.ok("set", "latency", "127.0.0.1:1", "1ms", "--owner", owner.pid, "--name", "owned")
        self.ok("set", "latency", "127.0.0.1:2", "1ms", "--for", "300ms", "--name", "short")
        until(lambda: self.rule("short")["state"] == "ended", "the end of its time")
        self.assertEqual(self.rule("owned")["state"], "active")
        owner.kill()
        owner.wait()
        until(lambda: self.rule("owned")["state"] == "ended", "the end of its owner's rule")
        until(lambda: self.order(target, "page")["armed"] == 0, "the end of what lingers")

    def test_an_exported_preload_does_not_reach_the_controllers(self):
        if not os.path.exists(SHIM):
            self.skipTest("no libchaos.so in this build")
        env = {"LD_PRELOAD": SHIM}
        self.ok("set", "error", "unix:*", "EPIPE", "--everything", "--forever", env=env)
        self.ok("set", "enomem", "malloc", "--forever", env=env)
        self.assertEqual(len(self.ok("list", "--json", env=env).json["rules"]), 2)
        self.assertEqual([p for p in self.ok("ps", "--json", env=env).json["processes"] if "chaos" in p["name"]], [])
        self.ok("rm", "--all", env=env)


if __name__ == "__main__":
    unittest.main()
