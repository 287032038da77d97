"""Bring up every stack of a directory of compose files, with the test image, and count what STACK_HEALTH says of it.

``python -m tests.bench.untouched_stacks DIRECTORY``: below it, a directory for each stack. What can't be here is put
aside by an override: images and builds, published addresses, names that are unique on the engine, commands.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.agents import Agent
from tests.engine import IMAGE, docker

_PORT = iter(range(31_000, 32_700))


def main() -> None:
    """A line for each stack; exit code 1 when one that runs has drift."""
    found: dict[str, int] = {"no drift": 0, "drift": 0, "does not run here": 0}
    with tempfile.TemporaryDirectory(prefix="lt-untouched-") as base:
        agent = Agent(Path(base))
        for source in sorted(path.parent for path in Path(sys.argv[1]).glob("*/*compose*.y*ml")):
            directory = agent.root / f"lt-{uuid.uuid4().hex[:8]}-{source.name.lower()}"
            shutil.copytree(source, directory, copy_function=shutil.copyfile)
            result, detail = judged(agent, directory)
            found[result] += 1
            print(f"{source.name}: {result}{detail}", flush=True)
    print(", ".join(f"{count} {name}" for name, count in found.items()))
    sys.exit(1 if found["drift"] else 0)


def judged(agent: Agent, directory: Path) -> tuple[str, str]:
    """What became of a stack, and why; it is taken away again."""
    done = _compose(directory, "config", "--format", "json")
    if done.returncode != 0:
        return "does not run here", f" ({done.stderr.strip()[-200:]})"
    model = json.loads(done.stdout)
    (directory / "compose.override.yaml").write_text(override(model, directory))
    for path in _files(model):
        if path.is_relative_to(directory) and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x\n")
    try:
        up = _compose(directory, "up", "-d")
        if up.returncode != 0:
            return "does not run here", f" ({up.stderr.strip()[-200:]})"
        data = agent.run("STACK_HEALTH", {"stack": str(directory)}).data
    finally:
        _compose(directory, "down", "-t", "0", "-v", "--remove-orphans")
    if data["verdict"] == "ok":
        return "no drift", f" ({len(data['running'])} containers)"
    return "drift", f" {data['reasons']} {data['drift']}"


def _files(model: dict[str, Any]) -> Iterator[Path]:
    """The files that a stack takes for granted."""
    for kind in ("secrets", "configs"):
        yield from (Path(one["file"]) for one in (model.get(kind) or {}).values() if "file" in one)
    for service in model["services"].values():
        sources = (Path(one["source"]) for one in service.get("volumes") or [] if one["type"] == "bind")
        yield from (path for path in sources if path.suffix)


def override(model: dict[str, Any], directory: Path) -> str:
    """What makes a stack run with nothing but the test image, touching nothing of the machine, all else as it is."""
    name = directory.name
    lines = [f"name: {name}", "services:"]
    for key, service in model["services"].items():
        lines += [f"  {key}:", f"    image: {IMAGE}", "    build: !reset null", "    platform: !reset null"]
        lines += ["    runtime: !reset null", "    entrypoint: !reset null", '    command: [sleep, "1000"]']
        lines += [f"    container_name: {name}-{key}"] if "container_name" in service else []
        if service.get("user") and not service["user"][0].isdigit():
            lines.append('    user: "5:5"')
        if ports := service.get("ports"):
            lines.append("    ports: !override")
            for one in ports:
                place = f"127.0.0.1:{next(_PORT)}" if "published" in one else "127.0.0.1:"
                lines.append(f"      - '{place}:{one['target']}/{one.get('protocol', 'tcp')}'")
        volumes = service.get("volumes") or []
        outside = [v for v in volumes if v["type"] == "bind" and not Path(v["source"]).is_relative_to(directory)]
        for one in outside:
            one["source"] = f"{directory}/outside{one['source']}"
        lines += [f"    volumes: !override {json.dumps(volumes)}"] if outside else []
        if service.get("healthcheck"):
            lines.append("    healthcheck: {test: [CMD, 'true'], interval: 1s, start_period: 0s}")
    for kind in ("volumes", "networks"):
        names = {k: one for k, one in (model.get(kind) or {}).items() if one and not one["name"].startswith(name)}
        lines += [f"{kind}:"] if names else []
        lines += [f"  {key}: {{name: {name}-{key}}}" for key in names]
    return "\n".join(lines) + "\n"


def _compose(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["docker", "compose", "--ansi", "never", *words]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    docker("image", "inspect", IMAGE)
    main()
