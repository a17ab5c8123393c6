"""Every kind of fault on a small unchanged program: what the program sees, and what was counted.

Each case runs a few lines of python under the shim against a server of this test's own, so that the line of the fault
reference that it stands for can be read here. Kinds that redis, curl and the other programs already meet stand there."""
import os
import signal
import socket
import threading
import time
import unittest

from program_test_case import EARLY, LATE, PYTHON, ProgramTestCase, until

CONNECT = 'import socket,sys,time,os,select\ns=socket.create_connection(("127.0.0.1",int(sys.argv[1])))\n'
DATAGRAM = 'import socket,sys,time\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(2)\na=("127.0.0.1",int(sys.argv[1]))\n'
READ_ALL = '''n=int(sys.argv[2]); s.sendall(b"GIVE %d\\n" % n); t=time.monotonic(); got=0
while got<n:
    d=s.recv(1<<20)
    if not d: break
    got+=len(d)
print(got, time.monotonic()-t)'''
READ_ALL_EPOLL = '''n=int(sys.argv[2]); s.setblocking(False); ep=select.epoll(); ep.register(s, select.EPOLLIN|int(sys.argv[3]))
s.send(b"GIVE %d\\n" % n); t=time.monotonic(); got=0
while got<n and ep.poll(5):
    while True:
        try: d=s.recv(1<<20)
        except BlockingIOError: break
        if not d: break
        got+=len(d)
print(got, time.monotonic()-t)'''


