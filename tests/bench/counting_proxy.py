"""A loopback TCP proxy that counts: TLS passes through it unopened."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import NamedTuple


class Traffic(NamedTuple):
    """What went through; bytes as TCP carries them, TLS included."""

    connections: int
    sent: int
    received: int


class CountingProxy:
    """Listens on a free port of 127.0.0.1 and forwards to another port there, each connection in a thread."""

    def __init__(self, target_port: int) -> None:
        self._target = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._counts = [0, 0, 0]
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> CountingProxy:
        self._accepting.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # Closing alone would leave the thread in accept(2), on a descriptor that a later socket is going to have.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()

    def reset(self) -> None:
        """Count from zero."""
        with self._lock:
            self._counts = [0, 0, 0]

    def traffic(self) -> Traffic:
        """What was counted since the last reset."""
        with self._lock:
            return Traffic(*self._counts)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # shut down
            self._count(0, 1)
            server = socket.create_connection(("127.0.0.1", self._target))
            for source, sink, index in ((client, server, 1), (server, client, 2)):
                threading.Thread(target=self._forward, args=(source, sink, index), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, index: int) -> None:
        try:
            while data := source.recv(65536):
                self._count(index, len(data))
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the other side closed first

    def _count(self, index: int, amount: int) -> None:
        with self._lock:
            self._counts[index] += amount
