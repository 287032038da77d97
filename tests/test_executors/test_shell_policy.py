"""What SHELL refuses, tried for real: had anything run, a canary would be there."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from letsbe.agent.config import parse
from letsbe.errors import LetsbeError
from letsbe.protocol import Outcome
from tests.agents import Agent
from tests.test_executors.hostile_commands import hostile

TAIL = os.path.realpath("/usr/bin/tail")
SH = os.path.realpath("/bin/sh")

COUNT = len(hostile("", ""))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Agent:
    """An agent with one rule, and a root full of traps."""
    agent = Agent(tmp_path_factory.mktemp("guarded"))
    rule = {"program": TAIL, "args": ["-n", "<int>", "<path>"], "changes": False}
    agent.configure(shell={"allow": [rule]})
    root = agent.root
    (root / "notes.txt").write_text("one\n")
    fake = root / "uptime"
    fake.write_text(f"#!/bin/sh\ntouch {agent.base}/canary\n")
    fake.chmod(0o755)
    (root / "way-out").symlink_to("/etc/shadow")
    (root / "dir-out").symlink_to("/etc")
    os.mkfifo(root / "pipe")
    outside = agent.base / "outside.txt"
    outside.write_text("outside\n")
    os.link(outside, root / "hard-link")
    assert agent.run("SHELL", {"argv": ["tail", "-n", "5", f"{root}/notes.txt"]}).data["stdout"] == "one\n"
    return agent


def refusal(outcome: Outcome) -> str:
    """The error's code; nothing ran."""
    assert not outcome.success
    assert outcome.error is not None
    assert outcome.error.hint
    assert not outcome.changed
    assert not outcome.data
    return outcome.error.code


@pytest.mark.parametrize("number", range(COUNT))
def test_nothing_runs_that_policy_does_not_allow(number: int, guarded: Agent) -> None:
    canary = guarded.base / "canary"
    argv = hostile(str(canary), str(guarded.root))[number]
    outcome = guarded.run("SHELL", {"argv": argv})
    assert refusal(outcome) in ("command_refused", "program_missing", "path_refused", "file_not_found"), argv
    assert not canary.exists(), argv
    assert "root:" not in str(outcome)


def test_the_table_is_long_enough() -> None:
    assert COUNT >= 150


def test_refusal_is_told_on_the_command_line(guarded: Agent) -> None:
    done = guarded.cli("shell", json.dumps({"argv": ["sh", "-c", f"touch {guarded.base}/canary"]}))
    assert done.returncode == 4
    outcome = json.loads(done.stdout)
    assert outcome["status"] == "refused"
    assert outcome["error"]["code"] == "command_refused"
    assert not (guarded.base / "canary").exists()


@pytest.fixture
def programs() -> Iterator[Path]:
    """A directory for programs that only root can change, unlike one below /tmp or a root."""
    directory = Path("/usr/local/lib") / f"letsbe-test-{os.getpid()}"
    directory.mkdir(mode=0o755)
    yield directory
    subprocess.run(["rm", "-r", directory], check=True)


