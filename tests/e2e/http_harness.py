"""A chaosd that serves HTTP on a port of its own, and a client for it."""
import http.client
import json
import os
import secrets
import socket

from harness import SessionTest


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.text = status, headers, body.decode()

    @property
    def json(self):
        return json.loads(self.text)

    def __repr__(self):
        return f"{self.status} {self.text}"


class HttpTest(SessionTest):
    settings = {}

    def setUp(self):
        super().setUp()
        self.token = secrets.token_hex(24)
        self.token_file = self.write("token", self.token + "\n", 0o600)
        self.experiments, self.schedules = f"{self.dir}/experiments", f"{self.dir}/schedules"
        os.mkdir(self.experiments)
        os.mkdir(self.schedules)
        self.configure(**self.settings)

    def write(self, name, text, mode=0o644):
        path = f"{self.dir}/{name}"
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def configure(self, **more):
        """Starts the daemon, with these settings besides those of every test here."""
        for pid in self.daemons():
            self.ok("daemon", "stop")
        settings = {"http": "127.0.0.1:0", "token_file": self.token_file, "experiments": self.experiments, "schedules": self.schedules, **more}
        self.write("chaos.ini", "[chaosd]\n" + "".join(f"{k} = {v}\n" for k, v in settings.items()))
        self.ok("daemon", "start")
        self.url = self.status()["http"]
        self.address = ("127.0.0.1", int(self.url.rsplit(":", 1)[1]))

    def status(self):
        return self.ok("daemon", "status", "--json").json

    def http(self, method, path, body=None, token=True, headers=None, timeout=20):
        link = http.client.HTTPConnection(*self.address, timeout=timeout)
        try:
            sent = dict(headers or {})
            if token:
                sent["Authorization"] = "Bearer " + (self.token if token is True else token)
            if body is not None and not isinstance(body, (bytes, str)):
                body = json.dumps(body)
            link.request(method, path, body, sent)
            answer = link.getresponse()
            return Response(answer.status, answer.headers, answer.read())
        finally:
            link.close()

    def get(self, path, status=200, **more):
        return self.checked("GET", path, None, status, **more)

    def post(self, path, body=None, status=200, **more):
        return self.checked("POST", path, body, status, **more)

    def checked(self, method, path, body, status, **more):
        answer = self.http(method, path, body, **more)
        self.assertEqual(answer.status, status, f"{method} {path}: {answer}")
        return answer

    def raw(self, data, timeout=20, half_close=False):
        """What comes back to these bytes, until the other end closes."""
        with socket.create_connection(self.address, timeout=timeout) as s:
            try:
                s.sendall(data)
                if half_close:
                    s.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            out = b""
            try:
                while chunk := s.recv(65536):
                    out += chunk
            except ConnectionResetError:
                pass
            return out.decode(errors="replace")
