"""One question to a port, and what came back. Nothing is verified, followed or kept but what is told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from letsbe import __version__
from letsbe.host.clock import Deadline

if TYPE_CHECKING:
    from socket import socket as Socket  # noqa: N812 - the class, not the module

Expect = Literal["tcp", "http", "https", "tls", "banner"]

#: How long a connection must stay open to count, in seconds: docker's proxy accepts, and closes when nothing is behind.
STAYS_OPEN_S = 0.3
#: Of what a peer says so much is read, in bytes.
MAX_READ = 16_384
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")


class Question(Struct, frozen=True, kw_only=True):
    """What to ask, where. ``host`` is what the peer is called; ``path`` is for HTTP."""

    host: str
    port: int
    proto: Literal["tcp", "udp"] = "tcp"
    expect: Expect = "tcp"
    path: str = "/"
    timeout_s: float = 5.0


class Answer(Struct, kw_only=True):
    """What came back; ``problem`` is empty when a peer answered as such a peer does."""

    observed: str = ""
    problem: str = ""
    #: Of HTTP.
    http_status: int | None = None
    #: The peer's certificate, DER.
    certificate: bytes | None = None


def ask(question: Question, addresses: Sequence[str]) -> Answer:
    """Ask at the first of some addresses that takes a connection, within the question's time. Never raises."""
    if not addresses:
        return Answer(observed="no address", problem=f"the name {question.host} has no address")
    deadline = Deadline(question.timeout_s)
    answer = Answer()
    for address in addresses:
        answer = _at(question, address, deadline)
        if not answer.problem:
            break
    return answer


def _at(question: Question, address: str, deadline: Deadline) -> Answer:
    import socket

    try:
        if question.proto == "udp":
            return _datagram(question, address)
        with socket.create_connection((address, question.port), _left(deadline)) as peer:
            return _conversation(peer, question, deadline)
    except TimeoutError:
        return Answer(observed="no answer", problem=f"no answer within {question.timeout_s:g} s")
    except ConnectionRefusedError:
        return Answer(observed="refused", problem="the connection was refused: nothing listens there")
    except ConnectionResetError:
        return Answer(observed="closed", problem=_CLOSED)
    except OSError as error:
        reason = getattr(error, "reason", None)  # of TLS
        words = f"no TLS: {reason.lower().replace('_', ' ')}" if isinstance(reason, str) else error.strerror
        return Answer(observed="failed", problem=words or type(error).__name__)


_CLOSED = "the connection was taken and closed at once: nothing seems to be behind it"


def _left(deadline: Deadline) -> float:
    return max(0.001, deadline.remaining())


def _conversation(peer: Socket, question: Question, deadline: Deadline) -> Answer:
    if question.expect == "tcp":
        return _stays_open(peer)
    if question.expect == "banner":
        said = _read(peer, deadline, until=b"\n")
        if not said:
            return Answer(observed="closed", problem=_CLOSED)
        return Answer(observed=said.decode("utf-8", "replace").strip()[:200])
    if question.expect == "http":
        return _http(peer, question, deadline)
    return _tls(peer, question, deadline)


def _stays_open(peer: Socket) -> Answer:
    peer.settimeout(STAYS_OPEN_S)
    try:
        closed = not peer.recv(1)
    except TimeoutError:
        closed = False
    return Answer(observed="closed", problem=_CLOSED) if closed else Answer(observed="connected")


def _http(peer: Socket, question: Question, deadline: Deadline) -> Answer:
    host = f"[{question.host}]" if ":" in question.host else question.host
    head = (
        f"GET {question.path} HTTP/1.1\r\nHost: {host}:{question.port}\r\nUser-Agent: letsbe/{__version__}\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    )
    peer.settimeout(_left(deadline))
    peer.sendall(head.encode())
    said = _read(peer, deadline, until=b"\n")
    found = _STATUS_LINE.match(said)
    if found is None:
        problem = "what answers does not speak HTTP" if said else _CLOSED
        return Answer(observed="no HTTP" if said else "closed", problem=problem)
    return Answer(observed=f"status {int(found[1])}", http_status=int(found[1]))


def _tls(peer: Socket, question: Question, deadline: Deadline) -> Answer:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # only looked at: whether it may be trusted is another question
    context.verify_mode = ssl.CERT_NONE
    peer.settimeout(_left(deadline))
    name = question.host if re.search(r"[A-Za-z]", question.host) and ":" not in question.host else None
    with context.wrap_socket(peer, server_hostname=name) as inner:
        answer = Answer(observed=inner.version() or "TLS")
        if question.expect == "https":
            answer = _http(inner, question, deadline)
        answer.certificate = inner.getpeercert(binary_form=True)
        return answer


def _read(peer: Socket, deadline: Deadline, *, until: bytes) -> bytes:
    """What comes up to some byte, the peer's end, or as much as is read at most; on time-out what came before."""
    said = b""
    while until not in said and len(said) < MAX_READ:
        peer.settimeout(_left(deadline))
        try:
            piece = peer.recv(4_096)
        except TimeoutError:
            if said:
                break
            raise
        if not piece:
            break
        said += piece
    return said


def _datagram(question: Question, address: str) -> Answer:
    """An empty datagram: a port where nobody is answers with an ICMP error, others may be silent."""
    import socket

    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(min(STAYS_OPEN_S, question.timeout_s))
        peer.connect((address, question.port))
        peer.send(b"")
        try:
            peer.recv(1)
        except TimeoutError:
            return Answer(observed="not refused")
        return Answer(observed="answered")
