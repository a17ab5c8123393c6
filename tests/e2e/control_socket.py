"""The JSON lines of chaosd's control socket, as docs/protocol.md describes them."""
import json
import socket


class ControlSocket:
    def __init__(self, folder):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(f"{folder}/control.sock")
        self.file = self.socket.makefile("rwb")

    def ask(self, command, **arguments):
        self.file.write(json.dumps({"v": 1, "command": command, **arguments}).encode() + b"\n")
        self.file.flush()
        return json.loads(self.file.readline())

    def close(self):
        self.file.close()
        self.socket.close()
