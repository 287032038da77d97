"""Ports of loopback for servers that stop and start again."""

from __future__ import annotations

import random
import socket
from pathlib import Path


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listened on a moment ago.

    None of those that the kernel gives away: while its server is stopped, anybody's connection may get such a port.
    """
    below = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    chance = random.SystemRandom()  # fuzzing seeds the usual one alike in every process of tests
    while True:
        port = chance.randrange(10_000, below)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
