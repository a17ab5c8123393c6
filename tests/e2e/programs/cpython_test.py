"""CPython as a client: blocking sockets (urllib), asyncio (epoll), selectors over epoll, poll and select. What an application
sees are exceptions: the right type, at the right time."""
import hashlib
import json
import textwrap
import unittest

from program_test_case import PYTHON, ProgramTestCase, free_port
from web_server import WebServer, body_of

# Prints what an expression gives, or which exception it raises, and how long that took.
OUTCOME = """
import json, sys, time
def outcome(action):
    began = time.monotonic()
    try:
        value = action()
    except BaseException as e:
        reason = getattr(e, "reason", None)
        value = {"raised": type(e).__name__, "errno": getattr(e, "errno", None), "is": [c.__name__ for c in type(e).__mro__],
                 "reason": type(reason).__name__ if reason is not None else None}
    print(json.dumps({"value": value, "seconds": time.monotonic() - began}), flush=True)
"""


class CPython(ProgramTestCase):
    def python(self, program, *words):
        """What each outcome(...) of the program was."""
        ran = self.run_shimmed(PYTHON, "-c", OUTCOME + textwrap.dedent(program), *words)
        self.assertEqual(ran.code, 0, ran)
        return [json.loads(line) for line in ran.out.splitlines()]


