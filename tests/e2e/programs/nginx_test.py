"""nginx as a reverse proxy under the shim: edge-triggered epoll, non-blocking upstream connects, readv and writev. Started
as root its workers run as another user, which may not even open the session folder: the pages were mapped before."""
import hashlib
import http.client
import os
import socket
import sys
import threading
import time
import unittest

from program_test_case import PROGRAM_TIMEOUT, ProgramTestCase, free_port, need, p99, stopwatch
from web_server import WebServer, body_of

NGINX = need("nginx", "nginx-light")
sys.setswitchinterval(0.0005)
UNCONCERNED = 0.005  # seconds: p99 of requests to locations that a fault does not concern; on a busy machine twice what it is anyway

CONFIGURATION = """
daemon off;
worker_processes 1;
error_log {folder}/error.log info;
pid {folder}/nginx.pid;
events {{ use epoll; worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  client_max_body_size 100m;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_next_upstream off;
  proxy_connect_timeout 1s;
  upstream one {{ server 127.0.0.1:{one}; keepalive 8; }}
  upstream two {{ server 127.0.0.1:{two}; keepalive 8; }}
  upstream both {{ server 127.0.0.1:{one} max_fails=0; server 127.0.0.1:{two} max_fails=0; }}
  server {{
    listen 127.0.0.1:{port};
    location /one/ {{ proxy_pass http://one/; }}
    location /two/ {{ proxy_pass http://two/; }}
    location /stream/ {{ proxy_pass http://one/; proxy_buffering off; }}
    location /both/ {{ proxy_pass http://both/; proxy_next_upstream error timeout; }}
    location /impatient/ {{ proxy_pass http://one/; proxy_read_timeout 300ms; }}
    location /local/ {{ return 200 "local\\n"; }}
    location /file/ {{ alias {folder}/; }}
  }}
}}
"""


