"""ENV_INSPECT, through the runner, on real files; compose is the oracle for what is missing."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest

from letsbe.protocol import Outcome
from tests.agents import Agent, tree
from tests.env_oracles import CLEAN
from tests.stack_trees import plant

SECRET = "q7Rz0vT2mK9xW4bN8cL1"
FILE = f"""\ufeff# settings
export APP_ENV=production # one
DB_PASSWORD='{SECRET}'
EMPTY=
DB_PASSWORD_OLD=changeme
LINES="a
b"
URL=http://u:{SECRET}@$HOST/
APP_ENV = staging
FROM_OUTSIDE
"""


def inspect(agent: Agent, path: str = ".env", **payload: Any) -> Outcome:
    origin = payload.pop("origin", "local")
    return agent.run("ENV_INSPECT", {"path": str(agent.root / path), **payload}, origin=origin)


def found(outcome: Outcome) -> dict[str, Any]:
    assert outcome.error is None, outcome.error
    assert not outcome.changed
    return outcome.data


@pytest.fixture
def env(agent: Agent) -> Agent:
    path = agent.root / ".env"
    path.write_text(FILE)
    path.chmod(0o640)
    return agent


def test_entries_are_what_compose_reads(env: Agent) -> None:
    before = tree(env.root)
    data = found(inspect(env))
    seen = [
        (e["key"], e["line"], e["quoted"], e["inherited"], e["empty"], e["length"], e["value"]) for e in data["entries"]
    ]
    assert seen == [
        ("DB_PASSWORD", 3, True, False, False, 20, None),
        ("EMPTY", 4, False, False, True, 0, ""),
        ("DB_PASSWORD_OLD", 5, False, False, False, 8, None),
        ("LINES", 6, True, False, False, 3, "a\nb"),
        ("URL", 8, False, False, False, 31, None),
        ("APP_ENV", 9, False, False, False, 7, "staging"),
        ("FROM_OUTSIDE", 10, False, True, True, 0, ""),
    ]
    assert data["entries"][4]["refers_to"] == ["HOST"]
    assert data["duplicates"] == [{"key": "APP_ENV", "lines": [2, 9]}]
    assert data["weak"] == [{"key": "DB_PASSWORD_OLD", "line": 5, "reason": "default"}]
    assert data["sha256"] == hashlib.sha256((env.root / ".env").read_bytes()).hexdigest()
    assert (data["perms"], data["owner"]) == ("0640", "root:root")
    assert data["syntax_errors"] == []
    assert tree(env.root) == before


def test_secrets_stay_hidden(env: Agent) -> None:
    assert SECRET not in repr(inspect(env))
    assert "changeme" not in repr(inspect(env))


def test_only_the_keys_that_were_asked_for(env: Agent) -> None:
    data = found(inspect(env, keys=["EMPTY", "NOPE", "LINES"]))
    assert [entry["key"] for entry in data["entries"]] == ["EMPTY", "LINES"]
    assert data["absent"] == ["NOPE"]


def test_policy_decides_on_revealing(env: Agent) -> None:
    refused = inspect(env, reveal=["DB_PASSWORD"], origin="orchestrator")
    assert refused.status == "refused"
    assert refused.error is not None
    assert refused.error.code == "policy_denied"
    assert SECRET not in repr(refused)
    env.configure(policy={"orchestrator": {"reveal": True}})
    data = found(inspect(env, reveal=["DB_PASSWORD"], origin="orchestrator"))
    assert [entry["value"] for entry in data["entries"] if entry["secret"]] == [SECRET, None, None]


def test_a_url_is_revealed_whole(env: Agent) -> None:
    env.configure(policy={"local": {"reveal": True}})
    data = found(inspect(env, keys=["URL"], reveal=["URL"]))
    assert data["entries"][0]["value"] == f"http://u:{SECRET}@/"


def test_digests_compare_values_and_give_nothing_to_guess_by(env: Agent) -> None:
    (env.root / "a.env").write_text("A_KEY=short\nB_KEY=short\nC_KEY=other\n")
    first, second = (
        {entry["key"]: entry["digest"] for entry in found(inspect(env, "a.env"))["entries"]} for _ in range(2)
    )
    assert first["A_KEY"] == first["B_KEY"] != first["C_KEY"]
    assert set(first.values()).isdisjoint(second.values())
    assert hashlib.sha256(b"short").hexdigest()[:12] not in first.values()
    keyed = [found(inspect(env, "a.env", digest_key="0123456789abcdef"))["entries"][0]["digest"] for _ in range(2)]
    assert keyed[0] == keyed[1]
    assert keyed[0] != found(inspect(env, "a.env", digest_key="0123456789abcdeF"))["entries"][0]["digest"]


def test_a_short_digest_key_is_refused(env: Agent) -> None:
    outcome = inspect(env, digest_key="hunter2")
    assert outcome.error is not None
    assert outcome.error.details == {"path": "$.digest_key"}
    assert "hunter2" not in repr(outcome)


def test_syntax_errors_are_all_listed_by_line(env: Agent) -> None:
    (env.root / ".env").write_text(f"A=1\nMY KEY={SECRET}\nB=2\n'C'={SECRET}\nD=\"{SECRET}\n")
    outcome = inspect(env)
    data = found(outcome)
    assert [error["line"] for error in data["syntax_errors"]] == [2, 4, 5]
    assert [entry["key"] for entry in data["entries"]] == ["A", "B"]
    assert SECRET not in repr(outcome)


STACK = """
services:
  web: {image: "x:${TAG:?}", environment: [PASSED, "U=${USER_NAME}"], labels: {a: "${DEFAULTED:-d}", b: "${SET}"}}
  job: {image: "x:${TAG}", command: "$USER_NAME ${PLUS:+x}"}
  other: {image: x, env_file: app.env}
