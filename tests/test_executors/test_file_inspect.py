"""FILE_INSPECT, through the runner."""

from __future__ import annotations

import base64
import os
import stat
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from letsbe.protocol import Outcome
from tests.agents import Agent, tree


def inspect(agent: Agent, payload: dict[str, Any], **request: Any) -> Outcome:
    return agent.run("FILE_INSPECT", {"path": f"{agent.root}/file", **payload}, **request)


def seen(agent: Agent, payload: dict[str, Any]) -> dict[str, Any]:
    outcome = inspect(agent, payload)
    assert outcome.error is None, outcome.error
    assert not outcome.changed
    return outcome.data


def failed(outcome: Outcome, code: str) -> str:
    assert outcome.error is not None
    assert outcome.error.code == code
    assert outcome.error.hint
    return outcome.error.message


@pytest.fixture
def file(agent: Agent) -> Path:
    return agent.root / "file"


def test_stat_of_a_file(agent: Agent, file: Path) -> None:
    file.write_bytes(b"content")
    os.chown(file, 1, 4321)
    file.chmod(0o640)
    os.utime(file, (0, 1_700_000_000))
    data = seen(agent, {})
    assert data["sha256"] == sha256(b"content").hexdigest()
    assert (data["type"], data["size"], data["perms"], data["owner"]) == ("file", 7, "0640", "daemon:4321")
    assert data["mtime"] == "2023-11-14T22:13:20Z"
    assert data["content"] is None
    assert data["path"] == str(file)


def test_stat_of_what_is_no_file(agent: Agent, file: Path) -> None:
    os.mkfifo(file)
    assert (seen(agent, {})["type"], seen(agent, {})["sha256"]) == ("fifo", None)
    assert seen(agent, {"path": str(agent.root)})["type"] == "directory"
    (agent.root / "link").symlink_to("linked")
    (agent.root / "linked").write_bytes(b"x")
    assert seen(agent, {"path": f"{agent.root}/link"})["path"] == f"{agent.root}/linked"
    os.link(agent.root / "linked", agent.base / "outside")
    data = seen(agent, {"path": f"{agent.root}/linked"})
    assert (data["links"], data["sha256"]) == (2, None)


def test_sha256_is_given_up_to_its_limit(agent: Agent, file: Path) -> None:
    with file.open("wb") as opened:
        opened.truncate(64 * 1024 * 1024)
    assert seen(agent, {})["sha256"] is not None
    with file.open("ab") as opened:
        opened.write(b"x")
    assert seen(agent, {})["sha256"] is None
    assert seen(agent, {"mode": "tail", "max_bytes": 4})["sha256"] is None


def test_head_tail_and_range(agent: Agent, file: Path) -> None:
    file.write_bytes(b"".join(b"line %d\n" % number for number in range(100)))
    size = file.stat().st_size
    head = seen(agent, {"mode": "head", "max_bytes": 14})
    assert (head["content"], head["offset"], head["bytes"]) == ("line 0\nline 1\n", 0, 14)
    assert (head["truncated"], head["next_offset"]) == (True, 14)
    tail = seen(agent, {"mode": "tail", "max_bytes": 16})
    assert (tail["content"], tail["offset"], tail["next_offset"]) == ("line 98\nline 99\n", size - 16, size)
    assert tail["truncated"]
    part = seen(agent, {"mode": "range", "offset": 14, "max_bytes": 7})
    assert (part["content"], part["next_offset"], part["truncated"]) == ("line 2\n", 21, True)
    past = seen(agent, {"mode": "range", "offset": size + 5})
    assert (past["content"], past["next_offset"], past["truncated"]) == ("", size, False)
    whole = seen(agent, {"mode": "head"})
    assert (whole["bytes"], whole["truncated"], whole["next_offset"]) == (size, False, size)


