"""Published ports, looked at from both ends, and the ports that a caller names."""

from __future__ import annotations

import time
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any, Literal

from msgspec import Struct

from letsbe.executors.health_containers import health_of
from letsbe.executors.health_report import Check, Status, check
from letsbe.executors.health_request import PortProbe, Thresholds
from letsbe.host import Host, probes
from letsbe.host.net_tables import NetSocket
from letsbe.host.probes import Answer, Question
from letsbe.tools.certificate_end import not_after
from letsbe.tools.compose_project import container_name

Json = dict[str, Any]

_BETWEEN_TRIES_S = 1.0
_DAY_S = 86_400
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - where a published port is reached


class Published(Struct, frozen=True, kw_only=True):
    """A published port of a running container."""

    container: Json
    proto: Literal["tcp", "udp"]
    inner: int
    address: str
    port: int

    @property
    def target(self) -> str:
        """Which port, for people."""
        where = f"[{self.address}]" if ":" in self.address else self.address
        return f"{container_name(self.container)} {where}:{self.port}->{self.inner}/{self.proto}"


def published_ports(found: Json) -> Iterator[Published]:
    """The ports that lead to a running container; ``[::]`` beside ``0.0.0.0`` is the same port once more."""
    if found["State"]["Status"] != "running":
        return
    for inner, bindings in sorted((found["NetworkSettings"].get("Ports") or {}).items()):
        number, _, proto = inner.partition("/")
        everywhere = {one["HostPort"] for one in bindings or [] if one.get("HostIp") in ("0.0.0.0", "")}  # noqa: S104
        for one in bindings or []:
            if proto in ("tcp", "udp") and not (one.get("HostIp") == "::" and one["HostPort"] in everywhere):
                address = _LOOPBACK.get(one.get("HostIp") or "", one.get("HostIp") or "")
                yield Published(
                    container=found, proto=proto, inner=int(number), address=address, port=int(one["HostPort"])
                )


def check_published(port: Published, inside: list[NetSocket] | None) -> Check:
    """Whether somebody listens for it inside, and whether it can be reached from outside.

    Outside alone is not enough: the engine's proxy takes connections with nothing behind it. ``inside`` is what waits
    in the container's network namespace; None: it can't be looked at, and what is exchanged has to do.
    """
    expected = f"listens on {port.inner}/{port.proto} inside, and is reached"
    began = time.monotonic()
    there = [one for one in inside or [] if one.proto == port.proto and one.port == port.inner]
    answer = Answer(observed="not asked")
    if port.proto == "tcp":
        question = Question(host=port.address, port=port.port, timeout_s=5.0)
        answer = probes.ask(question, [port.address])
    ms = int((time.monotonic() - began) * 1000)
    listens = [one for one in there if not ip_address(one.addr).is_loopback]
    status: Status
    if inside is None or (port.proto == "tcp" and not answer.problem):
        status = "fail" if answer.problem else "ok"
        observed, message = answer.observed, answer.problem
    elif listens:
        closes = answer.observed == "closed"  # it listens, and has nothing to say to who says nothing
        status = "fail" if answer.problem and not closes else "ok"
        observed, message = f"listens, {answer.observed}", f"listens inside, but from outside: {answer.problem}"
    else:
        status = "fail"
        observed = f"listens on {there[0].addr} only" if there else "nobody listens"
        message = (
            f"listens on {there[0].addr} inside the container, which nobody outside can reach"
            if there
            else f"nothing listens on {port.inner}/{port.proto} inside the container"
        )
    if status == "fail" and health_of(port.container) == "starting":
        status, message = "warn", f"{message}; it is starting"
    return check("port", port.target, status, observed, expected, message, ms)


def check_probe(
    host: Host, probe: PortProbe, addresses: list[str], thresholds: Thresholds, retries: int, now: float
) -> list[Check]:
    """Ask, once more for each retry as long as it is not well; with TLS the certificate is a check of its own."""
    question = Question(
        host=probe.host,
        port=probe.port,
        proto=probe.proto,
        expect=probe.expect,
        path=probe.path,
        timeout_s=min(probe.timeout_s, host.deadline.remaining()),
    )
    target = _target(probe)
    for left in range(retries, -1, -1):
        began = time.monotonic()
        answer = probes.ask(question, addresses)
        ms = int((time.monotonic() - began) * 1000)
        problem = answer.problem or _status_problem(probe, answer.http_status)
        if not problem or not left:
            break
        time.sleep(host.deadline.within(_BETWEEN_TRIES_S))
    found = [check("probe", target, "fail" if problem else "ok", answer.observed, _expected(probe), problem, ms)]
    if answer.certificate is not None:
        found.append(_certificate(target, answer.certificate, thresholds, now))
    return found


def _target(probe: PortProbe) -> str:
    host = f"[{probe.host}]" if ":" in probe.host else probe.host
    path = probe.path if probe.expect in ("http", "https") else ""
    scheme = probe.proto if probe.proto == "udp" else probe.expect
    return f"{scheme}://{host}:{probe.port}{path}"


def _expected(probe: PortProbe) -> str:
    if probe.expect in ("http", "https"):
        return f"status {probe.status}" if probe.status is not None else "a status below 400"
    if probe.proto == "udp":
        return "is not refused"
    return {"tcp": "a connection that stays", "tls": "a handshake"}.get(probe.expect, "a banner")


def _status_problem(probe: PortProbe, status: int | None) -> str:
    if status is None or status == probe.status or (probe.status is None and status < 400):
        return ""
    return f"answers with status {status}"


def _certificate(target: str, der: bytes, thresholds: Thresholds, now: float) -> Check:
    expected = f"{thresholds.cert_days} days or more"
    try:
        left = (not_after(der) - now) / _DAY_S
    except ValueError:
        return check("certificate", target, "fail", "unreadable", expected, "its certificate can't be read")
    if left < 0:
        message = f"its certificate ended {-left:.1f} days ago"
        return check("certificate", target, "fail", "ended", expected, message)
    message = f"its certificate ends in {left:.1f} days"
    return check(
        "certificate", target, "warn" if left < thresholds.cert_days else "ok", f"{int(left)} days", expected, message
    )
