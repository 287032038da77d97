"""What docker compose and bash themselves read from an env file."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

CLEAN = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}


def compose_config(directory: Path) -> dict[str, dict[str, str | None]] | str:
    """Service -> environment as compose resolves it; what it wrote to standard error when it refuses."""
    argv = ["docker", "compose", "config", "--format", "json"]
    done = subprocess.run(argv, cwd=directory, env=CLEAN, capture_output=True, timeout=60)
    if done.returncode:
        return done.stderr.decode(errors="replace")
    services = json.loads(done.stdout)["services"]
    return {
        name: {key: value and value.replace("$$", "$") for key, value in (service.get("environment") or {}).items()}
        for name, service in services.items()
    }


def compose_reads_files(directory: Path, contents: Sequence[bytes]) -> list[dict[str, str]] | str:
    """What compose reads from each of many env files named by ``env_file``, in one call."""
    lines = ["services:"]
    for number, content in enumerate(contents):
        (directory / f"{number}.env").write_bytes(content)
        lines += [f"  s{number}:", "    image: x", f"    env_file: [{number}.env]"]
    (directory / "compose.yaml").write_text("\n".join(lines))
    found = compose_config(directory)
    if isinstance(found, str):
        return found
    services = [found[f"s{number}"] for number in range(len(contents))]
    return [{key: value for key, value in one.items() if key and value is not None} for one in services]


def compose_reads(directory: Path, content: bytes, keys: Sequence[str]) -> dict[str, dict[str, str | None]]:
    """The keys as compose reads them from one content: as ``env_file``, and as ``.env`` through ``${KEY}``."""
    (directory / ".env").write_bytes(content)
    (directory / "app.env").write_bytes(content)
    lines = ["services:", "  env_file:", "    image: x", "    env_file: [app.env]", "  dot_env:", "    image: x"]
    lines += ["    environment:", *(f"      {key}: ${{{key}}}" for key in keys)]
    (directory / "compose.yaml").write_text("\n".join(lines))
    found = compose_config(directory)
    assert not isinstance(found, str), found
    return found


def bash_reads(directory: Path, content: bytes, keys: Sequence[str]) -> Mapping[str, str]:
    """The keys after ``set -a; . ./file`` in bash."""
    (directory / "bash.env").write_bytes(content)
    script = 'set -a; . ./bash.env; for key in "$@"; do printf "%s\\0" "${!key}"; done'
    argv = ["bash", "--norc", "--noprofile", "-c", script, "bash", *keys]
    done = subprocess.run(argv, cwd=directory, env=CLEAN, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    return dict(zip(keys, done.stdout.decode("utf-8").split("\0")[:-1], strict=True))