def test_numbers_of_lines(agent: Agent, file: Path) -> None:
    file.write_bytes(b"one\ntwo\nthree\nfour")
    assert seen(agent, {"mode": "head", "lines": 2})["content"] == "one\ntwo\n"
    assert seen(agent, {"mode": "tail", "lines": 2})["content"] == "three\nfour"
    assert seen(agent, {"mode": "tail", "lines": 99})["content"] == "one\ntwo\nthree\nfour"
    assert seen(agent, {"mode": "head", "lines": 99})["content"] == "one\ntwo\nthree\nfour"
    assert seen(agent, {"mode": "tail", "lines": 3, "max_bytes": 9})["content"] == "hree\nfour"
    file.write_bytes(b"one\ntwo\n")
    assert seen(agent, {"mode": "tail", "lines": 1})["content"] == "two\n"


def test_tail_of_a_huge_file_reads_its_end_only(agent: Agent, file: Path) -> None:
    with file.open("wb") as opened:
        opened.truncate(1 << 40)
        opened.seek(0, os.SEEK_END)
        opened.write(b"\nthe end\n")
    began = time.monotonic()
    data = seen(agent, {"mode": "tail", "lines": 1})
    assert data["content"] == "the end\n"
    assert data["size"] == (1 << 40) + 9
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("step", [4, 5, 6, 7, 13])
def test_offsets_never_split_a_character_and_lose_no_byte(step: int, agent: Agent, file: Path) -> None:
    text = "aé€😀" * 30 + "ß"
    file.write_text(text)
    collected, offset = "", 0
    for _ in range(1000):
        data = seen(agent, {"mode": "range", "offset": offset, "max_bytes": step})
        assert data["encoding"] == "utf-8"
        assert data["offset"] == offset
        assert data["next_offset"] == offset + len(data["content"].encode())
        collected, offset = collected + data["content"], data["next_offset"]
        if not data["truncated"]:
            break
    assert collected == text


def test_offset_inside_a_character_gives_that_character_whole(agent: Agent, file: Path) -> None:
    file.write_text("a😀b")
    for offset in (1, 2, 3, 4):
        data = seen(agent, {"mode": "range", "offset": offset})
        assert (data["content"], data["offset"]) == ("😀b", 1)
    assert seen(agent, {"mode": "tail", "max_bytes": 4})["content"] == "😀b"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60), offset=st.integers(0, 70), count=st.integers(4, 20))
def test_any_bytes_come_back_exactly(content: bytes, offset: int, count: int, agent: Agent, file: Path) -> None:
    file.write_bytes(content)
    agent.configure(policy={"local": {"reveal": True}})
    data = seen(agent, {"mode": "range", "offset": offset, "max_bytes": count, "reveal": True})
    raw = data["content"].encode() if data["encoding"] == "utf-8" else base64.b64decode(data["content_b64"])
    assert raw == content[data["offset"] : data["next_offset"]]
    assert data["bytes"] == len(raw)
    assert data["truncated"] is (data["next_offset"] < len(content))
    assert data["next_offset"] > offset or offset >= len(content)


def test_binary_content(agent: Agent, file: Path) -> None:
    file.write_bytes(b"\x7fELF\0\1\2\xff")
    data = seen(agent, {"mode": "head"})
    assert (data["encoding"], data["content"]) == ("binary", None)
    assert base64.b64decode(data["content_b64"]) == b"\x7fELF\0\1\2\xff"
    assert not data["redacted"]
    file.write_bytes(b'\0\xff{"password": "hunter22"}\0')
    data = seen(agent, {"mode": "head"})
    assert base64.b64decode(data["content_b64"]) == b'\0\xff{"password": "********"}\0'
    assert data["redacted"]