class Nginx(ProgramTestCase):
    def setUp(self):
        super().setUp()
        self.one, self.two = WebServer(), WebServer()
        self.addCleanup(self.one.end)
        self.addCleanup(self.two.end)
        self.port = free_port()
        self.upstream = f"127.0.0.1:{self.one.port}"
        os.chmod(self.folder, 0o755)
        configuration = os.path.join(self.folder, "nginx.conf")
        with open(configuration, "w") as f:
            f.write(CONFIGURATION.format(folder=self.folder, port=self.port, one=self.one.port, two=self.two.port))
        self.nginx = self.server([NGINX, "-p", self.folder, "-c", configuration, "-e", os.path.join(self.folder, "error.log")], self.port, shimmed=True)
        self.addCleanup(self.end)

    def end(self):
        if self.nginx.poll() is None:
            self.nginx.terminate()  # its workers end with it
            self.nginx.wait(PROGRAM_TIMEOUT)

    def connection(self, source="127.0.0.1"):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PROGRAM_TIMEOUT, source_address=(source, 0))
        self.addCleanup(c.close)
        return c

    def get(self, path, connection=None, method="GET", body=None):
        """status, body, seconds"""
        c = connection or self.connection()

        def ask():
            c.request(method, path, body)
            answer = c.getresponse()
            return answer.status, answer.read()
        seconds, (status, content) = stopwatch(ask)
        return status, content, seconds

    def requests_elsewhere(self, stop, path, times):
        c = self.connection()
        while not stop.is_set():
            status, _, seconds = self.get(path, c)
            self.assertEqual(status, 200)
            times.append(seconds)
            stop.wait(0.003)  # the backend is a thread of this process as well

    def test_upstream_latency_delays_its_requests_only(self):
        self.fault("latency", self.upstream, "100ms")

        def elsewhere(action):
            """p99 of each of the other locations while this is done."""
            stop, two, local = threading.Event(), [], []
            others = [threading.Thread(target=self.requests_elsewhere, args=(stop, path, times)) for path, times in
                      (("/two/", two), ("/local/", local))]
            for o in others:
                o.start()
            try:
                action()
            finally:
                stop.set()
                for o in others:
                    o.join()
            self.assertEnough(len(two), 50)
            self.assertEnough(len(local), 50)
            return p99(two), p99(local)

        def ask():
            c = self.connection()
            for _ in range(6):
                status, body, seconds = self.get("/one/", c)
                self.assertEqual((status, body), (200, b"hello\n"))
                self.assertTook(seconds, 0.1)

        def attempt():
            before = self.fired("latency")
            undisturbed = elsewhere(lambda: time.sleep(0.6))
            for seconds, usual in zip(elsewhere(ask), undisturbed):
                self.assertSoon(seconds, max(UNCONCERNED, 2 * usual))
            self.assertGreaterEqual(self.fired("latency") - before, 6)
        self.mostly(attempt)

    def test_one_client_of_many(self):
        self.fault("latency", "127.0.0.2", "100ms")
        slow, fast = self.connection("127.0.0.2"), self.connection()
        for _ in range(3):
            self.assertTook(self.get("/local/", slow)[2], 0.1)
            self.assertSoon(self.get("/local/", fast)[2], 0.05)
        self.assertFired("latency", 3)

    def test_slow_upstream_connect(self):
        self.fault("latency", self.upstream, "200ms", "--on", "connect")
        status, body, seconds = self.get("/one/")
        self.assertEqual((status, body), (200, b"hello\n"))
        self.assertTook(seconds, 0.2)
        self.assertSoon(self.get("/one/")[2], 0.1, "the second request finds the connection kept alive")
        self.assertFired("latency", 1)

    def test_upstream_refused_is_502(self):
        self.fault("down", self.upstream)
        status, _, seconds = self.get("/one/")
        self.assertEqual(status, 502)
        self.assertSoon(seconds, 0.5)
        self.assertFired("down", 1)
        self.assertEqual(self.get("/two/")[0], 200)
        self.ok("rm", "down")
        self.assertEqual(self.get("/one/")[:2], (200, b"hello\n"))

    def test_upstream_unreachable_is_502(self):
        self.fault("down", self.upstream, "--how", "unreachable")
        self.assertEqual(self.get("/one/")[0], 502)
        self.assertFired("down", 1)

    def test_upstream_black_hole_is_504_after_the_connect_timeout(self):
        self.fault("down", self.upstream, "--how", "blackhole")
        times = []
        stop = threading.Event()
        other = threading.Thread(target=self.requests_elsewhere, args=(stop, "/two/", times))
        other.start()
        status, _, seconds = self.get("/one/")
        stop.set()
        other.join()
        self.assertEqual(status, 504)
        self.assertTook(seconds, 1.0)
        self.assertSoon(max(times), 0.2)
        self.assertFired("down", 1)

    def test_a_live_upstream_connection_goes_silent_and_heals(self):
        self.assertEqual(self.get("/one/")[0], 200)  # kept alive from here on
        self.fault("down", self.upstream, "--how", "blackhole")
        threading.Timer(0.6, lambda: self.ok("rm", "down")).start()
        status, body, seconds = self.get("/one/")
        self.assertEqual((status, body), (200, b"hello\n"))
        self.assertGreater(seconds, 0.5)
        self.assertFired("down")

    def test_upstream_reset_is_502(self):
        self.fault("reset_peer", self.upstream, "--direction", "down")
        self.assertEqual(self.get("/one/")[0], 502)
        self.assertFired("reset_peer", 1)
        self.assertEqual(self.get("/two/")[0], 200)
        with open(os.path.join(self.folder, "error.log")) as log:
            self.assertIn("104: Connection reset by peer", log.read())

    def test_upstream_reset_by_errno_is_502(self):
        self.fault("error", self.upstream, "ECONNRESET", "--direction", "down")
        self.assertEqual(self.get("/one/")[0], 502)
        self.assertFired("error", 1)

    def test_the_next_upstream_takes_over(self):
        self.fault("down", self.upstream)
        for _ in range(6):
            self.assertEqual(self.get("/both/")[:2], (200, b"hello\n"))
        self.assertFired("down", at_least=2)
        self.assertEqual(self.one.connections, 0)

    def test_read_timeout_of_the_proxy(self):
        self.fault("latency", self.upstream, "2s")
        status, _, seconds = self.get("/impatient/")
        self.assertEqual(status, 504)
        self.assertTook(seconds, 0.3)
        self.assertFired("latency")

    def test_large_body_under_latency_and_slices_is_whole(self):
        self.fault("latency", self.upstream, "50ms", "--jitter", "20ms")
        self.fault("slicer", self.upstream, "--average-size", "3KB", "--size-variation", "2KB")
        n = 3_000_000
        for path in ("/one/", "/stream/"):
            status, body, _ = self.get(f"{path}bytes/{n}")
            self.assertEqual(status, 200)
            self.assertEqual(hashlib.sha256(body).digest(), hashlib.sha256(body_of(n)).digest(), path)
        self.assertFired("latency", at_least=2)
        self.assertFired("slicer", at_least=500)

    def test_large_upload_from_a_slow_client_is_whole(self):
        self.fault("latency", "127.0.0.2", "20ms")
        self.fault("slicer", "127.0.0.2", "--average-size", "2KB", "--direction", "both")
        sent = body_of(2_000_000)
        status, answer, _ = self.get("/one/count", self.connection("127.0.0.2"), "POST", sent)
        self.assertEqual((status, answer), (200, f"{len(sent)} {hashlib.sha256(sent).hexdigest()}\n".encode()))
        self.assertFired("latency")
        self.assertFired("slicer", at_least=500)

    def test_large_download_to_a_slow_client_is_whole(self):
        with open(os.path.join(self.folder, "big"), "wb") as f:
            f.write(body_of(5_000_000))
        self.fault("slicer", "127.0.0.2", "--average-size", "10KB", "--direction", "up")  # sendfile is none here; writev is
        status, body, _ = self.get("/file/big", self.connection("127.0.0.2"))
        self.assertEqual((status, hashlib.sha256(body).digest()), (200, hashlib.sha256(body_of(5_000_000)).digest()))
        self.assertFired("slicer", at_least=50)

    def test_requests_in_a_pipeline_keep_their_order(self):
        self.fault("latency", "127.0.0.2", "50ms")
        self.fault("slicer", "127.0.0.2", "--average-size", "13B")
        with socket.create_connection(("127.0.0.1", self.port), timeout=PROGRAM_TIMEOUT, source_address=("127.0.0.2", 0)) as s:
            s.sendall(b"".join(b"GET /one/bytes/%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(101, 111)) +
                      b"GET /local/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            got = b""
            while part := s.recv(65536):
                got += part
        self.assertEqual(got.count(b"HTTP/1.1 200 OK"), 11)
        self.assertTrue(got.endswith(b"local\n"))
        lengths = [int(line.split(b":")[1]) for line in got.split(b"\r\n") if line.lower().startswith(b"content-length")]
        self.assertEqual(lengths, [*range(101, 111), 6])
        self.assertFired("slicer", at_least=20)

    def test_accept_errors_are_survived(self):
        self.fault("error", f"listen:{self.port}", "ECONNABORTED", "--on", "accept4", "--times", "3", "--scope", "process")
        for _ in range(6):
            self.assertEqual(self.get("/local/")[0], 200)
        self.assertFired("error", 3)


if __name__ == "__main__":
    unittest.main()
