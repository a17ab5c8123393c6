"""node: libuv's epoll (level-triggered, one loop), http and net, as client and as server."""
import hashlib
import json
import os
import textwrap
import threading
import unittest

from harness import CTL
from program_test_case import ProgramTestCase, Talker, free_port, need
from web_server import WebServer, body_of

NODE = need("node", "nodejs")

CLIENT = """
const http = require('http'), net = require('net'), crypto = require('crypto');
const say = (began, value) => console.log(JSON.stringify({value, seconds: Number(process.hrtime.bigint() - began) / 1e9}));
const failed = e => ({code: e.code, syscall: e.syscall, port: e.port});

function get(port, path, options, done) {
  const began = process.hrtime.bigint();
  let over = false;
  const end = value => { if (!over) { over = true; done(began, value); } };
  const request = http.get({host: '127.0.0.1', port, path, ...options}, answer => {
    const hash = crypto.createHash('sha256');
    let length = 0, text = '';
    answer.on('data', part => { hash.update(part); length += part.length; if (length < 100) text += part; });
    answer.on('end', () => end({status: answer.statusCode, length, text, sha256: hash.digest('hex')}));
    answer.on('error', e => end(failed(e)));
  });
  request.on('error', e => end(failed(e)));
  request.on('timeout', () => { end({code: 'timeout event'}); request.destroy(); });
}
"""


class Client(ProgramTestCase):
    def setUp(self):
        super().setUp()
        self.web = WebServer()
        self.addCleanup(self.web.end)
        self.at = f"127.0.0.1:{self.web.port}"

    def node(self, program, *words):
        ran = self.run_shimmed(NODE, "-e", CLIENT + textwrap.dedent(program), *words)
        self.assertEqual(ran.code, 0, ran)
        return [json.loads(line) for line in ran.out.splitlines()]

    def get(self, path="/", options="{}"):
        [got] = self.node(f"get(Number(process.argv[1]), process.argv[2], {options}, say);", self.web.port, path)
        return got

    def test_latency(self):
        self.fault("latency", self.at, "120ms")
        got = self.get()
        self.assertEqual(got["value"]["text"], "hello\n")
        self.assertTook(got["seconds"], 0.12)
        self.assertFired("latency")

    def test_slow_connect(self):
        self.fault("latency", self.at, "120ms", "--on", "connect")
        got = self.get()
        self.assertEqual(got["value"]["text"], "hello\n")
        self.assertTook(got["seconds"], 0.12)
        self.assertFired("latency", 1)

    def test_refused(self):
        self.fault("down", self.at)
        self.assertEqual(self.get()["value"], {"code": "ECONNREFUSED", "syscall": "connect", "port": self.web.port})
        self.assertFired("down", 1)

    def test_unreachable(self):
        self.fault("down", self.at, "--how", "unreachable")
        self.assertEqual(self.get()["value"]["code"], "EHOSTUNREACH")
        self.assertFired("down", 1)

    def test_a_connect_that_times_out_in_the_kernel(self):
        self.fault("error", self.at, "ETIMEDOUT", "--on", "connect")
        self.assertEqual(self.get()["value"], {"code": "ETIMEDOUT", "syscall": "connect", "port": self.web.port})
        self.assertFired("error", 1)

    def test_black_hole_meets_the_programs_own_time_out(self):
        self.fault("down", self.at, "--how", "blackhole")
        got = self.get(options="{timeout: 400}")
        self.assertEqual(got["value"]["code"], "timeout event")
        self.assertTook(got["seconds"], 0.4)
        self.assertFired("down", 1)

    def test_reset(self):
        self.fault("reset_peer", self.at, "--direction", "down")
        got = self.get()
        self.assertEqual((got["value"]["code"], got["value"]["syscall"]), ("ECONNRESET", "read"))
        self.assertFired("reset_peer", 1)

    def test_reset_in_the_middle_of_a_body(self):
        self.fault("reset_peer", self.at, "--direction", "down", "--after", "500KB")
        self.assertEqual(self.get("/bytes/5000000")["value"]["code"], "ECONNRESET")
        self.assertFired("reset_peer", 1)

    def test_broken_pipe(self):
        self.fault("error", self.at, "EPIPE", "--direction", "up")
        got = self.get()
        self.assertEqual((got["value"]["code"], got["value"]["syscall"]), ("EPIPE", "write"))
        self.assertFired("error")

    def test_large_body_under_latency_and_slices_is_whole(self):
        self.fault("latency", self.at, "30ms", "--jitter", "20ms")
        self.fault("slicer", self.at, "--average-size", "3KB", "--size-variation", "2KB")
        n = 3_000_000
        got = self.get(f"/bytes/{n}")["value"]
        self.assertEqual((got["length"], got["sha256"]), (n, hashlib.sha256(body_of(n)).hexdigest()))
        self.assertFired("latency")
        self.assertFired("slicer", at_least=500)

    def test_keep_alive_stays_one_connection(self):
        self.fault("latency", self.at, "60ms")
        got = self.node("""
            const agent = new http.Agent({keepAlive: true, maxSockets: 1});
            let left = 4;
            const next = () => get(Number(process.argv[1]), '/', {agent}, (began, value) => {
              say(began, value);
              if (--left) setImmediate(next); else agent.destroy();
            });
            next();
        """, self.web.port)
        self.assertEqual([g["value"]["text"] for g in got], ["hello\n"] * 4)
        for g in got:
            self.assertTook(g["seconds"], 0.06)
        self.assertEqual(self.web.connections, 1)
        self.assertFired("latency", at_least=4)

    def test_one_connection_of_a_loop(self):
        other = WebServer()
        self.addCleanup(other.end)
        self.fault("latency", self.at, "400ms")
        [got] = self.node("""
            let over = false;
            const times = [], began = process.hrtime.bigint();
            const next = () => get(Number(process.argv[2]), '/', {}, since => {
              times.push(Number(process.hrtime.bigint() - since) / 1e9);
              if (!over) next();
            });
            next();
            get(Number(process.argv[1]), '/', {}, () => { over = true; times.sort((a, b) => a - b); say(began, [times.length, times[times.length >> 1]]); });
        """, self.web.port, other.port)
        count, middle = got["value"]
        self.assertTook(got["seconds"], 0.4)
        self.assertEnough(count, 20)
        self.assertSoon(middle, 0.02)
        self.assertFired("latency")

    def test_removed_while_a_loop_holds(self):
        self.fault("latency", self.at, "60s")
        [got] = self.node("""
            get(Number(process.argv[1]), '/', {}, say);
            const ended = () => require('child_process').execFile(process.argv[2], ['rm', 'latency'], {env: {...process.env, LD_PRELOAD: ''}}, () => {});
            setTimeout(ended, 300);
        """, self.web.port, CTL)
        self.assertEqual(got["value"]["text"], "hello\n")
        self.assertSoon(got["seconds"], 5)
        self.assertFired("latency")

