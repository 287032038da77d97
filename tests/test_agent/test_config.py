from __future__ import annotations

import os
from pathlib import Path

import pytest

from letsbe.agent import config_cache
from letsbe.agent.config import Config, load, parse
from letsbe.errors import LetsbeError
from tests.agents import Agent


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("polll: {}\n", "letsbe.yml, line 1: unknown key polll", "Did you mean poll?"),
        ("roots: [/a]\npoll:\n  splay: 3\n", "line 3: unknown key poll.splay", "Did you mean splay_s?"),
        ("poll:\n  splay_s: soon\n", "line 2: poll.splay_s: Expected `int`", ""),
        ("poll:\n  splay_s: 61\n", "line 2: poll.splay_s", ""),
        ("policy:\n  ssh: {alow: []}\n", "line 2: unknown key policy.ssh.alow", "Did you mean allow?"),
        ("roots: /opt\n", "line 1: roots: Expected `array`", ""),
        ("roots: [opt]\n", "line 1: roots", ""),
        ("roots: [/opt/../etc]\n", "roots: '/opt/../etc' is not a plain directory", ""),
        ("roots: [/]\n", "roots: '/' is not a plain directory", ""),
        ("a: 1\na: 2\n", "line 2: key 'a' stands twice", ""),
        ("log: {level: [}\n", "line 1, column 15: not YAML", ""),
        ("- 1\n", "Expected `object`", ""),
        ("policy: {ssh: {allow: [ECO]}}\n", "policy.ssh.allow names 'ECO', which is no task type", "ECHO"),
        ("orchestrator: {url: 'http://example.org'}\n", "is not encrypted", "https"),
        ("orchestrator: {url: 'ftp://example.org'}\n", "is no https URL", ""),
        ("orchestrator: {url: 'https://u:p@example.org'}\n", "user name or password", ""),
    ],
)
def test_mistakes_are_told_with_their_line(text: str, message: str, hint: str) -> None:
    with pytest.raises(LetsbeError) as raised:
        parse(text.encode(), "letsbe.yml")
    assert raised.value.code == "invalid_config"
    assert message in raised.value.message
    assert hint in raised.value.hint
    assert raised.value.hint


def test_binary_rubbish_is_not_yaml() -> None:
    with pytest.raises(LetsbeError, match="not YAML"):
        parse(b"\xff\xfe\x00", "letsbe.yml")


def test_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "letsbe.yml"
    path.write_text("# nothing\n")
    assert load(str(path)) == Config()


def test_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(LetsbeError, match="no such file"):
        load(str(tmp_path / "none.yml"))


@pytest.mark.parametrize("mode", [0o666, 0o602, 0o620])
def test_file_that_others_can_write_is_refused(agent: Agent, mode: int) -> None:
    agent.config_file.chmod(mode)
    if mode == 0o620:
        os.chown(agent.config_file, 0, 12)
    with pytest.raises(LetsbeError) as raised:
        load(str(agent.config_file))
    assert raised.value.code == "unsafe_permissions"
    assert "chmod go-w" in raised.value.hint


def test_directory_that_others_can_write_is_refused(agent: Agent) -> None:
    agent.base.chmod(0o777)
    with pytest.raises(LetsbeError, match="can be written by others"):
        load(str(agent.config_file))


class TestCache:
    def test_spares_the_parser_and_gives_the_same(self, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
        agent.state_dir.mkdir()
        first = agent.config
        monkeypatch.setattr("letsbe.agent.config.parse", None)  # would raise when called
        assert agent.config == first

    def test_does_not_outlive_a_change(self, agent: Agent) -> None:
        agent.state_dir.mkdir()
        assert agent.config.poll.max_tasks == 10
        agent.configure(poll={"max_tasks": 3})
        assert agent.config.poll.max_tasks == 3

    @pytest.mark.parametrize("spoil", ["mode", "owner", "content"])
    def test_is_not_believed_when_somebody_else_could_have_written_it(self, agent: Agent, spoil: str) -> None:
        agent.state_dir.mkdir()
        source = agent.config_file.read_bytes()
        config_cache.keep(source, Config(roots=["/forged"]))
        cache = agent.state_dir / "config-cache.json"
        assert agent.config.roots == ["/forged"]  # the forgery works while the permissions are right
        if spoil == "mode":
            cache.chmod(0o622)
        elif spoil == "owner":
            os.chown(cache, 12345, -1)
        else:
            cache.write_bytes(b"{")
        assert agent.config.roots == [str(agent.root)]
