"""Clients of chaosd's HTTP that are too many, too slow, too loud or malicious: bounded, answered, and of no effect on others."""
import concurrent.futures
import json
import os
import socket
import time
import unittest

from harness import until
from http_harness import HttpTest


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class Malformed(HttpTest):
    def status_of(self, data, **more):
        answer = self.raw(data, **more)
        return int(answer.split()[1]) if answer.startswith("HTTP/1.1 ") else None

    def request(self, body, *headers, line="POST /v1/rules HTTP/1.1"):
        head = [line, "Host: x", f"Authorization: Bearer {self.token}", "Connection: close", *headers]
        return "\r\n".join(head).encode() + b"\r\n\r\n" + body

    def test_oversized(self):
        big = b"x" * 600_000
        self.assertEqual(self.status_of(self.request(big, f"Content-Length: {len(big)}")), 413)
        self.assertEqual(self.status_of(self.request(b"", "Content-Length: 99999999999999999999999999")), 413)
        self.assertEqual(self.status_of(self.request(b"", *[f"X-{i}: {'y' * 500}" for i in range(40)])), 431)
        self.assertEqual(self.status_of(self.request(b"", "X: " + "y" * 20_000)), 431)
        self.assertEqual(self.status_of(self.request(b"", line="GET /" + "a" * 4000 + " HTTP/1.1")), 414)
        self.assertEqual(self.status_of(b"A" * 100_000), 414)
        self.assertEqual(self.http("GET", "/v1/rules/" + "a" * 1900).status, 404)
        words = {"words": ["latency", "127.0.0.1:1", "5ms", "--name", "n" * 100_000]}
        self.assertEqual(self.http("POST", "/v1/rules", words).status, 400)

    def test_malformed(self):
        body = json.dumps({"words": ["latency", "127.0.0.1:1", "5ms"]}).encode()
        n = len(body)
        for data, status in ((self.request(b"", "Content-Length: 0"), 400), (self.request(b"{", "Content-Length: 1"), 400), (self.request(b"[]", "Content-Length: 2"), 400),
                             (self.request(b"\xff\xfe", "Content-Length: 2"), 400), (self.request(b"[" * 100_000, "Content-Length: 100000"), 400),
                             (self.request(b'{"a":' * 50_000, "Content-Length: 250000"), 400),
                             (self.request(body, f"Content-Length: {n}", f"Content-Length: {n}"), 400), (self.request(body, f"Content-Length: {n}", "Content-Length: 5"), 400),
                             (self.request(body, f"Content-Length: -{n}"), 400), (self.request(body, f"Content-Length: +{n}"), 400), (self.request(body, "Content-Length: 0x20"), 400),
                             (self.request(body, f"Content-Length: {n}, {n}"), 400), (self.request(body, "Content-Length: "), 400),
                             (self.request(b"5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked"), 411), (self.request(body, f"Content-Length: {n}", "Transfer-Encoding: x"), 411),
                             (self.request(body, f"Content-Length : {n}"), 400), (self.request(body, "no colon here"), 400), (self.request(body, ": empty"), 400),
                             (self.request(body, f"X: a\nContent-Length: {n}"), 400), (self.request(body, "X: \0"), 400), (self.request(body, " folded: x"), 400),
                             (b"\0\0\0\0\r\n\r\n", 400), (b"GET\r\n\r\n", 400), (b"GET / HTTP/9.9\r\n\r\n", 400), (b"\r\n\r\n", 400), (b"NONSENSE /v1/rules HTTP/1.1\r\n\r\n", 400)):
            self.assertEqual(self.status_of(data), status, data[:300])
        self.assertIsNone(self.status_of(self.request(body, f"Content-Length: {n + 10}"), half_close=True), "half a body is no request")
        self.assertIsNone(self.status_of(b"GET /healthz HTT", half_close=True))
        self.assertEqual(self.rules(), [])
        self.assertEqual(self.get("/healthz").status, 200)

    def test_two_requests_in_one_piece_are_two(self):
        one = f"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        last = f"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        self.assertEqual(self.raw(one + one + last).count("HTTP/1.1 200 "), 3)

    def test_a_client_that_waits_to_be_told_to_go_on(self):
        body = json.dumps({"words": ["latency", "127.0.0.1:1", "5ms"]}).encode()
        with socket.create_connection(self.address, timeout=10) as s:
            s.sendall(self.request(b"", f"Content-Length: {len(body)}", "Expect: 100-continue"))
            self.assertTrue(s.recv(100).startswith(b"HTTP/1.1 100 Continue"))
            s.sendall(body)
            answer = b""
            while chunk := s.recv(65536):
                answer += chunk
            self.assertIn(b"HTTP/1.1 201 ", answer)

    def test_names_are_data(self):
        for name in ("<script>", "a b", "a;b", "$(id)", "`id`", "../x", "a/b", "a\nb", "a\0b", "'", '"', "%s%n", "x" * 41):
            answer = self.http("POST", "/v1/rules", {"rule": {"kind": "latency", "target": "127.0.0.1:1", "value": "1ms", "name": name}})
            self.assertEqual(answer.status, 400, name)
        self.assertEqual(self.http("GET", "/v1/rules/%2e%2e%2f%2e%2e%2fetc%2fpasswd").status, 404)
        self.assertEqual(self.http("GET", "/v1/../../etc/passwd").status, 404)
        for path in ("/v1/rules/%00", "/v1/rules/--all", "/v1/rules/%0d%0aSet-Cookie:x"):
            answer = self.http("DELETE", path)
            self.assertNotIn("Set-Cookie", answer.headers)
        # a program that names its breaker or itself to hurt the reader of the metrics
        self.target('x"} 1\nchaos_up{a="')
        text = self.get("/metrics").text
        self.assertEqual(len([line for line in text.splitlines() if line.startswith("chaos_up{")]), 1)
        self.assertEqual(self.rules(), [])


