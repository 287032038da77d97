"""An idle poll: wall clock, CPU, memory, requests and bytes, beside a bare Python that makes one TLS request."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from letsbe.agent import identity
from tests.bench.counting_proxy import CountingProxy, Traffic
from tests.orchestrator_fixture import Orchestrator

ROOT = Path(__file__).resolve().parents[2]
BINARY_PYTHON = ROOT / "build" / ".venv-binary" / "bin" / "python"

#: The same question with the same answer, and nothing around it.
BARE = """
import sys, requests
url, ca_file, token = sys.argv[1:]
headers = {"Authorization": "Bearer " + token}
requests.post(url, json={"version": "0"}, headers=headers, verify=ca_file, timeout=10).raise_for_status()
"""


class Cost(NamedTuple):
    """What one run of a command took."""

    wall_s: float
    cpu_s: float
    rss_mb: float  # of its largest process


#: Starts the command from a small process: the peak memory that the kernel reports for a child counts from its fork.
LAUNCHER = """
import os, sys, time
start = time.perf_counter()
null = os.open(os.devnull, os.O_RDONLY)
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, null, 0)])
_, status, usage = os.wait4(pid, 0)
print(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, status)
"""


def cost(command: Sequence[str | Path], env: dict[str, str]) -> Cost:
    """Run a command to its good end."""
    launch: list[str | Path] = [BINARY_PYTHON, "-I", "-S", "-c", LAUNCHER, *command]
    output = subprocess.check_output(launch, env=env, text=True, timeout=60)
    wall, cpu, rss, status = map(float, output.split()[-4:])
    assert status == 0, output
    return Cost(wall, cpu, rss)


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


def measure(directory: Path, rounds: int = 25) -> list[tuple[str, list[Cost], Traffic]]:
    """The costs of each contender, run in turn so that what else the machine does falls on all; bare Python is last."""
    orchestrator = Orchestrator(directory / "orchestrator")
    orchestrator.start()
    try:
        with CountingProxy(int(orchestrator.url.rpartition(":")[2])) as proxy:
            config = configure(directory, orchestrator, proxy.url)
            env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(directory)}
            cost([ROOT / "dist" / "letsbe", "poll", "--config", config], env)  # registers
            me = identity.load(str(directory / "state"))
            assert me is not None
            question = f"{proxy.url}/api/v1/agents/{me.agent_id}/poll"
            contenders: dict[str, list[str | Path]] = {
                "idle poll, the built file": [ROOT / "dist" / "letsbe", "poll", "--config", config],
                "idle poll, `python -m letsbe`": [BINARY_PYTHON, "-m", "letsbe", "poll", "--config", config],
                "bare Python: import requests, one TLS request": [
                    *(BINARY_PYTHON, "-c", BARE, question, str(orchestrator.ca_file), me.agent_token or ""),
                ],
            }
            for command in contenders.values():
                cost(command, env)  # warms the caches
            costs: dict[str, list[Cost]] = {name: [] for name in contenders}
            traffic: dict[str, Traffic] = {}
            for _ in range(rounds):
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