class Client(CPython):
    def setUp(self):
        super().setUp()
        self.web = WebServer()
        self.addCleanup(self.web.end)
        self.at = f"127.0.0.1:{self.web.port}"
        self.url = f"http://{self.at}/"

    BLOCKING = """
        import urllib.request
        outcome(lambda: urllib.request.urlopen(sys.argv[1], timeout=float(sys.argv[2])).read().decode())
    """
    WITHOUT_TIMEOUT = """
        import urllib.request
        outcome(lambda: urllib.request.urlopen(sys.argv[1]).read().decode())
    """
    ASYNC = """
        import asyncio
        async def fetch(host, port, wait):
            async with asyncio.timeout(wait):
                reader, writer = await asyncio.open_connection(host, port)
                writer.write(b"GET / HTTP/1.0\\r\\n\\r\\n")
                await writer.drain()
                answer = await reader.read()
                writer.close()
                return answer.decode().split("\\r\\n\\r\\n")[1]
        outcome(lambda: asyncio.run(fetch("127.0.0.1", int(sys.argv[1]), float(sys.argv[2]))))
    """

    def blocking(self, timeout=10):
        return self.python(self.BLOCKING, self.url, timeout)[0]

    def plain(self):
        return self.python(self.WITHOUT_TIMEOUT, self.url)[0]

    def asynchronous(self, timeout=10):
        return self.python(self.ASYNC, self.web.port, timeout)[0]

    def each_way(self):
        return (("urllib without time-out", self.plain), ("urllib", self.blocking), ("asyncio", self.asynchronous))

    def test_latency(self):
        self.fault("latency", self.at, "120ms")
        for n, (name, fetch) in enumerate(self.each_way(), 1):
            with self.subTest(name):
                got = fetch()
                self.assertEqual(got["value"], "hello\n")
                self.assertTook(got["seconds"], 0.12)
                self.assertFired("latency", at_least=n)

    def test_slow_connect(self):
        self.fault("latency", self.at, "120ms", "--on", "connect")
        for n, (name, fetch) in enumerate(self.each_way(), 1):
            with self.subTest(name):
                got = fetch()
                self.assertEqual(got["value"], "hello\n")
                self.assertTook(got["seconds"], 0.12)
                self.assertFired("latency", n)

    def test_refused(self):
        self.fault("down", self.at)
        for n, (name, fetch) in enumerate(self.each_way(), 1):
            with self.subTest(name):
                raised = fetch()["value"]
                self.assertEqual(raised["reason"] or raised["raised"], "ConnectionRefusedError", raised)
                self.assertFired("down", n)

    def test_unreachable(self):
        self.fault("down", self.at, "--how", "unreachable")
        for n, (name, fetch) in enumerate(self.each_way(), 1):
            with self.subTest(name):
                raised = fetch()["value"]
                self.assertEqual(raised["reason"] or raised["raised"], "OSError", raised)
                self.assertFired("down", n)

    def test_black_hole_meets_the_programs_own_time_out(self):
        self.fault("down", self.at, "--how", "blackhole")
        for n, (name, fetch) in enumerate(self.each_way()[1:], 1):
            with self.subTest(name):
                got = fetch(0.5)
                self.assertIn("TimeoutError", (got["value"]["reason"], got["value"]["raised"]), got)
                self.assertTook(got["seconds"], 0.5)
                self.assertFired("down", n)

    def test_late_data_meets_the_programs_own_time_out(self):
        self.fault("latency", self.at, "5s")
        for name, fetch in self.each_way()[1:]:
            with self.subTest(name):
                got = fetch(0.5)
                self.assertEqual(got["value"]["raised"], "TimeoutError", got)
                self.assertTook(got["seconds"], 0.5)
        self.assertFired("latency", at_least=2)

    def test_reset(self):
        self.fault("reset_peer", self.at, "--direction", "down")
        for n, (name, fetch) in enumerate(self.each_way(), 1):
            with self.subTest(name):
                raised = fetch()["value"]
                self.assertEqual((raised["raised"], raised["errno"]), ("ConnectionResetError", 104), raised)
                self.assertFired("reset_peer", n)

    def test_broken_pipe(self):
        self.fault("error", self.at, "EPIPE", "--direction", "up")
        for name, fetch in self.each_way()[:2]:
            with self.subTest(name):
                raised = fetch()["value"]
                self.assertEqual(raised["reason"] or raised["raised"], "BrokenPipeError", raised)
        self.assertFired("error", at_least=2)

    def test_interrupted_calls_are_made_again(self):
        # PEP 475: EINTR is nobody's business
        self.fault("error", self.at, "EINTR", "--on", "recv,recvfrom,send,sendto,read", "--when", "1")
        for name, fetch in self.each_way():
            with self.subTest(name):
                self.assertEqual(fetch()["value"], "hello\n")
        self.assertFired("error")

    def test_sliced_body_is_whole(self):
        self.fault("slicer", self.at, "--average-size", "50B", "--size-variation", "49B", "--direction", "both")
        self.fault("latency", self.at, "1ms", "--jitter", "1ms")
        [got] = self.python("""
            import hashlib, urllib.request
            outcome(lambda: hashlib.sha256(urllib.request.urlopen(sys.argv[1]).read()).hexdigest())
        """, self.url + "bytes/40000")
        self.assertEqual(got["value"], hashlib.sha256(body_of(40000)).hexdigest())
        self.assertFired("slicer", at_least=100)
        self.assertFired("latency")

    def test_one_of_many_connections_of_an_event_loop(self):
        other = WebServer()
        self.addCleanup(other.end)
        self.fault("latency", self.at, "400ms")
        [got] = self.python("""
            import asyncio
            async def fetch(port, times):
                began = time.monotonic()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET / HTTP/1.0\\r\\n\\r\\n")
                await reader.read()
                writer.close()
                times.append(time.monotonic() - began)
            async def main():
                slow, fast = [], []
                async def others():
                    while not slow:
                        await fetch(int(sys.argv[2]), fast)
                await asyncio.gather(fetch(int(sys.argv[1]), slow), others())
                return slow[0], len(fast), sorted(fast)[len(fast) // 2]
            outcome(lambda: asyncio.run(main()))
        """, self.web.port, other.port)
        slow, count, median = got["value"]
        self.assertTook(slow, 0.4)
        self.assertEnough(count, 20)
        self.assertSoon(median, 0.02)
        self.assertFired("latency")

    def test_selectors_see_a_slow_connect_a_refusal_and_late_data(self):
        program = """
            import selectors, socket
            def fetch():
                s = socket.socket()
                s.setblocking(False)
                at_once = s.connect_ex(("127.0.0.1", int(sys.argv[1])))
                chosen = getattr(selectors, sys.argv[2])()
                chosen.register(s, selectors.EVENT_WRITE)
                assert chosen.select(10)
                error = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    raise OSError(error, "connect")
                s.send(b"GET / HTTP/1.0\\r\\n\\r\\n")
                chosen.modify(s, selectors.EVENT_READ)
                got = b""
                while True:
                    assert chosen.select(10)
                    part = s.recv(1000)
                    if not part:
                        return at_once, got.decode()[-6:]
                    got += part
            outcome(fetch)
        """
        for name in ("SelectSelector", "PollSelector", "EpollSelector"):
            with self.subTest(name):
                self.fault("latency", self.at, "80ms", "--on", "connect", "--name", f"connect-{name}")
                self.fault("latency", self.at, "70ms", "--name", f"data-{name}")
                [got] = self.python(program, self.web.port, name)
                self.assertEqual(got["value"], [115, "hello\n"])  # EINPROGRESS
                self.assertTook(got["seconds"], 0.15)
                self.assertFired(f"connect-{name}", 1)
                self.assertFired(f"data-{name}")
                self.ok("rm", "--all")
                self.fault("down", self.at, "--name", f"down-{name}")
                [got] = self.python(program, self.web.port, name)
                self.assertEqual((got["value"]["raised"], got["value"]["errno"]), ("ConnectionRefusedError", 111))
                self.assertFired(f"down-{name}", 1)
                self.ok("rm", "--all")

    def test_datagrams(self):
        program = """
            import socket
            a, b = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
            a.bind(("127.0.0.1", int(sys.argv[1])))
            b.bind(("127.0.0.1", 0))
            a.settimeout(0.5)
            for _ in range(3):
                b.sendto(b"x", a.getsockname())
                outcome(lambda: a.recvfrom(10)[0].decode())
        """
        port = free_port()
        self.fault("loss", "udp://127.0.0.1", "100%", "--when", "2")
        first, second, third = self.python(program, port)
        self.assertEqual((first["value"], second["value"]["raised"], third["value"]), ("x", "TimeoutError", "x"))
        self.assertFired("loss", 1)
        self.ok("rm", "loss")
        self.fault("latency", "udp://127.0.0.1", "60ms")
        for got in self.python(program, port):
            self.assertEqual(got["value"], "x")
            self.assertTook(got["seconds"], 0.06)
        self.assertFired("latency", 3)


if __name__ == "__main__":
    unittest.main()
