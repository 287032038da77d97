"""What HEALTHCHECK takes."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from msgspec import Meta, Struct

from letsbe.executors import base
from letsbe.executors.stack_fields import Name, ServiceNames, StackName
from letsbe.host.probes import Expect

Pattern = Annotated[str, Meta(min_length=1, max_length=500)]


class Thresholds(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From where on something is told."""

    restarts: Annotated[int, Meta(description="So many restarts by the engine are too many.", ge=1, le=10_000)] = 3
    uptime_s: Annotated[
        int, Meta(description="A container that was restarted and runs for less is not settled.", ge=0, le=86_400)
    ] = 60
    disk_pct: Annotated[
        int, Meta(description="So full a disk is a warning; half-way from there to 100 a failure.", ge=1, le=100)
    ] = 90
    cert_days: Annotated[
        int, Meta(description="A certificate that ends sooner is a warning; one that ended, a failure.", ge=0, le=3_650)
    ] = 14


class PortProbe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A port to probe."""

    port: Annotated[int, Meta(description="The port.", ge=1, le=65_535)]
    host: Annotated[
        str, Meta(description="Name or address; others than this machine's are for `probes.allow` to name.",
                  pattern=r"^[A-Za-z0-9_.:%-]{1,253}$")
    ] = "127.0.0.1"  # fmt: skip
    proto: Annotated[
        Literal["tcp", "udp"],
        Meta(description="udp: only a refusal is noticed; a port that is silent counts as open."),
    ] = "tcp"
    expect: Annotated[
        Expect,
        Meta(
            description="tcp: takes a connection and keeps it; http, https: answers a GET; tls: shakes hands; banner:"
            " speaks first. Certificates are not verified, only their end is looked at."
        ),
    ] = "tcp"
    path: Annotated[str, Meta(description="Of HTTP: what to get.", pattern=r"^/[!-~]{0,2000}$")] = "/"
    status: Annotated[
        Annotated[int, Meta(ge=100, le=599)] | None,
        Meta(description="Of HTTP: the status to expect; null: any below 400. Redirects are not followed."),
    ] = None
    timeout_s: Annotated[float, Meta(description="Seconds for one try.", ge=0.1, le=60)] = 5.0


class Payload(base.Payload, frozen=True):
    """What HEALTHCHECK takes. With nothing at all it looks at the whole host."""

    stack: StackName = None
    services: ServiceNames = []
    containers: Annotated[list[Name], Meta(description="Names of containers instead of a stack.", max_length=100)] = []
    ports: Annotated[
        list[PortProbe],
        Meta(
            description="Ports to probe. Published ports of the containers are looked at anyway; with ports alone"
            " nothing else is, and no engine is needed.",
            max_length=100,
        ),
    ] = []
    log_window_s: Annotated[
        int, Meta(description="Logs are read so far back, in seconds; 0: not at all.", ge=0, le=604_800)
    ] = 900
    log_patterns: Annotated[
        list[Pattern],
        Meta(description="Lines that match count too, whatever their level; as LOG_TAIL's grep.", max_length=50),
    ] = []
    log_ignore: Annotated[list[Pattern], Meta(description="Lines that match never count.", max_length=50)] = []
    thresholds: Annotated[Thresholds, Meta(description="From where on something is told.")] = Thresholds()
    retries: Annotated[int, Meta(description="A probe that fails is repeated so often.", ge=0, le=20)] = 0
    wait_s: Annotated[
        int, Meta(description="Look again until all is well, for so many seconds at most.", ge=0, le=3_600)
    ] = 0


def require_consistent(payload: Payload) -> None:
    """Raise ``invalid_payload`` for fields that can't be meant together."""
    if payload.stack is not None and payload.containers:
        raise _invalid("containers", "name either a stack or containers")
    if payload.services and payload.stack is None:
        raise _invalid("services", "services are of a stack")
    for number, one in enumerate(payload.ports):
        if one.proto == "udp" and one.expect != "tcp":
            raise _invalid(f"ports[{number}].expect", f"{one.expect} is not spoken over UDP")


_invalid = partial(base.invalid_field, "HEALTHCHECK")