_KEY = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n" * 20 + "-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("name", "text", "secrets"),
    [
        ("app.conf", "a: 1\npassword: hunter-22-x\nb: 2\n", ["hunter-22-x"]),
        ("app.env", "NAME=x\nDB_PASSWORD=hunter-22-x\nURL=http://host/hunter-22-x\n", ["hunter-22-x"]),
        (".env", "API_KEY='two words here'\nOTHER=two words here\n", ["two words here"]),
        ("url.txt", "see postgres://app:hunter-22-x@db/app for more\n", ["hunter-22-x"]),
        ("key.pem", f"before\n{_KEY}after\n", ["MIIEvQIBADANBg", "FAASC"]),
        ("data.json", '{"name": "x", "api_token": "abc-def-ghi", "next": 1}', ["abc-def-ghi"]),
    ],
)
def test_no_part_of_a_file_gives_a_secret_away(name: str, text: str, secrets: list[str], agent: Agent) -> None:
    (agent.root / name).write_text(text)
    path = {"path": f"{agent.root}/{name}"}
    whole = seen(agent, {**path, "mode": "head"})
    assert whole["redacted"]
    assert "[redacted]" in whole["content"]
    for offset in range(len(text)):
        for count in (5, 40):
            content = seen(agent, {**path, "mode": "range", "offset": offset, "max_bytes": count})["content"]
            for secret in secrets:
                for start in range(len(secret) - 4):
                    assert secret[start : start + 5] not in content, (offset, count)
    for payload in ({"mode": "tail"}, {"mode": "grep", "pattern": "."}, {"mode": "tail", "lines": 2}):
        assert not any(secret in repr(seen(agent, {**path, **payload})) for secret in secrets)


def test_secrets_of_the_env_file_beside_it_are_known(agent: Agent, file: Path) -> None:
    (agent.root / ".env").write_text("DB_PASSWORD=hunter-22-x\nPLAIN=visible-word\n")
    file.write_text("connected with hunter-22-x as visible-word\n")
    assert seen(agent, {"mode": "head"})["content"] == "connected with [redacted] as visible-word\n"


@pytest.mark.parametrize(
    "command",
    [
        "redis-server --requirepass hunter2222 --port 6379",
        '["sh", "-c", "exec redis-server --requirepass hunter2222 --port 6379"]',
        "\n  - --requirepass\n  - hunter2222\n  - --port=6379",
    ],
    ids=["string", "sh -c", "list"],
)
def test_what_follows_an_option_of_a_secret_is_covered(agent: Agent, file: Path, command: str) -> None:
    file.write_text(f"services:\n command: {command}\n healthcheck: x --password-file /run/x\n")
    data = seen(agent, {"mode": "head"})
    assert data["redacted"]
    assert data["content"] == file.read_text().replace("hunter2222", "[redacted]")
    assert seen(agent, {"mode": "grep", "pattern": "hunter"})["matches"] == []


def test_search_cannot_be_asked_for_a_secret_letter_by_letter(agent: Agent, file: Path) -> None:
    file.write_text("DB_PASSWORD=hunter-22-x\nplain=text\n")
    assert seen(agent, {"mode": "grep", "pattern": "hunter"})["matches"] == []
    assert seen(agent, {"mode": "grep", "pattern": "PASSWORD=h"})["matches"] == []
    (match,) = seen(agent, {"mode": "grep", "pattern": "PASSWORD"})["matches"]
    assert match["text"] == "DB_PASSWORD=[redacted]"


def test_reveal_only_where_policy_allows_it(agent: Agent, file: Path) -> None:
    file.write_text("DB_PASSWORD=hunter-22-x\nhttps://u:hunter-22-x@h/\n")
    agent.configure(policy={"local": {"reveal": False}})
    outcome = inspect(agent, {"mode": "head", "reveal": True})
    assert outcome.status == "refused"
    failed(outcome, "policy_denied")
    assert "hunter" not in repr(outcome)
    agent.configure(policy={"local": {"reveal": True}})
    assert seen(agent, {"mode": "head", "reveal": True})["content"] == file.read_text()
    found = seen(agent, {"mode": "grep", "pattern": "hunter", "reveal": True})["matches"]
    assert [match["text"] for match in found] == file.read_text().splitlines()
    assert "hunter" not in repr(seen(agent, {"mode": "head"}))


