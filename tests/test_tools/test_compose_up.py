"""What compose is told, and what it says, when it changes a stack."""

from __future__ import annotations

import pytest

from letsbe.tools.compose import stack_argv
from letsbe.tools.compose_progress import PullProgress
from letsbe.tools.compose_up import (
    build_argv,
    create_argv,
    name_holder,
    pull_argv,
    remove_argv,
    rename_argv,
    tag_argv,
    up_argv,
    words_of,
)

COMPOSE = ["/usr/bin/docker", "compose"]


def test_arguments() -> None:
    assert pull_argv(COMPOSE, ["web"]) == [*COMPOSE, "pull", "--ignore-buildable", "web"]
    assert build_argv(COMPOSE, ["web"]) == [*COMPOSE, "build", "web"]
    assert up_argv(COMPOSE, ["web"]) == [*COMPOSE, "up", "--detach", "--no-build", "--pull", "never", "web"]
    assert create_argv(COMPOSE, []) == [*COMPOSE, "create", "--no-build", "--pull", "never"]
    everything = create_argv(COMPOSE, ["web", "db"], recreate_all=True, remove_orphans=True)
    assert everything[-4:] == ["--force-recreate", "--remove-orphans", "web", "db"]
    named = stack_argv("docker", directory="/d", files=["/d/a.yml"], env_files=["/d/e"], project="p")
    assert named == [
        *("docker", "compose", "--ansi", "never", "--env-file", "/d/e", "--file", "/d/a.yml"),
        *("--project-directory", "/d", "--project-name", "p"),
    ]
    assert remove_argv("docker", ["a", "b"]) == ["docker", "container", "rm", "--force", "a", "b"]
    assert rename_argv("docker", "a", "b") == ["docker", "container", "rename", "a", "b"]
    assert tag_argv("docker", "sha256:1", "app:1") == ["docker", "image", "tag", "sha256:1", "app:1"]


def test_the_container_that_has_the_name_is_found() -> None:
    said = 'Conflict. The container name "/shop-web-1" is already in use by container "%s". You have to remove'
    assert name_holder(said % ("0123456789ab" * 5 + "0123")) == "0123456789ab" * 5 + "0123"
    assert name_holder("Bind for 127.0.0.1:80 failed: port is already allocated") is None


@pytest.mark.parametrize(
    ("stderr", "words"),
    [
        (
            " a Pulling \n a Error manifest for r/app:2 not found\n"
            "Error response from daemon: manifest for r/app:2 not found: manifest unknown\n",
            "manifest for r/app:2 not found: manifest unknown",
        ),
        (
            'time="2026-01-01T00:00:00Z" level=warning msg="The \\"X\\" variable is not set."\n'
            ' Container p-a-1  Starting\nservice "b" didn\'t complete successfully: exit 3\n',
            'service "b" didn\'t complete successfully: exit 3',
        ),
        (" a Pulling \n a Error context canceled\n", "a Pulling\n a Error context canceled"),
        ("", ""),
        ("x" * 5000, "x" * 2000),
    ],
    ids=["missing tag", "warning and progress", "progress alone", "nothing", "long"],
)
def test_words_of_a_failure(stderr: str, words: str) -> None:
    assert words_of(stderr) == words


#: As compose 2.26 and compose 5 print it.
PLAIN = b""" b Pulling \n 5c884c7a62ea Already exists \n 6754f93adaa9 Pulling fs layer \n 4632583fd62a Pulling fs layer
 6754f93adaa9 Downloading [>                                                  ]  327.7kB/31.47MB
 4632583fd62a Downloading [===================>                               ]  16.61MB/41.96MB
"""
NEWER = b""" Image r/app:1 Pulling \n 6754f93adaa9 Pulling fs layer 0B\n 6754f93adaa9 Downloading 327.7kB
 4632583fd62a Downloading 16.61MB
"""


@pytest.mark.parametrize(
    ("output", "percent", "message"),
    [(PLAIN, 23, "16.9 MB of 73.4 MB"), (NEWER, None, "16.9 MB"), (b" a Pulled \n", None, "0.0 MB")],
    ids=["2.26", "5", "no layer"],
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_progress_in_whatever_pieces_it_comes(output: bytes, percent: int | None, message: str, size: int) -> None:
    progress = PullProgress()
    heard = [progress.feed(output[at : at + size]) for at in range(0, len(output), size)]
    assert (progress.percent, progress.message()) == (percent, message)
    assert any(heard) == (progress.pulled_bytes > 0)


def test_progress_ends_at_all_of_it() -> None:
    progress = PullProgress()
    progress.feed(PLAIN + b" 6754f93adaa9 Verifying Checksum \n 4632583fd62a Download complete \n")
    assert (progress.percent, progress.message()) == (100, "73.4 MB of 73.4 MB")
    progress.feed(b" 4632583fd62a Extracting [=>      ]  1.2MB/41.96MB\n")
    assert progress.percent == 100
