"""What the one file is made of and what a start of it touches."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

#: Libraries that would cost `echo` more than it does itself.
HEAVY = ("requests", "urllib3", "docker", "cryptography", "rich", "yaml", "sqlite3", "ssl", "asyncio", "structlog")

#: All that a start unpacks, by the beginning of its name: the marker, the interpreter and its libraries, and the
#: extension modules of `echo` where the interpreter has them not built in.
HOT = (
    *(".letsbe", "base_library.zip", "libpython3", "libexpat", "libmpdec", "libuuid", "_core", "_contextvars"),
    *("_datetime", "_decimal", "_heapq", "_opcode", "fcntl", "_typing", "_uuid", "_struct", "zlib", "math"),
)


class Entry(NamedTuple):
    """An entry of the archive, as its table of contents has it."""

    name: str
    kind: str
    stored: int
    size: int
    compressed: bool


def entries(binary: Path) -> Iterator[Entry]:
    """The archive's table of contents, read from the format's description rather than by the agent's own reader."""
    content = binary.read_bytes()
    cookie = content.rindex(b"MEI\x0c\x0b\x0a\x0b\x0e")
    length, toc_offset, toc_length = struct.unpack_from("!III", content, cookie + 8)
    start = cookie + 88 - length
    toc = content[start + toc_offset :][:toc_length]
    while toc:
        size, _, stored, full, compressed, kind = struct.unpack_from("!IIIIBc", toc)
        yield Entry(toc[18:size].rstrip(b"\0").decode(), kind.decode(), stored, full, bool(compressed))
        toc = toc[size:]


