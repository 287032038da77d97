"""Which services a reload is about."""

from __future__ import annotations

import json
from typing import Any

import pytest

from letsbe.tools.compose_model import ComposeModel, parse_config
from letsbe.tools.reload_plan import places, to_pull, with_dependencies

Json = dict[str, Any]


def model(**services: Json) -> ComposeModel:
    return parse_config(json.dumps({"name": "p", "services": services}).encode())


@pytest.mark.parametrize(
    ("db", "required", "profiles", "names"),
    [
        ({"profiles": ["with-db"]}, False, [], ["web"]),
        ({"profiles": ["with-db"]}, False, ["with-db"], ["web", "db"]),
        ({"profiles": ["with-db"]}, True, [], ["web", "db"]),
        ({}, False, [], ["web", "db"]),
    ],
    ids=["its profile is off", "its profile is on", "needed, whatever the profile", "without a profile"],
)
def test_an_optional_dependency_counts_while_its_profile_is_on(
    db: Json, required: bool, profiles: list[str], names: list[str]
) -> None:
    waits = {"db": {"condition": "service_started", "required": required}}
    services = model(web={"image": "x", "depends_on": waits}, db={"image": "y", **db}).services
    assert [one.name for one in with_dependencies(services, ["web"], profiles)] == names
    assert [one.name for one in with_dependencies(services, ["web", "db"], profiles)] == ["web", "db"]


def test_what_a_program_of_the_host_provides_has_neither_image_nor_container() -> None:
    stack = model(
        app={"image": "x", "depends_on": {"db": {"condition": "service_started"}}},
        db={"provider": {"type": "awesomecloud"}},
    )
    services = with_dependencies(stack.services, ["app"], ())
    assert to_pull(services, ["app", "db"], "always", {}) == ["app"]
    assert places(services, []) == [("app", 1)]
    assert [one.name for one in services if one.scale] == ["app"]
