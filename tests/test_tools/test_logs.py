"""Streams, times, places and levels of logs."""

from __future__ import annotations

import pytest

from letsbe.tools.compose_project import container_name, is_named, membership
from letsbe.tools.log_cursor import Position, decode, encode
from letsbe.tools.log_level import is_at_least, level_of
from letsbe.tools.log_stream import MAX_LINE, LogRecord, LogStreamReader
from letsbe.tools.log_time import NS, as_instant, for_engine, moment_ns

T = b"2026-11-24T07:00:00.000000001Z "


def frame(stream: int, text: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text


def read(data: bytes, size: int, *, tty: bool = False) -> list[LogRecord]:
    reader = LogStreamReader(tty=tty)
    found = [one for at in range(0, len(data), size) for one in reader.feed(data[at : at + size])]
    return [*found, *reader.end()]


@pytest.mark.parametrize("size", [1, 7, 8, 100, 1 << 20])
def test_frames_come_in_any_pieces(size: int) -> None:
    data = (
        frame(1, T + b"a\n") + frame(2, T + b"b" * 9) + frame(1, T + b"c\n") + frame(2, T + b"d\n") + frame(1, T + b"e")
    )
    found = [(one.stream, one.text, one.unfinished) for one in read(data, size)]
    assert found == [
        ("stdout", b"a", False),
        ("stdout", b"c", False),
        ("stderr", b"bbbbbbbbbd", False),
        ("stdout", b"e", True),
    ]


@pytest.mark.parametrize("size", [1000, 16_384, 1 << 20])
def test_a_terminal_s_long_line_is_joined(size: int) -> None:
    data = T + b"x" * 16_384 + T + b"y" * 16_384 + T + b"z\r\n" + T + b"next\r\n"
    first, second = read(data, size, tty=True)
    assert first.text == b"x" * 16_384 + b"y" * 16_384 + b"z\r"
    assert second.text == b"next\r"


@pytest.mark.parametrize("tty", [False, True])
def test_of_an_endless_line_a_part_is_kept(tty: bool) -> None:
    reader = LogStreamReader(tty=tty)
    piece = T + b"x" * 16_384
    for _ in range(640):
        assert list(reader.feed(piece if tty else frame(1, piece))) == []
        assert len(reader._rest) <= 4 * 16_384
    (line,) = reader.feed(T + b"\n" if tty else frame(1, T + b"\n"))
    assert len(line.text) == MAX_LINE
    assert line.cut == 640 * 16_384 - MAX_LINE


def test_moments() -> None:
    assert moment_ns("2026-11-24T07:00:00.123456789Z", 0) == moment_ns("2026-11-24 08:00:00.123456789+01:00", 0)
    assert as_instant(moment_ns("2026-11-24T07:00:00.000000009Z", 0)) == "2026-11-24T07:00:00.000000009Z"
    assert moment_ns("1m30s", 100) == 10 * NS
    assert for_engine(5 * NS + 7) == "5.000000007"
    for wrong in ("", "10", "2026-11-24", "2026-11-24T07:00:00", "1y"):
        with pytest.raises(ValueError, match="neither"):
            moment_ns(wrong, 0)


def test_a_place_is_a_time_and_how_many_lines_of_it() -> None:
    position = Position()
    for ns in (10, 20, 20):
        position.read("stdout", ns)
    (again,) = decode(encode({"c" * 64: position})).values()
    assert [again.is_new("stdout", ns) for ns in (10, 20, 20, 20, 30)] == [False, False, False, True, True]
    again.read("stdout", 20)
    (later,) = decode(encode({"c": again})).values()
    assert [later.is_new("stdout", 20) for _ in range(4)] == [False, False, False, True]


@pytest.mark.parametrize("wrong", ["!", "e30x", "abcd", "eyJhIjoxfQ"])
def test_what_is_no_cursor(wrong: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        decode(wrong)


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ('{"level":"error","msg":"info"}', "error"),
        ('{"level":30,"msg":"ERROR"}', "info"),
        ('{"msg":"no level, ERROR"}', None),
        ("time=x level=warn msg=error", "warning"),
        ("2026/11/24 07:00:00 [error] 7#7: *1 open() failed", "error"),
        ("[24-Nov-2026 07:00:00] NOTICE: fpm is running", "info"),
        ("2026-11-24 07:00:00 UTC [1] FATAL:  password authentication failed", "error"),
        ("INFO: 0 errors", "info"),
        ("GET /error_log 200", None),
        ("all quiet", None),
    ],
)
def test_levels(line: str, level: str | None) -> None:
    assert level_of(line) == level
    assert is_at_least(line, "warning") == (level in ("warning", "error"))


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("shop", True), ("/srv/shop/", True), ("/srv//shop", True), ("/link", True), ("/link/", True),
        ("/srv", False), ("shops", False), ("link", False),
    ],
)  # fmt: skip
def test_a_stack_is_meant_by_its_project_and_by_each_path_that_leads_to_it(name: str, means: bool) -> None:
    def canonical(path: str) -> str:
        return path.replace("/link", "/srv/shop")

    assert is_named("shop", "/srv/shop", name, canonical) == means
    assert is_named("shop", "/link", name, canonical) == means


def test_a_stack_without_a_directory_is_no_path() -> None:
    assert not is_named("shop", "", "/", str)


def test_labels_name_the_stack() -> None:
    prefix = "com.docker.compose."
    labels = {prefix + "project": "shop", prefix + "service": "web", prefix + "project.working_dir": "/srv/shop"}
    labels |= {prefix + "project.config_files": "compose.yaml,/srv/more.yaml", prefix + "oneoff": "True"}
    found = membership(labels)
    assert found is not None
    assert found.files == ("/srv/shop/compose.yaml", "/srv/more.yaml")
    assert found.one_off
    assert (found.project, found.directory) == ("shop", "/srv/shop")
    assert membership({"a": "b"}) is None
    assert membership(None) is None
    assert container_name({"Names": ["/other/alias", "/web"]}) == "web"