class Slow(HttpTest):
    settings = {"http_rate": 5000}

    def test_slow_clients_hold_up_nobody_and_are_told(self):
        slow = []
        for i in range(150):
            s = socket.create_connection(self.address, timeout=20)
            s.sendall(b"GET /healthz HTTP/1.1\r\nX: " if i % 2 else b"")
            slow.append(s)
        began = time.monotonic()
        for _ in range(20):
            one = time.monotonic()
            self.get("/v1/rules", timeout=5)
            self.assertSoon(time.monotonic() - one, 2)
        for s in slow[1::2]:
            s.sendall(b"y")  # a byte now and then wins no time
        self.assertIn(b" 408 ", slow[1].recv(1000))
        self.assertGreaterEqual(time.monotonic() - began, 4)
        self.assertSoon(time.monotonic() - began, 9)
        self.assertEqual(slow[0].recv(1000), b"", "who says nothing is just let go")
        for s in slow:
            s.close()
        pid = self.daemon_pid()
        until(lambda: descriptors(pid) < 60, "their descriptors back")

    def test_more_connections_than_there_may_be(self):
        held = []
        for _ in range(540):
            held.append(socket.create_connection(self.address, timeout=20))
        self.assertEqual(self.get("/healthz", timeout=5).status, 200, "whoever says nothing for longest makes room")
        pid = self.daemon_pid()
        self.assertLess(descriptors(pid), 512 + 60)
        for s in held:
            s.close()
        until(lambda: descriptors(pid) < 60, "their descriptors back")

    def test_those_who_wait_for_their_answer_keep_nobody_out(self):
        self.post("/chaos_experiments/start", {"experiment_name": "latency_injection", "delay_seconds": 100})
        held = []
        for _ in range(540):
            s = socket.create_connection(self.address, timeout=20)
            s.sendall(b"GET /chaos_experiments/test HTTP/1.1\r\nHost: x\r\n\r\n")
            held.append(s)
        self.assertEqual(self.post("/chaos_experiments/stop", {"experiment_name": "latency_injection"}, timeout=10).json["resultset"]["status"], "stopped")
        self.assertLess(descriptors(self.daemon_pid()), 512 + 60)
        for s in held:
            s.close()

    def test_a_client_that_does_not_read_holds_up_nobody(self):
        held = []
        request = f"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\n\r\n".encode()
        for _ in range(40):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            s.settimeout(20)
            s.connect(self.address)
            s.sendall(request * 20)
            held.append(s)
        for _ in range(10):
            one = time.monotonic()
            self.get("/v1/rules", timeout=5)
            self.assertSoon(time.monotonic() - one, 2)
        for s in held:
            s.close()

    def test_event_streams_are_bounded(self):
        request = f"GET /v1/timeline?stream=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\n\r\n".encode()
        streams = []
        for _ in range(24):
            s = socket.create_connection(self.address, timeout=20)
            s.sendall(request)
            self.assertTrue(s.recv(20).startswith(b"HTTP/1.1 200 "))
            streams.append(s)
        self.assertIn(" 503 ", self.raw(request).splitlines()[0])
        self.assertEqual(self.get("/v1/rules").status, 200)
        for s in streams:
            s.close()
        until(lambda: self.status()["clients"] < 12, "their connections back")
        self.assertIn("200", self.raw(request.replace(b"Host: x", b"Host: x\r\nConnection: close").replace(b"?stream=true", b"")).splitlines()[0])


class Many(HttpTest):
    settings = {"http_rate": 5000}

    def test_200_parallel_clients(self):
        def client(i):
            name = f"c{i}"
            made = self.http("POST", "/v1/rules", {"words": ["latency", f"127.0.0.1:{i + 1}", "1ms", "--name", name]}, timeout=60)
            seen = self.http("GET", f"/v1/rules/{name}", timeout=60)
            gone = self.http("DELETE", f"/v1/rules/{name}", timeout=60)
            return made.status, seen.status, gone.status, made.json["id"]
        with concurrent.futures.ThreadPoolExecutor(200) as pool:
            outcomes = list(pool.map(client, range(200)))
        self.assertEqual({o[:3] for o in outcomes}, {(201, 200, 200)})
        self.assertEqual(sorted(o[3] for o in outcomes), list(range(1, 201)), "every id once")
        self.assertEqual({r["state"] for r in self.rules()}, {"ended"})

    def test_memory_is_flat_over_requests(self):
        pid = self.daemon_pid()

        def ask(times):
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                return set(pool.map(lambda i: self.http("GET", ("/metrics", "/v1/rules", "/nothing", "/v1/openapi.json")[i % 4], token=i % 8 != 1).status, range(times)))
        self.assertEqual(ask(800), {200, 401, 404})
        before = resident_kib(pid)
        ask(3000)
        self.assertLess(resident_kib(pid) - before, 1536)


class Rate(HttpTest):
    settings = {"http_rate": 10}

    def test_too_many_requests_a_second_are_refused(self):
        answers = [self.http("GET", "/healthz") for _ in range(60)]
        statuses = [a.status for a in answers]
        self.assertIn(429, statuses)
        self.assertGreaterEqual(statuses.count(200), 10)
        refused = next(a for a in answers if a.status == 429)
        self.assertEqual(refused.headers["Retry-After"], "1")
        until(lambda: self.http("GET", "/healthz").status == 200, "a request that is let through again")


if __name__ == "__main__":
    unittest.main()
