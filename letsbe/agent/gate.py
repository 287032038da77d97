"""The SSH gate: a client's command line becomes one run of the origin ``ssh``, and nothing else."""

from __future__ import annotations

import os

from letsbe.agent.caller import Caller
from letsbe.agent.config import Config
from letsbe.agent.outcomes import Request, Stopwatch
from letsbe.errors import LetsbeError
from letsbe.executors import EXECUTOR_REGISTRY
from letsbe.protocol import Outcome
from letsbe.tools import gate_line
from letsbe.tools.redaction import Redactor

#: How a client's command line gets here: sshd puts it there when the key has a forced command.
COMMAND_VARIABLE = "SSH_ORIGINAL_COMMAND"
#: What was found out as root, for the same program started anew as the agent's own user.
_KEY_VARIABLE = "LETSBE_SSH_KEY"


def client() -> Caller:
    """Who asks. Call it before this process becomes another user, who may not read what sshd wrote for this one."""
    proof_file = os.environ.get("SSH_USER_AUTH")
    key = name = None
    if proof_file is not None:
        key, name = _proof(proof_file)
    return Caller(
        uid=os.getuid(),
        ssh_connection=os.environ.get("SSH_CONNECTION"),
        ssh_user=os.environ.get("USER"),
        ssh_key=key,
        requested_by=name,
    )


def ask(raw: bytes, config: Config, caller: Caller) -> Outcome:
    """Do what a command line asks for; every refusal is an outcome, and a line in the log says who was refused."""
    clock = Stopwatch()
    request = Request(type="UNKNOWN", payload=None)
    try:
        _read(raw, request)
    except LetsbeError as error:
        outcome = clock.outcome(request, Redactor(), error=error)
    else:
        from letsbe.agent.runner import Runner

        outcome = Runner(config, origin="ssh", caller=caller).run(request)
    if outcome.status == "refused" or request.payload is None:
        _log_refusal(outcome, caller)
    return outcome


def _read(raw: bytes, request: Request) -> None:
    """Fill the request from the command line, and standard input where that says so."""
    words = gate_line.split(raw)
    task_type = words[0].upper().replace("-", "_")
    if task_type not in EXECUTOR_REGISTRY or words[0] != task_type.lower().replace("_", "-"):
        names = ", ".join(name.lower().replace("_", "-") for name in EXECUTOR_REGISTRY)
        shown = repr(words[0]) if len(words[0]) <= 60 else "this command"
        raise LetsbeError("gate_refused", f"{shown} is not for SSH clients", hint=f"Task types only: {names}.")
    request.type = task_type
    line = gate_line.parse(words)
    request.check, request.diff = line.check, line.diff
    request.timeout_s, request.lock_wait_s = line.timeout_s, line.lock_wait_s
    request.payload = {} if line.payload is None else _payload(line.payload)


def _payload(text: str) -> object:
    import sys

    from letsbe.agent.payloads import MAX_BYTES, parse_json

    if text == "-":
        return parse_json(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input")
    try:
        return parse_json(text.encode())
    except LetsbeError as error:
        raise LetsbeError(error.code, error.message, hint=gate_line.QUOTES) from error


def _proof(path: str) -> tuple[str | None, str | None]:
    """Fingerprint of the client's key, and the name that its certificate gives it."""
    from letsbe.tools.ssh_auth import proof

    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            found = proof(file.read(65_536))
    except PermissionError:  # this is the program started anew; sshd lets no client set such a variable by itself
        key, _, name = os.environ.get(_KEY_VARIABLE, "").partition(" ")
        return key or None, name or None
    except OSError:
        return None, None
    if found is None:
        return None, None
    os.environ[_KEY_VARIABLE] = f"{found.fingerprint} {found.certificate_of or ''}"
    return found.fingerprint, found.certificate_of


def _log_refusal(outcome: Outcome, caller: Caller) -> None:
    from letsbe.agent.log import logger

    logger().info(
        "ssh client refused",
        type=outcome.type,
        code=outcome.error.code if outcome.error else None,
        reason=outcome.error.message if outcome.error else None,
        ssh_connection=caller.ssh_connection,
        ssh_user=caller.ssh_user,
        ssh_key=caller.ssh_key,
    )
