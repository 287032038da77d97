"""Clients that connect and then say nothing, or not enough: they are cut off, and nobody else is."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import uvicorn

from letsbe.orchestrator import connections
from letsbe.orchestrator.bootstrap import initialise
from letsbe.orchestrator.server import _listen, _Server

#: Limits of a test whose clients are cut off, and of one whose are not, in seconds.
SHORT, LONG = 0.3, 3600

#: More than the buffers of the kernel hold, in bytes.
MUCH = 64 << 20

HEAD = b"POST /fast HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers at once, with much, or after more time than a client has."""
    if scope["type"] != "http":
        return
    body = {"/much": b"x" * MUCH}.get(scope["path"], b"ok")
    if scope["path"] == "/slow":
        await asyncio.sleep(4 * SHORT)
    while scope["path"] != "/refuse" and (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


class Connect:
    """Connects to a server, again with each call."""

    def __init__(self, server: _Server, address: tuple[str, int]) -> None:
        self._server, self._address = server, address
        self.opened: list[socket.socket] = []

    def __call__(self) -> socket.socket:
        self.opened.append(socket.create_connection(self._address, 20))
        return self.opened[-1]

    @property
    def open_connections(self) -> int:
        """As the server sees it."""
        return len(self._server.server_state.connections)


@contextmanager
def serving(home: str | None = None, most: int = connections.MOST) -> Iterator[Connect]:
    """A server, behind TLS with the certificate of a home if there is one."""
    made = None if home is None else initialise(home, port=0).home
    config = uvicorn.Config(
        app,
        http=connections.ClientConnection,
        lifespan="off",
        log_config=None,
        ssl_certfile=made and made.server_certificate,
        ssl_keyfile=made and made.server_key,
    )
    listener = _listen("127.0.0.1", 0)
    ready = threading.Event()
    server = _Server(config, ready.set, most)
    connect = Connect(server, listener.getsockname())
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert ready.wait(20)
        yield connect
    finally:
        for client in connect.opened:
            client.close()
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets them: those that are named to ``SHORT``, the others to ``LONG``."""

    def put(*short: str) -> None:
        for name in ("HANDSHAKE_S", "HEAD_S", "EXCHANGE_S"):
            monkeypatch.setattr(connections, name, SHORT if name in short else LONG)

    return put


def is_cut_off(client: socket.socket) -> bool:
    """Whether the server ends the connection before the client loses patience; what it sent before is passed over."""
    try:
        while client.recv(1 << 16):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize(
    ("limit", "sent"),
    [
        ("HEAD_S", [b""]),
        ("HEAD_S", [HEAD]),
        ("HEAD_S", [HEAD + b"\r\nbody", b"P"]),
        ("EXCHANGE_S", [HEAD + b"\r\nbo"]),
        ("EXCHANGE_S", [HEAD.replace(b"fast", b"refuse") + b"\r\nbo", b"d"]),
    ],
    ids=["nothing", "half a head", "a byte after an answer", "half a body", "half a body after the answer"],
)
def test_a_client_that_does_not_go_on_is_cut_off(limits: Callable[..., None], limit: str, sent: list[bytes]) -> None:
    limits(limit)
    with serving() as connect:
        client = connect()
        client.sendall(sent[0])
        for more in sent[1:]:
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")
            client.sendall(more)
        assert is_cut_off(client)


def test_a_client_that_does_not_take_its_answer_is_cut_off(limits: Callable[..., None]) -> None:
    limits("EXCHANGE_S")
    with serving() as connect:
        client = connect()
        client.sendall(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
        taken, deadline = len(client.recv(1)), time.monotonic() + 20
        while connect.open_connections and time.monotonic() < deadline:
            time.sleep(0.02)
        with suppress(ConnectionError):
            while piece := client.recv(1 << 20):  # what stands in the buffers of the kernel
                taken += len(piece)
        assert taken < MUCH


def test_a_tls_handshake_that_does_not_go_on_is_cut_off(limits: Callable[..., None], tmp_path: Any) -> None:
    limits("HANDSHAKE_S")
    with serving(str(tmp_path / "home")) as connect:
        assert is_cut_off(connect())


def test_a_client_that_says_nothing_after_the_tls_handshake_is_cut_off(
    limits: Callable[..., None], tmp_path: Any
) -> None:
    limits("HEAD_S")
    with serving(str(tmp_path / "home")) as connect:
        context = ssl.create_default_context(cafile=str(tmp_path / "home" / "ca.pem"))
        with context.wrap_socket(connect(), server_hostname="localhost", suppress_ragged_eofs=True) as client:
            assert is_cut_off(client)


def test_a_client_whose_answer_takes_long_is_not_cut_off(limits: Callable[..., None]) -> None:
    limits("HANDSHAKE_S", "HEAD_S", "EXCHANGE_S")
    with serving() as connect:
        client = connect()
        client.sendall(HEAD.replace(b"fast", b"slow") + b"\r\nbody")
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")


def test_of_too_many_connections_those_that_wait_longest_are_cut_off(limits: Callable[..., None]) -> None:
    limits()
    with serving(most=3) as connect:
        silent = [connect() for _ in range(3)]
        late = connect()
        assert is_cut_off(silent[0])
        for client in (*silent[1:], late):
            client.sendall(HEAD + b"\r\nbody")
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")


def test_it_may_have_as_many_descriptors_as_the_system_lets_it() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[1]), before[1]))
    try:
        assert connections.raise_limit() == min(connections.MOST, before[1] * 3 // 4)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
