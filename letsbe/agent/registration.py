"""Registration: an enrolment token becomes this agent's own token and the keys whose tasks it believes."""

from __future__ import annotations

import os
from contextlib import suppress

from letsbe import __version__
from letsbe.agent import identity
from letsbe.agent.client import Client, RefusedByOrchestrator
from letsbe.agent.config import Config
from letsbe.agent.durable import remove
from letsbe.agent.identity import Identity
from letsbe.agent.permissions import refuse_readable_by_others
from letsbe.errors import LetsbeError
from letsbe.executors import EXECUTOR_REGISTRY, executor_class
from letsbe.protocol import RegisterRequest


def register(config: Config, me: Identity | None) -> Identity:
    """Make this machine known to its orchestrator.

    The identity is on disk before it is sent, so that a lost answer or a crash repeats the same registration. Raises
    ``not_enrolled`` without a token, ``enrolment_refused`` when the orchestrator does not take it.
    """
    url = config.orchestrator.url or ""
    token = _token(config)
    if me is None:
        me = identity.make(url)
        identity.save(config.state_dir, me)
    request = RegisterRequest(
        enrolment_token=token,
        agent_id=me.agent_id,
        public_key=identity.public_key(me),
        hostname=os.uname().nodename,
        fingerprint=identity.fingerprint(),
        version=__version__,
        executors={name: executor_class(name).schema_version for name in EXECUTOR_REGISTRY},
    )
    try:
        answer = Client(config.orchestrator, url).register(request)
    except RefusedByOrchestrator as error:
        raise _refused(config, error) from error
    me = Identity(
        agent_id=me.agent_id,
        private_key=me.private_key,
        url=url,
        agent_token=answer.agent_token,
        trusted_keys=answer.trusted_keys,
        key_set_version=answer.key_set_version,
    )
    identity.save(config.state_dir, me)
    with suppress(LetsbeError):
        remove(config.orchestrator.enrolment_token_file)  # single-use: of no value any more
    return me


def _token(config: Config) -> str:
    path = config.orchestrator.enrolment_token_file
    try:
        with open(path, "rb") as file:
            refuse_readable_by_others(path, os.fstat(file.fileno()))
            token = file.read(4096).decode("ascii", "replace").strip()
    except FileNotFoundError:
        raise LetsbeError(
            "not_enrolled",
            f"this machine is not enrolled, and {path} is not there",
            hint=f"On the orchestrator: letsbe-orchestrator enrol. Put the token into {path}, mode 0600.",
        ) from None
    except OSError as error:
        raise LetsbeError("not_enrolled", f"{path}: {error.strerror}", hint="Run as the user it belongs to.") from error
    if not token:
        raise LetsbeError(
            "not_enrolled", f"{path} is empty", hint="Put the token of `letsbe-orchestrator enrol` there."
        )
    return token


def _refused(config: Config, error: RefusedByOrchestrator) -> LetsbeError:
    if error.http_status == 403:
        return LetsbeError(
            "enrolment_refused",
            f"the orchestrator does not take the enrolment token: {error.problem.detail}",
            hint=f"Make a new one with `letsbe-orchestrator enrol` and put it into"
            f" {config.orchestrator.enrolment_token_file}.",
        )
    if error.http_status == 409:
        return LetsbeError(
            "enrolment_refused",
            "the orchestrator knows this agent's id from another machine",
            hint=f"A copied disk? Remove {identity.path(config.state_dir)} and enrol this machine with a new token.",
        )
    return error
