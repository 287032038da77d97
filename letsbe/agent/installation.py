"""``letsbe install``: what a machine needs for its agent to run."""

from __future__ import annotations

import os
import sys
from typing import Annotated

from msgspec import Meta, Struct

from letsbe.agent import accounts, config_template, layout, scheduling
from letsbe.agent.config import Config, parse
from letsbe.agent.convergence import Action, Convergence, Owner, unusable
from letsbe.agent.schedule import Kind
from letsbe.decoding import decode
from letsbe.errors import LetsbeError
from letsbe.frozen import unpack_dir


class Wanted(Struct, frozen=True, kw_only=True):
    """What is to be installed. None: as it is installed already, else the default."""

    user: str | None = None
    schedule: Kind | None = None
    orchestrator_url: str | None = None
    ca_file: str | None = None
    enrolment_token: bytes | None = None


class Installed(Struct, kw_only=True):
    """What was done; in check mode, what would be."""

    changed: bool
    check: bool
    user: str | None = None
    schedule: Kind | None = None
    actions: Annotated[list[Action], Meta(description="In the order in which they were done.")]


def install(wanted: Wanted, machine: Convergence) -> Installed:
    """Bring ``machine`` to the wanted state.

    What can be foreseen is raised before the first change: ``needs_root``, ``config_exists``, ``invalid_config``,
    ``invalid_ca_file``, ``invalid_token``, ``busy``.
    """
    refuse_without_root(machine)
    config, text = _configuration(wanted, machine)
    ca_certificates = None if wanted.ca_file is None else _ca_certificates(wanted.ca_file)
    token = None if wanted.enrolment_token is None else _token(wanted.enrolment_token)
    user = wanted.user or _present_user(config, machine) or "root"
    kind = wanted.schedule or scheduling.present(machine) or scheduling.default(machine)
    command = _program(config, machine)
    account = accounts.ensure(machine, user)
    owner = None if account is None else (account.uid, account.gid)

    machine.directory(layout.CONFIG_DIR, _mode(machine, layout.CONFIG_DIR, 0o755, user), (0, 0))
    mode = _mode(machine, layout.CONFIG_FILE, 0o644, user)
    machine.file(layout.CONFIG_FILE, text, mode, (0, 0), "configuration, with the defaults explained")
    if ca_certificates is not None:
        machine.file(layout.CA_FILE, ca_certificates, 0o644, (0, 0), "the orchestrator's CA certificates")
    _directories(config, owner, machine)
    if token is not None:
        _enrolment_token(config, token, owner, machine)
    scheduling.install(machine, kind, command, user, layout.tmpdir(config.state_dir))
    return Installed(changed=machine.changed, check=machine.check, user=user, schedule=kind, actions=machine.actions)


def refuse_without_root(machine: Convergence) -> None:
    """Raise ``needs_root`` when this machine is to be changed by somebody who may not."""
    if not machine.prefix and not machine.check and os.geteuid() != 0:
        raise LetsbeError("needs_root", "changing this machine's installation needs root", hint="Use sudo.")


def refuse_while_working(config: Config, machine: Convergence) -> None:
    """Raise ``busy`` while a task runs: the built file reads parts of itself when they are first needed."""
    from letsbe.agent.locks import Locks

    holder = Locks(machine.path(config.state_dir)).holder("work")
    if holder is not None:
        raise LetsbeError(
            "busy",
            f"a task is running ({holder.type}, pid {holder.pid}, since {holder.since})",
            hint="`letsbe status` shows it. Try again when it has ended.",
        )


def _configuration(wanted: Wanted, machine: Convergence) -> tuple[Config, bytes]:
    """The configuration that will apply and its file's text; one that is there is never rewritten."""
    ca_file = None if wanted.ca_file is None else layout.CA_FILE
    asked = {"orchestrator.url": wanted.orchestrator_url, "orchestrator.ca_file": ca_file}
    values = {key: value for key, value in asked.items() if value is not None}
    path = machine.path(layout.CONFIG_FILE)
    there = machine.read(layout.CONFIG_FILE)
    if there is None:
        text = config_template.render(values).encode()
        return parse(text, path), text
    config = parse(there, path)
    for key, value in values.items():
        is_now = getattr(config.orchestrator, key.rpartition(".")[2])
        if is_now != value:
            raise LetsbeError(
                "config_exists",
                f"{path} is there and says {key}: {is_now or 'null'}, not {value}",
                hint="A configuration is never rewritten: change it there, or remove it to have it made anew.",
            )
    return config, there


