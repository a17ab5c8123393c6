"""The JSON lines of chaosd's control socket, as docs/protocol.md describes them."""
import json
import socket


class ControlSocket:
    def __init__(self, folder):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(f"{folder}/control.sock")
        self.file = self.socket.makefile("rwb")

    def send(self, command, **arguments):
        self.file.write(json.dumps({"v": 1, "command": command, **arguments}).encode() + b"\n")
        self.file.flush()

    def answer(self):
        return json.loads(self.file.readline())

    def ask(self, command, **arguments):
        self.send(command, **arguments)
        return self.answer()

    def close(self):
        self.file.close()
        self.socket.close()