class Server:
    """Echoes; `GIVE n` is answered with n bytes. `datagrams` echoes too."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind(("127.0.0.1", 0))
        self.datagram_port = self.datagrams.getsockname()[1]
        for work in (self.accept, self.echo):
            threading.Thread(target=work, daemon=True).start()

    def accept(self):
        try:
            while True:
                threading.Thread(target=self.serve, args=(self.listener.accept()[0],), daemon=True).start()
        except OSError:
            pass

    def serve(self, c):
        try:
            while data := c.recv(65536):
                c.sendall(b"x" * int(data.split()[1]) if data.startswith(b"GIVE") else data)
        except OSError:
            pass
        finally:
            c.close()

    def echo(self):
        try:
            while True:
                data, peer = self.datagrams.recvfrom(65536)
                self.datagrams.sendto(data, peer)
        except OSError:
            pass

    def close(self):
        self.listener.close()
        self.datagrams.close()


class Kinds(ProgramTestCase):
    def setUp(self):
        super().setUp()
        self.server = Server()
        self.addCleanup(self.server.close)
        self.at = f"127.0.0.1:{self.server.port}"
        self.datagrams_at = f"udp://127.0.0.1:{self.server.datagram_port}"

    def under(self, rule, code, *words, env=None, fires=None, at_least=1):
        """Runs the lines under the rule; the words they print. The rule must have fired so often."""
        ident = self.ok("set", *rule).out.strip()
        ran = self.start([PYTHON, "-c", code, *map(str, words)], env={"LD_PRELOAD": self.shimmed["LD_PRELOAD"], **(env or {})},
                         stdout=-1, stderr=-1)
        out, err = ran.communicate(timeout=20)
        counted = next(r for r in self.ok("stats", "--json").json["rules"] if str(r["id"]) == ident)
        if fires is not None:
            self.assertEqual(counted["fired"], fires, (out, err))
        else:
            self.assertGreaterEqual(counted["fired"], at_least, (out, err))
        self.ctl("rm", ident)
        self.code = ran.returncode
        return out.split() or [err]

    def about(self, seconds, expected):
        self.assertGreater(float(seconds), expected - EARLY)
        self.assertSoon(float(seconds), expected + LATE)

    # --- streams
    def test_bandwidth_carries_the_rate_and_every_byte(self):
        for code, flags in ((READ_ALL, 0), (READ_ALL_EPOLL, 0), (READ_ALL_EPOLL, 1 << 31)):
            with self.subTest(epoll=code is READ_ALL_EPOLL, edge=bool(flags)):
                got, seconds = self.under(("bandwidth", self.at, "1MB/s"), CONNECT + code, self.server.port, 500000, flags)
                self.assertEqual(got, "500000")
                self.assertGreater(float(seconds), 0.48)
                self.about(seconds, 0.5)

    def test_bandwidth_upstream_holds_the_sender(self):
        code = 't=time.monotonic(); s.sendall(b"y"*300000); print(time.monotonic()-t)'
        seconds, = self.under(("bandwidth", self.at, "1MB/s", "--direction", "up"), CONNECT + code, self.server.port)
        self.about(seconds, 0.29)

    def test_timeout_is_silent_and_then_closes(self):
        code = 's.sendall(b"hi"); t=time.monotonic(); d=s.recv(9); print(len(d), time.monotonic()-t)'
        got, seconds = self.under(("timeout", self.at, "200ms"), CONNECT + code, self.server.port)
        self.assertEqual(got, "0")
        self.about(seconds, 0.19)

    def test_timeout_wakes_an_event_loop_when_it_closes(self):
        code = ('s.setblocking(False); ep=select.epoll(); ep.register(s, select.EPOLLIN); s.send(b"hi"); t=time.monotonic()\n'
                'print(len(ep.poll(5)), len(s.recv(9)), time.monotonic()-t)')
        events, got, seconds = self.under(("timeout", self.at, "200ms"), CONNECT + code, self.server.port)
        self.assertEqual((events, got), ("1", "0"))
        self.about(seconds, 0.19)

    def test_limit_data_ends_the_connection_at_the_byte(self):
        got, _ = self.under(("limit_data", self.at, "10KB"), CONNECT + READ_ALL, self.server.port, 50000, fires=1)
        self.assertEqual(int(got) + len("GIVE 50000\n"), 10000)

    def test_slow_close_delays_the_end(self):
        seconds, = self.under(("slow_close", self.at, "200ms"), CONNECT + 't=time.monotonic(); s.close(); print(time.monotonic()-t)',
                              self.server.port, fires=1)
        self.about(seconds, 0.2)

    def test_slow_close_in_an_event_loop_is_brought_about_by_the_daemon(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        port = listener.getsockname()[1]
        code = ('s.setblocking(False); ep=select.epoll(); ep.register(s, select.EPOLLIN)\n'
                'sys.stdin.readline(); t=time.monotonic(); s.%s; print("ended", time.monotonic()-t, flush=True)\n'
                'sys.stdin.readline(); print(len(ep.poll(0.05)), flush=True); sys.stdin.readline()')
        for ending, then in (("close()", "wait"), ("shutdown(socket.SHUT_WR)", "wait"), ("close()", "rm"), ("close()", "kill")):
            with self.subTest(ending=ending, then=then):
                ident = self.ok("set", "slow_close", f"127.0.0.1:{port}", "200ms" if then == "wait" else "30s").out.strip()
                p = self.start([PYTHON, "-c", CONNECT + code % ending, str(port)], env={"LD_PRELOAD": self.shimmed["LD_PRELOAD"]}, stdin=-1, stdout=-1)
                served = listener.accept()[0]
                self.addCleanup(served.close)
                served.settimeout(5)
                p.stdin.write("go\n")
                p.stdin.flush()
                began = time.monotonic()
                self.assertSoon(float(p.stdout.readline().split()[1]), 0.1, "the event loop slept")
                self.assertEqual(self.rule(ident)["fired"], 1)
                if ending == "close()":
                    served.sendall(b"still there")
                p.stdin.write("go\n")
                p.stdin.flush()
                self.assertEqual(p.stdout.readline().strip(), "0", "told of a descriptor that it closed")
                if then == "rm":
                    self.ok("rm", ident)
                if then == "kill":
                    os.kill(self.daemon_pid(), signal.SIGKILL)
                if then == "wait":
                    self.ended(served)
                    self.about(time.monotonic() - began, 0.2)
                    self.ok("rm", ident)
                else:
                    self.ended(served)
                p.stdin.close()
                p.wait()

    def ended(self, connection):
        try:
            self.assertEqual(connection.recv(9), b"")
        except ConnectionResetError:
            pass  # closed with bytes unread

    def test_partition_holds_everything_and_heals_without_loss(self):
        code = ('s.sendall(b"one"); print(s.recv(9)); print("ready", flush=True); sys.stdin.readline()\n'
                's.sendall(b"two"); print(s.recv(9).decode(), flush=True)')
        p = self.start([PYTHON, "-c", CONNECT + code, str(self.server.port)], env={"LD_PRELOAD": self.shimmed["LD_PRELOAD"]}, stdin=-1, stdout=-1)
        for _ in range(2):
            p.stdout.readline()
        ident = self.ok("set", "partition", self.at).out.strip()
        p.stdin.write("go\n")
        p.stdin.flush()
        until(lambda: self.rule(ident)["fired"] >= 1, "the partition met the connection")
        self.assertIsNone(p.poll())
        self.ok("rm", ident)
        self.assertEqual(p.stdout.readline().strip(), "two")

    def test_observe_changes_nothing_and_counts(self):
        ident = self.ok("set", "observe", self.at).out.strip()
        done = self.start([PYTHON, "-c", CONNECT + 's.sendall(b"hello"); print(s.recv(9))', str(self.server.port)],
                          env={"LD_PRELOAD": self.shimmed["LD_PRELOAD"]}, stdout=-1)
        self.assertEqual(done.communicate(timeout=20)[0].strip(), "b'hello'")
        counted = next(r for r in self.ok("stats", "--json").json["rules"] if str(r["id"]) == ident)
        self.assertEqual((counted["fired"], counted["delayed_ns"]), (3, 0))  # connect, send, recv

    # --- datagrams
    def test_a_datagram_comes_twice(self):
        code = 's.sendto(b"a",a); s.sendto(b"b",a); print(*[s.recvfrom(9)[0].decode() for i in range(3)])'
        got = self.under(("duplicate", self.datagrams_at, "100%", "--times", "1"), DATAGRAM + code, self.server.datagram_port, fires=1)
        self.assertEqual(got, ["a", "a", "b"])

    def test_a_datagram_is_passed_by_later_ones(self):
        code = 'for c in b"abcd": s.sendto(bytes([c]),a)\ntime.sleep(0.1)\nprint(*[s.recvfrom(9)[0].decode() for i in range(4)])'
        for gap, order in ((1, "bacd"), (2, "bcad"), (9, "bcda")):
            with self.subTest(gap=gap):
                got = self.under(("reorder", self.datagrams_at, "100%", "--times", "1", "--gap", gap), DATAGRAM + code, self.server.datagram_port, fires=1)
                self.assertEqual("".join(got), order)

    def test_a_datagram_that_none_passes_comes_all_the_same(self):
        code = 's.sendto(b"a",a); t=time.monotonic(); print(s.recvfrom(9)[0].decode(), time.monotonic()-t)'
        text, seconds = self.under(("reorder", self.datagrams_at, "100%"), DATAGRAM + code, self.server.datagram_port, fires=1)
        self.assertEqual(text, "a")
        self.about(seconds, 0.05)

    def test_an_event_loop_is_told_of_reordered_datagrams(self):
        code = ('import select\ns.setblocking(False); ep=select.epoll(); ep.register(s, select.EPOLLIN|int(sys.argv[2]))\n'
                'for c in b"abcdef": s.sendto(bytes([c]),a)\n'
                'got=""\nwhile len(got)<6 and ep.poll(2):\n  while True:\n    try: got+=s.recvfrom(9)[0].decode()\n    except BlockingIOError: break\n'
                'try: got+=s.recvfrom(9)[0].decode()\nexcept BlockingIOError: pass\nprint(got)')
        for edge in (0, 1 << 31):
            with self.subTest(edge=bool(edge)):
                got, = self.under(("reorder", self.datagrams_at, "100%", "--when", "2"), DATAGRAM + code, self.server.datagram_port, edge, fires=1)
                self.assertEqual(got, "acbdef")

    def test_a_lost_datagram_never_comes_and_the_next_does(self):
        code = 's.sendto(b"a",a); s.sendto(b"b",a); print(s.recvfrom(9)[0].decode())'
        got = self.under(("loss", self.datagrams_at, "100%", "--times", "1"), DATAGRAM + code, self.server.datagram_port, fires=1)
        self.assertEqual(got, ["b"])

    def test_a_datagram_lost_upstream_was_sent_as_far_as_the_sender_knows(self):
        code = 'print(s.sendto(b"abc",a)); s.settimeout(0.2)\ntry: s.recvfrom(9); print("came")\nexcept TimeoutError: print("lost")'
        got = self.under(("loss", self.datagrams_at, "100%", "--direction", "up"), DATAGRAM + code, self.server.datagram_port, fires=1)
        self.assertEqual(got, ["3", "lost"])

    def test_partitioned_datagrams_are_gone(self):
        code = 'print(s.sendto(b"abc",a)); s.settimeout(0.2)\ntry: s.recvfrom(9); print("came")\nexcept TimeoutError: print("lost")'
        got = self.under(("partition", self.datagrams_at), DATAGRAM + code, self.server.datagram_port)
        self.assertEqual(got, ["3", "lost"])

    # --- files
    WRITES = ('import os,sys\nf=os.open(sys.argv[1]+"/a",os.O_CREAT|os.O_WRONLY|os.O_TRUNC)\n'
              'def trial(f, *a):\n  try: return f(*a)\n  except OSError as e: return e.errno\n'
              'print(*[trial(os.write,f,b"x"*4000) for i in range(5)], trial(os.fsync,f), os.fstat(f).st_size, os.lseek(f,0,0) or trial(os.write,f,b"y"*100))')

    def test_a_full_disk_takes_what_still_fits(self):
        got = self.under(("full", f"file:{self.folder}/**", "10KB"), self.WRITES, self.folder, fires=4)
        self.assertEqual(got, ["4000", "4000", "2000", "28", "28", "28", "10000", "100"])

    def test_a_torn_write_puts_a_part_down_and_fails(self):
        got = self.under(("io_error", f"file:{self.folder}/**", "--torn", "--when", "3"), self.WRITES, self.folder, fires=1)
        self.assertEqual(got[:5] + got[7:], ["4000", "4000", "5", "4000", "4000", "100"])
        self.assertTrue(16000 < int(got[6]) < 20000, got)

    def test_fsync_fails_alone(self):
        got = self.under(("io_error", f"file:{self.folder}/**", "--on", "fsync"), self.WRITES, self.folder, fires=1)
        self.assertEqual(got, ["4000"] * 5 + ["5", "20000", "100"])

    # --- process, names, environment, memory
    def test_descriptors_run_out(self):
        code = ('import socket,sys\nprint("ready",flush=True); sys.stdin.readline(); l=[]\n'
                'try:\n  while True: l.append(socket.socket())\nexcept OSError as e: print(len(l), e.errno, flush=True)')
        p = self.start([PYTHON, "-c", code], env={"LD_PRELOAD": self.shimmed["LD_PRELOAD"]}, stdin=-1, stdout=-1)
        p.stdout.readline()
        ident = self.ok("set", "emfile", "process", "3", "--pid", p.pid).out.strip()
        p.stdin.write("go\n")
        p.stdin.flush()
        self.assertEqual(p.stdout.readline().split(), ["3", "24"])
        self.assertEqual(self.rule(ident)["fired"], 1)

    def test_a_name_can_not_be_resolved(self):
        code = 'import socket\ntry: socket.getaddrinfo("nowhere.test",80)\nexcept socket.gaierror as e: print(e.errno)'
        self.assertEqual(self.under(("dns", "dns:*.test", "EAI_AGAIN"), code, fires=1), ["-3"])

    def test_a_variable_is_missing_or_another_from_the_start(self):
        code = 'import os; print(os.environ.get("SECRET"))'
        self.assertEqual(self.under(("unset", "env:SECRET"), code, env={"SECRET": "x"}), ["None"])
        self.assertEqual(self.under(("replace", "env:SECRET", "other"), code, env={"SECRET": "x"}), ["other"])

    def test_the_process_ends_by_status_or_signal(self):
        self.under(("crash", self.at, "--exit", "7"), CONNECT, self.server.port, fires=1)
        self.assertEqual(self.code, 7)
        self.under(("crash", self.at, "--signal", "SEGV", "--on", "recv"), CONNECT + 's.sendall(b"x"); s.recv(1)', self.server.port, fires=1)
        self.assertEqual(self.code, -11)

    def test_a_pause_holds_a_thread_that_did_not_ask_to_block(self):
        code = 's.setblocking(False); t=time.monotonic(); s.send(b"x"); print(time.monotonic()-t)'
        seconds, = self.under(("pause", self.at, "200ms", "--on", "send"), CONNECT + code, self.server.port, fires=1)
        self.about(seconds, 0.2)

    def test_a_budget_models_a_memory_limit(self):
        code = 'l=[]\ntry:\n  while len(l)<500: l.append(bytearray(1000000))\nexcept MemoryError: n=len(l); l=None; print(n)'
        count, = self.under(("enomem", "malloc", "--budget", "50MB"), code)
        self.assertTrue(30 < int(count) <= 50, count)

    def test_a_slow_connect_is_not_seen_finished_before_its_time(self):
        code = ('import asyncio,sys,time\nasync def main():\n  t=time.monotonic()\n'
                '  r,w=await asyncio.open_connection("127.0.0.1",int(sys.argv[1])); u=time.monotonic()-t\n'
                '  w.write(b"hi"); print(u, (await r.read(2)).decode())\nasyncio.run(main())')
        seconds, text = self.under(("latency", self.at, "200ms", "--on", "connect"), code, self.server.port, fires=1)
        self.about(seconds, 0.2)
        self.assertEqual(text, "hi")


class EveryKind(unittest.TestCase):
    def test_has_a_test_on_a_real_program(self):
        """A row of effects.def that no test of this folder names fails here."""
        import glob, os, re
        here = os.path.dirname(os.path.abspath(__file__))
        table = os.path.join(here, "../../../include/chaos/abi/effects.def")
        def read(path):
            with open(path, encoding="utf-8") as f:
                return f.read()
        kinds = re.findall(r"^EFFECT\((\w+),", read(table), re.M)
        text = "".join(read(f) for f in glob.glob(os.path.join(here, "*_test.py")))
        self.assertEqual([k for k in kinds if not re.search(rf'"{k}\b', text)], [])


if __name__ == "__main__":
    unittest.main()
