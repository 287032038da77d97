"""What was run on hosts by hand or over SSH, as agents tell it."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, delete, insert, select

from letsbe.decoding import convert
from letsbe.orchestrator.tables import agents, host_runs
from letsbe.protocol import HostRun

#: Runs that are kept of an agent, the newest: as many as there are in its journal.
MOST = 10_000
#: Paths of one run, in bytes of JSON: more than the longest one. What goes beyond is counted only.
PATHS_BYTES = 8_192


def keep(connection: Connection, agent_id: str, told: Sequence[HostRun], now: float) -> None:
    """Keep what an agent told, once, however often it tells it, and of all its runs the newest :data:`MOST`."""
    if not told:
        return
    mine = host_runs.c.agent_id == agent_id
    names = [run.run_id for run in told]
    known = set(connection.scalars(select(host_runs.c.run_id).where(mine, host_runs.c.run_id.in_(names))))
    for run in told:
        if run.run_id not in known:
            known.add(run.run_id)
            connection.execute(
                insert(host_runs).values(
                    agent_id=agent_id,
                    run_id=run.run_id,
                    told_at=now,
                    told=msgspec.to_builtins(_brief(run)),
                )
            )
    newest = select(host_runs.c.run_id).where(mine).order_by(host_runs.c.told_at.desc(), host_runs.c.run_id.desc())
    connection.execute(delete(host_runs).where(mine, host_runs.c.run_id.in_(newest.offset(MOST))))


def latest(connection: Connection, agent_id: str | None, most: int) -> list[tuple[str, HostRun]]:
    """The newest runs with the host name of each, newest first."""
    query = select(agents.c.hostname, host_runs.c.told).join(agents, agents.c.agent_id == host_runs.c.agent_id)
    if agent_id is not None:
        query = query.where(host_runs.c.agent_id == agent_id)
    rows = connection.execute(query.order_by(host_runs.c.told_at.desc(), host_runs.c.run_id.desc()).limit(most))
    return [(row.hostname, convert(row.told, HostRun)) for row in rows]


def _brief(run: HostRun) -> HostRun:
    left, kept = PATHS_BYTES, 0
    for path in run.paths:
        left -= len(json.dumps(path))
        if left < 0:
            break
        kept += 1
    more = run.more_paths + len(run.paths) - kept
    return msgspec.structs.replace(run, paths=run.paths[:kept], more_paths=min(more, 1_000_000_000))