class Server(ProgramTestCase):
    def serve(self, program):
        port = free_port()
        path = os.path.join(self.folder, "server.js")
        with open(path, "w") as f:
            f.write(textwrap.dedent(program))
        self.server([NODE, path, port], port, shimmed=True)
        return port

    HTTP = """
        require('http').createServer((request, answer) => answer.end('hello\\n')).listen(Number(process.argv[2]), '127.0.0.1');
    """
    ECHO = """
        require('net').createServer(c => { c.on('error', () => {}); c.setNoDelay(); c.pipe(c); }).listen(Number(process.argv[2]), '127.0.0.1');
    """

    def test_one_slow_client_of_an_http_server(self):
        port = self.serve(self.HTTP)
        self.assertOnlyOneIsSlow(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"hello\n", 0.1)

    def test_one_slow_client_of_a_socket_server(self):
        self.assertOnlyOneIsSlow(self.serve(self.ECHO), b"hi\n", b"hi\n", 0.1)

    def test_a_reset_ends_one_connection_and_not_the_server(self):
        port = self.serve(self.ECHO)
        quiet = Talker(port, b"hi\n", b"hi\n")
        hit = Talker(port, b"hi\n", b"hi\n", source="127.0.0.2")
        quiet.ask(), hit.ask()
        self.fault("reset_peer", "127.0.0.2")
        with self.assertRaises((ConnectionResetError, BrokenPipeError)):
            hit.ask()
        self.assertEqual(quiet.ask(), b"hi\n")
        self.assertFired("reset_peer", 1)
        quiet.close(), hit.close()

    def test_an_echo_of_much_through_latency_and_slices_is_whole(self):
        port = self.serve(self.ECHO)
        self.fault("latency", "127.0.0.2", "20ms")
        self.fault("slicer", "127.0.0.2", "--average-size", "4KB", "--direction", "both")
        sent = body_of(1_000_000) + b"THE END"
        t = Talker(port, sent, b"THE END", source="127.0.0.2")
        t.socket.settimeout(None)
        sender = threading.Thread(target=t.socket.sendall, args=(sent,))
        sender.start()
        got = b""
        while len(got) < len(sent):
            got += t.socket.recv(65536)
        sender.join()
        t.close()
        self.assertTrue(got == sent)
        self.assertFired("latency")
        self.assertFired("slicer", at_least=200)


if __name__ == "__main__":
    unittest.main()
