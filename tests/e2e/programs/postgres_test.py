"""PostgreSQL: psql (libpq: a non-blocking connect, then poll, recv, send) and a server whose backends wait in epoll.

The server refuses to run as root: then it is run as the user postgres, which the Debian package makes."""
import glob
import os
import pwd
import shutil
import socket
import struct
import subprocess
import tempfile
import unittest

from harness import for_others
from program_test_case import PROGRAM_TIMEOUT, ProgramTestCase, free_port, need, stopwatch, until

PSQL = need("psql", "postgresql-client")


def server_program(name):
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    return found[-1] if found else need(name, "postgresql")


def unprivileged():
    return pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


class Session:
    """One connection, from an address of one's own (which psql can not): the few messages that a query takes."""

    def __init__(self, port, source):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PROGRAM_TIMEOUT, source_address=(source, 0))
        start = struct.pack("!i", 196608) + b"user\0chaos\0database\0postgres\0\0"
        self.socket.sendall(struct.pack("!i", len(start) + 4) + start)
        self.until_ready()

    def until_ready(self):
        got = b""
        while got[-6:-1] != b"Z\0\0\0\5":  # ready for the next query
            part = self.socket.recv(65536)
            if not part:
                raise EOFError(got)
            got += part
        return got

    def ask(self, statement):
        self.socket.sendall(b"Q" + struct.pack("!i", len(statement) + 5) + statement.encode() + b"\0")
        return self.until_ready()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


class Postgres(ProgramTestCase):
    cluster = None

    @classmethod
    def setUpClass(cls):
        """One cluster for all tests of a class; servers are started on it test by test."""
        cls.cluster = tempfile.mkdtemp(prefix="chaos-postgres-", dir="/dev/shm")
        who = unprivileged()
        os.chown(cls.cluster, who.pw_uid, who.pw_gid)
        made = subprocess.run([server_program("initdb"), "-D", cls.cluster + "/data", "-A", "trust", "-U", "chaos", "--no-sync",
                               "--no-locale", "-E", "UTF8"], capture_output=True, text=True, timeout=60, cwd=cls.cluster, **cls.as_user())
        if made.returncode != 0:
            raise AssertionError(f"initdb: {made.stdout}{made.stderr}")
        with open(cls.cluster + "/data/pg_hba.conf", "a") as f:
            f.write("host all all 127.0.0.0/8 trust\n")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.cluster, ignore_errors=True)

    @staticmethod
    def as_user():
        who = unprivileged()
        return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}

    def setUp(self):
        super().setUp()
        self.port = free_port()
        self.at = f"127.0.0.1:{self.port}"
        self.env |= {"PGUSER": "chaos", "PGDATABASE": "postgres", "PGSSLMODE": "disable", "PGGSSENCMODE": "disable", "HOME": self.folder}

    def serve(self, **more):
        p = self.server([server_program("postgres"), "-D", self.cluster + "/data", "-p", self.port, "-c", "listen_addresses=127.0.0.1",
                         "-c", f"unix_socket_directories={self.cluster}", "-c", "fsync=off", "-c", "max_connections=40",
                         "-c", "autovacuum=off", "-c", "restart_after_crash=on"], self.port, cwd=self.cluster, **self.as_user(), **more)
        self.addCleanup(self.end, p)
        until(lambda: self.psql("select 1", shimmed=False).code == 0, "an answer of the server", every=0.05)
        return p

    def end(self, p):
        if p.poll() is None:
            p.send_signal(3)  # SIGQUIT: at once, no checkpoint
        try:
            p.wait(PROGRAM_TIMEOUT)
        except subprocess.TimeoutExpired:
            p.kill()
        lock = os.path.join(self.cluster, "data/postmaster.pid")
        if os.path.exists(lock):
            os.unlink(lock)

    def psql(self, *statements, shimmed=True, host="127.0.0.1", env=None):
        words = [w for s in statements for w in ("-c", s)]
        run = self.run_shimmed if shimmed else self.run_plain
        return run(PSQL, "-X", "-A", "-t", "-h", host, "-p", self.port, *words, env=env)


