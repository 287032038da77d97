from __future__ import annotations

from typing import Any

import pytest

from letsbe.tools.compose_leftovers import REPLACES_LABEL, leftovers
from letsbe.tools.compose_project import PROJECT_LABEL

HALF_WAY = "0123456789ab_app-web-1"
NEWER = "ba9876543210_app-web-1"


def container(name: str, created: int = 1, *, replaces: bool = True, project: str = "app") -> dict[str, Any]:
    labels = {PROJECT_LABEL: project, **({REPLACES_LABEL: "0123456789ab" * 4} if replaces else {})}
    return {"Id": f"id of {name}", "Names": [f"/{name}"], "Created": created, "Labels": labels}


@pytest.mark.parametrize(
    ("containers", "remove", "rename"),
    [
        ([container("app-web-1"), container("app-db-1", replaces=False)], [], {}),
        ([container("app-web-1"), container(HALF_WAY, 2)], [HALF_WAY], {}),
        ([container(HALF_WAY)], [], {HALF_WAY: "app-web-1"}),
        ([container(HALF_WAY, 1), container(NEWER, 2)], [HALF_WAY], {NEWER: "app-web-1"}),
        ([container("app-web-1"), container(HALF_WAY, 1), container(NEWER, 2)], [NEWER, HALF_WAY], {}),
        ([container("0123456789ab_own-name", replaces=False)], [], {}),
        ([container(HALF_WAY), container("app-web-1", project="other")], [], {}),
        ([container(HALF_WAY, project="other")], [], {}),
    ],
    ids=[
        "nothing",
        "beside the old one",
        "instead of it",
        "two",
        "three",
        "a name of a person's",
        "its name is taken",
        "of another",
    ],
)
def test_leftovers(containers: list[dict[str, Any]], remove: list[str], rename: dict[str, str]) -> None:
    found = leftovers(containers, "app")
    assert found.remove == [f"id of {name}" for name in remove]
    assert found.rename == {f"id of {name}": wanted for name, wanted in rename.items()}