def test_grep(agent: Agent, file: Path) -> None:
    file.write_bytes(b"ok 1\nERROR 2\r\nok 3\nerror 4 \xff\nlast error")
    data = seen(agent, {"mode": "grep", "pattern": r"^error|error$", "ignore_case": True})
    assert data["matches"] == [
        {"line": 2, "offset": 5, "text": "ERROR 2"},
        {"line": 4, "offset": 19, "text": "error 4 �"},
        {"line": 5, "offset": 29, "text": "last error"},
    ]
    assert (data["truncated"], data["next_offset"]) == (False, 39)
    assert seen(agent, {"mode": "grep", "pattern": "r 4 .", "fixed": True})["matches"] == []
    assert len(seen(agent, {"mode": "grep", "pattern": "ERROR", "fixed": True})["matches"]) == 1
    assert len(seen(agent, {"mode": "grep", "pattern": "Error", "fixed": True, "ignore_case": True})["matches"]) == 3


def test_grep_goes_on_where_it_stopped(agent: Agent, file: Path) -> None:
    file.write_text("".join(f"{number} {'hit' if number % 3 == 0 else 'miss'}\n" for number in range(1000)))
    collected: list[str] = []
    offset = 0
    for _ in range(1000):
        data = seen(agent, {"mode": "grep", "pattern": "hit", "max_matches": 7, "offset": offset})
        assert all(match["line"] is None for match in data["matches"]) or offset == 0
        collected += [match["text"] for match in data["matches"]]
        offset = data["next_offset"]
        if not data["truncated"]:
            break
    assert collected == [f"{number} hit" for number in range(0, 1000, 3)]
    few = seen(agent, {"mode": "grep", "pattern": "hit", "max_bytes": 20})
    assert sum(len(match["text"]) for match in few["matches"]) <= 20
    assert few["truncated"]


def test_grep_over_many_pieces_counts_lines_and_offsets(agent: Agent, file: Path) -> None:
    content = b"".join(b"%07d %s\n" % (number, b"x" * (number % 90)) for number in range(60_000))
    file.write_bytes(content)
    numbers = [0, 11_111, 23_456, 59_999]
    pattern = "^(" + "|".join(f"{number:07d}" for number in numbers) + ") "
    matches = seen(agent, {"mode": "grep", "pattern": pattern})["matches"]
    assert [match["line"] for match in matches] == [number + 1 for number in numbers]
    for match, number in zip(matches, numbers, strict=True):
        assert content[match["offset"] :].startswith(b"%07d " % number)


def test_grep_of_one_line_longer_than_a_piece(agent: Agent, file: Path) -> None:
    file.write_bytes(b"a" * 3_000_000 + b"needle" + b"b" * 3_000_000 + b"\nneedle\n")
    found = seen(agent, {"mode": "grep", "pattern": "needle"})["matches"]
    assert found[-1] == {"line": 2, "offset": 6_000_007, "text": "needle"}
    assert all(len(match["text"]) <= 2_000 for match in found)


def test_grep_with_a_pattern_that_explodes_elsewhere(agent: Agent, file: Path) -> None:
    file.write_text(("a" * 5_000 + "!\n") * 20)
    began = time.monotonic()
    assert seen(agent, {"mode": "grep", "pattern": "(a+)+$"})["matches"] == []
    assert time.monotonic() - began < 20


