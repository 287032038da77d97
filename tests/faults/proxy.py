"""A proxy before the orchestrator that spoils exchanges, as a seeded schedule says.

Plain HTTP on loopback towards the agent, TLS towards the orchestrator. Each fault may come before the orchestrator has
seen the request, or after: then it has acted, and the agent does not know.
"""

from __future__ import annotations

import http.client
import http.server
import random
import ssl
import threading
import time
from collections import Counter
from types import TracebackType
from typing import NamedTuple
from urllib.parse import urlsplit

#: Fault -> weight. ``late_copy`` sends a request once more after some later ones: they arrive out of order.
FAULTS = {
    "none": 20,
    "dropped": 4,
    "delayed": 2,
    "cut": 4,
    "duplicated": 4,
    "late_copy": 4,
    "500": 2,
    "429": 2,
    "html_200": 2,
    "html_404": 2,
    "html_502": 1,
    "garbage": 2,
}

DELAY_S = (0.05, 0.4)
HTML = b"<html><head><title>Welcome</title></head><body>Please log in to the network.</body></html>"
GARBAGE = b'{"server_time": "yesterday", "tasks": [{"task_id": 7, "attempt'


class Message(NamedTuple):
    """A request on its way."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]


class Answer(NamedTuple):
    """What comes back."""

    status: int
    headers: dict[str, str]
    body: bytes


class FaultProxy:
    """Listens on a free port of 127.0.0.1. ``faulty`` turns the faults on; ``seen`` counts them, by their names."""

    def __init__(self, target: str, ca_file: str, seed: int) -> None:
        self._target = urlsplit(target)
        self._tls = ssl.create_default_context(cafile=ca_file)
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._late: list[Message] = []
        self._in_flight = 0
        self.faulty = False
        #: What the next request to a path that ends so meets, reaching the orchestrator or not: for single faults.
        self.planned: dict[str, tuple[str, bool]] = {}
        self.seen: Counter[str] = Counter()
        #: The most polls that were under way at the same time.
        self.most_polls = 0
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FaultProxy:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, message: Message) -> tuple[Answer | None, str]:
        """What to answer a request (None: nothing, hang up), and the fault that was chosen."""
        with self._lock:
            fault = self._chance.choices([*FAULTS], [*FAULTS.values()])[0] if self.faulty else "none"
            reaches = self._chance.random() < 0.5
            fault, reaches = self.planned.pop(message.path.rpartition("/")[2], (fault, reaches))
            pause = self._chance.uniform(*DELAY_S)
            late = self._late.pop(0) if self._late and self._chance.random() < 0.3 else None
            if fault == "late_copy":
                self._late.append(message)
            self.seen[fault] += 1
        try:
            if late is not None:
                self._forward(late)
            if fault in ("none", "cut", "late_copy"):
                return self._forward(message), fault
            if fault == "duplicated":
                self._forward(message)
                return self._forward(message), fault
            if fault == "delayed":
                time.sleep(pause)
                return self._forward(message), fault
            if reaches:
                self._forward(message)
        except (OSError, http.client.HTTPException):
            return None, fault  # the orchestrator is away
        return _INVENTED[fault], fault

    def _forward(self, message: Message) -> Answer:
        polls = message.path.endswith("/poll")
        self._count(polls, 1)
        connection = http.client.HTTPSConnection(
            self._target.hostname or "", self._target.port, timeout=20, context=self._tls
        )
        try:
            connection.request(message.method, message.path, message.body, message.headers)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()
            self._count(polls, -1)

    def _count(self, polls: bool, step: int) -> None:
        with self._lock:
            self._in_flight += step * polls
            self.most_polls = max(self.most_polls, self._in_flight)


_INVENTED: dict[str, Answer | None] = {
    "dropped": None,
    "500": Answer(500, {"Content-Type": "application/problem+json"}, b'{"status": 500, "detail": "a fault"}'),
    "429": Answer(
        429,
        {"Content-Type": "application/problem+json", "Retry-After": "60"},
        b'{"status": 429, "detail": "too many requests"}',
    ),
    "html_200": Answer(200, {"Content-Type": "text/html"}, HTML),
    "html_404": Answer(404, {"Content-Type": "text/html"}, HTML),
    "html_502": Answer(502, {"Content-Type": "text/html"}, HTML),
    "garbage": Answer(200, {"Content-Type": "application/json"}, GARBAGE),
}

#: Headers that belong to one connection only.
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, proxy: FaultProxy) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy = proxy


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        kept = {name: value for name, value in self.headers.items() if name.lower() not in (*_HOP_BY_HOP, "host")}
        answer, fault = self.server.proxy.answer(Message(self.command, self.path, body, kept))
        if answer is None:
            self.close_connection = True
            return
        head = f"HTTP/1.1 {answer.status} {http.HTTPStatus(answer.status).phrase}\r\n"
        for name, value in answer.headers.items():
            if name.lower() not in _HOP_BY_HOP:
                head += f"{name}: {value}\r\n"
        raw = head.encode() + b"Content-Length: %d\r\n\r\n" % len(answer.body) + answer.body
        if fault == "cut":
            # Within the body if there is one, so that the agent can be deceived.
            raw = raw[: -max(1, len(answer.body) // 2)]
            self.close_connection = True
        try:
            self.wfile.write(raw)
        except OSError:
            self.close_connection = True  # the agent was killed meanwhile

    do_PUT = do_POST

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: pytest's output is for findings."""
