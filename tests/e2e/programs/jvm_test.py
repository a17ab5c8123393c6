"""A JVM: blocking Socket and HttpURLConnection (poll before each call with a time-out), NIO selectors (epoll)."""
import hashlib
import os
import select
import shutil
import subprocess
import tempfile
import unittest

from program_test_case import HERE, PROGRAM_TIMEOUT, SHIM, ProgramTestCase, Talker, free_port, need
from web_server import WebServer, body_of

JAVA = need("java", "default-jdk-headless")
JAVAC = need("javac", "default-jdk-headless")
QUICK = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Xmx128m"]


class Jvm(ProgramTestCase):
    @classmethod
    def setUpClass(cls):
        cls.classes = tempfile.mkdtemp(prefix="chaos-java-")
        sources = [os.path.join(HERE, "java", name) for name in ("Client.java", "Echo.java")]
        made = subprocess.run([JAVAC, "-nowarn", "-d", cls.classes, *sources], capture_output=True, text=True, timeout=120)
        if made.returncode != 0:
            raise AssertionError(made.stderr)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.classes, ignore_errors=True)


class Client(Jvm):
    def setUp(self):
        super().setUp()
        self.web = WebServer()
        self.addCleanup(self.web.end)
        self.at = f"127.0.0.1:{self.web.port}"
        self.process = self.start([JAVA, *QUICK, "-Dhttp.keepAlive=false", "-cp", self.classes, "Client"], env={"LD_PRELOAD": SHIM}, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        for warm in ("socket", "http", "nio"):
            self.each(warm)  # classes are loaded; what follows is the network's time

    def order(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], PROGRAM_TIMEOUT)[0]:
            self.fail(f"the JVM hangs in {words}")
        value, _, seconds = self.process.stdout.readline().strip().rpartition("|")
        return value, float(seconds)

    def each(self, way, timeout=10_000):
        if way == "nio":
            value, seconds = self.order("nio", self.web.port)
            return ("hello" if value.startswith(f"{self.web.port}:") else value), seconds
        return self.order(way, self.web.port, timeout, *(["/"] if way == "http" else []))

    WAYS = ("socket", "http", "nio")

    def test_latency(self):
        self.fault("latency", self.at, "120ms")
        for n, way in enumerate(self.WAYS, 1):
            with self.subTest(way):
                value, seconds = self.each(way)
                self.assertEqual(value, "hello")
                self.assertTook(seconds, 0.12)
                self.assertFired("latency", at_least=n)

    def test_slow_connect(self):
        self.fault("latency", self.at, "120ms", "--on", "connect")
        for n, way in enumerate(self.WAYS, 1):
            with self.subTest(way):
                value, seconds = self.each(way)
                self.assertEqual(value, "hello")
                self.assertTook(seconds, 0.12)
                self.assertFired("latency", n)

    def test_refused(self):
        self.fault("down", self.at)
        for n, way in enumerate(self.WAYS, 1):
            with self.subTest(way):
                value, seconds = self.each(way)
                self.assertRegex(value, "^ConnectException: Connection refused")
                self.assertSoon(seconds, 1)
                self.assertFired("down", n)

    def test_unreachable(self):
        self.fault("down", self.at, "--how", "unreachable")
        for n, way in enumerate(self.WAYS, 1):
            with self.subTest(way):
                self.assertRegex(self.each(way)[0], "^NoRouteToHostException: No route to host")
                self.assertFired("down", n)

    def test_black_hole_meets_the_connect_timeout(self):
        self.fault("down", self.at, "--how", "blackhole")
        for n, way in enumerate(("socket", "http"), 1):
            with self.subTest(way):
                value, seconds = self.each(way, 400)
                self.assertRegex(value, "^SocketTimeoutException: [Cc]onnect timed out")
                self.assertTook(seconds, 0.4)
                self.assertFired("down", n)

    def test_late_data_meets_the_read_timeout(self):
        self.fault("latency", self.at, "5s")
        for n, way in enumerate(("socket", "http"), 1):
            with self.subTest(way):
                value, seconds = self.each(way, 400)
                self.assertRegex(value, "^SocketTimeoutException: Read timed out")
                self.assertTook(seconds, 0.4)
                self.assertFired("latency", at_least=n)

    def test_reset(self):
        self.fault("reset_peer", self.at, "--direction", "down")
        for n, way in enumerate(self.WAYS, 1):
            with self.subTest(way):
                self.assertRegex(self.each(way)[0], "^SocketException: Connection reset")
                self.assertFired("reset_peer", at_least=n)  # HttpURLConnection tries once more

    def test_broken_pipe(self):
        self.fault("error", self.at, "EPIPE", "--direction", "up")
        for way in self.WAYS:
            with self.subTest(way):
                self.assertRegex(self.each(way)[0], "^(Socket|IO)Exception: (.*Broken pipe|Error writing to server)")
        self.assertFired("error", at_least=3)

    def test_large_body_under_latency_and_slices_is_whole(self):
        n = 2_000_000
        self.fault("latency", self.at, "30ms", "--jitter", "20ms")
        self.fault("slicer", self.at, "--average-size", "2KB", "--size-variation", "1KB")
        value, _ = self.order("http", self.web.port, 10_000, f"/bytes/{n}")
        self.assertEqual(value, hashlib.sha256(body_of(n)).hexdigest())
        self.assertFired("latency")
        self.assertFired("slicer", at_least=500)

    def test_one_connection_of_a_selector(self):
        others = [WebServer() for _ in range(4)]
        for o in others:
            self.addCleanup(o.end)
        self.fault("latency", self.at, "300ms")
        value, seconds = self.order("nio", self.web.port, *(o.port for o in others))
        times = dict(map(int, part.split(":")) for part in value.split())
        self.assertTook(times.pop(self.web.port) / 1000 + 0.001, 0.3)
        self.assertEqual(len(times), 4)
        self.assertSoon(max(times.values()) / 1000, 0.15)
        self.assertFired("latency")


class Server(Jvm):
    def serve(self, kind):
        port = free_port()
        self.server([JAVA, *QUICK, "-cp", self.classes, "Echo", kind, port], port, shimmed=True)
        return port

    def warm(self, port):
        t = Talker(port, b"hi\n", b"hi\n")
        t.ask_often(300)
        t.close()

    def test_one_slow_client_of_a_selector(self):
        port = self.serve("nio")
        self.warm(port)
        self.assertOnlyOneIsSlow(port, b"hi\n", b"hi\n", 0.1)

    def test_one_slow_client_of_a_threaded_server(self):
        port = self.serve("threads")
        self.warm(port)
        self.assertOnlyOneIsSlow(port, b"hi\n", b"hi\n", 0.1)

    def test_a_reset_ends_one_connection(self):
        for kind in ("nio", "threads"):
            with self.subTest(kind):
                port = self.serve(kind)
                quiet, hit = Talker(port, b"hi\n", b"hi\n"), Talker(port, b"hi\n", b"hi\n", source="127.0.0.2")
                quiet.ask(), hit.ask()
                self.fault("reset_peer", "127.0.0.2", "--name", f"reset-{kind}")
                with self.assertRaises((ConnectionResetError, BrokenPipeError)):
                    hit.ask()
                self.assertEqual(quiet.ask(), b"hi\n")
                self.assertFired(f"reset-{kind}", 1)
                self.ok("rm", f"reset-{kind}")
                quiet.close(), hit.close()


if __name__ == "__main__":
    unittest.main()
