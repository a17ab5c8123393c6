"""Redis: redis-cli (hiredis, blocking after a non-blocking connect) and redis-server (epoll) under the shim."""
import threading
import unittest

from program_test_case import ProgramTestCase, Talker, free_port, need, stopwatch, until

CLI = need("redis-cli", "redis-tools")
SERVER = need("redis-server", "redis-server")
BENCHMARK = need("redis-benchmark", "redis-tools")
PING, PONG = b"PING\r\n", b"+PONG\r\n"


class Redis(ProgramTestCase):
    def setUp(self):
        super().setUp()
        self.port = free_port()
        self.at = f"127.0.0.1:{self.port}"

    def serve(self, shimmed=False):
        return self.server([SERVER, "--port", self.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--protected-mode", "no", "--dir", self.folder],
                           self.port, shimmed=shimmed)

    def cli(self, *words, **more):
        return self.run_shimmed(CLI, "-p", self.port, *words, **more)


class Client(Redis):
    """redis-cli under the shim; the server is not."""

    def setUp(self):
        super().setUp()
        self.serve()

    def test_latency_delays_each_reply(self):
        self.fault("latency", self.at, "100ms")
        ran = self.cli("ping")
        self.assertEqual((ran.code, ran.out), (0, "PONG\n"), ran)
        self.assertTook(ran.seconds, 0.1)
        self.assertFired("latency", 1)
        ran = self.cli("-r", "4", "ping")
        self.assertEqual(ran.out, "PONG\n" * 4)
        self.assertTook(ran.seconds, 0.4)
        self.assertFired("latency", 5)
        self.assertGreaterEqual(self.counted("latency")["delayed_ns"], 500_000_000)

    def test_latency_upstream_is_in_the_call_or_owed_by_the_reply(self):
        self.fault("latency", self.at, "100ms", "--direction", "up")
        ran = self.cli("ping")
        self.assertEqual(ran.out, "PONG\n", ran)
        self.assertTook(ran.seconds, 0.1)
        self.assertFired("latency", 1)

    def test_slow_connect(self):
        self.fault("latency", self.at, "150ms", "--on", "connect")
        ran = self.cli("ping")
        self.assertEqual(ran.out, "PONG\n", ran)
        self.assertTook(ran.seconds, 0.15)
        self.assertFired("latency", 1)

    def test_another_port_is_left_alone(self):
        self.fault("latency", "127.0.0.1:1", "1s")
        ran = self.cli("ping")
        self.assertEqual(ran.out, "PONG\n")
        self.assertSoon(ran.seconds, 0.5)
        self.assertNotFired("latency")

    def test_reset_on_recv(self):
        self.fault("error", self.at, "ECONNRESET", "--on", "recv")
        ran = self.cli("ping")
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("Connection reset by peer", ran.out + ran.err)
        self.assertFired("error")

    def test_broken_pipe_on_send(self):
        self.fault("error", self.at, "EPIPE", "--on", "send")
        ran = self.cli("ping")
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("Broken pipe", ran.out + ran.err)
        self.assertFired("error")

    def test_down_refuses(self):
        self.fault("down", self.at)
        ran = self.cli("ping")
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("Connection refused", ran.err)
        self.assertSoon(ran.seconds, 1)
        self.assertFired("down")
        self.ok("rm", "down")
        self.assertEqual(self.cli("ping").out, "PONG\n")

    def test_down_unreachable(self):
        self.fault("down", self.at, "--how", "unreachable")
        ran = self.cli("ping")
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("No route to host", ran.err)
        self.assertFired("down")

    def test_black_hole_keeps_the_connect_pending_until_the_rule_goes(self):
        self.fault("down", self.at, "--how", "blackhole")
        threading.Timer(0.8, lambda: self.ok("rm", "down")).start()
        ran = self.cli("ping")
        self.assertEqual((ran.code, ran.out), (0, "PONG\n"), ran)
        self.assertGreater(ran.seconds, 0.8)
        self.assertFired("down", 1)

    def test_reset_peer_breaks_the_connection_and_the_next_command_connects_anew(self):
        self.fault("reset_peer", self.at, "--when", "3", "--scope", "process")
        ran = self.cli(stdin="ping\nping\nping\n")  # it connects again and repeats the command, without a word
        self.assertEqual(ran.out, "PONG\n" * 3, ran)
        self.assertFired("reset_peer", 1)

    def test_reset_peer_for_ever(self):
        self.fault("reset_peer", self.at)
        ran = self.cli("ping")
        self.assertEqual(ran.code, 1, ran)
        self.assertIn("Connection reset by peer", ran.out + ran.err)
        self.assertFired("reset_peer")

    def test_loss_is_a_retransmission(self):
        self.fault("loss", self.at, "100%", "--when", "2", "--on", "recv,read")
        ran = self.cli("-r", "4", "ping")
        self.assertEqual(ran.out, "PONG\n" * 4, ran)
        self.assertGreater(ran.seconds, 0.199)
        self.assertFired("loss", 1)

    def test_corrupt_changes_the_reply(self):
        self.run_plain(CLI, "-p", self.port, "set", "k", "x" * 10000)
        self.fault("corrupt", self.at, "--bits", "3", "--seed", "7")  # the same seed: the same bits, none of them in the length
        ran = self.cli("get", "k", text=False)
        self.assertEqual(len(ran.out), 10001, ran)
        self.assertIn(sum(c != ord("x") for c in ran.out[:-1]), (1, 2, 3))
        self.assertFired("corrupt")
        self.ok("rm", "corrupt")
        self.assertEqual(self.cli("get", "k").out, "x" * 10000 + "\n", "nothing was changed in the server")

    def test_sliced_replies_are_right(self):
        self.run_plain(CLI, "-p", self.port, "set", "k", "0123456789" * 500)
        self.fault("slicer", self.at, "--average-size", "7B")
        ran = self.cli("get", "k")
        self.assertEqual(ran.out, "0123456789" * 500 + "\n")
        self.assertFired("slicer", at_least=500)

    def test_no_memory(self):
        # From the nth allocation on. Where redis-cli itself looks at what it got, it says so; its early ones it trusts.
        said = []
        for n in range(21, 31, 3):
            self.fault("enomem", "malloc", "--process", "redis-cli", "--when", f"{n}+")
            ran = self.cli("ping")
            self.assertNotEqual(ran.code, 0, ran)
            self.assertFired("enomem")
            said.append(ran.err)
        self.assertIn("Out of memory", "".join(said))
        self.ok("rm", "enomem")
        self.assertEqual(self.cli("ping").out, "PONG\n")

    def test_some_of_the_connections(self):
        self.fault("down", self.at, "--toxicity", "80%")  # of three attempts each
        codes = [self.cli("ping").code for _ in range(32)]
        self.assertGreater(codes.count(0), 1)
        self.assertGreater(codes.count(1), 1)
        self.assertFired("down", at_least=codes.count(1))


class Server(Redis):
    """redis-server under the shim; its clients are not."""

    def setUp(self):
        super().setUp()
        self.process = self.serve(shimmed=True)

    def test_one_slow_client_and_the_others_do_not_notice(self):
        self.assertOnlyOneIsSlow(self.port, PING, PONG, 0.1)

    def test_a_rule_that_is_set_on_a_live_connection_and_removed_again(self):
        t = Talker(self.port, PING, PONG, source="127.0.0.2")
        self.assertSoon(stopwatch(t.ask)[0], 0.05)
        self.fault("latency", "127.0.0.2", "100ms")
        self.assertTook(stopwatch(t.ask)[0], 0.1)
        self.fault("latency", "127.0.0.2", "30s")
        t.socket.sendall(PING)
        until(lambda: self.fired("latency"), "the injection")
        self.ok("rm", "latency")
        seconds, got = stopwatch(t.socket.recv, 100)
        self.assertEqual(got, PONG)
        self.assertSoon(seconds, 0.05)
        self.assertSoon(stopwatch(t.ask)[0], 0.05)
        t.close()

    def test_a_pipeline_is_delayed_once_and_keeps_its_order(self):
        self.fault("latency", "127.0.0.2", "100ms")
        question = b"".join(b"ECHO %d\r\n" % n for n in range(1000, 2000))
        t = Talker(self.port, question, b"$4\r\n1999\r\n", source="127.0.0.2")
        seconds, got = stopwatch(t.ask)
        self.assertEqual(got, b"".join(b"$4\r\n%d\r\n" % n for n in range(1000, 2000)))
        self.assertTook(seconds, 0.1)
        self.assertFired("latency")
        t.close()

    def test_resetting_one_client(self):
        quiet = Talker(self.port, PING, PONG)
        hit = Talker(self.port, PING, PONG, source="127.0.0.2")
        quiet.ask(), hit.ask()
        self.fault("reset_peer", "127.0.0.2")
        with self.assertRaises(ConnectionResetError):
            hit.ask()
        self.assertEqual(quiet.ask(), PONG)
        self.assertFired("reset_peer", 1)
        quiet.close(), hit.close()

    def test_errors_of_one_client(self):
        hit = Talker(self.port, PING, PONG, source="127.0.0.2")
        hit.ask()
        self.fault("error", "127.0.0.2", "ECONNRESET", "--on", "read")
        with self.assertRaises((EOFError, ConnectionResetError)):
            hit.ask()
        self.assertFired("error", 1)
        self.assertEqual(self.run_plain(CLI, "-p", self.port, "ping").out, "PONG\n")
        hit.close()

    def test_sliced_requests_and_replies_are_right(self):
        self.fault("slicer", f"listen:{self.port}", "--average-size", "5B", "--direction", "both")
        t = Talker(self.port, b"ECHO " + b"0123456789" * 200 + b"\r\n", b"9\r\n")
        self.assertEqual(t.ask(), b"$2000\r\n" + b"0123456789" * 200 + b"\r\n")
        self.assertFired("slicer", at_least=600)
        t.close()

    def test_armed_rules_that_match_nothing_disturb_no_benchmark(self):
        for n in range(20):
            self.fault("latency", f"10.9.8.{n}:{n + 1}", "1s", "--name", f"l{n}")
        self.fault("error", "10.1.0.0/16", "ECONNRESET", "--name", "e")
        self.fault("down", "10.2.0.0/16", "--name", "d")
        ran = self.run_shimmed(BENCHMARK, "-p", self.port, "-t", "ping_inline,set,get", "-n", "20000", "-c", "20", "-P", "4", "-q")
        self.assertEqual(ran.code, 0, ran)
        self.assertEqual(ran.out.count("requests per second"), 3, ran)
        for name in ("l0", "e", "d"):
            self.assertNotFired(name)

    def test_benchmark_with_latency_on_both_sides(self):
        # redis-benchmark has an event loop of its own: 10 connections, each 50 ms a round, whoever delays.
        self.fault("latency", self.at, "50ms")
        ran = self.run_shimmed(BENCHMARK, "-p", self.port, "-t", "ping_mbulk", "-n", "100", "-c", "10", "-q")
        self.assertEqual(ran.code, 0, ran)
        self.assertTook(ran.seconds, 0.5)
        self.assertFired("latency", at_least=100)


if __name__ == "__main__":
    unittest.main()
