"""Checks of the machine: temporary directories, the kernel, cron or systemd."""

from __future__ import annotations

import os
import re

from letsbe.agent import layout, scheduling
from letsbe.agent.checkup.finding import Finding, fail, ok, warn
from letsbe.agent.config import Config
from letsbe.agent.convergence import Convergence
from letsbe.host.processes import Processes

_CRON_DAEMONS = frozenset({"cron", "crond"})
_CRON_LINE = re.compile(r"^\* \* \* \* \* (?P<user>\S+) (?P<program>\S+)", re.M)


def temporary_directories(config: Config) -> list[Finding]:
    """Programs can be unpacked and run there: neither full nor mounted noexec."""
    import tempfile

    scheduled = layout.tmpdir(config.state_dir)
    places = [tempfile.gettempdir(), *([scheduled] if os.path.isdir(scheduled) else [])]
    return [_executable(place) for place in dict.fromkeys(places)]


def openat2(config: Config) -> list[Finding]:  # noqa: ARG001 - the signature of a check
    """The kernel keeps paths beneath a root by itself (Linux 5.6 and later, unless a container's filter forbids it)."""
    from letsbe.host.openat2 import open_directory_beneath

    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        opened = open_directory_beneath(root, "proc")
    finally:
        os.close(root)
    if opened is not None:
        os.close(opened)
        return [ok("openat2", f"Linux {os.uname().release} has it")]
    hint = "Nothing: paths are walked component by component instead, a little slower."
    return [warn("openat2", f"Linux {os.uname().release} does not offer it here", hint)]


def schedule(config: Config) -> list[Finding]:
    """Something runs a poll every minute."""
    here = Convergence()
    cron, timer = (os.path.exists(path) for path in (layout.CRON_FILE, layout.TIMER_UNIT))
    if cron and timer:
        hint = "`letsbe install --cron` or `--systemd` keeps one of the two."
        return [fail("schedule", f"both {layout.CRON_FILE} and {layout.TIMER_UNIT} are there", hint)]
    if scheduling.present(here) is None:
        if config.orchestrator.url is None:
            return [ok("schedule", "none, and no orchestrator to poll")]
        return [fail("schedule", "nothing runs `letsbe poll`", "`letsbe install` writes the cron file.")]
    found = _cron() if cron else _timer()
    if found.status == "fail" and config.orchestrator.url is None:
        return [warn(found.check, found.observed, found.hint)]  # nothing to poll yet
    return [found]


def _executable(place: str) -> Finding:
    import mmap
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"\0" * mmap.PAGESIZE)
            file.flush()
            mmap.mmap(
                file.fileno(), mmap.PAGESIZE, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_EXEC
            ).close()
    except PermissionError:
        hint = "Set TMPDIR to a private directory on a file system that is not."
        return fail("TMPDIR", f"{place} is mounted noexec, or can't be written", hint)
    except OSError as error:
        return fail("TMPDIR", f"{place}: {error.strerror}", "Make room there, or set TMPDIR.")
    return ok("TMPDIR", f"programs can run from {place}")


def _cron() -> Finding:
    found = os.stat(layout.CRON_FILE)
    if found.st_uid != 0 or found.st_mode & 0o022:
        return fail("schedule", f"cron ignores {layout.CRON_FILE}: others can write it", "`letsbe install` mends it.")
    with open(layout.CRON_FILE, encoding="utf-8", errors="replace") as file:
        line = _CRON_LINE.search(file.read())
    if line is None:
        return warn("schedule", f"{layout.CRON_FILE} has no line for every minute", "`letsbe install` mends it.")
    if not os.access(line["program"], os.X_OK):
        return fail("schedule", f"{layout.CRON_FILE} runs {line['program']}, which is not there", "`letsbe install`")
    if not _is_running(_CRON_DAEMONS):
        hint = "Start it: systemctl enable --now cron. Not installed? apt-get install cron, or install --systemd."
        return fail("schedule", "the cron daemon does not run", hint)
    return ok("schedule", f"cron runs {line['program']} as {line['user']} every minute")


def _timer() -> Finding:
    done = Processes().run(
        ["/usr/bin/systemctl", "is-active", "letsbe.timer"],
        changes=False,
        cwd=None,
        stdin=b"",
        env=None,
        timeout_s=4.0,
        output_bytes=4096,
    )
    state = done.stdout.decode("utf-8", "replace").strip() or "unknown"
    if state != "active":
        return fail("schedule", f"letsbe.timer is {state}", "systemctl enable --now letsbe.timer")
    return ok("schedule", "letsbe.timer is active")


def _is_running(names: frozenset[str]) -> bool:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                if file.read().strip() in names:
                    return True
        except OSError:
            continue  # it has just ended
    return False
