"""CPython as a server: asyncio, selectors over epoll, poll and select, and a thread for each connection. One slow client of
many is nobody else's business."""
import os
import textwrap
import unittest

from program_test_case import PYTHON, ProgramTestCase, Talker, free_port, stopwatch

ECHO_SERVERS = {
    "asyncio": """
        import asyncio, sys
        async def serve(reader, writer):
            while line := await reader.readline():
                writer.write(line)
                await writer.drain()
            writer.close()
        async def main():
            server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
            await server.serve_forever()
        asyncio.run(main())
    """,
    "selectors": """
        import selectors, socket, sys
        chosen = getattr(selectors, sys.argv[2])()
        listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
        listener.setblocking(False)
        chosen.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in chosen.select():
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    connection.setblocking(False)
                    chosen.register(connection, selectors.EVENT_READ)
                    continue
                try:
                    data = key.fileobj.recv(65536)
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                if data:
                    key.fileobj.sendall(data)
                else:
                    chosen.unregister(key.fileobj)
                    key.fileobj.close()
    """,
    "threads": """
        import socketserver, sys
        class Echo(socketserver.StreamRequestHandler):
            def handle(self):
                for line in self.rfile:
                    self.wfile.write(line)
        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = allow_reuse_address = True
            request_queue_size = 64
        Server(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
    """,
}


class Server(ProgramTestCase):
    def echo(self, kind, *words):
        port = free_port()
        program = os.path.join(self.folder, f"{kind}_server.py")
        with open(program, "w") as f:
            f.write(textwrap.dedent(ECHO_SERVERS[kind]))
        self.server([PYTHON, program, port, *words], port, shimmed=True)
        return port

    def test_one_slow_client_of_an_asyncio_server(self):
        self.assertOnlyOneIsSlow(self.echo("asyncio"), b"hi\n", b"hi\n", 0.1)

    def test_one_slow_client_of_an_epoll_server(self):
        self.assertOnlyOneIsSlow(self.echo("selectors", "EpollSelector"), b"hi\n", b"hi\n", 0.1)

    def test_one_slow_client_of_a_poll_server(self):
        self.assertOnlyOneIsSlow(self.echo("selectors", "PollSelector"), b"hi\n", b"hi\n", 0.1)

    def test_one_slow_client_of_a_select_server(self):
        self.assertOnlyOneIsSlow(self.echo("selectors", "SelectSelector"), b"hi\n", b"hi\n", 0.1)

    def test_one_slow_client_of_a_threaded_server(self):
        self.assertOnlyOneIsSlow(self.echo("threads"), b"hi\n", b"hi\n", 0.1)

    def test_a_reset_and_an_accept_error_do_not_end_an_asyncio_server(self):
        port = self.echo("asyncio")
        hit = Talker(port, b"hi\n", b"hi\n", source="127.0.0.2")
        hit.ask()
        self.fault("reset_peer", "127.0.0.2")
        with self.assertRaises((ConnectionResetError, EOFError, BrokenPipeError)):
            hit.ask()
        hit.close()
        self.assertFired("reset_peer", 1)
        self.fault("error", f"listen:{port}", "ECONNABORTED", "--on", "accept,accept4", "--times", "2", "--scope", "process")
        good = Talker(port, b"hi\n", b"hi\n")
        self.assertEqual(stopwatch(good.ask)[1], b"hi\n")
        good.close()
        self.assertFired("error")


if __name__ == "__main__":
    unittest.main()
