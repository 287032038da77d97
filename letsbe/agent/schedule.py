"""What makes the agent poll: the cron.d file, or the systemd units as the alternative to it.

Templates stand here as code, so that the built file carries them; the copies in ``cron/`` are held equal by a test.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Literal

from letsbe.agent.layout import BINARY, tmpdir

Kind = Literal["cron", "systemd"]

#: cron and systemd start programs with less; package tools live in the sbin directories.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_CRON = """\
# letsbe asks its orchestrator for work, every minute. `letsbe install` writes this file, `letsbe uninstall` removes it.
#
# A poll prints nothing when all is well, and cron mails what a job prints: a mail means that something is wrong. It
# goes to the user in the line below unless MAILTO names somebody else.
#MAILTO=admin@example.org
SHELL=/bin/sh
PATH={path}
# Private, and not mounted noexec: the program unpacks itself there.
TMPDIR={tmpdir}

# The splay is a fixed offset of this agent (poll.splay_s), so that a fleet does not knock all at once.
* * * * * {user} {command} poll --splay --if-set
"""

_SERVICE = """\
# letsbe asks its orchestrator for work. `letsbe install --systemd` writes this file, `letsbe uninstall` removes it.
#
# A timer does not start a unit that is still active, but the agent must be heard every minute, also while a task takes
# an hour. So each poll becomes a unit of its own in letsbe.slice, and none ends with this one:
#   systemctl status letsbe.slice      what runs now
#   journalctl --identifier=letsbe     what polls printed: nothing when all is well
[Unit]
Description=Start a poll of letsbe
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
# Otherwise the journal gets three lines of systemd's own every minute.
LogLevelMax=notice
# KillMode=mixed: the agent is told to stop and ends what it started; only what is left after that is killed.
# Hardening is what no task minds. Package upgrades, reloads and backups need the rest of the machine.
ExecStart=/usr/bin/systemd-run --quiet --collect --slice=letsbe --description="Poll of letsbe" \\
  --service-type=exec --uid={user} --setenv=PATH={path} \\
  --setenv=TMPDIR={tmpdir} --working-directory=/ \\
  --property=UMask=0077 --property=KillMode=mixed --property=TimeoutStopSec=30s --property=OOMPolicy=continue \\
  --property=LogLevelMax=notice --property=SyslogLevel=warning --property=SyslogIdentifier=letsbe \\
  --property=RestrictRealtime=yes --property=LockPersonality=yes \\
  {command} poll --if-set
"""

_TIMER = """\
# letsbe asks its orchestrator for work, every minute. `letsbe install --systemd` writes this file.
[Unit]
Description=Poll of letsbe, every minute

[Timer]
OnCalendar=*:*:00
AccuracySec=1s
# A fixed offset of this machine, so that a fleet does not knock all at once.
RandomizedDelaySec=20s
FixedRandomDelay=true

[Install]
WantedBy=timers.target
"""


def cron_file(command: Sequence[str] = (BINARY,), user: str = "root", unpack_dir: str = tmpdir()) -> str:
    """The file for /etc/cron.d; in a cron line ``%`` would be a line feed."""
    return _CRON.format(path=PATH, tmpdir=unpack_dir, user=user, command=shlex.join(command).replace("%", r"\%"))


def service_unit(command: Sequence[str] = (BINARY,), user: str = "root", unpack_dir: str = tmpdir()) -> str:
    """The service that the timer starts."""
    return _SERVICE.format(
        path=PATH,
        tmpdir=_systemd_word(unpack_dir),
        user=user,
        command=" ".join(_systemd_word(word) for word in command),
    )


def timer_unit() -> str:
    """The timer."""
    return _TIMER


def _systemd_word(word: str) -> str:
    """A word of ExecStart: ``%`` and ``$`` would be expanded, blanks would divide it (systemd.service(5))."""
    escaped = word.replace("\\", r"\\").replace("%", "%%").replace("$", "$$").replace('"', r"\"")
    return f'"{escaped}"' if set(escaped) & set(" \t'\"\\;") else escaped
