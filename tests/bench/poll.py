"""An idle poll: wall clock, CPU, memory, requests and bytes, beside a bare Python that makes one TLS request."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.bench.counting_proxy import CountingProxy, Traffic
from tests.orchestrator_fixture import Orchestrator

ROOT = Path(__file__).resolve().parents[2]
BINARY_PYTHON = ROOT / "build" / ".venv-binary" / "bin" / "python"
ROUNDS = 25

BARE = "import requests, sys; requests.get(sys.argv[1], verify=sys.argv[2], timeout=10)"


class Cost(NamedTuple):
    """What one run of a command took."""

    wall_s: float
    cpu_s: float
    rss_mb: float  # of its largest process


def cost(command: Sequence[str | Path], env: dict[str, str]) -> Cost:
    """Run a command to its good end."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        assert process.returncode == 0, output.read().decode()
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def configure(directory: Path, orchestrator: Orchestrator, url: str) -> Path:
    """An agent's configuration below ``directory``."""
    token = directory / "token"
    token.write_text(orchestrator.enrol())
    token.chmod(0o600)
    document = {
        "orchestrator": {"url": url, "ca_file": str(orchestrator.ca_file), "enrolment_token_file": str(token)},
        "roots": [str(directory)],
        "state_dir": str(directory / "state"),
        "log": {"file": str(directory / "letsbe.log")},
    }
    file = directory / "letsbe.yml"
    file.write_text(yaml.safe_dump(document))
    file.chmod(0o600)
    return file


def measure(directory: Path) -> list[tuple[str, list[Cost], Traffic]]:
    """The costs of each contender, run in turn so that what else the machine does falls on all."""
    orchestrator = Orchestrator(directory / "orchestrator")
    orchestrator.start()
    try:
        with CountingProxy(int(orchestrator.url.rpartition(":")[2])) as proxy:
            config = configure(directory, orchestrator, proxy.url)
            contenders: dict[str, list[str | Path]] = {
                "idle poll, the built file": [ROOT / "dist" / "letsbe", "poll", "--config", config],
                "idle poll, `python -m letsbe`": [BINARY_PYTHON, "-m", "letsbe", "poll", "--config", config],
                "bare Python: import requests, one TLS request": [
                    *(BINARY_PYTHON, "-c", BARE, proxy.url, str(orchestrator.ca_file)),
                ],
            }
            env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(directory)}
            for command in contenders.values():
                cost(command, env)  # registers, and warms the caches
            costs: dict[str, list[Cost]] = {name: [] for name in contenders}
            traffic: dict[str, Traffic] = {}
            for _ in range(ROUNDS):
                for name, command in contenders.items():
                    proxy.reset()
                    costs[name].append(cost(command, env))
                    traffic[name] = proxy.traffic()
            return [(name, costs[name], traffic[name]) for name in contenders]
    finally:
        orchestrator.close()


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as directory:
        rows = measure(Path(directory))
    bare = statistics.median(cost.wall_s for cost in rows[-1][1])
    print("| | wall | × bare | CPU | memory | connections | sent | received |\n|---|---|---|---|---|---|---|---|")
    for name, costs, traffic in rows:
        wall, cpu, rss = (statistics.median(column) for column in zip(*costs, strict=True))
        seen = f"{traffic.connections} | {traffic.sent} B | {traffic.received} B"
        print(f"| {name} | {wall * 1000:.0f} ms | {wall / bare:.2f} | {cpu * 1000:.0f} ms | {rss:.0f} MB | {seen} |")
    print()


if __name__ == "__main__":
    main()
