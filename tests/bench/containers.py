"""SERVICE_DISCOVER and HEALTHCHECK beside other ways to ask the engine, and LOG_TAIL beside `docker logs`; run by hand.

PYTHONPATH=. build/.venv-dev/bin/python tests/bench/containers.py [containers] [megabytes]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker

from letsbe.executors import health_request, healthcheck
from letsbe.executors.base import Context
from letsbe.executors.service_discover import Payload, ServiceDiscover
from letsbe.host import Host
from letsbe.host.clock import Deadline
from letsbe.host.docker import Engine
from letsbe.host.files import Files
from letsbe.host.processes import Processes
from letsbe.tools.redaction import Redactor
from tests.engine import IMAGE

ROUNDS = 7
#: What the others are measured by.
RAW = "list and 8 inspects at once with docker-py's low level"


def main() -> None:
    """Print two tables."""
    containers = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    megabytes = int(sys.argv[2]) if len(sys.argv) > 2 else 1024
    names = [f"lt-bench-{uuid.uuid4().hex[:8]}" for _ in range(containers)]
    try:
        for name in names:
            call("docker", "run", "-d", "--name", name, "--network", "none", "--stop-timeout", "0", IMAGE)
        discover(containers)
    finally:
        call("docker", "rm", "-f", *names)
    if megabytes:
        logs(megabytes)


def discover(count: int) -> None:
    """The same engine asked in four ways, in turn."""
    host = Host(
        files=Files([tempfile.gettempdir() + "/no-such-root"]),
        processes=Processes(),
        engine=Engine(),
        deadline=Deadline(600),
        progress=lambda *_: None,
    )
    context = Context(host=host, redactor=Redactor(), rights=None, steps=None)  # type: ignore[arg-type]
    client = docker.DockerClient(version="auto", max_pool_size=16)
    low = client.api

    def raw() -> None:
        ids = [one["Id"] for one in low.containers(all=True)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(low.inspect_container, ids))

    executor = ServiceDiscover(context)
    health = healthcheck.Healthcheck(context)
    ours = [one["Names"][0].removeprefix("/") for one in low.containers() if "/lt-bench-" in one["Names"][0]]
    ways: dict[str, Callable[[], object]] = {
        "SERVICE_DISCOVER, containers": lambda: executor.execute(Payload(include=["containers"])),
        "SERVICE_DISCOVER, all it looks at": lambda: executor.execute(Payload()),
        "HEALTHCHECK, containers": lambda: health.execute(health_request.Payload(containers=ours, log_window_s=0)),
        "HEALTHCHECK, containers and logs": lambda: health.execute(health_request.Payload(containers=ours)),
        RAW: raw,
        "docker-py's `containers.list(all=True)`": lambda: client.containers.list(all=True),
        "`docker ps -a --format json`": lambda: call("docker", "ps", "-a", "--no-trunc", "--format", "{{json .}}"),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - began)
    raw_calls = statistics.median(taken[RAW])
    print(f"| {count} containers | median | minimum | of the raw calls |\n|---|---|---|---|")
    for name, times in taken.items():
        median = statistics.median(times)
        print(f"| {name} | {median * 1000:.0f} ms | {min(times) * 1000:.0f} ms | {median / raw_calls:.2f} × |")
    print()


def logs(megabytes: int) -> None:
    """A log of so many megabytes, read to its end."""
    name = f"lt-bench-{uuid.uuid4().hex[:8]}"
    line = "2026-11-24 07:00:00 INFO request served in 12 ms path=/index.html agent=probe " + "x" * 120
    script = f"yes '{line}' | head -c {megabytes * 1_000_000}; echo the needle"
    call("docker", "run", "-d", "--name", name, "--network", "none", IMAGE, "sh", "-c", script)
    try:
        call("docker", "wait", name)
        letsbe = [sys.executable, "-m", "letsbe", "log-tail", "--timeout", "3000", "--containers", name]
        with tempfile.TemporaryDirectory() as base:
            config = Path(base, "letsbe.yml")
            config.write_text(f"roots: [{base}]\nstate_dir: {base}/state\nlog: {{file: {base}/log}}\n")
            config.chmod(0o600)
            os.environ["LETSBE_CONFIG"] = str(config)
            print(f"| a log of {megabytes} MB | seconds | MB/s | memory |\n|---|---|---|---|")
            for words in (["docker", "logs", name], [*letsbe, "--grep", "needle"], [*letsbe, "--tail", "200"]):
                began = time.perf_counter()
                process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
                _, _, usage = os.wait4(process.pid, 0)
                seconds = time.perf_counter() - began
                shown = " ".join(words[-4:] if "-m" in words else words[:2])
                print(f"| {shown} | {seconds:.1f} | {megabytes / seconds:.0f} | {usage.ru_maxrss / 1024:.0f} MB |")
    finally:
        call("docker", "rm", "-f", name)


def call(*words: str) -> bytes:
    """Run a program."""
    return subprocess.run(words, check=True, capture_output=True).stdout


if __name__ == "__main__":
    main()
