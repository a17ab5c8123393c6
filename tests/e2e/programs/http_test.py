"""Faults on HTTP requests by path: curl, CPython and node as clients that keep their connection, nginx and node as servers."""
import hashlib
import http.client
import json
import os
import sys
import unittest

from program_test_case import PYTHON, ProgramTestCase, free_port, need
from web_server import WebServer, body_of

CURL, NODE, NGINX = need("curl", "curl"), need("node", "nodejs"), need("nginx", "nginx-light")

URLLIB = """
import sys, urllib.error, urllib.request
for url in sys.argv[1:]:
    try: print(urllib.request.urlopen(url, timeout=10).status)
    except urllib.error.HTTPError as e: print(e.code, e.reason, len(e.read()))
"""
HTTP_CLIENT = """
import http.client, sys, time
c = http.client.HTTPConnection(sys.argv[1], timeout=10)
for path in sys.argv[2:]:
    t = time.monotonic(); c.request("GET", path); a = c.getresponse()
    print(a.status, len(a.read()), time.monotonic() - t)
"""
FETCH = """
(async () => {
  for (const url of process.argv.slice(1)) {
    const began = performance.now(), a = await fetch(url), text = await a.text();
    console.log(JSON.stringify({status: a.status, length: text.length, seconds: (performance.now() - began) / 1000}));
  }
})();
"""
NODE_SERVER = """
require('http').createServer((q, a) => {
  if (q.url === '/api/none') { a.writeHead(204); return a.end(); }
  a.end(q.url + '!');
}).listen(Number(process.argv[1]), '127.0.0.1');
"""
NGINX_CONFIGURATION = """
daemon off; worker_processes 1; error_log {folder}/error.log info; pid {folder}/nginx.pid;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  proxy_http_version 1.1; proxy_set_header Connection "";
  upstream back {{ server 127.0.0.1:{back}; keepalive 4; }}
  server {{ listen 127.0.0.1:{port}; location /local/ {{ return 200 "local"; }} location /file/ {{ alias {folder}/; }} location / {{ proxy_pass http://back; }} }}
}}
"""


def digest(n):
    return hashlib.sha256(body_of(n)).hexdigest()


class Clients(ProgramTestCase):
    def setUp(self):
        super().setUp()
        self.web = WebServer()
        self.addCleanup(self.web.end)
        self.at = f"127.0.0.1:{self.web.port}"
        self.api = f"http://{self.at}/api/*"

    def url(self, path):
        return f"http://{self.at}{path}"

    def test_curl_is_told_another_status_and_keeps_its_connection(self):
        self.fault("http_error", self.api, "503")
        ran = self.run_shimmed(CURL, "-sS", "--noproxy", "*", "-w", "%{stderr}%{http_code} %{size_download} %{num_connects}\n",
                               self.url("/api/bytes/100000"), self.url("/bytes/7"), self.url("/api/x"), self.url("/"))
        self.assertEqual(ran.err.split("\n")[:4], ["503 100000 1", "200 7 0", "503 6 0", "200 6 0"], ran)
        self.assertEqual(ran.out.encode(), body_of(100000) + body_of(7) + b"hello\n" * 2)
        self.assertFired("http_error", 2)
        event = next(json.loads(line) for line in self.ok("watch", "--json", "--last", "9", "--count", "1").out.splitlines())
        self.assertEqual((event["status"], event["errno"]), (503, None))
        self.assertTrue(event["target"].startswith(f"http://{self.at}/api/"), event)

    def test_urllib_raises_what_the_status_means(self):
        self.fault("http_error", self.api, "429")
        ran = self.run_shimmed(PYTHON, "-c", URLLIB, self.url("/api/"), self.url("/"))
        self.assertEqual(ran.out.splitlines(), ["429 Too Many Requests 6", "200"], ran)
        self.assertFired("http_error", 1)

    def test_http_client_stays_in_step(self):
        self.fault("http_error", self.api, "500", "--when", "2+2")
        paths = ["/api/1", "/", "/api/2", "/bytes/50000", "/api/3", "/api/4"]
        ran = self.run_shimmed(PYTHON, "-c", HTTP_CLIENT, self.at, *paths)
        self.assertEqual([line.split()[:2] for line in ran.out.splitlines()],
                         [["200", "6"], ["200", "6"], ["500", "6"], ["200", "50000"], ["200", "6"], ["500", "6"]], ran)
        self.assertFired("http_error", 2)

    def test_latency_by_path(self):
        self.fault("latency", self.api, "120ms")
        for ran in (self.run_shimmed(PYTHON, "-c", HTTP_CLIENT, self.at, "/api/a", "/other", "/api/bytes/300000"),
                    self.run_shimmed(NODE, "-e", FETCH, self.url("/api/a"), self.url("/other"), self.url("/api/bytes/300000"))):
            self.assertEqual(ran.code, 0, ran)
            times = [json.loads(line)["seconds"] if line[0] == "{" else float(line.split()[2]) for line in ran.out.splitlines()]
            self.assertTook(times[0], 0.12)
            self.assertSoon(times[1], 0.1)
            self.assertTook(times[2], 0.12)
        self.assertFired("latency", 4)

    def test_fetch_sees_another_status(self):
        self.fault("http_error", self.api, "503")
        ran = self.run_shimmed(NODE, "-e", FETCH, self.url("/api/bytes/200000"), self.url("/bytes/9"), self.url("/api/x"))
        self.assertEqual(ran.code, 0, ran)
        got = [json.loads(line) for line in ran.out.splitlines()]
        self.assertEqual([(g["status"], g["length"]) for g in got], [(503, 200000), (200, 9), (503, 6)])
        self.assertFired("http_error", 2)