class Client(Postgres):
    """psql under the shim; the server is not."""

    def setUp(self):
        super().setUp()
        self.serve()

    def test_latency(self):
        self.fault("latency", self.at, "100ms")
        ran = self.psql("select 42")
        self.assertEqual((ran.code, ran.out), (0, "42\n"), ran)
        self.assertTook(ran.seconds, 0.2)  # the greeting after the start packet, and the answer
        self.assertFired("latency", at_least=2)

    def test_slow_connect(self):
        self.fault("latency", self.at, "300ms", "--on", "connect")
        ran = self.psql("select 42")
        self.assertEqual(ran.out, "42\n", ran)
        self.assertTook(ran.seconds, 0.3)
        self.assertFired("latency", 1)

    def test_connect_timeout_of_libpq(self):
        self.fault("down", self.at, "--how", "blackhole")
        ran = self.psql("select 42", env={"PGCONNECT_TIMEOUT": "2"})
        self.assertEqual(ran.code, 2, ran)
        self.assertIn("timeout expired", ran.err)
        self.assertTook(ran.seconds, 2, late=1.2)  # libpq counts in whole seconds
        self.assertFired("down", 1)

    def test_refused(self):
        self.fault("down", self.at)
        ran = self.psql("select 42")
        self.assertEqual(ran.code, 2, ran)
        self.assertIn("Connection refused", ran.err)
        self.assertIn("Is the server running on that host", ran.err)
        self.assertFired("down", 1)

    def test_unreachable(self):
        self.fault("down", self.at, "--how", "unreachable")
        ran = self.psql("select 42")
        self.assertEqual(ran.code, 2, ran)
        self.assertIn("No route to host", ran.err)
        self.assertFired("down", 1)

    def test_the_next_host_is_tried(self):
        self.fault("down", f"127.0.0.3:{self.port}", "--how", "blackhole")
        ran = self.psql("select 42", host="127.0.0.3,127.0.0.1", env={"PGCONNECT_TIMEOUT": "2"})
        self.assertEqual((ran.code, ran.out), (0, "42\n"), ran)
        self.assertTook(ran.seconds, 2, late=1.2)
        self.assertFired("down", 1)

    def test_reset_in_the_middle_of_a_session(self):
        # psql connects again by itself, for the statements that follow
        self.fault("reset_peer", self.at, "--on", "recv", "--when", "3", "--scope", "process")
        ran = self.psql("select 41", "select 42", "select 43")
        self.assertRegex(ran.err, "reset by peer|server closed the connection unexpectedly|connection to server was lost")
        self.assertFired("reset_peer", 1)

    def test_reset_before_the_answer(self):
        self.fault("error", self.at, "ECONNRESET", "--on", "recv")
        ran = self.psql("select 42")
        self.assertEqual(ran.code, 2, ran)
        self.assertIn("server closed the connection unexpectedly", ran.err)  # what libpq says of ECONNRESET
        self.assertFired("error")

    def test_broken_pipe(self):
        # libpq keeps a failed send to itself, and waits for what the server may have said before it went away.
        self.fault("error", self.at, "EPIPE", "--on", "send")
        ran = self.psql("select 42", env={"PGCONNECT_TIMEOUT": "2"})
        self.assertEqual(ran.code, 2, ran)
        self.assertFired("error")
        self.ok("rm", "error")
        self.fault("reset_peer", self.at, "--on", "send")
        ran = self.psql("select 42")
        self.assertEqual(ran.code, 2, ran)
        self.assertSoon(ran.seconds, 1)
        self.assertFired("reset_peer", 1)

    def test_big_result_under_latency_and_slices_is_whole(self):
        expected = self.psql("select string_agg(md5(i::text), '') from generate_series(1, 30000) i", shimmed=False).out
        self.assertGreater(len(expected), 900_000)
        self.fault("latency", self.at, "50ms", "--jitter", "20ms")
        self.fault("slicer", self.at, "--average-size", "5KB", "--size-variation", "4KB")
        ran = self.psql("select string_agg(md5(i::text), '') from generate_series(1, 30000) i")
        self.assertEqual(ran.code, 0, ran.err)
        self.assertTrue(ran.out == expected, "the result differs")
        self.assertFired("latency", at_least=2)
        self.assertFired("slicer", at_least=10)

    def test_unix_socket(self):
        self.fault("latency", f"unix:{self.cluster}/.s.PGSQL.*", "100ms")
        ran = self.psql("select 42", host=self.cluster)
        self.assertEqual(ran.out, "42\n", ran)
        self.assertTook(ran.seconds, 0.2)
        self.assertFired("latency", at_least=2)
        self.fault("down", f"unix:{self.cluster}/.s.PGSQL.*")
        ran = self.psql("select 42", host=self.cluster)
        self.assertEqual(ran.code, 2, ran)
        self.assertIn("Connection refused", ran.err)
        self.assertFired("down", 1)


class Server(Postgres):
    """The server and its backends under the shim, in a session of the server's user; psql is not under it."""

    def setUp(self):
        super().setUp()
        who = unprivileged()
        if os.geteuid() == 0:
            os.chown(self.dir, who.pw_uid, who.pw_gid)
            self.ok("daemon", "start", "--owner", who.pw_name, env={"CHAOS_DAEMON": f"{for_others()}/bin/chaosd"})
        self.serve(shimmed=True, env={"LD_PRELOAD": f"{for_others()}/lib/libchaos.so"})

    def test_latency_on_what_clients_send(self):
        self.fault("latency", f"listen:{self.port}", "100ms")
        ran = self.psql("select 42", shimmed=False)
        self.assertEqual((ran.code, ran.out), (0, "42\n"), ran)
        self.assertTook(ran.seconds, 0.2)
        self.assertFired("latency", at_least=2)

    def test_one_client_only(self):
        self.fault("latency", "127.0.0.2", "100ms")
        for source, delay in (("127.0.0.1", 0), ("127.0.0.2", 0.1), ("127.0.0.1", 0)):
            with Session(self.port, source) as session:
                seconds, answer = stopwatch(session.ask, "select 42")
                self.assertIn(b"42", answer)
                self.assertTook(seconds, delay, late=0.08)
        self.assertFired("latency", at_least=2)

    def test_a_reset_ends_one_backend_and_not_the_server(self):
        self.fault("reset_peer", f"listen:{self.port}", "--times", "1", "--scope", "session", "--on", "recv")
        ran = self.psql("select 42", shimmed=False)
        self.assertEqual(ran.code, 2, ran)
        self.assertFired("reset_peer", 1)
        self.assertEqual(self.psql("select 42", shimmed=False).out, "42\n")

    def test_slow_and_failing_files(self):
        self.psql("create table t(i int)", "insert into t select generate_series(1, 1000)", shimmed=False)
        self.addCleanup(self.psql, "drop table t", shimmed=False)
        self.fault("error", f"file:{self.cluster}/data/base/**", "EIO", "--on", "pread,pread64,preadv,read")
        ran = self.psql("set enable_indexscan=off", "select count(*) from pg_depend", "select pg_sleep(0)", "select count(*) from pg_collation",
                        shimmed=False)
        self.assertIn("Input/output error", ran.err, ran)
        self.assertFired("error")
        self.ok("rm", "error")
        self.assertEqual(self.psql("select count(*) from t", shimmed=False).out, "1000\n")


if __name__ == "__main__":
    unittest.main()
