"""A plain HTTP/1.1 server in this process, never under the shim: what clients fetch from and proxies proxy to.

GET /             "hello\n"
GET /bytes/N      N bytes that are easy to check
POST /count       how many bytes came, and their sha256"""
import hashlib
import http.server
import threading


def body_of(n):
    line = b"".join(b"%015d\n" % i for i in range(4096))
    return (line * (n // len(line) + 1))[:n]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def answer(self, body):
        self.server.requests.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def do_GET(self):
        parts = self.path.strip("/").split("/")
        self.answer(body_of(int(parts[-1])) if "bytes" in parts else b"hello\n")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(f"{len(body)} {hashlib.sha256(body).hexdigest()}\n".encode())

    def log_message(self, *_):
        pass


class WebServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host="127.0.0.1", port=0):
        self.requests = []
        self.connections = 0
        super().__init__((host, port), Handler)
        self.port = self.server_address[1]
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def process_request(self, request, client):
        self.connections += 1
        super().process_request(request, client)

    def handle_error(self, *_):
        pass  # clients that are reset are what these tests are about

    def end(self):
        self.shutdown()
        self.server_close()
