"""Connections of clients: how long one may keep us waiting, and how many there may be.

Uvicorn looks after a connection only between an answer and the first byte of the next request. Whoever connects, says
nothing, and costs a descriptor needs no token for it, so a client has so long for each thing that is his to do.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Collection

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

#: For the TLS handshake, in seconds.
HANDSHAKE_S = 10
#: For the whole head of a request, from the connection or the answer before, in seconds.
HEAD_S = 20
#: For the whole request, and for taking its answer, in seconds: 1 MiB at 70 kbit/s.
EXCHANGE_S = 120

#: Connections that stay. Of more than these, or than three quarters of the descriptors, the ones go that wait longest.
MOST = 4_000


class ClientConnection(H11Protocol):
    """Uvicorn's HTTP/1.1, which knows since when it waits for its client."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The handshake is done."""
        super().connection_made(transport)
        self.since = self.loop.time()

    def on_response_complete(self) -> None:
        """The next request, or the taking of this answer, may take as long again."""
        self.since = self.loop.time()
        super().on_response_complete()

    def may_wait_s(self) -> float | None:
        """How long the client may take, from :attr:`since`, for what is his to do; None when it is ours to answer."""
        if self.flow.write_paused or self.conn.their_state is h11.SEND_BODY:
            return EXCHANGE_S
        return HEAD_S if self.conn.their_state is h11.IDLE else None


def drop_overdue(connections: Collection[ClientConnection], now: float, most: int) -> None:
    """Cut off who took too long, and of more than ``most`` connections those that wait longest."""
    waiting = [(connection, limit) for connection in connections if (limit := connection.may_wait_s()) is not None]
    waiting.sort(key=lambda each: each[0].since)
    surplus = len(connections) - most
    for place, (connection, limit) in enumerate(waiting):
        if place < surplus or now - connection.since > limit:
            connection.transport.abort()  # no close, which would wait for the client once more


def raise_limit() -> int:
    """Allow this process as many descriptors as it may have; the connections that there may be then."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return MOST if hard == resource.RLIM_INFINITY else min(MOST, hard * 3 // 4)
