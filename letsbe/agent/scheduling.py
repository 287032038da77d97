"""Putting the agent's schedule on a machine, and taking it off: cron or a systemd timer, never both."""

from __future__ import annotations

import os

from letsbe.agent import layout, schedule
from letsbe.agent.convergence import Convergence
from letsbe.agent.schedule import Kind

_CRON_DAEMONS = ("/usr/sbin/cron", "/usr/sbin/crond")
_SYSTEMCTL = "/usr/bin/systemctl"


def present(machine: Convergence) -> Kind | None:
    """Which of the two is installed."""
    if os.path.exists(machine.path(layout.CRON_FILE)):
        return "cron"
    return "systemd" if os.path.exists(machine.path(layout.TIMER_UNIT)) else None


def default(machine: Convergence) -> Kind:
    """cron, unless only systemd is there."""
    has_cron = any(os.path.exists(machine.path(daemon)) for daemon in _CRON_DAEMONS)
    return "systemd" if not has_cron and _systemd_runs(machine) else "cron"


def install(machine: Convergence, kind: Kind, command: list[str], user: str, unpack_dir: str) -> None:
    """Install one and remove the other: with both, polls would come in pairs."""
    if kind == "cron":
        remove_units(machine, "cron polls now")
        text = schedule.cron_file(command, user, unpack_dir)
        machine.file(layout.CRON_FILE, text.encode(), 0o644, (0, 0), "a poll every minute")
        return
    remove_cron(machine, "the systemd timer polls now")
    before = len(machine.actions)
    service = schedule.service_unit(command, user, unpack_dir)
    machine.file(layout.SERVICE_UNIT, service.encode(), 0o644, (0, 0), "what the timer starts")
    machine.file(layout.TIMER_UNIT, schedule.timer_unit().encode(), 0o644, (0, 0), "a poll every minute")
    machine.link(layout.TIMER_ENABLED, layout.TIMER_UNIT, "the timer starts with the machine")
    if len(machine.actions) > before:
        _systemctl(machine, "daemon-reload")
        _systemctl(machine, "restart", "letsbe.timer")


def remove_cron(machine: Convergence, why: str) -> None:
    """No cron.d file."""
    machine.absent(layout.CRON_FILE, why)


def remove_units(machine: Convergence, why: str) -> None:
    """No systemd units, and the timer stopped."""
    units = (layout.TIMER_ENABLED, layout.TIMER_UNIT, layout.SERVICE_UNIT)
    if not any(os.path.lexists(machine.path(unit)) for unit in units):
        return
    _systemctl(machine, "stop", "letsbe.timer")
    for unit in units:
        machine.absent(unit, why)
    _systemctl(machine, "daemon-reload")


def _systemctl(machine: Convergence, *words: str) -> None:
    """Tell systemd, where it runs and this is its machine."""
    if _systemd_runs(machine):
        machine.run([_SYSTEMCTL, *words], f"systemctl {' '.join(words)}", hint="`journalctl -xe` may tell why.")


def _systemd_runs(machine: Convergence) -> bool:
    return not machine.prefix and os.path.isdir("/run/systemd/system")
