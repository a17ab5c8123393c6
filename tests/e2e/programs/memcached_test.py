"""memcached: libevent (epoll), a listening thread and workers that connections are handed to over a pipe or eventfd."""
import os
import unittest

from program_test_case import ProgramTestCase, Talker, free_port, need, stopwatch

MEMCACHED = need("memcached", "memcached")
ASK, ANSWER = b"get k\r\n", b"END\r\n"


class Memcached(ProgramTestCase):
    def setUp(self):
        super().setUp()
        self.port = free_port()
        user = ["-u", "root"] if os.geteuid() == 0 else []
        self.server([MEMCACHED, "-l", "127.0.0.1", "-p", self.port, "-U", "0", "-t", "2", "-m", "16", *user], self.port, shimmed=True)

    def client(self, source="127.0.0.1"):
        t = Talker(self.port, ASK, ANSWER, source=source)
        self.addCleanup(t.close)
        return t

    def store(self, client, value):
        client.socket.sendall(b"set k 0 0 %d\r\n%s\r\n" % (len(value), value))
        got = b""
        while not got.endswith(b"\r\n"):
            got += client.socket.recv(100)
        self.assertEqual(got, b"STORED\r\n")

    def test_one_slow_client(self):
        self.assertOnlyOneIsSlow(self.port, ASK, ANSWER, 0.1)

    def test_values_through_latency_and_slices_are_right(self):
        self.fault("latency", "127.0.0.2", "20ms")
        self.fault("slicer", "127.0.0.2", "--average-size", "700B", "--size-variation", "600B", "--direction", "both")
        client = self.client("127.0.0.2")
        value = b"".join(b"%06d " % n for n in range(50_000))
        self.store(client, value)
        self.assertEqual(client.ask(), b"VALUE k 0 %d\r\n%s\r\nEND\r\n" % (len(value), value))
        self.assertFired("latency")
        self.assertFired("slicer", at_least=500)

    def test_a_reset_ends_one_connection(self):
        quiet, hit = self.client(), self.client("127.0.0.2")
        quiet.ask(), hit.ask()
        self.fault("reset_peer", "127.0.0.2")
        with self.assertRaises((ConnectionResetError, BrokenPipeError)):
            hit.ask()
        self.assertEqual(quiet.ask(), ANSWER)
        self.assertFired("reset_peer", 1)

    def test_a_black_hole_holds_and_heals(self):
        quiet, hit = self.client(), self.client("127.0.0.2")
        hit.ask()
        self.fault("down", "127.0.0.2", "--how", "blackhole")
        hit.socket.sendall(ASK)
        hit.socket.settimeout(0.3)
        with self.assertRaises(TimeoutError):
            hit.socket.recv(100)
        self.assertSoon(stopwatch(quiet.ask)[0], 0.1)
        self.assertFired("down")
        self.ok("rm", "down")
        hit.socket.settimeout(10)
        self.assertEqual(hit.socket.recv(100), ANSWER)
        self.assertEqual(hit.ask(), ANSWER)


if __name__ == "__main__":
    unittest.main()
