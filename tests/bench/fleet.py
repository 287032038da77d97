"""Idle polls of a fleet: two serving processes on one PostgreSQL, asked by simulated agents on the same machine.

Prints Markdown: polls per second as fast as it goes, latencies at a given rate, the processor time that a poll takes on
each side, and the plans by which its statements are executed.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import multiprocessing
import os
import random
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, Engine, event, insert, text

from letsbe.orchestrator import agents, tables
from letsbe.orchestrator.auth import token_hash
from letsbe.protocol import PollRequest, new_id
from tests.faults.kills import descendants
from tests.orchestrator_fixture import Orchestrator
from tests.postgres import Postgres, running

#: What 10,000 agents ask that poll once a minute.
RATE = 167

#: Threads of each of the two processes that play agents.
THREADS = 12

#: What a real agent says of 21 task types.
EXECUTORS = {f"TASK_TYPE_{number}": 1 for number in range(21)}

#: A finished task with its outcome of 2 kB, as many as are asked for.
BACKLOG = """
WITH task AS (
    INSERT INTO tasks (task_id, agent_id, type, state, check_only, created_at, not_before, expires_at, timeout_s,
        requested_by, attempt_id, finished_at, status, envelope_bytes, envelope)
    SELECT gen_random_uuid(), (ARRAY(SELECT agent_id FROM agents ORDER BY agent_id))[1 + n % :agents], 'FILE_WRITE',
        'finished', false, :now, :now, :now + 3600, 600, 'bench', gen_random_uuid(), :now, 'succeeded', 1000,
        repeat('x', 1000)
    FROM generate_series(1, :count) AS n
    RETURNING task_id
)
INSERT INTO results (task_id, received_at, body) SELECT task_id, :now, repeat('y', 2000)::bytea FROM task
"""


class Agent(NamedTuple):
    """What is needed to poll for one."""

    agent_id: str
    token: str


class Load(NamedTuple):
    """What a process of agents is told to do. ``rate``: polls a second, 0 for as many as it gets answered."""

    addresses: list[tuple[str, int]]
    ca_file: str
    agents: list[Agent]
    seconds: float
    rate: float
    keep_alive: bool


def fill(connection: Connection, count: int) -> list[Agent]:
    """Registered agents, each with a token that it has used."""
    made = [Agent(new_id(), f"lba_{base64.urlsafe_b64encode(os.urandom(32)).decode()}") for _ in range(count)]
    now = time.time()
    rows = [
        {
            "agent_id": agent.agent_id,
            "fingerprint": os.urandom(32).hex(),
            "public_key": "k",
            "hostname": f"host-{number}",
            "version": "1.0.0",
            "executors": EXECUTORS,
            "labels": {"site": f"s{number % 20}"},
            "registered_at": now,
        }
        for number, agent in enumerate(made)
    ]
    connection.execute(insert(tables.agents), rows)
    tokens = [
        {
            "token_hash": token_hash(agent.token),
            "agent_id": agent.agent_id,
            "enrolment_hash": "e",
            "issued_at": now,
            "confirmed_at": now,
        }
        for agent in made
    ]
    connection.execute(insert(tables.agent_tokens), tokens)
    return made


class Client:
    """One connection to a server, made anew for each poll unless it is to be kept."""

    def __init__(self, address: tuple[str, int], ca_file: str, keep_alive: bool) -> None:
        self._address = address
        self._context = ssl.create_default_context(cafile=ca_file)
        self._keep_alive = keep_alive
        self._stream: ssl.SSLSocket | None = None

    def poll(self, agent: Agent) -> None:
        """Poll for an agent that has nothing to do."""
        body = b'{"version":"1.0.0","capabilities_digest":"c","inventory_digest":"i","outbox_depth":0,"max_tasks":10}'
        head = (
            f"POST /api/v1/agents/{agent.agent_id}/poll HTTP/1.1\r\nHost: o\r\nAuthorization: Bearer {agent.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        if self._stream is None:
            raw = socket.create_connection(self._address, 30)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._stream = self._context.wrap_socket(raw, server_hostname="localhost")
        self._stream.sendall(head.encode() + body)
        answer = b""
        while not answer.endswith(b"}") or b"\r\n\r\n" not in answer:
            piece = self._stream.recv(65536)
            assert piece, answer
            answer += piece
        assert answer.startswith(b"HTTP/1.1 200"), answer
        assert b'"tasks":[]' in answer, answer
        if not self._keep_alive:
            self._stream.close()
            self._stream = None


def play(load: Load, results: multiprocessing.Queue[list[float]]) -> None:
    """Poll for the agents in turn, with several threads; the latencies, in seconds."""
    turns = iter(range(10**9))
    guard = threading.Lock()
    latencies: list[float] = []
    began = time.perf_counter() + 0.2

    def work(number: int) -> None:
        client = Client(load.addresses[number % len(load.addresses)], load.ca_file, load.keep_alive)
        while True:
            with guard:
                turn = next(turns)
            # Counted from when it was due, so that a stall is not hidden by the polls that it kept from being sent.
            due = began + turn / load.rate if load.rate else time.perf_counter()
            if due > began + load.seconds:
                return
            time.sleep(max(0.0, due - time.perf_counter()))
            client.poll(load.agents[turn % len(load.agents)])
            latencies.append(time.perf_counter() - due)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(latencies)


def cpu_s(pids: list[int]) -> float:
    """The processor time that processes and what they have started took until now, in seconds."""
    ticks = 0
    for pid in [*pids, *(child for parent in pids for child in descendants(parent))]:
        with contextlib.suppress(OSError):
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def run(
    orchestrators: list[Orchestrator], server: Postgres, fleet: list[Agent], seconds: float, rate: float, keep: bool
) -> str:
    """A row of the table: what two processes of agents got, and what it cost on each side."""
    addresses = [("127.0.0.1", int(each.url.rpartition(":")[2])) for each in orchestrators]
    results: multiprocessing.Queue[list[float]] = multiprocessing.Queue()
    random.shuffle(fleet)
    loads = [Load(addresses, orchestrators[0].ca_file, fleet[part::2], seconds, rate / 2, keep) for part in range(2)]
    processes = [multiprocessing.Process(target=play, args=(load, results)) for load in loads]
    watched = [[each.pid for each in orchestrators], [server.pid]]
    before = [cpu_s(pids) for pids in watched]
    mine = sum(os.times()[2:4])
    for process in processes:
        process.start()
    found = sorted(latency for _ in processes for latency in results.get())
    for process in processes:
        process.join()
    costs = [*(cpu_s(pids) - spent for pids, spent in zip(watched, before, strict=True)), sum(os.times()[2:4]) - mine]
    cpu = " | ".join(f"{cost / len(found) * 1000:.2f} ms" for cost in costs)
    p50, p99 = (found[int(len(found) * part)] * 1000 for part in (0.5, 0.99))
    asked = f"{rate:g}/s" if rate else "as fast as it goes"
    connections = "kept" if keep else "one a poll"
    got = f"{connections} | {asked} | {len(found) / seconds:.0f} | {p50:.0f} ms | {p99:.0f} ms"
    return f"{got} | {cpu} | {os.getloadavg()[0]:.1f}"


def plans(orchestrator: Orchestrator, agent: Agent) -> Iterator[str]:
    """How PostgreSQL executes the statements of an idle poll."""
    said: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, statement: str, values: object, *_: object) -> None:
        said.append((statement, values))

    event.listen(Engine, "before_cursor_execute", note)
    with orchestrator.store.write_once() as connection:
        agents.heartbeat(connection, agent.agent_id, PollRequest(version="1.0.0"), time.time())
    event.remove(Engine, "before_cursor_execute", note)
    query = "SELECT * FROM agent_tokens WHERE token_hash = %(hash)s"
    for statement, values in ((query, {"hash": token_hash(agent.token)}), *said):
        with orchestrator.store.write() as connection:
            rows = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, COSTS OFF, BUFFERS) {statement}", values)  # type: ignore[arg-type]
            yield "\n".join(row[0] for row in rows)


def measure(directory: Path, count: int, backlog: int, arguments: argparse.Namespace) -> None:
    """Print the rows of one fleet."""
    with ExitStack() as stack:
        server = stack.enter_context(running(()))  # as it is delivered: every commit is on disk
        url = stack.enter_context(server.database())
        both = [Orchestrator(directory / f"{count}-{backlog}", url) for _ in range(2)]
        for each in both:
            stack.callback(each.close)
            each.start()
        with both[0].database() as connection:
            fleet = fill(connection, count)
            values = {"agents": count, "count": backlog, "now": time.time()}
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text(BACKLOG), values)
        with both[0].store.write_once() as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
        run(both, server, fleet, 2, 0, True)  # warms up
        for rate, keep in ((0, True), (0, False), (RATE, True), (RATE, False)):
            row = run(both, server, fleet, arguments.seconds, rate, keep)
            print(f"| {count} | {backlog} | {row} |", flush=True)
        if arguments.explain:
            print("\n".join(["", *(f"```\n{plan}\n```" for plan in plans(both[0], fleet[0])), ""]))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, nargs="+", default=[2_000, 10_000])
    parser.add_argument("--backlog", type=int, nargs="+", default=[0, 10_000, 100_000])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--explain", action="store_true", help="Show the plans of the poll's statements too.")
    arguments = parser.parse_args()
    columns = "agents, finished tasks, connections, polls asked, polls/s, p50, p99, CPU serve, PostgreSQL, agents, load"
    print(f"| {columns.replace(', ', ' | ')} |\n|{'---|' * 11}")
    with tempfile.TemporaryDirectory() as directory:
        for count in arguments.agents:
            for backlog in arguments.backlog:
                measure(Path(directory), count, backlog, arguments)


if __name__ == "__main__":
    main()
