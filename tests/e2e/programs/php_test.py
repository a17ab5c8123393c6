"""PHP: streams of its own, which poll and then read, and libcurl in an extension, which PHP loads so that it prefers the names of
its own libraries (RTLD_DEEPBIND)."""
import hashlib
import unittest

from program_test_case import ProgramTestCase, need
from web_server import WebServer, body_of

PHP = need("php", "php-cli")
SIZE = 200_000
STREAM = """$r = file_get_contents($argv[1], false, stream_context_create(['http' => ['timeout' => 8]]));
if ($r === false) exit(3); echo sha1($r);"""
EXTENSION = """$c = curl_init($argv[1]); curl_setopt_array($c, [CURLOPT_RETURNTRANSFER => 1, CURLOPT_TIMEOUT => 8, CURLOPT_PROXY => '']);
$r = curl_exec($c); if ($r === false) { fwrite(STDERR, curl_error($c)); exit(3); } echo sha1($r);"""


class Php(ProgramTestCase):
    def setUp(self):
        super().setUp()
        self.web = WebServer()
        self.addCleanup(self.web.end)
        self.at = f"127.0.0.1:{self.web.port}"

    def get(self, program, path=f"bytes/{SIZE}"):
        return self.run_shimmed(PHP, "-r", program, f"http://{self.at}/{path}", env={"no_proxy": "*", "http_proxy": ""})

    def assertWhole(self, ran):
        self.assertEqual((ran.code, ran.out), (0, hashlib.sha1(body_of(SIZE)).hexdigest()), ran)

    def both(self):
        for name, program in (("stream", STREAM), ("curl", EXTENSION)):
            with self.subTest(name):
                yield program

    def test_latency_both_ways(self):
        for way in ("down", "up"):
            for program in self.both():
                self.fault("latency", self.at, "200ms", "--direction", way)
                ran = self.get(program)
                self.assertWhole(ran)
                self.assertGreaterEqual(ran.seconds, 0.2)
                self.assertFired("latency")
                self.ok("rm", "latency")

    def test_slices(self):
        for program in self.both():
            self.fault("slicer", self.at, "--average-size", "7B", "--size-variation", "6B")
            self.assertWhole(self.get(program))
            self.assertFired("slicer", at_least=SIZE // 13)
            self.ok("rm", "slicer")

    def test_a_partition_heals_under_a_read_that_waited(self):
        """The connection is made under one partition, the answer comes under another, and neither is told of too early."""
        for program in self.both():
            self.ok("set", "partition", self.at, "--name", "first", "--for", "1s")
            self.ok("set", "partition", self.at, "--name", "second", "--oneway", "in", "--for", "1600ms")
            ran = self.get(program)
            self.assertWhole(ran)
            self.assertGreaterEqual(ran.seconds, 0.3)
            self.assertFired("first", 1)
            self.ok("rm", "--all")

    def test_refused_and_reset(self):
        for program in self.both():
            self.fault("down", self.at)
            self.assertEqual(self.get(program).code, 3)
            self.assertFired("down", 1)
            self.ok("rm", "down")
            self.fault("reset_peer", self.at)
            self.assertEqual(self.get(program).code, 3)
            self.assertFired("reset_peer")
            self.ok("rm", "reset_peer")


if __name__ == "__main__":
    unittest.main()
