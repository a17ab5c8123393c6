"""A small service for the tests of schedules: answers GET / with 200, and with 500 while DATABASE_URL was not there when it
started; with a state file it does what co-operating applications do. Under the shim: chaos-ctl run -- python3 THIS PORT."""
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DATABASE_URL = os.environ.get("DATABASE_URL")
STATE = os.environ.get("STATE_FILE")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        mode = json.load(open(STATE))["mode"] if STATE and os.path.exists(STATE) else "healthy"
        good = DATABASE_URL and mode == "healthy"
        self.send_response(200 if good else 500)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok" if good else b"no")

    def log_message(self, *_):
        pass


ThreadingHTTPServer.daemon_threads = True
server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("listening", flush=True)
server.serve_forever()