def run_probe(probe: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([probe, *arguments], capture_output=True, text=True, timeout=120, **options)


def test_entries_are_stored(letsbe_binary: Path) -> None:
    found = list(entries(letsbe_binary))
    assert len(found) > 30
    assert [entry.name for entry in found if entry.compressed or entry.stored != entry.size] == []


def test_only_what_echo_needs_is_unpacked_at_a_start(letsbe_binary: Path) -> None:
    unpacked = [entry for entry in entries(letsbe_binary) if entry.kind in "bxZn"]
    names = [os.path.basename(entry.name) for entry in unpacked]
    assert [name for name in names if not name.startswith(HOT)] == []
    assert sum(entry.size for entry in unpacked) < 11_000_000
    assert unpacked[0].name == ".letsbe", "the marker comes first, so that a killed start is recognised"


def test_the_orchestrator_and_certificates_are_not_packed(letsbe_binary: Path, probe: Path) -> None:
    assert not [entry.name for entry in entries(letsbe_binary) if entry.name.endswith(".pem")]
    content = letsbe_binary.read_bytes()
    assert b"letsbe.agent.runner" in content
    assert b"letsbe.orchestrator.app" not in content
    assert json.loads(run_probe(probe, "certificates").stdout) == "/etc/ssl/certs/ca-certificates.crt"


def test_echo_loads_and_unpacks_nothing_heavy(probe: Path) -> None:
    done = run_probe(probe, "modules", "echo", '{"message": "hi"}')
    assert json.loads(done.stdout)["data"]["message"] == "hi"
    seen = json.loads(done.stderr)
    assert sorted({name.partition(".")[0] for name in seen["modules"]} & set(HEAVY)) == []
    unpacked = {entry.name for entry in entries(probe) if entry.kind in "bxZn"}
    assert set(seen["files"]) == unpacked, "echo imported a cold module: name it in letsbe.spec's HOT"


def test_everything_packed_can_be_imported(probe: Path) -> None:
    assert json.loads(run_probe(probe, "import").stdout) == {}


def test_a_cold_driver_is_not_unpacked_at_a_start_and_unpacks_whole(
    probe: Path, pack_probe: Callable[..., Path], driver: Path, tmp_path: Path
) -> None:
    with_driver = pack_probe(driver)
    assert with_driver.stat().st_size - probe.stat().st_size >= driver.stat().st_size
    assert files_at_a_start(with_driver) == files_at_a_start(probe)

    target = tmp_path / "driver"
    assert run_probe(with_driver, "unpack", driver.name, str(target)).returncode == 0
    assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(driver.read_bytes()).digest()


def files_at_a_start(binary: Path) -> list[str]:
    """What a run of echo finds in its unpack directory."""
    found: list[str] = json.loads(run_probe(binary, "modules", "echo", "{}").stderr)["files"]
    return found


def test_checksums_are_those_of_the_files(letsbe_binary: Path) -> None:
    checked = subprocess.run(
        ["sha256sum", "--check", "SHA256SUMS"], cwd=letsbe_binary.parent, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    assert sorted(line.split(":")[0] for line in checked.stdout.splitlines()) == ["letsbe", "letsbe.cdx.json"]


def test_the_list_of_components_is_valid_and_names_what_is_inside(letsbe_binary: Path) -> None:
    text = (letsbe_binary.parent / "letsbe.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    digest = document["metadata"]["component"]["hashes"][0]["content"]
    assert digest == hashlib.sha256(letsbe_binary.read_bytes()).hexdigest()
    names = {component["name"].lower() for component in document["components"]}
    assert {"python", "click", "msgspec", "requests", "urllib3", "cryptography", "pyyaml", "pyinstaller"} <= names
    assert not names & {"pytest", "ruff", "mypy", "litestar", "sqlalchemy", "pip", "pyinstaller-hooks-contrib"}
    rust = next(entry for entry in document["components"] if entry["name"] == "cryptography")
    assert rust["components"], "the crates that cryptography's wheel is linked with"


@pytest.mark.parametrize("given", [None, "/opt/lib:/opt/lib64"])
def test_a_program_started_by_shell_has_the_callers_library_path(
    given: str | None, letsbe_binary: Path, tmp_path: Path
) -> None:
    config = tmp_path / "letsbe.yml"
    config.write_text(
        f"state_dir: {tmp_path}/state\nroots: [{tmp_path}]\nlog: {{file: {tmp_path}/letsbe.log}}\n"
        "shell: {allow: [{program: /usr/bin/env, args: []}]}\n"
    )
    config.chmod(0o600)
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)} | ({"LD_LIBRARY_PATH": given} if given else {})
    command: list[str | Path] = [letsbe_binary, "shell", "--config", config, '{"argv": ["/usr/bin/env"]}']
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    seen = dict(line.split("=", 1) for line in json.loads(done.stdout)["data"]["stdout"].splitlines())
    assert "_MEI" not in json.dumps(seen)
    assert not [name for name in seen if name.startswith("_PYI")]
    assert seen.get("LD_LIBRARY_PATH") in {None, given}


@pytest.mark.parametrize(
    ("words", "code"),
    [(["--version"], 0), (["no-such-command"], 2), (["echo", "{"], 2), (["echo", '{"mesage": ""}'], 2)],
    ids=["good", "bad usage", "bad JSON", "bad payload"],
)
def test_exit_codes_pass_through_both_processes(words: list[str], code: int, letsbe_binary: Path) -> None:
    assert subprocess.run([letsbe_binary, *words], capture_output=True).returncode == code


@pytest.mark.parametrize(("code", "status"), [("0", 0), ("7", 7), ("a sentence", 1)])
def test_leaving_runs_what_waits_for_the_end(code: str, status: int, probe: Path) -> None:
    done = run_probe(probe, "leave", code)
    assert sorted(done.stdout.splitlines()) == ["exit function", "main", "thread"]
    assert done.stderr.splitlines() == ([code] if status == 1 else [])
    assert done.returncode == status


def test_output_that_is_lost_is_no_success(letsbe_binary: Path) -> None:
    with open("/dev/full", "w") as full:
        assert subprocess.run([letsbe_binary, "echo", "{}"], stdout=full, stderr=subprocess.PIPE).returncode != 0
