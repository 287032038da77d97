"""Sockets that wait for peers."""

from __future__ import annotations

import json
import socket
import uuid
from contextlib import ExitStack

import pytest

from letsbe.host import sock_diag, sockets
from letsbe.host.net_tables import NetSocket
from tests.engine import docker

PLACES = [
    (socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1"),
    (socket.AF_INET6, socket.SOCK_STREAM, "::1"),
    (socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.1"),
    (socket.AF_INET6, socket.SOCK_DGRAM, "::1"),
]


def test_the_kernel_answers_what_its_tables_say() -> None:
    with ExitStack() as stack:
        mine = set()
        for family, kind, address in PLACES:
            one = stack.enter_context(socket.socket(family, kind))
            one.bind((address, 0))
            if kind == socket.SOCK_STREAM:
                one.listen()
            mine.add(("tcp" if kind == socket.SOCK_STREAM else "udp", *one.getsockname()[:2]))
        asked = sock_diag.waiting_here()
        tables = sockets.tables([None])[None]
        assert asked is not None
        for found in (asked, tables):
            assert mine <= {(one.proto, one.addr, one.port) for one in found}
        inodes = {one: one.inode for one in tables}
        assert all(inodes.get(one, one.inode) == one.inode for one in asked)


@pytest.mark.parametrize("offered", [True, False], ids=["asked", "from tables"])
def test_a_container_is_looked_into_without_going_there(
    engine: str, offered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"lt-sockets-{uuid.uuid4().hex[:8]}"
    docker("run", "-d", "--name", name, engine, "httpd", "-f", "-p", "4711")
    try:
        pid = json.loads(docker("inspect", name))[0]["State"]["Pid"]
        if not offered:
            monkeypatch.setattr(sock_diag, "waiting_at", lambda _: {})
        inside: set[NetSocket] = set()
        while not inside:
            inside = set(sockets.waiting([pid])[pid])
        assert {(one.proto, one.port) for one in inside} == {("tcp", 4711)}
        here = sock_diag.waiting_here()
        assert here is not None
        assert not inside & set(here)
    finally:
        docker("rm", "-f", name)


def test_a_process_that_has_ended_waits_for_nobody() -> None:
    assert sockets.waiting([4_194_303]) == {}
