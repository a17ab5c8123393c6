"""curl: non-blocking connects, poll, recv and send. Its exit status says what it took the network for."""
import hashlib
import os
import unittest

from program_test_case import PROGRAM_TIMEOUT, ProgramTestCase, need
from web_server import WebServer, body_of

CURL = need("curl", "curl")
COULD_NOT_CONNECT, TIMED_OUT, GOT_NOTHING, SEND_ERROR, RECEIVE_ERROR, COULD_NOT_RESOLVE = 7, 28, 52, 55, 56, 6
TIMES = "%{http_code} %{time_connect} %{time_starttransfer} %{time_total} %{num_connects}\n"


class Curl(ProgramTestCase):
    def setUp(self):
        super().setUp()
        self.web = WebServer()
        self.addCleanup(self.web.end)
        self.at = f"127.0.0.1:{self.web.port}"
        self.url = f"http://{self.at}/"
        self.body = os.path.join(self.folder, "body")

    def curl(self, *words):
        return self.run_shimmed(CURL, "-sS", "--noproxy", "*", "--max-time", PROGRAM_TIMEOUT - 2, *words)

    def times(self, *words):
        """code, connect, start of transfer, total, new connections: of each transfer."""
        ran = self.curl("-w", TIMES, *words)
        self.assertEqual(ran.code, 0, ran)
        return [tuple(float(x) for x in line.split()) for line in ran.out.splitlines()]

    def saved(self):
        with open(self.body, "rb") as f:
            return f.read()

    def test_latency_shows_in_the_time_to_the_first_byte(self):
        self.fault("latency", self.at, "150ms")
        [(code, connect, start, total, _)] = self.times("-o", self.body, self.url)
        self.assertEqual((code, self.saved()), (200, b"hello\n"))
        self.assertSoon(connect, 0.1)
        self.assertTook(start, 0.15)
        self.assertTook(total, 0.15)
        self.assertFired("latency")

    def test_slow_connect_shows_in_the_connect_time(self):
        self.fault("latency", self.at, "150ms", "--on", "connect")
        [(_, connect, _, total, _)] = self.times("-o", self.body, self.url)
        self.assertTook(connect, 0.15)
        self.assertTook(total, 0.15)
        self.assertFired("latency", 1)

    def test_latency_upstream(self):
        self.fault("latency", self.at, "150ms", "--direction", "up")
        [(_, _, start, _, _)] = self.times("-o", self.body, self.url)
        self.assertTook(start, 0.15)
        self.assertFired("latency", 1)

    def test_refused(self):
        self.fault("down", self.at)
        ran = self.curl(self.url)
        self.assertEqual(ran.code, COULD_NOT_CONNECT, ran)
        self.assertRegex(ran.err, "Connection refused|Couldn't connect|Could not connect")
        self.assertSoon(ran.seconds, 1)
        self.assertFired("down", 1)
        self.assertEqual(self.web.connections, 0)

    def test_refused_by_errno(self):
        self.fault("error", self.at, "ECONNREFUSED")
        ran = self.curl(self.url)
        self.assertEqual(ran.code, COULD_NOT_CONNECT, ran)
        self.assertFired("error", 1)

    def test_unreachable(self):
        self.fault("down", self.at, "--how", "unreachable")
        ran = self.curl(self.url)
        self.assertEqual(ran.code, COULD_NOT_CONNECT, ran)
        self.assertFired("down", 1)

    def test_reset(self):
        self.fault("reset_peer", self.at, "--on", "recv")
        ran = self.curl(self.url)
        self.assertEqual(ran.code, RECEIVE_ERROR, ran)
        self.assertIn("reset by peer", ran.err)
        self.assertFired("reset_peer", 1)

    def test_reset_in_the_middle_of_a_body(self):
        self.fault("reset_peer", self.at, "--after", "1MB", "--on", "recv")
        ran = self.curl("-o", self.body, self.url + "bytes/4000000")
        self.assertEqual(ran.code, RECEIVE_ERROR, ran)
        self.assertFired("reset_peer", 1)
        got = self.saved()
        self.assertTrue(900_000 < len(got) < 4_000_000, len(got))
        self.assertEqual(got, body_of(len(got)))

    def test_error_on_send(self):
        self.fault("error", self.at, "EPIPE", "--on", "send")
        ran = self.curl(self.url)
        self.assertEqual(ran.code, SEND_ERROR, ran)
        self.assertFired("error")

    def test_black_hole_meets_the_connect_timeout(self):
        self.fault("down", self.at, "--how", "blackhole")
        ran = self.curl("--connect-timeout", "0.7", self.url)
        self.assertEqual(ran.code, TIMED_OUT, ran)
        self.assertTook(ran.seconds, 0.7)
        self.assertFired("down", 1)
        self.assertEqual(self.web.connections, 0)

    def test_black_hole_on_a_live_connection_meets_the_time_limit(self):
        self.fault("down", self.at, "--how", "blackhole", "--on", "recv")
        ran = self.curl("--max-time", "0.7", self.url)
        self.assertEqual(ran.code, TIMED_OUT, ran)
        self.assertTook(ran.seconds, 0.7)
        self.assertFired("down", 1)

    def test_keep_alive_is_delayed_for_each_answer_and_stays_one_connection(self):
        self.fault("latency", self.at, "100ms")
        outs = [w for n in range(4) for w in ("-o", f"{self.body}{n}", f"{self.url}{n}")]
        transfers = self.times(*outs)
        self.assertEqual([t[4] for t in transfers], [1, 0, 0, 0])
        for t in transfers:
            self.assertTook(t[2], 0.1)
        self.assertEqual(self.web.connections, 1)
        self.assertFired("latency", at_least=4)

    def test_large_body_under_latency_is_whole_and_not_slower(self):
        self.fault("latency", self.at, "100ms", "--jitter", "30ms")
        n = 30_000_000
        [(_, _, start, total, _)] = self.times("-o", self.body, f"{self.url}bytes/{n}")
        self.assertEqual(hashlib.sha256(self.saved()).digest(), hashlib.sha256(body_of(n)).digest())
        self.assertTook(start, 0.07)
        self.assertSoon(total, 6)  # a latency of 100 ms is no bandwidth limit beyond the receive buffer
        self.assertFired("latency")

    def test_upload_under_latency_both_ways_is_whole(self):
        self.fault("latency", self.at, "20ms", "--direction", "both")
        sent = body_of(3_000_000)
        with open(self.body, "wb") as f:
            f.write(sent)
        ran = self.curl("-H", "Expect:", "--data-binary", f"@{self.body}", self.url + "count")
        self.assertEqual((ran.code, ran.out), (0, f"{len(sent)} {hashlib.sha256(sent).hexdigest()}\n"), ran)
        self.assertFired("latency")

    def test_sliced_both_ways_is_whole(self):
        self.fault("slicer", self.at, "--average-size", "100B", "--size-variation", "90B", "--direction", "both")
        [(code, *_)] = self.times("-o", self.body, self.url + "bytes/100000")
        self.assertEqual((code, self.saved()), (200, body_of(100000)))
        self.assertFired("slicer", at_least=500)

    def test_sliced_upload_is_whole(self):
        self.fault("slicer", self.at, "--average-size", "200B", "--direction", "up")
        sent = body_of(100_000)
        with open(self.body, "wb") as f:
            f.write(sent)
        ran = self.curl("-H", "Expect:", "--data-binary", f"@{self.body}", self.url + "count")
        self.assertEqual(ran.out, f"{len(sent)} {hashlib.sha256(sent).hexdigest()}\n", ran)
        self.assertFired("slicer", at_least=400)

    def test_corrupt(self):
        self.fault("corrupt", self.at, "--bits", "2", "--after", "100KB", "--on", "recv")
        [(code, *_)] = self.times("-o", self.body, self.url + "bytes/3000000")
        got = self.saved()
        self.assertEqual((code, len(got)), (200, 3_000_000))
        self.assertNotEqual(got, body_of(3_000_000))
        self.assertFired("corrupt")

    def test_parallel_transfers_with_one_of_them_delayed(self):
        other = WebServer()
        self.addCleanup(other.end)
        self.fault("latency", self.at, "400ms")
        transfers = self.times("-Z", "-o", self.body, self.url, "-o", self.body + "2", f"http://127.0.0.1:{other.port}/")
        fast, slow = sorted(t[3] for t in transfers)
        self.assertTook(slow, 0.4)
        self.assertSoon(fast, 0.2)
        self.assertFired("latency")

    def test_probability_zero_is_never(self):
        self.fault("error", self.at, "ECONNRESET", "--probability", "0")
        for _ in range(3):
            self.assertEqual(self.curl(self.url).out, "hello\n")
        self.assertNotFired("error")

    def test_dry_run_counts_and_does_nothing(self):
        self.fault("down", self.at, "--dry-run")
        self.assertEqual(self.curl(self.url).out, "hello\n")
        self.assertFired("down")


if __name__ == "__main__":
    unittest.main()
