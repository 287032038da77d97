"""Where an installed agent has its parts."""

from __future__ import annotations

import os

BINARY = "/usr/local/bin/letsbe"
CONFIG_DIR = "/etc/letsbe"
CONFIG_FILE = f"{CONFIG_DIR}/letsbe.yml"
CA_FILE = f"{CONFIG_DIR}/ca.pem"
STATE_DIR = "/var/lib/letsbe"
LOG_DIR = "/var/log/letsbe"
CRON_FILE = "/etc/cron.d/letsbe"
UNIT_DIR = "/etc/systemd/system"
SERVICE_UNIT = f"{UNIT_DIR}/letsbe.service"
TIMER_UNIT = f"{UNIT_DIR}/letsbe.timer"
#: What ``systemctl enable letsbe.timer`` makes.
TIMER_ENABLED = f"{UNIT_DIR}/timers.target.wants/letsbe.timer"
#: The unprivileged user that the agent may run as.
USER = "letsbe"


def tmpdir(state_dir: str = STATE_DIR) -> str:
    """Where the built file unpacks itself when cron or systemd starts it."""
    return os.path.join(state_dir, "tmp")