def executable(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def allowed(agent: Agent, *rules: dict[str, Any], **payload: Any) -> Outcome:
    agent.configure(shell={"allow": list(rules)})
    return agent.run("SHELL", payload)


def test_another_name_of_an_allowed_program_is_the_same_program(agent: Agent, programs: Path) -> None:
    report = executable(programs / "report", "echo I am $0")
    (programs / "link").symlink_to(report)
    by_link = allowed(agent, {"program": str(report)}, argv=[str(programs / "link")])
    assert by_link.data["stdout"] == f"I am {report}\n"
    by_rule = allowed(agent, {"program": str(programs / "link")}, argv=[str(programs / "link")])
    assert by_rule.data["stdout"] == f"I am {programs}/link\n"


def test_program_that_acts_by_its_name_acts_by_the_name_in_the_rule(agent: Agent, programs: Path) -> None:
    many = executable(programs / "many", "echo I am $0")
    for name in ("list", "wipe"):
        (programs / name).symlink_to(many)
    rule = {"program": str(programs / "list")}
    assert allowed(agent, rule, argv=[str(programs / "list")]).data["stdout"] == f"I am {programs}/list\n"
    for name in ("wipe", "many"):
        assert refusal(allowed(agent, rule, argv=[str(programs / name)])) == "command_refused"


def test_symlink_to_an_interpreter_takes_no_placeholder(agent: Agent, programs: Path) -> None:
    (programs / "report").symlink_to(SH)
    (agent.root / "script").write_text(f"touch {agent.base}/canary\n")
    rule = {"program": str(programs / "report"), "args": ["<path>"]}
    outcome = allowed(agent, rule, argv=[str(programs / "report"), f"{agent.root}/script"])
    assert refusal(outcome) == "command_refused"
    assert outcome.error is not None
    assert "can start others" in outcome.error.message
    assert not (agent.base / "canary").exists()


def test_program_that_tasks_can_write_is_refused(agent: Agent) -> None:
    own = executable(agent.root / "script", f"touch {agent.base}/canary")
    outcome = allowed(agent, {"program": str(own)}, argv=[str(own)])
    assert refusal(outcome) == "command_refused"
    assert outcome.error is not None
    assert "below an allowed root" in outcome.error.message
    assert not (agent.base / "canary").exists()


@pytest.mark.parametrize("who", ["others", "their-directory", "owner"])
def test_program_that_others_can_change_is_refused(who: str, agent: Agent, programs: Path) -> None:
    own = executable(programs / "script", f"touch {agent.base}/canary")
    if who == "others":
        own.chmod(0o757)
    elif who == "owner":
        os.chown(own, 65534, 0)
    else:
        programs.chmod(0o777)
    outcome = allowed(agent, {"program": str(own)}, argv=[str(own)])
    assert refusal(outcome) == "command_refused"
    assert outcome.error is not None
    assert "others than root" in outcome.error.message
    assert not (agent.base / "canary").exists()


def test_path_that_is_exchanged_meanwhile_does_not_lead_out(agent: Agent) -> None:
    """As somebody would do who can write below the root: a file that is now and then a link to a secret."""
    secret = agent.base / "secret.txt"
    secret.write_text("outside the root\n")
    notes = agent.root / "notes.txt"
    notes.write_text("inside\n")
    rule = {"program": TAIL, "args": ["-n", "<int>", "<path>"], "changes": False}
    agent.configure(shell={"allow": [rule]})
    done = threading.Event()

    def exchange() -> None:
        for name, make in (
            ("link", lambda path: path.symlink_to(secret)),
            ("file", lambda path: path.write_text("inside\n")),
        ):
            make(agent.base / name)
        link, file = agent.root / "link", agent.root / "file"
        while not done.is_set():
            link.symlink_to(secret)
            link.rename(notes)
            file.write_text("inside\n")
            file.rename(notes)

    exchanger = threading.Thread(target=exchange)
    exchanger.start()
    read = 0
    try:
        for _ in range(150):
            outcome = agent.run("SHELL", {"argv": ["tail", "-n", "1", str(notes)]})
            assert "outside" not in str(outcome.data)
            assert outcome.success or (outcome.error is not None and outcome.error.code == "path_refused")
            read += outcome.success
    finally:
        done.set()
        exchanger.join()
    assert read > 5, "some saw the file"


def test_paths_reach_the_program_and_come_back_under_their_names(agent: Agent) -> None:
    (agent.root / "notes.txt").write_text("one\ntwo\n")
    (agent.root / "sub").mkdir()
    (agent.root / "sub" / "inner").write_text("x")
    wc = {"program": os.path.realpath("/usr/bin/wc"), "args": ["-l", "<path>..."], "changes": False}
    done = allowed(agent, wc, argv=["wc", "-l", f"{agent.root}/notes.txt", f"{agent.root}/sub/inner"])
    assert done.data["stdout"].splitlines() == [f"2 {agent.root}/notes.txt", f"0 {agent.root}/sub/inner", "2 total"]
    assert done.data["argv"][2] == f"{agent.root}/notes.txt"
    ls = {"program": os.path.realpath("/usr/bin/ls"), "args": ["--directory", "<path>"], "changes": False}
    listed = allowed(agent, ls, argv=["ls", "--directory", f"{agent.root}/sub"])
    assert listed.data["stdout"] == f"{agent.root}/sub/\n"
    du = {"program": os.path.realpath("/usr/bin/du"), "args": ["--apparent-size", "-ab", "<path>"], "changes": False}
    sizes = allowed(agent, du, argv=["du", "--apparent-size", "-ab", f"{agent.root}/sub"])
    assert f"1\t{agent.root}/sub/inner" in sizes.data["stdout"]


def test_check_mode_gives_a_reading_command_what_a_step_before_would_write(agent: Agent) -> None:
    wc = {"program": os.path.realpath("/usr/bin/wc"), "args": ["-l", "<path>"], "changes": False}
    agent.configure(shell={"allow": [wc]})
    path = f"{agent.root}/new.txt"
    steps = [
        {"id": "write", "type": "FILE_WRITE", "payload": {"path": path, "content": "1\n2\n3\n"}},
        {"id": "count", "type": "SHELL", "payload": {"argv": ["wc", "-l", path]}},
    ]
    outcome = agent.run("COMPOSITE", {"steps": steps}, check=True)
    assert outcome.success, outcome.error
    assert outcome.data["steps"][1]["outcome"]["data"]["stdout"] == f"3 {path}\n"
    assert not os.path.exists(path)


def test_standard_input_needs_a_rule_that_gives_it(agent: Agent) -> None:
    wc = {"program": os.path.realpath("/usr/bin/wc"), "args": ["-c"]}
    outcome = allowed(agent, wc, argv=["wc", "-c"], stdin="text")
    assert refusal(outcome) == "command_refused"
    assert outcome.error is not None
    assert "stdin: true" in outcome.error.hint


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PATH", "A=B", "", "COLOUR\0", "colour"])
def test_variable_that_no_rule_names_is_refused(name: str, agent: Agent) -> None:
    rule = {"program": "/usr/bin/env", "env": ["COLOUR"]}
    assert refusal(allowed(agent, rule, argv=["env"], env={name: "x"})) == "command_refused"


def test_variable_with_a_nul_is_refused(agent: Agent) -> None:
    outcome = allowed(agent, {"program": "/usr/bin/env", "env": ["COLOUR"]}, argv=["env"], env={"COLOUR": "a\0b"})
    assert refusal(outcome) == "program_not_started"


@pytest.mark.parametrize(
    "name", ["LD_PRELOAD", "PATH", "BASH_ENV", "PYTHONPATH", "GIT_SSH_COMMAND", "PAGER", "LETSBE_RUN"]
)
def test_variables_that_inject_code_can_not_be_allowed(name: str) -> None:
    source = f"shell: {{allow: [{{program: /usr/bin/df, env: [{name}]}}]}}"
    with pytest.raises(LetsbeError, match="can inject code"):
        parse(source.encode(), "letsbe.yml")


def test_rule_that_can_not_stand_is_told_with_its_line() -> None:
    source = b"shell:\n  allow:\n    - program: /usr/bin/df\n    - program: /usr/bin/find\n      args: [<path>]\n"
    with pytest.raises(LetsbeError) as caught:
        parse(source, "letsbe.yml")
    assert caught.value.code == "invalid_config"
    assert "line 4" in caught.value.message
    assert "can start other programs" in caught.value.message


def test_guards_look_below_the_roots_only(agent: Agent) -> None:
    for guard in ("creates", "removes"):
        outcome = agent.run("SHELL", {"argv": ["uptime"], guard: "/etc/passwd"})
        assert refusal(outcome) == "path_refused"


def test_refused_command_leaves_no_secret(agent: Agent) -> None:
    payload = {"argv": ["mysql", "--password=hunter2-long-one", "--user", "x"]}
    outcome = agent.run("SHELL", payload)
    assert not outcome.success
    refused = agent.run("SHELL", {"argv": ["uptime", "--token", "hunter2-long-one"]})
    assert refusal(refused) == "command_refused"
    steps = [{"id": "a", "type": "SHELL", "payload": {"argv": ["uptime", "--token=hunter2-long-one"]}}]
    chained = agent.run("COMPOSITE", {"steps": steps})
    for seen in (outcome, refused, chained):
        assert "hunter2" not in str(seen)
    stored = b"".join(path.read_bytes() for path in agent.state_dir.glob("state.db*"))
    assert b"SHELL" in stored
    assert b"hunter2" not in stored
