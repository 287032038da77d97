"""Files that running containers use, changed by letsbe: what has to be done so that the change counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from letsbe.protocol import Outcome
from tests.faults.docker.case import Case, Json, Peer, Says
from tests.faults.docker.faults import made_before_now


def writes(name: str, content: str, *, needs_restart: bool, **payload: str) -> Says:
    """FILE_WRITE: which containers have the file mounted, and whether they see the new content."""

    def part(outcome: Outcome, names: Json) -> object:
        return [
            (one["container"] == names["container"], one["needs_restart"]) for one in outcome.data["bind_mounted_in"]
        ]

    given = {"path": f"{{dir}}/{name}", "content": content, **payload}
    return Says("FILE_WRITE", given, part, [(True, needs_restart)], changed=True)


def updates(name: str, values: Json, expected: Json) -> Says:
    """ENV_UPDATE: whom the change concerns, and who runs with older values."""

    def part(outcome: Outcome, names: Json) -> object:
        return {key: outcome.data[key] for key in expected}

    return Says("ENV_UPDATE", {"path": f"{{dir}}/{name}", "set": values}, part, expected, changed=True)


CASES = [
    Case(
        "mounted-file-written",
        service='volumes: ["./a.conf:/a.conf:ro"]',
        files={"a.conf": "old\n"},
        says=(writes("a.conf", "new\n", needs_restart=True),),
        touches=("files",),
        peer=Peer("docker exec {container} cat /a.conf", "^old$"),
    ),
    Case(
        "mounted-file-written-in-place",
        service='volumes: ["./b.conf:/b.conf:ro"]',
        files={"b.conf": "old\n"},
        says=(writes("b.conf", "new\n", needs_restart=False, in_place="on_bind"),),
        touches=("files",),
        peer=Peer("docker exec {container} cat /b.conf", "^new$"),
    ),
    Case(
        "env-file-of-one-service-updated",
        service="env_file: [one.env]",
        files={"one.env": "LEVEL=info\nOWN_TOKEN={secret}\n"},
        until=made_before_now,
        says=(
            updates(
                "one.env",
                {"LEVEL": "debug"},
                {
                    "affected_services": ["env-file-of-one-service-updated"],
                    "needs_recreate": ["env-file-of-one-service-updated"],
                },
            ),
        ),
        touches=("files",),
        peer=Peer("bash -c 'docker restart -t 0 {container} && docker exec {container} env'", "LEVEL=info"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_who_has_to_be_restarted_is_told(case: Case, matrix: Callable[[Case], None]) -> None:
    matrix(case)
