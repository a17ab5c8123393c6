"""Rules by name: what counts is the name under which the program itself looked an address up, before the rule or after it."""
import json
import os
import subprocess
import unittest

from program_test_case import PYTHON, SHIM, ProgramTestCase, need
from web_server import WebServer

CURL = need("curl", "curl")
GETENT = need("getent", "libc-bin")

# Looks up (or not), then connects to the address when told to, again and again.
STEPWISE = """
import json, socket, sys, time
for line in sys.stdin:
    words = line.split()
    began = time.monotonic()
    try:
        if words[0] == "lookup":
            value = socket.getaddrinfo(words[1], int(words[2]), socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
        elif words[0] == "byname":
            value = socket.gethostbyname_ex(words[1])[2][0]
        else:
            socket.create_connection((words[1], int(words[2])), 5).close()
            value = "connected"
    except OSError as e:
        value = [type(e).__name__, e.errno]
    print(json.dumps([value, time.monotonic() - began]), flush=True)
"""


class Names(ProgramTestCase):
    def setUp(self):
        super().setUp()
        self.web = WebServer()
        self.addCleanup(self.web.end)

    def program(self):
        """A process with an /etc/hosts of its own, so that nobody else can resolve what it can."""
        hosts = os.path.join(self.folder, "hosts")
        with open(hosts, "w") as f:
            f.write("127.0.0.1 localhost db.shop.test cache.shop.test\n127.0.0.7 one.shop.test\n")
        own = ["unshare", *([] if os.geteuid() == 0 else ["-r"]), "-m", "sh", "-c"]
        if subprocess.run([*own, "true"], capture_output=True).returncode != 0:
            self.skipTest("no mount namespace to be had here, so no names of one's own")
        p = self.start([*own, 'mount --bind "$0" /etc/hosts && LD_PRELOAD="$1" exec "$2" -c "$3"', hosts, SHIM, PYTHON, STEPWISE],
                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def step(*words):
            p.stdin.write(" ".join(map(str, words)) + "\n")
            p.stdin.flush()
            return json.loads(p.stdout.readline())
        return step

    def curl(self, url, *words):
        return self.run_shimmed(CURL, "-sS", "--noproxy", "*", "--max-time", 10, *words, url)

    def test_localhost_by_name(self):
        self.fault("down", f"localhost:{self.web.port}")
        ran = self.curl(f"http://localhost:{self.web.port}/")
        self.assertEqual(ran.code, 7, ran)
        self.assertFired("down")
        other = WebServer()
        self.addCleanup(other.end)
        self.assertEqual(self.curl(f"http://localhost:{other.port}/").out, "hello\n")

    def test_localhost_with_a_delay(self):
        self.fault("latency", f"localhost:{self.web.port}", "120ms")
        ran = self.curl(f"http://localhost:{self.web.port}/")
        self.assertEqual(ran.out, "hello\n", ran)
        self.assertTook(ran.seconds, 0.12)
        self.assertFired("latency")

    def test_a_name_looked_up_before_the_rule(self):
        step = self.program()
        [address, _] = step("lookup", "db.shop.test", self.web.port)
        self.assertEqual(address, "127.0.0.1")
        self.assertEqual(step("connect", address, self.web.port)[0], "connected")
        self.fault("down", f"db.shop.test:{self.web.port}")
        self.assertEqual(step("connect", address, self.web.port)[0], ["ConnectionRefusedError", 111])
        self.assertFired("down", 1)
        self.ok("rm", "down")
        self.assertEqual(step("connect", address, self.web.port)[0], "connected")

    def test_a_name_looked_up_after_the_rule(self):
        step = self.program()
        self.fault("down", f"cache.shop.test:{self.web.port}")
        [address, _] = step("lookup", "cache.shop.test", self.web.port)
        self.assertEqual(step("connect", address, self.web.port)[0], ["ConnectionRefusedError", 111])
        self.assertFired("down", 1)

    def test_a_name_by_pattern_and_the_old_way_of_looking_up(self):
        step = self.program()
        other = WebServer(host="127.0.0.7")
        self.addCleanup(other.end)
        [address, _] = step("byname", "one.shop.test")  # looks up with gethostbyname_r, after getaddrinfo
        self.assertEqual(address, "127.0.0.7")
        self.assertEqual(step("connect", address, other.port)[0], "connected")
        self.fault("down", "*.shop.test")
        self.assertEqual(step("connect", address, other.port)[0], ["ConnectionRefusedError", 111])
        self.assertEqual(step("connect", "127.0.0.1", self.web.port)[0], "connected", "not looked up by that name")
        self.assertFired("down", 1)
        self.fault("dns", "dns:one.shop.test", "EAI_NONAME")
        self.assertEqual(step("byname", "one.shop.test")[0][0], "gaierror")
        self.assertFired("dns", 1)
        self.ok("rm", "dns")
        self.fault("dns", "dns:one.shop.test", "EAI_NONAME", "--on", "gethostbyname_r")
        self.assertEqual(step("byname", "one.shop.test")[0], ["herror", 1], "HOST_NOT_FOUND")
        self.assertFired("dns", 1)

    def test_another_process_that_did_not_look_the_name_up_is_left_alone(self):
        # chaosd can not resolve it either, so the rule means the processes that can
        step = self.program()
        self.fault("down", f"only.known.here.invalid:{self.web.port}")
        self.assertEqual(step("connect", "127.0.0.1", self.web.port)[0], "connected")
        self.assertNotFired("down")

    def test_look_ups_fail(self):
        step = self.program()
        for error, number in (("EAI_AGAIN", -3), ("EAI_NONAME", -2), ("EAI_FAIL", -4)):
            self.fault("dns", "dns:*.shop.test", error)
            self.assertEqual(step("lookup", "db.shop.test", 1)[0], ["gaierror", number])
            self.assertEqual(step("lookup", "localhost", 1)[0], "127.0.0.1")
            self.assertFired("dns", 1)
            self.ok("rm", "dns")
        self.assertEqual(step("lookup", "db.shop.test", 1)[0], "127.0.0.1")

    def test_look_ups_take_their_time(self):
        step = self.program()
        self.fault("latency", "dns:*.shop.test", "150ms")
        value, seconds = step("lookup", "db.shop.test", 1)
        self.assertEqual(value, "127.0.0.1")
        self.assertTook(seconds, 0.15)
        self.assertSoon(step("lookup", "localhost", 1)[1], 0.1)
        self.assertFired("latency", 1)

    def test_curl_that_can_not_resolve(self):
        self.fault("dns", "dns:shop.example", "EAI_NONAME")
        ran = self.curl("http://shop.example/")
        self.assertEqual(ran.code, 6, ran)
        self.assertFired("dns")

    def test_getent(self):
        self.fault("dns", "dns:localhost", "EAI_NONAME")
        ran = self.run_shimmed(GETENT, "ahosts", "localhost")
        self.assertEqual(ran.code, 2, ran)
        self.assertFired("dns", 1)

    def test_getent_the_old_way(self):
        """`hosts` looks names up with gethostbyname2 and addresses with gethostbyaddr."""
        for subject in ("localhost", "127.0.0.1"):
            self.assertEqual(self.run_shimmed(GETENT, "hosts", subject).code, 0)
            self.fault("dns", f"dns:{subject}", "EAI_NONAME")
            ran = self.run_shimmed(GETENT, "hosts", subject)
            self.assertEqual(ran.code, 2, ran)
            self.assertFired("dns")
            self.ok("rm", "dns")


if __name__ == "__main__":
    unittest.main()
