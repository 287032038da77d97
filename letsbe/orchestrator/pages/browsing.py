"""Agents and tasks to look at, and the cancelling of a task."""

from __future__ import annotations

import time
from typing import Annotated

import msgspec
from litestar import Response, get, post
from litestar.params import QueryParameter, RawBody
from litestar.response import Redirect

from letsbe.decoding import decode
from letsbe.errors import LetsbeError
from letsbe.orchestrator import agents, sweeping, tasks, views
from letsbe.orchestrator.pages import outcome
from letsbe.orchestrator.pages.gate import Desk, PageRequest, page_form
from letsbe.orchestrator.pages.logging_in import SMALL_FORM_BYTES
from letsbe.orchestrator.pages.rendering import due_since, is_late, page
from letsbe.orchestrator.pages.task_types import task_types
from letsbe.orchestrator.routes import PathId
from letsbe.protocol import Outcome

#: Rows of a list.
PAGE_ROWS = 50

#: What the list of agents can be narrowed to, beside those that are late.
_TROUBLES: dict[str, views.Trouble] = {"failing": "failing", "hold": "held"}

# Without NUL, which PostgreSQL takes in no text.
_TEXT = r"^[^\x00]*$"
Query = Annotated[str, QueryParameter(max_length=255, pattern=_TEXT)]
TypeQuery = Annotated[str, QueryParameter(name="type", max_length=255, pattern=_TEXT)]


@get("/", sync_to_thread=True)
def agents_page(request: PageRequest, host: Query = "", show: Query = "", after: Query = "") -> Response[str]:
    """Agents by host name, and how they are."""
    desk: Desk = request.app.state.desk
    now = time.time()
    due = due_since(now, desk.home.settings.next_poll_s)
    with desk.store.read() as connection:
        total, late = views.count_agents(connection, due)
        found = views.list_agents(
            connection,
            named=host,
            not_seen_since=due if show == "late" else None,
            troubled=_TROUBLES.get(show),
            after=after or None,
            most=PAGE_ROWS + 1,
        )
        shown = found[:PAGE_ROWS]
        failures = views.recent_failures(connection, [agent.agent_id for agent in shown])
    return page(
        request,
        "agents.html",
        agents=shown,
        more=len(found) > PAGE_ROWS,
        total=total,
        late=late,
        is_late=lambda agent: is_late(agent.last_seen_at, due, now),
        failures=failures,
        wanted={"host": host, "show": show},
        after=after,
    )


@get("/agents/{agent_id:str}", sync_to_thread=True)
def agent_page(request: PageRequest, agent_id: PathId) -> Response[str]:
    """One agent: what it said of itself, what it can do, its newest tasks."""
    desk: Desk = request.app.state.desk
    sweeping.sweep(desk.store, agent_id=agent_id)
    with desk.store.read() as connection:
        agent = views.show_agent(connection, agent_id)
        found = views.list_tasks(connection, agent_id=agent_id, most=PAGE_ROWS)
    now = time.time()
    late = is_late(agent.last_seen_at, due_since(now, desk.home.settings.next_poll_s), now)
    return page(request, "agent.html", agent=agent, tasks=found, late=late, types=task_types())


@get("/tasks", sync_to_thread=True)
def tasks_page(
    request: PageRequest,
    agent: Query = "",
    in_state: Annotated[str, QueryParameter(name="state", max_length=255, pattern=_TEXT)] = "",
    of_type: TypeQuery = "",
    before: Query = "",
) -> Response[str]:
    """Tasks, the newest first."""
    desk: Desk = request.app.state.desk
    error, found = "", []
    sweeping.sweep(desk.store)
    with desk.store.read() as connection:
        try:
            found = views.list_tasks(
                connection,
                agent_id=agents.resolve(connection, agent) if agent else None,
                state=in_state or None,
                task_type=of_type or None,
                before=before or None,
                most=PAGE_ROWS + 1,
            )
        except LetsbeError as refused:
            error = refused.message
    return page(
        request,
        "tasks.html",
        tasks=found[:PAGE_ROWS],
        older=found[PAGE_ROWS - 1].task_id if len(found) > PAGE_ROWS else None,
        wanted={"agent": agent, "state": in_state, "type": of_type},
        before=before,
        states=list(tasks.State),
        types=sorted({*task_types(), *([of_type] if of_type else [])}),
        error=error,
    )


@get("/tasks/{task_id:str}", sync_to_thread=True)
def task_page(
    request: PageRequest, task_id: PathId, payload: bool = False, refresh: bool = False, sent: Query = ""
) -> Response[str]:
    """One task and its outcome. ``refresh``: ask again every few seconds until it has ended."""
    detail = _show(request, task_id, with_payload=payload)
    body = None if detail.outcome is None else bytes(detail.outcome)
    told = None if body is None else decode(body, Outcome)
    ended = detail.finished_at is not None
    return page(
        request,
        "task.html",
        task=detail,
        ended=ended,
        refresh=refresh and not ended,
        sent=sent,
        payload=None if detail.payload is None else msgspec.json.format(msgspec.json.encode(detail.payload)).decode(),
        outcome=told,
        data=None if told is None else outcome.draw(told.data),
        details=outcome.draw(told.error.details) if told is not None and told.error is not None else None,
        raw="" if body is None else outcome.raw_text(body),
        diff_lines=outcome.diff_lines,
    )


@get("/tasks/{task_id:str}/cancel", sync_to_thread=True)
def cancel_page(request: PageRequest, task_id: PathId) -> Response[str]:
    """Asks whether it is meant."""
    return page(request, "cancel.html", task=_show(request, task_id))


@post("/tasks/{task_id:str}/cancel", sync_to_thread=True, request_max_body_size=SMALL_FORM_BYTES, status_code=303)
def cancel(request: PageRequest, task_id: PathId, body: RawBody) -> Redirect:
    """Cancel a task, or ask its agent to."""
    page_form(request, body)
    desk: Desk = request.app.state.desk
    sweeping.sweep(desk.store, task_ids=[task_id])
    with desk.store.write() as connection:
        tasks.cancel(connection, task_id, time.time())
    return Redirect(f"/tasks/{task_id}", status_code=303)


def _show(request: PageRequest, task_id: str, *, with_payload: bool = False) -> views.TaskDetail:
    desk: Desk = request.app.state.desk
    sweeping.sweep(desk.store, task_ids=[task_id])
    with desk.store.read() as connection:
        return views.show_task(connection, task_id, with_payload=with_payload)
