"""Waiting until the containers of services are up for good."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from msgspec import Struct

from letsbe.host import Host
from letsbe.host.clock import Deadline, now
from letsbe.tools.readiness import Readiness, Watch
from letsbe.tools.reload_state import Place

#: Between two looks, in seconds.
LOOK_AGAIN_S = 0.5

Look = Callable[[], Mapping[Place, Mapping[str, Any]]]


class Waited(Struct, kw_only=True):
    """How the waiting ended: nobody is in ``not_ready`` when all are up."""

    not_ready: dict[Place, str]
    waited_s: float


def wait_until_ready(
    host: Host,
    look: Look,
    wanted: Collection[Place],
    *,
    stable_s: float,
    timeout_s: float,
) -> Waited:
    """Look until the containers at ``wanted`` places are all up for good, one of them never will be, or time is over.

    ``look`` gives the stack's containers as they are now. The last look counts: who was ready and has ended since is
    not ready.
    """
    began = time.monotonic()
    deadline = Deadline(host.deadline.within(timeout_s))
    watches: dict[str, Watch] = {}
    while True:
        found = _looked_at(look(), wanted, watches, stable_s)
        not_ready = {place: one.reason for place, one in found.items() if one.state != "ready"}
        failed = any(one.state == "failed" for one in found.values())
        if not not_ready or failed or deadline.remaining() == 0.0:
            return Waited(not_ready=not_ready, waited_s=time.monotonic() - began)
        _tell(host, len(found), not_ready)
        time.sleep(min(LOOK_AGAIN_S, deadline.remaining()))


def _looked_at(
    containers: Mapping[Place, Mapping[str, Any]],
    wanted: Collection[Place],
    watches: dict[str, Watch],
    stable_s: float,
) -> dict[Place, Readiness]:
    looked: dict[Place, Readiness] = {}
    for place in sorted(wanted):
        one = containers.get(place)
        if one is None:
            looked[place] = Readiness("waiting", "no container")
        else:
            watch = watches.setdefault(one["Id"], Watch(stable_s))
            looked[place] = watch.look(one, time.monotonic(), now())
    return looked


def _tell(host: Host, total: int, not_ready: Mapping[Place, str]) -> None:
    ready = total - len(not_ready)
    (service, _), reason = next(iter(not_ready.items()))
    host.progress("wait", 100 * ready // total, f"{ready} of {total} ready, {service}: {reason}")