class Servers(ProgramTestCase):
    def get(self, connection, path):
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, body if len(body) < 100 else hashlib.sha256(body).hexdigest()

    def connect(self, port):
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self.addCleanup(c.close)
        return c

    def test_node_answers_another_status(self):
        port = free_port()
        self.server([NODE, "-e", NODE_SERVER, port], port, shimmed=True)
        self.fault("http_error", f"http://listen:{port}/api/*", "503")
        c = self.connect(port)
        for _ in range(2):
            self.assertEqual(self.get(c, "/api/a"), (503, b"/api/a!"))
            self.assertEqual(self.get(c, "/b"), (200, b"/b!"))
            self.assertEqual(self.get(c, "/api/none"), (503, b""))
        self.assertFired("http_error", 4)
        self.ok("rm", "http_error")
        self.assertEqual(self.get(c, "/api/a"), (200, b"/api/a!"))

    def test_nginx_on_both_sides(self):
        web, port = WebServer(), free_port()
        self.addCleanup(web.end)
        os.chmod(self.folder, 0o755)
        with open(os.path.join(self.folder, "big"), "wb") as f:
            f.write(body_of(700000))
        configuration = os.path.join(self.folder, "nginx.conf")
        with open(configuration, "w") as f:
            f.write(NGINX_CONFIGURATION.format(folder=self.folder, port=port, back=web.port))
        nginx = self.server([NGINX, "-p", self.folder, "-c", configuration, "-e", os.path.join(self.folder, "error.log")], port, shimmed=True)
        self.addCleanup(nginx.wait, 10)
        self.addCleanup(nginx.terminate)
        c = self.connect(port)
        self.fault("http_error", f"http://listen:{port}/*l*/*", "502", "--name", "front")
        self.fault("http_error", f"http://127.0.0.1:{web.port}/api/*", "418", "--name", "back")
        for _ in range(2):
            self.assertEqual(self.get(c, "/local/"), (502, b"local"))
            self.assertEqual(self.get(c, "/bytes/10000"), (200, digest(10000)))
            self.assertEqual(self.get(c, "/api/bytes/300000"), (418, digest(300000)))
            self.assertEqual(self.get(c, "/file/big"), (502, digest(700000)))
        self.assertFired("front", 4)
        self.assertFired("back", 2)


if __name__ == "__main__":
    unittest.main()
