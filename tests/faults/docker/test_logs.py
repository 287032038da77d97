"""What logs hold: too much, no text, nothing; and what befalls them while they are followed."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.engine import docker
from tests.faults.docker.case import Case, Has, Peer
from tests.faults.docker.says import follows, no_log, tails
from tests.faults.docker.scene import Scene

LINES = 40
#: Slower than the engine's follower, and more than a file of the log holds.
WRITES = f"for i in $(seq 2 {LINES}); do echo line-$i {'y' * 800} >/proc/1/fd/1; usleep 20000; done"


def logged(script: str) -> str:
    """The command of a service that writes a log, then a mark, then nothing more."""
    return f"command: [sh, -c, {json.dumps(f'{script}; touch /tmp/logged; exec sleep 1000').replace('$', '$$')}]"


def when_logged(scene: Scene, service: str) -> None:
    docker("exec", scene.stack.container(service), "sh", "-c", "until [ -e /tmp/logged ]; do sleep 0.05; done")


CASES = [
    Case(
        "log-line-of-10-mb",
        service=logged(r"echo before; head -c 10000000 /dev/zero | tr '\0' x; echo; echo after"),
        fault=when_logged,
        says=(tails("before", Has("^x{32768}$"), "after"), tails(Has("^x{32768}$"), "after", tail=2)),
        peer=Peer("docker logs {container}", "x{9000000}", shown="10 MB in one line"),
    ),
    Case(
        "log-binary",
        service=logged(r"printf 'a\000b\377c\033[31md\n'; head -c 200000 /dev/urandom; echo; echo after"),
        fault=when_logged,
        says=(tails("a\0b\ufffdc\x1b[31md", "after", grep="^a.b.c|^after$"),),
        peer=Peer("docker logs {container}", "\x1b\\[31md", shown="the terminal's control sequences, raw"),
    ),
    Case(
        "log-of-a-terminal",
        service="tty: true, " + logged("echo one; echo two"),
        fault=when_logged,
        says=(tails("one", "two"),),
        peer=Peer("docker logs {container}", "one\r\n", shown="lines that end with CR LF"),
    ),
    Case(
        "log-not-kept",
        service="logging: {driver: none}, " + logged("echo unheard"),
        fault=when_logged,
        says=(no_log(Has("does not support reading")),),
        peer=Peer("docker compose logs {service}", "", shown="nothing, or the same"),
    ),
    Case(
        "log-rotated-while-followed",
        service="logging: {driver: json-file, options: {max-size: 8k, max-file: '3'}}, " + logged("echo line-1"),
        fault=when_logged,
        says=(
            follows(
                *(Has(f"^line-{number}( |$)") for number in range(1, LINES + 1)),
                during=lambda scene, service: docker("exec", scene.stack.container(service), "sh", "-c", WRITES),
            ),
        ),
        peer=Peer("docker logs {container}", r"\A(?!.*\bline-1\b)", shown="without the first lines"),
    ),
    Case(
        "restarted-while-followed",
        service=logged("echo started"),
        fault=when_logged,
        says=(
            follows(
                "started",
                "started",
                during=lambda scene, service: docker("restart", "-t", "0", scene.stack.container(service)),
            ),
        ),
        touches=("containers",),
        peer=Peer("timeout 20 docker logs --since 10m {container}", "started"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_fault_of_a_log_is_borne(case: Case, matrix: Callable[[Case], None]) -> None:
    matrix(case)
