"""systemd's services: what to ask ``systemctl``, and what its JSON says (systemd 246 and later)."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from letsbe.decoding import decode


class Unit(Struct, frozen=True):
    """A service that runs or has failed."""

    unit: str
    active: str
    sub: str
    description: str = ""


def list_services_argv(systemctl: str) -> list[str]:
    """The services that run or have failed."""
    words = ["list-units", "--type=service", "--state=running,failed", "--no-pager", "--output=json"]
    return [systemctl, *words]


def parse_services(output: bytes) -> list[Unit] | None:
    """The output of :func:`list_services_argv`; None when it is not of that form."""
    try:
        return decode(output, list[Unit])
    except msgspec.MsgspecError:
        return None