def test_grep_that_takes_too_long_says_where_to_go_on(
    agent: Agent, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_bytes(b"needle in a line\n" * 200_000)
    monkeypatch.setattr("letsbe.executors.file_inspect.SEARCH_S", 0.05)
    data = seen(agent, {"mode": "grep", "pattern": "no such thing"})
    assert data["truncated"]
    assert 0 < data["next_offset"] < data["size"]
    assert data["next_offset"] % 17 == 0


@pytest.mark.parametrize(
    ("pattern", "code"), [("(", "invalid_pattern"), (r"(a)\1", "invalid_pattern"), ("a{999}", "pattern_too_complex")]
)
def test_pattern_that_is_refused(pattern: str, code: str, agent: Agent, file: Path) -> None:
    file.write_text("x")
    failed(inspect(agent, {"mode": "grep", "pattern": pattern}), code)


def test_list(agent: Agent) -> None:
    (agent.root / "b" / "c" / "d").mkdir(parents=True)
    (agent.root / "a").write_text("12")
    (agent.root / "b" / "link").symlink_to("/etc")
    (agent.root / os.fsdecode(b"odd\nname\xff")).write_text("")
    data = seen(agent, {"path": str(agent.root), "mode": "list"})
    assert [
        (entry["path"], entry["type"], entry["size"]) for entry in data["entries"] if entry["type"] != "directory"
    ] == [
        ("a", "file", 2),
        ("b/link", "symlink", 4),
        ("odd\\nname\\\\xff", "file", 0),
    ]
    assert [entry["path"] for entry in data["entries"] if entry["type"] == "directory"] == ["b", "b/c"]
    assert data["entries"][0]["perms"] == f"{stat.S_IMODE((agent.root / 'a').stat().st_mode):04o}"
    assert data["entries"][0]["owner"] == "root:root"
    few = seen(agent, {"path": str(agent.root), "mode": "list", "max_entries": 2, "max_depth": 1})
    assert ([entry["path"] for entry in few["entries"]], few["truncated"]) == (["a", "b"], True)
    failed(inspect(agent, {"path": f"{agent.root}/a", "mode": "list"}), "not_a_directory")


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({"mode": "grep"}, "$.pattern"),
        ({"mode": "head", "pattern": "x"}, "$.pattern"),
        ({"mode": "head", "offset": 1}, "$.offset"),
        ({"mode": "range", "lines": 1}, "$.lines"),
        ({"mode": "range", "offset": -1}, "$.offset"),
        ({"mode": "head", "max_bytes": 1024 * 1024 + 1}, "$.max_bytes"),
        ({"mode": "head", "max_bytes": 3}, "$.max_bytes"),
        ({"mode": "list", "max_depth": 17}, "$.max_depth"),
        ({"mode": "cat"}, "$.mode"),
        ({"mode": "grep", "pattern": "x" * 501}, "$.pattern"),
    ],
    ids=str,
)
def test_payload_that_makes_no_sense(payload: dict[str, Any], path: str, agent: Agent, file: Path) -> None:
    file.write_text("x")
    outcome = inspect(agent, payload)
    failed(outcome, "invalid_payload")
    assert outcome.error is not None
    assert outcome.error.details["path"] == path


@pytest.mark.parametrize("mode", ["head", "tail", "range", "grep"])
def test_what_is_never_read(mode: str, agent: Agent, file: Path) -> None:
    payload = {"mode": mode, **({"pattern": "x"} if mode == "grep" else {})}
    failed(inspect(agent, payload), "file_not_found")
    os.mkfifo(file)
    began = time.monotonic()
    assert "fifo" in failed(inspect(agent, payload), "path_refused")
    assert time.monotonic() - began < 20
    assert "directory" in failed(inspect(agent, {**payload, "path": str(agent.root)}), "path_refused")
    (agent.root / "link").symlink_to("/etc/passwd")
    assert "symlink" in failed(inspect(agent, {**payload, "path": f"{agent.root}/link"}), "path_refused")
    agent.configure(roots=["/proc", "/dev"])
    assert "proc file system" in failed(inspect(agent, {**payload, "path": "/proc/self/environ"}), "path_refused")
    assert "char device" in failed(inspect(agent, {**payload, "path": "/dev/zero"}), "path_refused")


def test_reading_changes_nothing_and_leaves_no_row(agent: Agent, file: Path) -> None:
    file.write_text("x")
    before = tree(agent.root)
    for mode in ("stat", "head", "tail", "range"):
        seen(agent, {"mode": mode})
    assert tree(agent.root) == before
    assert not list(agent.state_dir.glob("state.db")) or not agent.journal().latest(9)


def test_file_that_grows_is_followed_by_offset(agent: Agent, file: Path) -> None:
    file.write_text("one\n")
    first = seen(agent, {"mode": "tail"})
    with file.open("a") as opened:
        opened.write("two\n")
    assert seen(agent, {"mode": "range", "offset": first["next_offset"]})["content"] == "two\n"


def test_on_the_command_line(agent: Agent, file: Path) -> None:
    file.write_text("one\ntwo\n")
    found = agent.json("file-inspect", "--path", str(file), "--mode", "tail", "--lines", "1")
    assert found["data"]["content"] == "two\n"
