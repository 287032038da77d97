"""``serve``: the API and the pages behind TLS, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from letsbe.errors import LetsbeError
from letsbe.orchestrator import certificates, connections, files, log_lines, retention
from letsbe.orchestrator.app import create_app
from letsbe.orchestrator.home import Home
from letsbe.orchestrator.problems import log
from letsbe.orchestrator.routes import Service
from letsbe.orchestrator.store import Store

#: How long requests that are under way may take to end after SIGTERM, in seconds.
GRACE_S = 10
#: How long a connection without a request may take to close, in seconds.
CLOSE_S = 0.3


def serve(home: Home, *, host: str, port: int, plain_http: bool, ready: Callable[[str], None]) -> None:
    """Serve until told to stop; ``ready`` is called once, with the URL, when connections are taken.

    ``port`` 0 takes a free one. ``plain_http`` is for loopback only. Raises ``plain_http_refused``,
    ``address_unusable``, and what opening the home's files and database raises.
    """
    if plain_http and not _is_loopback(host):
        raise LetsbeError(
            "plain_http_refused",
            f"plain http is served to loopback only, not on {host}",
            hint="Leave out --plain-http, or use --host 127.0.0.1.",
        )
    if not plain_http:
        _check_certificate(home)
    store = home.store()
    app = create_app(Service(home.settings, store, home.public_key()), home)
    config = uvicorn.Config(
        app,
        http=connections.ClientConnection,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the client is who connects: what else it says it is counts for nothing
        timeout_graceful_shutdown=GRACE_S,
        ssl_certfile=None if plain_http else home.server_certificate,
        ssl_keyfile=None if plain_http else home.server_key,
    )
    listener = _listen(host, port)
    scheme = "http" if plain_http else "https"
    log_lines.to_stderr()
    # Uvicorn raises the signal that ended it once more; being told to stop is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    most = connections.raise_limit()
    with _pruning(store, home.settings.retention_days):
        _Server(config, lambda: ready(_url(scheme, listener)), most).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Uvicorn's server, which tells when it takes connections, and lets no client keep it waiting."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None], most_connections: int) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._most_connections = most_connections

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])  # it would let a handshake take a minute
        for listener in sockets or []:
            self.servers.append(
                await asyncio.get_running_loop().create_server(
                    self._connection,
                    sock=listener,
                    backlog=self.config.backlog,
                    ssl=self.config.ssl,
                    ssl_handshake_timeout=connections.HANDSHAKE_S if self.config.ssl else None,
                )
            )
        self._on_ready()

    def _connection(self) -> connections.ClientConnection:
        return connections.ClientConnection(self.config, self.server_state, self.lifespan.state)

    async def on_tick(self, counter: int) -> bool:
        # Ten times a second: often enough that no burst of connections takes the last descriptor in between.
        found = [each for each in self.server_state.connections if isinstance(each, connections.ClientConnection)]
        connections.drop_overdue(found, asyncio.get_running_loop().time(), self._most_connections)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().call_later(CLOSE_S, self._abort_idle)
        await super().shutdown(sockets=sockets)

    def _abort_idle(self) -> None:
        # asyncio waits 30 s for the peer's close_notify, which a client that keeps its connection idle never sends.
        for connection in list(self.server_state.connections):
            cycle = getattr(connection, "cycle", None)
            if (cycle is None or cycle.response_complete) and connection.transport is not None:
                connection.transport.abort()
        if self.server_state.connections:
            asyncio.get_running_loop().call_later(CLOSE_S, self._abort_idle)


@contextmanager
def _pruning(store: Store, days: int) -> Iterator[None]:
    stop = threading.Event()
    # A daemon: it ends within a batch, and may be cut off in one when that has to wait for the database.
    thread = threading.Thread(target=retention.keep_pruned, args=(store, days, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(CLOSE_S)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise LetsbeError(
            "address_unusable",
            f"can't listen on {host}:{port}: {error.strerror or error}",
            hint="Choose another with --host and --port; `ss -ltnp` shows who holds one.",
        ) from error
    # Accepted sockets inherit it. asyncio sets it only on sockets made with an explicit protocol, which this one is
    # not; without it every answer waits 40 ms for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _url(scheme: str, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_certificate(home: Home) -> None:
    files.refuse_if_exposed(home.server_key)
    left = certificates.days_left(files.read(home.server_certificate))
    if left < 0:
        raise LetsbeError(
            "certificate_expired",
            f"{home.server_certificate} has expired",
            hint=f"letsbe-orchestrator init --home {home.path}",
        )
    if left < certificates.RENEW_DAYS:
        log.warning("%s expires in %d days; `letsbe-orchestrator init` renews it", home.server_certificate, left)
