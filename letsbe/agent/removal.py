"""``letsbe uninstall``: the taking back of what install set up. The roots are never touched."""

from __future__ import annotations

import os
from collections.abc import Iterable

from letsbe.agent import accounts, layout, scheduling
from letsbe.agent.config import Config, parse
from letsbe.agent.convergence import Convergence, unusable
from letsbe.agent.installation import Installed, refuse_while_working, refuse_without_root

#: What the agent keeps in its state directory; ``state.db-journal`` is left by a kill while the journal is made.
STATE_FILES = (
    "state.db",
    "state.db-wal",
    "state.db-shm",
    "state.db-journal",
    "identity.json",
    "config-cache.json",
    "last-poll",
)
STATE_DIRECTORIES = ("inbox", "locks", "rollback", "tmp", "undo")


def uninstall(machine: Convergence, *, purge: bool) -> Installed:
    """Remove the schedule; with ``purge`` also configuration, state and log.

    The binary is told here and removed by :func:`remove_binary`, at the very end: the built file reads itself until
    then. Raises ``needs_root``, ``busy`` while a task runs, ``invalid_config`` when what to purge can't be known.
    """
    refuse_without_root(machine)
    config = Config()
    text = machine.read(layout.CONFIG_FILE) if purge else None
    if text is not None:
        config = parse(text, machine.path(layout.CONFIG_FILE))
    refuse_while_working(config, machine)
    scheduling.remove_cron(machine, "uninstalled")
    scheduling.remove_units(machine, "uninstalled")
    if purge:
        _purge(machine, config)
    if _is_built_file(machine):
        machine.note(layout.BINARY, "remove", "the program")
    return Installed(changed=machine.changed, check=machine.check, actions=machine.actions)


def remove_binary(machine: Convergence) -> None:
    """The end of :func:`uninstall`."""
    path = machine.path(layout.BINARY)
    try:
        if not machine.check and _is_built_file(machine):
            os.unlink(path)
    except OSError as error:
        raise unusable(path, error) from error


def _is_built_file(machine: Convergence) -> bool:
    """Whether install put the program there: a script of that name belongs to pip or to somebody else."""
    return (machine.read(layout.BINARY, most=4) or b"") == b"\x7fELF"


def _purge(machine: Convergence, config: Config) -> None:
    files = (layout.CONFIG_FILE, layout.CA_FILE, config.orchestrator.enrolment_token_file)
    machine.absent_if_empty(layout.CONFIG_DIR, _purge_files(machine, files))
    state = config.state_dir.rstrip("/")
    names = _purge_files(machine, [f"{state}/{name}" for name in STATE_FILES])
    for name in STATE_DIRECTORIES:
        machine.absent_tree(f"{state}/{name}", "purged")
    machine.absent_if_empty(state, {*names, *STATE_DIRECTORIES})
    if config.log.file is not None:
        _purge_log(machine, config.log.file)
    if accounts.find(machine, layout.USER) is not None:
        machine.note(layout.USER, "keep", "the user: files below the roots may belong to it")


def _purge_files(machine: Convergence, paths: Iterable[str]) -> set[str]:
    """Remove files and what a kill has left of their writing; returns the names."""
    found = [each for path in paths for each in (path, *machine.unfinished(path))]
    for path in found:
        machine.absent(path, "purged")
    return {os.path.basename(path) for path in found}


def _purge_log(machine: Convergence, file: str) -> None:
    directory, name = os.path.split(file)
    names = [name, *(f"{name}.{number}" for number in (1, 2, 3))]
    for old in names:
        machine.absent(f"{directory}/{old}", "purged")
    if directory == layout.LOG_DIR:
        machine.absent_if_empty(directory, set(names))
