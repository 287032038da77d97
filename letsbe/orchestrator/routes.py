"""The four routes of the API. What they decide is in ``agents`` and ``tasks``.

Each is one transaction, but that a poll notes its heartbeat first, on its own: mostly there is nothing else to do.
"""

from __future__ import annotations

import re
import time
from typing import Annotated, Any, TypeVar

import msgspec
from anyio.to_thread import run_sync
from litestar import Request, Router, post, put
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.params import Parameter, RawBody
from msgspec import Struct

from letsbe.decoding import decode
from letsbe.errors import LetsbeError
from letsbe.orchestrator import agents, host_runs, key_sets, tables, tasks
from letsbe.orchestrator.auth import authenticate
from letsbe.orchestrator.home import Settings
from letsbe.orchestrator.problems import documented, log, result_too_large
from letsbe.orchestrator.store import Store
from letsbe.protocol import (
    ID_PATTERN,
    ClaimResponse,
    Outcome,
    PollLimits,
    PollRequest,
    PollResponse,
    RegisterRequest,
    RegisterResponse,
    instant,
)

#: A request behind a bearer token: its ``user`` is the agent's id.
AgentRequest = Request[str, None, Any]

T = TypeVar("T", bound=Struct)

#: An id in a path: :data:`letsbe.protocol.Identifier` as Litestar documents and checks it.
PathId = Annotated[str, Parameter(pattern=ID_PATTERN, max_length=36)]

#: Largest registration, in bytes: of a stranger no more is held in memory. A valid one is below 170,000, even with all
#: of its text escaped.
REGISTRATION_BYTES = 256 * 1024

BEARER: list[dict[str, list[str]]] = [{"bearer": []}]


class AgentAuthentication(AbstractAuthenticationMiddleware):
    """Finds out which agent asks, before the body is read."""

    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        """The agent of the bearer token.

        Raises ``invalid_request``, and what :func:`letsbe.orchestrator.auth.authenticate` raises.
        """
        authorization = connection.headers.get("authorization", "")
        path_agent = connection.path_params.get("agent_id")
        if path_agent is not None and not re.fullmatch(ID_PATTERN, path_agent):  # the route looks later
            raise LetsbeError("invalid_request", "what stands for an agent's id in the path is none")
        service: Service = connection.app.state.service
        agent = await run_sync(authenticate, service.store, authorization, path_agent, time.time())
        return AuthenticationResult(user=agent, auth=None)


class Service(Struct, frozen=True):
    """What the routes work with, as ``app.state.service``. ``public_key``: base64 of the key before any key set."""

    settings: Settings
    store: Store
    public_key: str


@post(
    "/api/v1/agents/register",
    operation_id="register",
    response_description="The agent is admitted.",
    summary="Exchange an enrolment token for an agent token",
    responses=documented(400, 403, 409, 413),
    request_max_body_size=REGISTRATION_BYTES,
    sync_to_thread=True,
)
def register(body: RawBody, service: NamedDependency[Service]) -> RegisterResponse:
    """Admit an agent. See ``RegisterResponse`` for what a repetition gets."""
    data = decoded(body, RegisterRequest)
    now = time.time()
    with service.store.write() as connection:
        token = agents.register(connection, data, now)
        trusted = key_sets.current(connection, service.public_key)
    log.info("agent %s registered from %r", data.agent_id, data.hostname)
    return RegisterResponse(
        agent_token=token,
        trusted_keys=trusted.keys,
        key_set_version=trusted.version,
        server_time=instant(now),
    )


@post(
    "/api/v1/agents/{agent_id:str}/poll",
    operation_id="poll",
    response_description="The heartbeat is noted.",
    summary="Heartbeat, lease renewal and question in one",
    status_code=200,
    security=BEARER,
    responses=documented(400, 401, 403, 413),
    sync_to_thread=True,
)
def poll(agent_id: PathId, body: RawBody, service: NamedDependency[Service]) -> PollResponse:
    """Note the heartbeat, renew the leases of ``running``, and answer with cancels and with tasks to claim."""
    data = decoded(body, PollRequest)
    now = time.time()
    settings = service.settings
    answer = PollResponse(
        server_time=instant(now),
        next_poll_s=settings.next_poll_s,
        limits=PollLimits(result_bytes=settings.result_bytes),
    )
    with service.store.write_once() as connection:
        is_awaited = agents.heartbeat(connection, agent_id, data, now)
    if not is_awaited and not data.host_runs:
        return answer
    with service.store.write() as connection:
        host_runs.keep(connection, agent_id, data.host_runs, now)
        tasks.renew(connection, agent_id, data.running, now, settings.lease_s)
        tasks.sweep(connection, now, tables.tasks.c.agent_id == agent_id)
        cancel = tasks.cancellations(connection, agent_id)
        newer = [] if data.key_set_version is None else key_sets.above(connection, data.key_set_version)
        offers = tasks.offer(connection, agent_id, now, data.max_tasks, data.hold)
    return msgspec.structs.replace(answer, cancel=cancel, key_sets=newer, tasks=offers)


@post(
    "/api/v1/tasks/{task_id:str}/attempts/{attempt_id:str}/claim",
    operation_id="claim",
    response_description="The attempt holds the task for `lease_s` seconds from now.",
    summary="Take an offered task",
    status_code=200,
    security=BEARER,
    responses=documented(400, 401, 404, 409, 410),
    sync_to_thread=True,
)
def claim(
    task_id: PathId, attempt_id: PathId, request: AgentRequest, service: NamedDependency[Service]
) -> ClaimResponse:
    """Give the attempt a lease. The same attempt again gets the same answer."""
    lease_s = service.settings.lease_s
    with service.store.write() as connection:
        tasks.claim(connection, request.user, task_id, attempt_id, time.time(), lease_s)
    return ClaimResponse(lease_s=lease_s)


@put(
    "/api/v1/tasks/{task_id:str}/attempts/{attempt_id:str}/result",
    operation_id="result",
    response_description="The outcome is kept; the agent may forget it.",
    summary="Report the outcome",
    security=BEARER,
    responses=documented(400, 401, 404, 409, 413),
    sync_to_thread=True,
)
def result(
    task_id: PathId,
    attempt_id: PathId,
    body: RawBody,
    request: AgentRequest,
    service: NamedDependency[Service],
) -> None:
    """Keep the outcome, byte for byte. The same bytes again are welcome, other bytes are a conflict."""
    limit = service.settings.result_bytes
    if len(body) > limit:
        raise result_too_large(limit)
    data = decoded(body, Outcome)
    with service.store.write() as connection:
        kept = tasks.finish(connection, request.user, task_id, attempt_id, body, data, time.time())
    if kept:
        log.info("task %s %s by agent %s", task_id, data.status, request.user)


def decoded(body: bytes, type_: type[T]) -> T:
    """The struct in a body. Raises ``invalid_request``, with the place of the fault.

    By our own hand: Litestar's ``data`` takes the string "5" for a number, and an outcome is kept as its bytes, so what
    passes here must be what a strict reader takes later.
    """
    try:
        return decode(body, type_)
    except msgspec.DecodeError as error:
        raise LetsbeError("invalid_request", str(error)) from error


#: The routes that need a bearer token.
agent_router = Router(path="/", route_handlers=[poll, claim, result], middleware=[AgentAuthentication])
