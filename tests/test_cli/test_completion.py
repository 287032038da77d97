from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from letsbe.cli.main import COMMANDS, command_name
from letsbe.executors import EXECUTOR_REGISTRY
from tests.agents import Agent, program

NAMES = {*COMMANDS, *map(command_name, EXECUTOR_REGISTRY)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A directory for PATH with `letsbe` in it."""
    directory = tmp_path / "bin"
    directory.mkdir()
    script = directory / "letsbe"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(program())} "$@"\n')
    script.chmod(0o755)
    return directory


def complete_in_bash(path: Path, *words: str) -> set[str]:
    """What bash offers after the script was sourced, with the cursor at the end of the last word."""
    line = " ".join(map(shlex.quote, words))
    script = f"""
        source <(letsbe completion bash) || exit 1
        COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}
        _letsbe_completion letsbe
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environment = {"PATH": f"{path}:/usr/bin:/bin"}
    done = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, timeout=60, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        pytest.param(["letsbe", ""], NAMES, id="commands"),
        pytest.param(["letsbe", "uni"], {"uninstall"}, id="beginning-of-a-command"),
        pytest.param(["letsbe", "install", "--user", ""], {"root", "letsbe"}, id="values"),
        pytest.param(["letsbe", "uninstall", "--pu"], {"--purge"}, id="option"),
        pytest.param(["letsbe", "echo", "--mess"], {"--message"}, id="option-of-an-executor"),
        pytest.param(["letsbe", "completion", ""], {"bash", "zsh", "fish"}, id="shells"),
    ],
)
def test_bash_completes(words: list[str], offered: set[str], path: Path) -> None:
    assert complete_in_bash(path, *words) == offered


@pytest.mark.parametrize(
    ("shell", "word"), [("bash", "complete -o nosort"), ("zsh", "#compdef letsbe"), ("fish", "complete --no-files")]
)
def test_scripts_call_letsbe_back(shell: str, word: str, agent: Agent) -> None:
    done = agent.cli("completion", shell)
    assert done.returncode == 0
    assert word in done.stdout.decode()
    assert f"_LETSBE_COMPLETE={shell}_complete" in done.stdout.decode()
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("shell", "variables", "expected"),
    [
        ("zsh", {"COMP_WORDS": "letsbe uninst", "COMP_CWORD": "1"}, "uninstall"),
        ("fish", {"COMP_WORDS": "letsbe uninst", "COMP_CWORD": "uninst"}, "uninstall"),
    ],
)
def test_zsh_and_fish_get_names_with_their_help(
    shell: str, variables: dict[str, str], expected: str, agent: Agent
) -> None:
    done = agent.cli(env={"_LETSBE_COMPLETE": f"{shell}_complete", **variables})
    assert done.returncode == 0
    text = done.stdout.decode()
    assert expected in text
    assert COMMANDS[expected][1].split(":")[0].rstrip(".") in text


def test_unknown_shell_is_bad_usage(agent: Agent) -> None:
    done = agent.cli("completion", "tcsh")
    assert done.returncode == 2
    assert b"'tcsh'" in done.stderr


def test_an_ordinary_start_does_not_pay_for_completion() -> None:
    code = (
        "import sys; sys.argv = ['letsbe', 'echo', '{}']\n"
        "from letsbe.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: print([name for name in sys.modules if 'shell_completion' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_completing_a_name_loads_no_command(agent: Agent) -> None:
    code = (
        "import os, sys; sys.argv = ['letsbe']\n"
        "from letsbe.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: print([name for name in sys.modules if name.startswith('letsbe.cli.')])"
    )
    environment = {"_LETSBE_COMPLETE": "bash_complete", "COMP_WORDS": "letsbe ", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True,
        env=agent.environment(environment),
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "['letsbe.cli.main']"
