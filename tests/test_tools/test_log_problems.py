"""Which log lines tell of problems, and which of them are the same."""

from __future__ import annotations

import pytest

from letsbe.errors import LetsbeError
from letsbe.tools.log_problems import LogProblems, is_suspicious
from letsbe.tools.log_template import MAX_TEMPLATE, message, template

WRONG = [
    "2026-01-01 ERROR something broke",
    '{"level":"error","msg":"x"}',
    '{"level":50,"msg":"pino"}',
    'time=1 level=error msg="0 errors"',
    "[error] 29#29: *1 open() failed",
    "FATAL:  password authentication failed",
    "2026/01/01 10:00:00 [emerg] 1#1: bind() failed",
    "Traceback (most recent call last):",
    "ValueError: bad literal",
    "java.lang.NullPointerException: null",
    "panic: runtime error: index out of range",
    "Uncaught TypeError: x is not a function",
    "write failed: No space left on device",
    "worker 7 was terminated: Segmentation fault (core dumped)",
    "Out of memory: Killed process 12",
    "finished with 3 errors",
    "0 warnings, 2 errors",
    "no error handler for fatal exception",
    "errors=2",
    "error: 0x80070005",
    "Error 500 while reading /var/log/error.log",
]
FINE = [
    "",
    "finished with 0 errors",
    "0 warnings, 0 errors",
    "compiled without errors",
    "no errors found",
    "No error",
    "errors: 0",
    "errors=0 warnings=0",
    '{"event":"sync","error":null}',
    '{"level":"info","msg":"an error was mended"}',
    'level=warn msg="connection error, retrying"',
    "INFO: error reporting is on",
    "using error_log /var/log/nginx/error.log",
    "error_page 404 /404.html",
    "started with --fail-on-error=false",
    'GET /static/error.css HTTP/1.1" 200',
    "set display_errors to off",
    "the mirror is up",
    "error handling middleware is installed",
]


@pytest.mark.parametrize("line", WRONG)
def test_tells_of_a_problem(line: str) -> None:
    assert is_suspicious(line.encode())
    assert LogProblems([], []).counts(line)


@pytest.mark.parametrize("line", FINE)
def test_tells_of_none(line: str) -> None:
    assert not (is_suspicious(line.encode()) and LogProblems([], []).counts(line))


def test_the_caller_has_the_last_word() -> None:
    problems = LogProblems([r"slow query \d+"], ["known bug"])
    assert problems.counts("INFO slow query 17")
    assert problems.counts("ERROR anything else")
    assert not problems.counts("ERROR known bug 3")
    assert not problems.counts("INFO slow query 4, a known bug")
    with pytest.raises(LetsbeError):
        LogProblems([r"(a)\1"], [])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("2026-01-01T10:00:00.123Z took 12ms", "<time> took <n>ms"),
        ("01/Jan/2026:10:00:00 +0000 x", "<time> x"),
        ("Jan  1 10:00:00 host sshd[42]: x", "<time> host sshd[<n>]: x"),
        ("id 550e8400-e29b-41d4-a716-446655440000 gone", "id <uuid> gone"),
        ("at 0x7ffe12 in 9f86d081884c7d65", "at <hex> in <hex>"),
        ("deadbeef and feedface are words", "deadbeef and feedface are words"),
        ("open /var/lib/x/7.db failed", "open <path> failed"),
        ("GET https://a.example/x?y=1 from 10.0.0.7:4711", "GET <url> from <ip>"),
        ("user 'bob' said \"no 7\"", "user <str> said <str>"),
        ("can't do it, don't ask", "can't do it, don't ask"),
        ('{"level":"error","ts":1,"msg":"took 12 s","error":"no peer 7"}', "took <n> s: no peer <n>"),
        ('{"err":{"message":"broke 7"}}', "broke <n>"),
        ('level=error msg="took 7 s" err=refused', "took <n> s: refused"),
        ("{broken json 7", "{broken json <n>"),
    ],
)
def test_template(line: str, expected: str) -> None:
    assert template(line) == expected


@pytest.mark.parametrize(
    "line", ['"' * 60_000, "'a" * 30_000, "/a" * 30_000, "1" * 60_000, "a" * 60_000, "error " * 10_000, "-" * 60_000],
    ids=lambda line: repr(line[:4]),
)  # fmt: skip
def test_no_line_takes_for_ever(line: str) -> None:
    assert len(template(line)) <= MAX_TEMPLATE
    LogProblems(["(a+)+$"], []).counts(line[:4096])


def test_a_line_without_fields_is_its_own_message() -> None:
    assert message("plain words") == "plain words"
    assert message('{"level":"error"}') == '{"level":"error"}'
