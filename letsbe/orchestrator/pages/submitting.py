"""Giving an agent a task."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import Any
from urllib.parse import quote

from litestar import Response, get, post
from litestar.params import RawBody
from litestar.response import Redirect
from msgspec import Struct

from letsbe.errors import LetsbeError
from letsbe.orchestrator import agents, signing, submission, tasks, views
from letsbe.orchestrator.pages import fields
from letsbe.orchestrator.pages.browsing import Query, TypeQuery
from letsbe.orchestrator.pages.gate import Desk, Form, PageRequest, page_form, value
from letsbe.orchestrator.pages.rendering import page
from letsbe.orchestrator.pages.task_types import TaskType, task_types
from letsbe.orchestrator.routes import PathId
from letsbe.orchestrator.submission import Order
from letsbe.orchestrator.times import parse_moment, parse_span
from letsbe.orchestrator.views import AgentView
from letsbe.protocol import ID_PATTERN, new_id

REQUESTED_BY = "admin (page)"

#: Agents that are offered to choose from; any other can be named.
MOST_OFFERED = 200


class Target(Struct, frozen=True):
    """What a form is for. ``known`` is None when the agent's payload is not the one that is known here: then the
    form takes JSON."""

    agent: AgentView
    type: str
    known: TaskType | None
    fields: list[fields.Field]


@get("/submit", sync_to_thread=True)
def choose_page(request: PageRequest, agent: Query = "", of_type: TypeQuery = "") -> Response[Any]:
    """Choose an agent, by its host name or id, and a task type."""
    desk: Desk = request.app.state.desk
    error = None
    with desk.store.read() as connection:
        if agent and of_type:
            try:
                agent_id = agents.resolve(connection, agent)
                return Redirect(f"/submit/{agent_id}/{quote(of_type, safe='')}", status_code=303)
            except LetsbeError as refused:
                error = refused
        found = views.list_agents(connection, most=MOST_OFFERED)
    types = {name: kind.summary for name, kind in task_types().items()}
    for one in found:
        types |= {name: "" for name in one.executors if name not in types}
    hosts = Counter(one.hostname for one in found if one.hostname)
    return page(
        request,
        "choose.html",
        offered=[one.hostname if hosts[one.hostname] == 1 else one.agent_id for one in found],
        types=types,
        agent=agent,
        type=of_type,
        error=error,
        barred=_barred(desk),
        status_code=200 if error is None else 404,
    )


@get("/submit/{agent_id:str}/{task_type:str}", sync_to_thread=True)
def form_page(request: PageRequest, agent_id: PathId, task_type: str, json: bool = False) -> Response[str]:
    """The form of a task type."""
    return _form_page(request, _target(request, agent_id, task_type, json), None, {}, new_id())


@post("/submit/{agent_id:str}/{task_type:str}", sync_to_thread=True, status_code=303)
def submit(request: PageRequest, agent_id: PathId, task_type: str, body: RawBody, json: bool = False) -> Response[Any]:
    """Sign and queue the task; the same form sent twice makes one."""
    form = page_form(request, body)
    desk: Desk = request.app.state.desk
    target = _target(request, agent_id, task_type, json)
    task_id = value(form, "task_id")
    if not re.fullmatch(ID_PATTERN, task_id) or len(task_id) > 36:
        raise LetsbeError("invalid_request", "the form carries no task id")
    if _exists(desk, task_id):
        return Redirect(f"/tasks/{task_id}?sent=before", status_code=303)
    order, wrong = _order(target, form, task_id)
    if order is not None:
        try:
            submission.submit(desk.home, desk.store, order)
            return Redirect(f"/tasks/{task_id}?sent=now&refresh=true", status_code=303)
        except LetsbeError as error:
            if _exists(desk, task_id):  # the form was sent twice at once, and the other one was faster
                return Redirect(f"/tasks/{task_id}?sent=before", status_code=303)
            wrong = {"": error.message}
    return _form_page(request, target, form, wrong, task_id)


def _target(request: PageRequest, agent_id: str, task_type: str, as_json: bool) -> Target:
    desk: Desk = request.app.state.desk
    with desk.store.read() as connection:
        agent = views.show_agent(connection, agent_id)
    known = task_types().get(task_type)
    if known is None and task_type not in agent.executors:
        raise LetsbeError("type_unknown", f"neither this orchestrator nor {agent.hostname} knows {task_type}")
    same = known is not None and agent.executors.get(task_type, known.schema_version) == known.schema_version
    fitting = known if same and not as_json else None
    return Target(agent, task_type, fitting, fields.fields(fitting.schema) if fitting else [])


def _form_page(
    request: PageRequest, target: Target, form: Form | None, wrong: dict[str, str], task_id: str
) -> Response[str]:
    kept = {name: value(form, name) if form else default for name, default in _DEFAULTS.items()}
    return page(
        request,
        "submit.html",
        status_code=400 if wrong else 200,
        target=target,
        has_fields=target.type in task_types(),
        summary=task_types()[target.type].summary if target.type in task_types() else "",
        form={field.name: fields.shown(field, form) for field in target.fields},
        kept={**kept, "check": form is not None and "check" in form},
        wrong=wrong,
        task_id=task_id,
        barred=_barred(request.app.state.desk),
    )


#: The fields that every form has, and what they hold at first.
_DEFAULTS = {"json": "{}", "timeout": "10m", "expires": "24h", "not_before": ""}


def _order(target: Target, form: Form, task_id: str) -> tuple[Order | None, dict[str, str]]:
    """The order, or by field what is wrong; a field of every form is named with a leading dash."""
    payload, wrong = _payload(target, form)
    now = time.time()
    moments: dict[str, Any] = {"-not_before": None}
    readings = [("-expires", parse_moment, (now,)), ("-timeout", parse_span, ())]
    if value(form, "not_before"):
        readings.append(("-not_before", parse_moment, (now,)))
    for name, reader, more in readings:
        try:
            moments[name] = reader(value(form, name[1:]).strip(), *more)  # type: ignore[operator]
        except LetsbeError as error:
            wrong[name] = f"{error.message}. {error.hint}"
    if moments.get("-timeout", 0) > 86_400:
        wrong["-timeout"] = "At most 1d."
    if wrong:
        return None, wrong
    return Order(
        type=target.type,
        payload=payload,
        agent=target.agent.agent_id,
        expires_at=moments["-expires"],
        not_before=moments["-not_before"],
        timeout_s=moments["-timeout"],
        check="check" in form,
        requested_by=REQUESTED_BY,
        task_id=task_id,
    ), {}


def _payload(target: Target, form: Form) -> tuple[dict[str, Any], dict[str, str]]:
    if target.known is not None:
        payload, wrong = fields.read(target.fields, form)
        return payload, fields.check(payload, target.known.schema, wrong)
    try:
        found = fields.decoded(value(form, "json"))
    except ValueError as error:
        return {}, {"-json": f"This {error}"}
    return (found, {}) if isinstance(found, dict) else ({}, {"-json": 'This is no JSON object, like {"key": 1}.'})


def _exists(desk: Desk, task_id: str) -> bool:
    with desk.store.read() as connection:
        return tasks.is_known(connection, task_id)


def _barred(desk: Desk) -> str:
    """Why nothing can be signed here; empty when it can."""
    try:
        signing.load_key(desk.home.signing_key)
    except LetsbeError as error:
        return error.message
    return ""
