"""``letsbe doctor``: what would keep this agent from working. Looks only; what it tries out it removes again."""

from __future__ import annotations

import threading
import time

from letsbe.agent.checkup import machine, network, programs, standing, storage
from letsbe.agent.checkup.finding import Check, Finding, fail, ok
from letsbe.agent.config import Config, config_path, load
from letsbe.agent.owner import act_as_owner
from letsbe.errors import LetsbeError

#: What a check may take; they run side by side, so the whole takes hardly longer.
LIMIT_S = 5.0

#: In the order of the report.
_CHECKS: dict[str, Check] = {
    "binary": storage.binary,
    "state directory": storage.state,
    "disk": storage.disk,
    "journal": storage.journal,
    "log": storage.log_file,
    "roots": storage.roots,
    "TMPDIR": machine.temporary_directories,
    "openat2": machine.openat2,
    "orchestrator": network.orchestrator,
    "identity": standing.identity_of_agent,
    "locks": standing.locks,
    "last poll": standing.last_exchange,
    "schedule": machine.schedule,
    "docker": programs.docker,
    "executors": programs.executors,
}
#: What can be told when the configuration can't be read.
_WITHOUT_CONFIG = ("binary", "TMPDIR", "openat2", "schedule", "docker", "executors")


def examine(config_file: str | None = None) -> list[Finding]:
    """Run every check. Goes on as the user whom the state belongs to, when root asks."""
    path = config_path(config_file)
    try:
        config = load(config_file)
    except LetsbeError as error:
        found = [fail("configuration", error.message, error.hint)]
        return found + _run({name: _CHECKS[name] for name in _WITHOUT_CONFIG}, Config())
    act_as_owner(config.state_dir)
    return [_configuration(path), *_run(_CHECKS, config)]


def _configuration(path: str) -> Finding:
    import os

    return ok("configuration", path if os.path.exists(path) else f"the defaults: there is no {path}")


def _run(checks: dict[str, Check], config: Config) -> list[Finding]:
    """The findings of all checks. One that hangs (a dead network mount) is told, and left behind."""
    found: dict[str, list[Finding]] = {}

    def examine_one(name: str, check: Check) -> None:
        try:
            found[name] = check(config)
        except LetsbeError as error:
            found[name] = [fail(name, error.message, error.hint)]
        except OSError as error:
            found[name] = [fail(name, f"{error.filename or ''} {error.strerror}".strip(), "Mend that first.")]

    threads = {
        name: threading.Thread(target=examine_one, args=(name, check), daemon=True) for name, check in checks.items()
    }
    for thread in threads.values():
        thread.start()
    until = time.monotonic() + LIMIT_S
    for thread in threads.values():
        thread.join(max(0.0, until - time.monotonic()))
    return [finding for name in checks for finding in found.get(name, [_hangs(name)])]


def _hangs(name: str) -> Finding:
    return fail(name, f"no result within {LIMIT_S:g} s", "A mount or a server that does not answer?")
