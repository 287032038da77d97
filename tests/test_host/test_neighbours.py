"""Whom containers have talked to."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from letsbe.host import neighbours as module
from letsbe.host.neighbours import Neighbour, neighbours
from letsbe.host.sockets import connected, tables
from tests.engine import docker


@pytest.fixture(scope="module")
def pair(engine: str) -> Iterator[tuple[str, str]]:
    """Two containers; the second one serves HTTP at port 4711."""
    names = [f"lt-near-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    try:
        for name in names:
            docker("run", "-d", "--name", name, engine, "httpd", "-f", "-p", "4711", "-h", "/www")
        yield names[0], names[1]
    finally:
        docker("rm", "-f", *names)


def place(name: str) -> tuple[int, str]:
    found = json.loads(docker("inspect", name))[0]
    return found["State"]["Pid"], found["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]


def nobody_s(name: str) -> str:
    """An address of the network that no container has: the engine gives the lowest that are free."""
    network = json.loads(docker("inspect", name))[0]["NetworkSettings"]["Networks"]["bridge"]
    return str(ip_network(f"{network['IPAddress']}/{network['IPPrefixLen']}", strict=False)[-3])


def by_address(found: list[Neighbour]) -> dict[str, Neighbour]:
    return {one.address: one for one in found}


def test_who_was_talked_to_and_who_does_not_answer(pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    (first, here), (second, there) = place(pair[0]), place(pair[1])
    nobody = nobody_s(pair[0])
    assert there not in by_address(neighbours([first])[first])
    while not tables([second])[second]:
        pass
    before = time.time()
    docker("exec", pair[0], "wget", "-q", "-O-", f"http://{there}:4711/", check=False)
    docker("exec", pair[0], "wget", "-q", "-O-", f"http://{nobody}:4711/", check=False)
    found = neighbours([first, second])
    seen = by_address(found[first])
    assert (seen[there].answers, seen[nobody].answers) == (True, False)
    for one in (seen[there], seen[nobody]):
        assert one.used is not None
        assert before - 0.1 < one.used < time.time() + 0.1
    assert by_address(found[second])[here].answers

    monkeypatch.setattr(module, "in_namespaces", lambda *_: {})  # as without root
    told = by_address(neighbours([first])[first])
    assert told[there] == Neighbour(address=there, answers=True)
    assert told[nobody] == Neighbour(address=nobody, answers=False)


def test_a_connection_is_seen_from_both_ends(pair: tuple[str, str]) -> None:
    (first, here), (second, there) = place(pair[0]), place(pair[1])
    while not tables([second])[second]:
        pass
    docker("exec", "-d", pair[0], "sh", "-c", f"sleep 1000 | nc {there} 4711")
    deadline = time.monotonic() + 30
    while True:  # one that an earlier test made may still be there, at one of the ends
        served = {(one.peer, one.peer_port) for one in connected([second])[second] if one.port == 4711}
        to_it = [one for one in connected([first])[first] if (one.peer, one.peer_port) == (there, 4711)]
        asked = {(one.addr, one.port) for one in to_it}
        if served & asked:
            break
        assert time.monotonic() < deadline, (served, asked)
    assert {address for address, _ in served | asked} == {here}


def test_processes_that_have_ended_are_left_out() -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    assert neighbours([child]) == {}
    assert connected([child]) == {}
