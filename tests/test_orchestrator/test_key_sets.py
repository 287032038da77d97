"""Changing the keys that agents believe, and tasks that were signed on another machine."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path

import msgspec
import pytest

from letsbe.agent import identity
from letsbe.orchestrator import key_sets, keyring, signing, submission
from letsbe.protocol import MAX_KEYS, new_id
from tests.agents import Agent
from tests.orchestrator_fixture import Orchestrator
from tests.test_agent.conftest import agent_id, connect
from tests.test_orchestrator.fake_agent import add_agent, registered


def told(orchestrator: Orchestrator, *words: str) -> dict[str, object]:
    done = orchestrator.run(*words, "--output", "json")
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def new_key(directory: Path, name: str = "admin.key") -> tuple[Path, str]:
    """A private key in a file, and its public half."""
    path = directory / name
    path.write_bytes(signing.new_key())
    path.chmod(0o600)
    return path, signing.public_text(signing.load_key(str(path)))


def echoed(orchestrator: Orchestrator, agent: Agent) -> str:
    """What becomes of an ECHO that is submitted now."""
    task = orchestrator.submit("ECHO", agent=agent_id(agent))
    assert agent.cli("poll").returncode == 0
    return (orchestrator.outcome(task) or {"status": "lost"})["status"]


def test_the_fleet_goes_over_to_another_key_and_one_that_was_away_follows(
    orchestrator: Orchestrator, tmp_path: Path
) -> None:
    agents = []
    for name in ("present", "away"):
        (tmp_path / name).mkdir()
        agents.append(Agent(tmp_path / name))
        connect(agents[-1], orchestrator)
        agents[-1].cli("poll")
    present, away = agents
    before = Path(orchestrator.home.signing_key).read_bytes()
    assert list(told(orchestrator, "keys", "rotate")["keys"]) == ["main", "main-1"]  # type: ignore[call-overload]
    assert Path(orchestrator.home.signing_key).read_bytes() != before
    assert echoed(orchestrator, present) == "succeeded"
    assert told(orchestrator, "keys", "retire", "main")["version"] == 2
    assert {file.name for file in orchestrator.path.glob("signing*")} == {"signing.key", "signing.pub"}
    listed = told(orchestrator, "keys", "list")
    assert (listed["agents"], listed["behind"]) == ({"followed": 0, "own": 0}, 2)
    for agent in agents:
        assert echoed(orchestrator, agent) == "succeeded"
        me = identity.load(str(agent.state_dir))
        assert me is not None
        assert (list(me.trusted_keys), me.key_set_version) == (["main-1"], 2)
        agent.cli("poll")
    assert told(orchestrator, "keys", "list")["agents"] == {"followed": 2, "own": 0}
    assert away.json("status")["key_set_version"] == 2
    fresh = registered(orchestrator, "web-9")
    answer = fresh.register(orchestrator.enrol()).json()
    assert (list(answer["trusted_keys"]), answer["key_set_version"]) == (["main-1"], 2)


def test_while_two_keys_are_trusted_both_sign(home: Orchestrator) -> None:
    first = home.home.public_key()
    told(home, "keys", "rotate")
    with home.store.read() as connection:
        trusted = key_sets.current(connection, home.home.public_key()).keys
    keys = keyring.signing_keys(home.home, trusted.values())
    assert {signing.public_text(key) for key in keys} == {first, home.home.public_key()}


def test_a_home_from_before_its_key_was_retired_queues_nothing(home: Orchestrator) -> None:
    agent = add_agent(home)
    files = ("signing.key", "signing.pub")
    before = {name: (home.path / name).read_bytes() for name in files}
    told(home, "keys", "rotate")
    after = {name: (home.path / name).read_bytes() for name in files}
    told(home, "keys", "retire", "main")
    put_back(home, before)
    refused = home.run("submit", "ECHO", "{}", "--agent", agent)
    assert refused.returncode == 1
    assert "no private key here is in key set 2 (main-1)" in refused.stderr
    assert home.run("tasks", "--output", "text").stdout.strip() == "No tasks."
    put_back(home, after)
    assert home.run("submit", "ECHO", "{}", "--agent", agent).returncode == 0


def put_back(home: Orchestrator, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (home.path / name).write_bytes(content)


@pytest.mark.parametrize("crash", ["the key set is there", "the old key is kept", "the public key is told"])
def test_a_rotation_that_was_cut_off_is_completed(
    home: Orchestrator, monkeypatch: pytest.MonkeyPatch, crash: str
) -> None:
    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if crash == "the key set is there":
            patch.setattr(keyring, "_older", cut)
        else:
            replace = keyring.files.replace
            stop_at = home.home.signing_public_key if crash == "the old key is kept" else home.home.signing_key
            patch.setattr(keyring.files, "replace", lambda path, new: cut() if path == stop_at else replace(path, new))
        with pytest.raises(KeyboardInterrupt):
            keyring.rotate(home.home, home.store, 0.0)
    found = keyring.rotate(home.home, home.store, 0.0)
    assert (found.version, list(found.keys)) == (1, ["main", "main-1"])
    assert home.home.public_key() == signing.public_text(signing.load_key(home.home.signing_key))
    assert found.keys["main-1"].public_key == home.home.public_key()
    assert len(keyring.signing_keys(home.home, found.keys.values())) == 2
    assert not list(home.path.glob("*.next"))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["retire", "main"], "the key that signs tasks now"),
        (["retire", "nobody"], "no key 'nobody'"),
        (["add", "main", "--public-key", "A" * 43 + "="], "is there already"),
        (["add", "bad name", "--public-key", "A" * 43 + "="], "no name for a key"),
        (["add", "admin", "--public-key", "short"], "not base64 of a 32-byte"),
    ],
    ids=["the one that signs", "unknown", "taken", "no name", "no key"],
)
def test_changes_that_are_refused(home: Orchestrator, words: list[str], reason: str) -> None:
    done = home.run("keys", *words)
    assert done.returncode == 2
    assert reason in done.stderr
    assert told(home, "keys", "list")["version"] == 0


def test_a_key_set_that_no_agent_would_take_is_not_made(home: Orchestrator) -> None:
    for _ in range(MAX_KEYS - 1):
        keyring.rotate(home.home, home.store, 0.0)
    refused = home.run("keys", "rotate")
    assert (refused.returncode, "at most 20 keys" in refused.stderr.lower()) == (2, True), refused.stderr
    assert len(told(home, "keys", "list")["keys"]) == MAX_KEYS  # type: ignore[arg-type]
    told(home, "keys", "retire", "main")
    assert list(told(home, "keys", "rotate")["keys"])[-1] == f"main-{MAX_KEYS + 1}"  # type: ignore[call-overload]


def test_a_path_that_is_no_text_is_refused(home: Orchestrator) -> None:
    refused = home.run("keys", "add", "reader", "--public-key", "A" * 43 + "=", "--path", os.fsdecode(b"/srv/\xff"))
    assert (refused.returncode, "surrogates" in refused.stderr) == (2, True), refused.stderr
    assert told(home, "keys", "list")["version"] == 0


def test_a_rotation_leaves_a_key_with_the_name_of_its_own_alone(home: Orchestrator) -> None:
    public = "A" * 43 + "="
    told(home, "keys", "add", "main-2", "--public-key", public, "--executor", "ECHO")
    found = keyring.rotate(home.home, home.store, 0.0)
    assert list(found.keys) == ["main", "main-2", "main-3"]
    assert found.keys["main-2"].public_key == public
    assert found.keys["main-3"].public_key == home.home.public_key()


def test_a_key_with_fewer_rights_can_not_change_the_keys(home: Orchestrator, tmp_path: Path) -> None:
    path, public = new_key(tmp_path)
    told(home, "keys", "add", "reader", "--public-key", public, "--executor", "ECHO", "--path", "/opt/letsbe/a")
    refused = home.run("keys", "add", "mine", "--public-key", "A" * 43 + "=", "--key", str(path))
    assert refused.returncode == 1
    assert "no private key is here that agents believe" in refused.stderr
    done = home.run("keys", "list", "--output", "text")
    assert "/opt/letsbe/a" in done.stdout
    assert "key set 1: 0 agents have it" in done.stdout


def test_a_task_is_signed_on_a_machine_without_home_or_database(orchestrator: Orchestrator, tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    connect(agent, orchestrator)
    agent.cli("poll")
    path, public = new_key(tmp_path)
    told(orchestrator, "keys", "add", "offline", "--public-key", public, "--executor", "ECHO")
    orchestrator.run("keys", "rotate")
    bare = {"LETSBE_ORCHESTRATOR_HOME": str(tmp_path / "nowhere")}
    words = ["sign", "ECHO", '{"message": "hi"}', "--agent-id", agent_id(agent), "--key", str(path)]
    made = orchestrator.run(*words, env=bare)
    assert made.returncode == 0, made.stderr
    envelope = json.loads(made.stdout)
    (orchestrator.path / "signing.key").rename(tmp_path / "elsewhere")
    (submitted,) = orchestrator.run("submit", "--envelope", "-", stdin=made.stdout).stdout.split()
    assert agent.cli("poll").returncode == 0
    assert (orchestrator.outcome(submitted) or {})["data"]["message"] == "hi"
    again = orchestrator.run("submit", "--envelope", "-", stdin=made.stdout)
    assert (again.returncode, "was submitted before" in again.stderr) == (1, True)
    changed = {**envelope, "payload": base64.b64encode(base64.b64decode(envelope["payload"]) + b" ").decode()}
    for bad, reason, code in (
        (changed, "no signature of a trusted key", 4),
        ({**envelope, "payload": "%"}, "not base64", 1),
        ({"payload": 1}, "Expected `str`", 1),
        ([], "Expected `object`", 1),
    ):
        refused = orchestrator.run("submit", "--envelope", "-", stdin=json.dumps(bad))
        assert (refused.returncode, reason in refused.stderr) == (code, True), refused.stderr


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"type": "E" * 65}, "is no task type"),
        ({"type": "ECHO\0"}, "is no task type"),
        ({"requested_by": "al\0ice"}, "the name of who asks"),
        ({"requested_by": "alice\x1b[2J"}, "the name of who asks"),
    ],
    ids=["long type", "type with NUL", "name with NUL", "name that commands a terminal"],
)
def test_an_envelope_is_asked_what_any_submission_is(
    home: Orchestrator, tmp_path: Path, changes: dict[str, str], reason: str
) -> None:
    path, public = new_key(tmp_path)
    order = {"type": "ECHO", "payload": {}, "agent": None, "expires_at": time.time() + 60}
    key = signing.load_key(str(path))
    task, _ = submission.signed(submission.Order(**order), add_agent(home), 1, [key])  # type: ignore[arg-type]
    envelope = signing.sign(msgspec.structs.replace(task, **changes), [key])
    words = ["submit", "--envelope", "-", "--public-key", public]
    refused = home.run(*words, stdin=msgspec.json.encode(envelope).decode())
    assert (refused.returncode, reason in refused.stderr) == (2, True), refused.stderr


def test_an_envelope_of_a_key_that_only_the_host_trusts_needs_its_public_half(
    home: Orchestrator, tmp_path: Path
) -> None:
    path, public = new_key(tmp_path)
    made = home.run("sign", "ECHO", "{}", "--agent-id", new_id(), "--key", str(path))
    assert "no signature of a trusted key" in home.run("submit", "--envelope", "-", stdin=made.stdout).stderr
    add_agent(home, json.loads(base64.b64decode(json.loads(made.stdout)["payload"]))["agent_id"])
    taken = home.run("submit", "--envelope", "-", "--public-key", public, stdin=made.stdout)
    assert "no agent" in taken.stderr  # the signature is right; there is none with this id, only with such a host name
