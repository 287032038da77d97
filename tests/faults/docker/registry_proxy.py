"""A relay before a registry that is slow, or spoils what is large on the way."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType

_PIECE = 16 * 1024


class RegistryProxy:
    """Listens on a free port of 127.0.0.1. Harmless until ``pause_s`` or ``spoil_after`` are set."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        #: Before each 16 KiB of an answer, in seconds.
        self.pause_s = 0.0
        #: Bytes of a connection's answers after which the rest is garbage. An engine goes on where one was cut, many
        #: times, before it gives up; what is spoilt ends a pull at once, as a full disk does.
        self.spoil_after: int | None = None
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self) -> RegistryProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Listen no more: whoever comes is refused."""
        with suppress(OSError):  # closed already
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.create_connection(self._target)
                for source, target, answers in ((near, far, False), (far, near, True)):
                    threading.Thread(target=self._relay, args=(source, target, answers), daemon=True).start()

    def _relay(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        passed = 0
        with suppress(OSError):
            while piece := source.recv(_PIECE):
                if answers:
                    time.sleep(self.pause_s)
                    passed += len(piece)
                    if self.spoil_after is not None and passed > self.spoil_after:
                        piece = bytes(len(piece))
                target.sendall(piece)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
