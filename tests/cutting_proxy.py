"""A connection to PostgreSQL that breaks at the worst moment: the server has committed, and nobody is told."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class CuttingProxy:
    """Passes connections on to a server of this machine, and cuts one off when it is told to.

    Attributes:
        port: where it listens.
        cuts: how many answers to a COMMIT of the lake are still to be withheld, with their connection.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                threading.Thread(target=self._talk, args=(client, server), daemon=True).start()

    def _talk(self, client: socket.socket, server: socket.socket) -> None:
        asked, writes = threading.Event(), False
        back = threading.Thread(target=self._answer, args=(client, server, asked), daemon=True)
        back.start()
        with suppress(OSError):
            while data := client.recv(1 << 16):
                is_commit = data.startswith(b"Q") and data[5:].startswith(b"COMMIT")
                if self.cuts and writes and is_commit:
                    self.cuts -= 1
                    asked.set()
                writes = not is_commit and (writes or b"ducklake_snapshot VALUES" in data)
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        back.join()
        client.close()
        server.close()

    def _answer(self, client: socket.socket, server: socket.socket, asked: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                if asked.is_set():
                    break  # the answer to the COMMIT
                client.sendall(data)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
