"""Nothing goes by: each call on a TCP connection that a real program makes of the kernel went through a hook. strace counts
what came to the kernel, a rule that observes everything counts what came to the hooks; they agree, call by call."""
import collections
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import unittest

from harness import SHIM, SessionTest, until
from program_test_case import answers, free_port, need

STRACE = need("strace", "strace")
RECEIVES = {"read", "readv", "recvfrom", "recvmsg", "recvmmsg"}
SENDS = {"write", "writev", "sendto", "sendmsg", "sendmmsg", "sendfile"}
HERE = os.path.dirname(os.path.abspath(__file__))
LINE = re.compile(r"^(?:\d+ +)?(\w+)\((\d+)<TCP(?:v6)?:.*\) = (-?\d+)(?: (\w+))?")


class WebServer(threading.Thread):
    """Answers each connection once; not under the shim."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        try:
            while True:
                c, _ = self.listener.accept()
                asked = b""
                while b"\r\n\r\n" not in asked and (part := c.recv(65536)):
                    asked += part
                c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n")
                c.close()
        except OSError:
            pass


class EveryCall(SessionTest):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(prefix="chaos-calls-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.ok("set", "observe", "127.0.0.0/8", "--name", "all", "--forever")

    def traced(self, *argv):
        trace = "trace=" + ",".join(sorted(RECEIVES | SENDS | {"connect", "accept", "accept4", "splice", "io_uring_setup"}))
        # The shim is for the program, and not for strace itself.
        return [STRACE, "-ff", "-yy", "-s", "0", "-e", trace, "-e", "signal=none", "-o", f"{self.folder}/trace", "-E", f"LD_PRELOAD={SHIM}", *map(str, argv)]

    def run_traced(self, *argv):
        return subprocess.run(self.traced(*argv), env=self.env, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)

    def serve_traced(self, port, *argv):
        p = self.start(self.traced(*argv), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: p.poll() is not None or answers(port), f"an answer of {argv[0]}")
        self.assertIsNone(p.poll())
        return p

    def end(self, p):
        """Ends the traced program; strace ends with it."""
        with open(f"/proc/{p.pid}/task/{p.pid}/children") as f:
            os.kill(int(f.read().split()[0]), signal.SIGTERM)
        p.wait(20)

    def came_to_the_kernel(self):
        """What was done: a receive that found nothing was no decision's, and those of a connection that waits are made again."""
        calls = collections.Counter()
        for path in glob.glob(f"{self.folder}/trace*"):
            under_way = set()
            with open(path, errors="replace") as f:
                for line in f:
                    self.assertNotIn("io_uring_setup", line)
                    if not (found := LINE.match(line)):
                        continue
                    name, fd, result, error = found[1], found[2], int(found[3]), found[4]
                    if name in RECEIVES and result >= 0:
                        calls["in"] += 1
                    elif name in SENDS and result >= 0:
                        calls["out"] += result if name == "sendmmsg" else 1
                    elif name == "connect" and (result == 0 or error == "EINPROGRESS"):
                        if fd not in under_way:  # else it asks how that goes
                            calls["connect"] += 1
                        under_way ^= {fd} if error or fd in under_way else set()
        return calls

    def came_to_the_hooks(self):
        with open(f"{self.dir}/default/timeline.jsonl") as f:
            events = [e for e in map(json.loads, f) if e.get("rule_name") == "all"]
        self.assertEqual([e for e in events if e.get("aggregated")], [], "more than can be told one by one")
        calls = collections.Counter()
        for e in events:
            name = e["function"].strip("_").replace("64", "").replace("_chk", "")
            if name == "connect":
                calls["connect"] += 1
            elif name in SENDS | {"send"}:
                calls["out"] += 1
            elif name in RECEIVES | {"recv"}:
                calls["in"] += 1
        return calls

    def assertNothingWentBy(self, least):
        until(lambda: (r := self.rule("all"))["fired"] == r["events"], "every event")
        kernel, hooks = self.came_to_the_kernel(), self.came_to_the_hooks()
        print(f"to the kernel: {dict(kernel)}, to the hooks: {dict(hooks)}", flush=True)
        self.assertGreaterEqual(sum(kernel.values()), least)
        self.assertEqual(hooks, kernel)

    def test_curl(self):
        web = WebServer()
        ran = self.run_traced(need("curl", "curl"), "-sS", f"http://127.0.0.1:{web.port}/")
        self.assertEqual(ran.stdout, "hello\n", ran.stderr)
        self.assertNothingWentBy(3)

    def test_cpython(self):
        web = WebServer()
        program = ("import asyncio,sys,urllib.request\nurl=sys.argv[1]; print(urllib.request.urlopen(url).read())\n"
                   "async def f():\n  r,w=await asyncio.open_connection('127.0.0.1',int(sys.argv[2])); w.write(b'GET / HTTP/1.0\\r\\n\\r\\n'); await r.read(); w.close()\nasyncio.run(f())")
        ran = self.run_traced("/usr/bin/python3", "-c", program, f"http://127.0.0.1:{web.port}/", web.port)
        self.assertEqual(ran.stdout, "b'hello\\n'\n", ran.stderr)
        self.assertNothingWentBy(7)

    def test_node(self):
        web = WebServer()
        ran = self.run_traced(need("node", "nodejs"), "-e", "require('http').get(process.argv[1], r => r.on('data', d => process.stdout.write(d)))", f"http://127.0.0.1:{web.port}/")
        self.assertEqual(ran.stdout, "hello\n", ran.stderr)
        self.assertNothingWentBy(3)

    def test_redis(self):
        port = free_port()
        server = self.serve_traced(port, need("redis-server", "redis-server"), "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", self.folder)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
            for question, answer in ((b"PING\r\n", b"+PONG\r\n"), (b"SET k v\r\n", b"+OK\r\n"), (b"GET k\r\n", b"$1\r\nv\r\n")):
                s.sendall(question)
                self.assertEqual(s.recv(100), answer)
        ran = subprocess.run(["redis-cli", "-p", str(port), "get", "k"], env={**self.env, "LD_PRELOAD": ""}, capture_output=True, text=True, timeout=20)
        self.assertEqual(ran.stdout, "v\n")
        self.end(server)
        self.assertNothingWentBy(8)

    def test_redis_cli(self):
        port = free_port()
        p = self.start([need("redis-server", "redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder], stdout=subprocess.DEVNULL)
        until(lambda: answers(port), "redis-server")
        self.assertEqual(self.run_traced("redis-cli", "-p", port, "-r", "3", "ping").stdout, "PONG\n" * 3)
        p.terminate()
        p.wait()
        self.assertNothingWentBy(7)

    def test_nginx(self):
        port, configuration = free_port(), f"{self.folder}/nginx.conf"
        os.chmod(self.folder, 0o777)  # its worker is another user
        with open(f"{self.folder}/page", "w") as f:
            f.write("x" * 3000)
        with open(configuration, "w") as f:
            f.write(f"daemon off; master_process off; error_log {self.folder}/error.log; pid {self.folder}/pid; events {{}} http {{ access_log off; sendfile on; "
                    + "".join(f"{what}_temp_path {self.folder}/{what}; " for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
                    + f"server {{ listen 127.0.0.1:{port}; root {self.folder}; location /say {{ return 200 hello; }} location /again {{ proxy_pass http://127.0.0.1:{port}/say; }} }} }}")
        server = self.serve_traced(port, need("nginx", "nginx-light"), "-c", configuration, "-e", f"{self.folder}/error.log")
        for path in ("say", "page", "again"):
            ran = subprocess.run(["curl", "-sS", f"http://127.0.0.1:{port}/{path}"], env={**self.env, "LD_PRELOAD": ""}, capture_output=True, text=True, timeout=20)
            self.assertEqual(ran.stdout, "x" * 3000 if path == "page" else "hello", ran.stderr)
        self.end(server)
        self.assertNothingWentBy(10)

    def test_jvm(self):
        web = WebServer()
        source = f"{self.folder}/Get.java"
        with open(source, "w") as f:
            f.write("public class Get { public static void main(String[] a) throws Exception {"
                    " try (var in = new java.net.URL(a[0]).openStream()) { System.out.print(new String(in.readAllBytes())); }"
                    " try (var s = java.nio.channels.SocketChannel.open(new java.net.InetSocketAddress(\"127.0.0.1\", Integer.parseInt(a[1])))) {"
                    "  s.write(java.nio.ByteBuffer.wrap(\"GET / HTTP/1.0\\r\\n\\r\\n\".getBytes())); var b = java.nio.ByteBuffer.allocate(1000); while (s.read(b) >= 0) {} } } }")
        subprocess.run([need("javac", "default-jdk-headless"), "-nowarn", "-d", self.folder, source], check=True, capture_output=True, timeout=120)
        ran = self.run_traced("java", "-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp", self.folder, "Get", f"http://127.0.0.1:{web.port}/", web.port)
        self.assertEqual(ran.stdout, "hello\n", ran.stderr)
        self.assertNothingWentBy(6)


if __name__ == "__main__":
    unittest.main()