def _ca_certificates(path: str) -> bytes:
    import ssl

    try:
        with open(path, "rb") as file:
            certificates = file.read(4 * 1024 * 1024)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificates.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise LetsbeError(
            "invalid_ca_file",
            f"{path} holds no CA certificates in PEM form",
            hint="`letsbe-orchestrator init` prints where its ca.pem is.",
        ) from error
    except OSError as error:
        raise unusable(path, error) from error
    return certificates


def _token(given: bytes) -> bytes:
    token = given.strip()
    if not token or len(token) > 200 or not token.isascii() or any(byte <= 0x20 for byte in token):
        raise LetsbeError(
            "invalid_token",
            "what was given as the enrolment token is none: it is one word of at most 200 ASCII characters",
            hint="`letsbe-orchestrator enrol` makes one.",
        )
    return token + b"\n"


def _present_user(config: Config, machine: Convergence) -> str | None:
    """Whom the state belongs to, when the agent was installed before."""
    try:
        uid = os.stat(machine.path(config.state_dir)).st_uid
    except OSError:
        return None
    account = accounts.find(machine, layout.USER)
    return layout.USER if account is not None and account.uid == uid else "root"


def _program(config: Config, machine: Convergence) -> list[str]:
    """How to start the agent; the built file is copied to its place first."""
    if unpack_dir() is None:
        script = os.path.join(os.path.dirname(sys.executable), "letsbe")
        return [script] if os.access(script, os.X_OK) else [sys.executable, "-m", "letsbe"]
    import filecmp

    source, target = sys.executable, machine.path(layout.BINARY)
    there = os.path.exists(target)
    if not there or not (os.path.samefile(source, target) or filecmp.cmp(source, target, shallow=False)):
        refuse_while_working(config, machine)
        if machine.note(layout.BINARY, "update" if there else "create", "the program"):
            with open(source, "rb") as file:
                machine.replace(layout.BINARY, file.read(), 0o755, (0, 0))
    return [layout.BINARY]


def _mode(machine: Convergence, path: str, usual: int, user: str) -> int:
    """The mode of a path of root's: as narrow as the administrator made it, but open to an unprivileged agent."""
    try:
        there = os.stat(machine.path(path)).st_mode
    except FileNotFoundError:
        return usual
    return there & usual | (0 if user == "root" else usual & 0o055)


def _directories(config: Config, owner: Owner | None, machine: Convergence) -> None:
    """State, log and roots. A directory that the administrator chose may serve others too: it is not changed."""
    state = config.state_dir.rstrip("/")
    _private(state, 0o700, owner, machine, ours=state == layout.STATE_DIR)
    machine.directory(layout.tmpdir(state), 0o700, owner)
    if config.log.file is not None:
        logs = os.path.dirname(config.log.file)
        _private(logs, 0o750, owner, machine, ours=logs == layout.LOG_DIR)
    for root in config.roots:
        machine.directory(root.rstrip("/"), 0o755, owner, enforce=False)


def _private(path: str, mode: int, owner: Owner | None, machine: Convergence, *, ours: bool) -> None:
    existed = os.path.isdir(machine.path(path))
    machine.directory(path, mode, owner, enforce=ours)
    if existed and ours and owner is not None and os.geteuid() == 0:
        machine.hand_over(path, owner)


def _enrolment_token(config: Config, token: bytes, owner: Owner | None, machine: Convergence) -> None:
    import msgspec

    from letsbe.agent.identity import Identity

    path = config.orchestrator.enrolment_token_file
    identity = machine.read(f"{config.state_dir}/identity.json")
    try:
        enrolled = identity is not None and decode(identity, Identity).agent_token is not None
    except msgspec.DecodeError:
        enrolled = False
    if enrolled:
        machine.note(path, "keep", "this machine is enrolled already; the token was not used")
    else:
        machine.file(path, token, 0o600, owner, "enrolment token, for the first poll")
