"""Programs whose address space is limited (RLIMIT_AS): `ulimit -v`, judges of submitted programs, vsftpd. What the shim keeps in
mind while rules are in force has to fit beside what they need."""
import socket
import threading
import unittest

from program_test_case import PYTHON, ProgramTestCase, need

LITTLE = 150_000  # KiB


class LittleMemory(ProgramTestCase):
    def setUp(self):
        super().setUp()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.answer, daemon=True).start()

    def answer(self):
        try:
            while True:
                with self.listener.accept()[0] as s:
                    s.recv(4096)
                    s.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello\n")
        except OSError:
            pass

    def test_a_rule_acts_where_little_is_left(self):
        rule = self.fault("latency", f"127.0.0.1:{self.port}", "150ms")
        ran = self.run_shimmed("sh", "-c", f"ulimit -v {LITTLE}; exec {need('curl', 'curl')} -sS http://127.0.0.1:{self.port}/")
        self.assertEqual((ran.code, ran.out), (0, "hello\n"), ran)
        self.assertGreaterEqual(ran.seconds, 0.15)
        self.assertFired(rule)

    def test_a_limit_that_comes_after_the_rule_leaves_room(self):  # as vsftpd sets it for each of its sessions
        rule = self.fault("latency", f"127.0.0.1:{self.port}", "150ms")
        ran = self.run_shimmed(PYTHON, "-c", f"""
import mmap, resource, socket
s = socket.create_connection(("127.0.0.1", {self.port}))
s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
print(len(s.recv(4096)) > 0)
resource.setrlimit(resource.RLIMIT_AS, ({LITTLE} * 1024, {LITTLE} * 1024))
print(len(mmap.mmap(-1, 16 << 20)))""")
        self.assertEqual((ran.code, ran.out), (0, f"True\n{16 << 20}\n"), ran)
        self.assertFired(rule)


if __name__ == "__main__":
    unittest.main()