"""


def test_against_compose(agent: Agent) -> None:
    plant(
        agent.root, {"compose.yaml": STACK, ".env": "SET=1\nNOBODY=1\nBASE=b\nDERIVED=$BASE\nCOMPOSE_PROJECT_NAME=p\n"}
    )
    data = found(inspect(agent))
    assert data["missing"] == [
        {"key": "PASSED", "required": False, "services": ["web"]},
        {"key": "TAG", "required": True, "services": ["web", "job"]},
        {"key": "USER_NAME", "required": False, "services": ["web", "job"]},
    ]
    assert data["unused"] == ["NOBODY", "DERIVED"]
    assert data["compared_with"] == [str(agent.root / "compose.yaml")]


def test_what_is_missing_is_what_compose_warns_of(agent: Agent) -> None:
    plant(agent.root, {"compose.yaml": STACK.replace(":?", ""), ".env": "SET=1\n", "app.env": ""})
    argv = ["docker", "compose", "config", "--quiet"]
    done = subprocess.run(argv, cwd=agent.root, env=CLEAN, capture_output=True, check=True, timeout=60)
    warned = {
        name
        for name in ("PASSED", "TAG", "USER_NAME", "DEFAULTED", "SET", "PLUS")
        if f'\\"{name}\\"'.encode() in done.stderr
    }
    missing = {one["key"] for one in found(inspect(agent))["missing"]}
    assert warned == missing - {"PASSED"}  # compose leaves that one out in silence


def test_a_file_that_a_service_reads_whole_has_nothing_missing_or_unused(agent: Agent) -> None:
    plant(agent.root, {"compose.yaml": STACK, "app.env": "ANY=1\n"})
    data = found(inspect(agent, "app.env"))
    assert (data["missing"], data["unused"]) == ([], [])


def test_with_nothing_to_compare_with_it_says_so(agent: Agent) -> None:
    (agent.root / "app.env").write_text("A=1\n")
    for against in ("compose", "example"):
        data = found(inspect(agent, "app.env", against=against))
        assert (data["compared_with"], data["missing"], data["unused"]) == ([], None, None)


@pytest.mark.parametrize(
    ("path", "example"),
    [(".env", ".env.example"), (".env", ".env.sample"), ("app.env", "app.env.dist"), ("app.env", "example.app.env")],
)
def test_against_example(agent: Agent, path: str, example: str) -> None:
    plant(agent.root, {path: "A=1\nB=2\n", example: "B=\nC=\n"})
    data = found(inspect(agent, path, against="example"))
    assert [one["key"] for one in data["missing"]] == ["C"]
    assert data["unused"] == ["A"]
    assert data["compared_with"] == [str(agent.root / example)]


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True)])
def test_secrets_that_everybody_can_read_are_warned_of(env: Agent, mode: int, warned: bool) -> None:
    (env.root / ".env").chmod(mode)
    warnings = inspect(env).warnings
    assert bool(warnings) == warned
    (env.root / ".env").write_text("A=1\n")
    assert inspect(env).warnings == []


def test_much_is_cut_and_said_so(agent: Agent) -> None:
    (agent.root / ".env").write_text("".join(f"K{number}=1\n" for number in range(1001)) + f"A={'x ' * 4000}\n")
    data = found(inspect(agent))
    assert len(data["entries"]) == 1000
    assert data["truncated"]
    (entry,) = found(inspect(agent, keys=["A"]))["entries"]
    assert (len(entry["value"]), entry["value_truncated"], entry["length"]) == (4096, True, 7999)


@pytest.mark.parametrize(
    ("content", "code"), [(None, "file_not_found"), (b"#" * (1024 * 1024 + 1), "file_too_large")], ids=["none", "large"]
)
def test_refused(agent: Agent, content: bytes | None, code: str) -> None:
    if content is not None:
        (agent.root / ".env").write_bytes(content)
    outcome = inspect(agent)
    assert outcome.error is not None
    assert outcome.error.code == code


def test_bytes_that_are_no_utf8_are_shown_replaced(agent: Agent) -> None:
    (agent.root / ".env").write_bytes(b"A=caf\xe9\n")
    done = agent.cli("env-inspect", "--path", str(agent.root / ".env"), "--output", "json")
    assert done.returncode == 0, done.stderr
    assert "caf\\ufffd" in done.stdout.decode() or "caf\ufffd" in done.stdout.decode()


def test_a_mebibyte_of_secrets_is_inspected_in_seconds(agent: Agent, tmp_path: Path) -> None:
    (agent.root / ".env").write_text("".join(f"K{number}_KEY=value-{number:012}\n" for number in range(30_000)))
    outcome = inspect(agent)
    assert found(outcome)["truncated"]
    assert outcome.duration_ms < 15_000
