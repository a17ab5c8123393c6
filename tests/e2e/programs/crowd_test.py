"""One delayed connection of a thousand, in servers that wait for all of them in one epoll set: the other 999 have the p99 that
they have without the fault, within a millisecond."""
import os
import shutil
import subprocess
import tempfile
import textwrap
import unittest

from cpython_servers_test import ECHO_SERVERS
from harness import BUILD
from jvm_test import JAVA, JAVAC, QUICK
from program_test_case import HERE, PROMPT, PYTHON, ProgramTestCase, free_port, need

CROWD = os.path.join(BUILD, "tests/crowd")
OTHERS, IN_FLIGHT = 999, 4
DELAY = 0.1       # seconds
RUN_MS = 400

NGINX = """
daemon off; worker_processes 1; error_log {folder}/error.log; pid {folder}/nginx.pid;
events {{ use epoll; worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 "local\\n"; }} }}
}}
"""
NODE = "require('net').createServer(c => { c.setNoDelay(); c.on('data', d => c.write(d)); c.on('error', () => {}); }).listen(Number(process.argv[1]), '127.0.0.1')"


class OneOfAThousand(ProgramTestCase):
    def assertNobodyElseWaits(self, port, question, end):
        crowd = self.start([CROWD, str(port), str(OTHERS), str(IN_FLIGHT), question, end], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.assertEqual(crowd.stdout.readline(), "ready\n")

        def ask():
            crowd.stdin.write(f"{RUN_MS}\n")
            crowd.stdin.flush()
            words = crowd.stdout.readline().split()
            return dict(zip(words[::2], map(int, words[1::2])))
        ask()  # a just-in-time compiler has seen it all

        def attempt():
            without = ask()
            rule = self.fault("latency", "127.0.0.2", f"{round(DELAY * 1000)}ms")
            with_it = ask()
            fired = self.fired(rule)
            self.ok("rm", rule)
            print(f"p99 of {with_it['answers']} answers: {with_it['p99_us']} us, without the fault {without['p99_us']} us", flush=True)
            self.assertGreaterEqual(with_it["slow_min_us"], DELAY * 1e6 - 2000)
            self.assertLess(without["slow_min_us"], DELAY * 1e6 / 2)
            self.assertEqual(fired, with_it["slow_answers"])
            self.assertEnough(with_it["answers"], 1000)
            self.assertSoon(with_it["p99_us"] / 1e6, without["p99_us"] / 1e6 + PROMPT)
        self.mostly(attempt, tries=3)
        crowd.stdin.close()
        crowd.wait()

    def test_redis(self):
        port = free_port()
        self.server([need("redis-server", "redis-server"), "--port", port, "--bind", "127.0.0.1", "--protected-mode", "no", "--save", "", "--dir", self.folder], port, shimmed=True)
        self.assertNobodyElseWaits(port, "PING\\r\\n", "+PONG\\r\\n")

    def test_nginx(self):
        port, configuration = free_port(), os.path.join(self.folder, "nginx.conf")
        os.chmod(self.folder, 0o755)
        with open(configuration, "w") as f:
            f.write(NGINX.format(folder=self.folder, port=port))
        nginx = self.server([need("nginx", "nginx-light"), "-p", self.folder, "-c", configuration, "-e", self.folder + "/error.log"], port, shimmed=True)
        self.addCleanup(nginx.wait)
        self.addCleanup(nginx.terminate)  # its worker ends with it
        self.assertNobodyElseWaits(port, "GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n", "local\\n")

    def test_node(self):
        port = free_port()
        self.server([need("node", "nodejs"), "-e", NODE, port], port, shimmed=True)
        self.assertNobodyElseWaits(port, "hi\\n", "hi\\n")

    def test_asyncio(self):
        port, program = free_port(), os.path.join(self.folder, "server.py")
        with open(program, "w") as f:
            f.write(textwrap.dedent(ECHO_SERVERS["asyncio"]))
        self.server([PYTHON, program, port], port, shimmed=True)
        self.assertNobodyElseWaits(port, "hi\\n", "hi\\n")

    def test_jvm_nio(self):
        classes, port = tempfile.mkdtemp(prefix="chaos-java-"), free_port()
        self.addCleanup(shutil.rmtree, classes)
        subprocess.run([JAVAC, "-nowarn", "-d", classes, os.path.join(HERE, "java", "Echo.java")], check=True, capture_output=True, timeout=120)
        self.server([JAVA, *QUICK, "-cp", classes, "Echo", "nio", port], port, shimmed=True)
        self.assertNobodyElseWaits(port, "hi\\n", "hi\\n")


if __name__ == "__main__":
    unittest.main()
