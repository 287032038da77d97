"""Databases that convert their files."""

from __future__ import annotations

import pytest

from letsbe.tools.database_image import can_go_back, database


@pytest.mark.parametrize(
    ("env", "reference", "told"),
    [
        (["MARIADB_VERSION=1:11.2.2+maria~ubu2204"], "mariadb:latest", "mariadb 11.2"),
        (["MYSQL_MAJOR=8.4", "MYSQL_VERSION=8.4.1-1.el9"], "x/y@sha256:00", "mysql 8.4.1"),
        (["MONGO_VERSION=7.0.4"], "registry:5000/own", "mongo 7.0"),
        (["REDIS_VERSION=7.2.4"], "redis", "redis 7.2"),
        ([], "registry:5000/lib/mysql:8.0.36-debian", "mysql 8.0.36"),
        ([], "percona:8.0", "mysql 8.0"),
        ([], "mariadb:latest", "None"),
        (["PG_MAJOR=16", "PG_VERSION=16.1"], "postgres:16", "None"),
        (["MYSQL_DATABASE=x"], "mysqlclient:1", "None"),
        (None, "app:1", "None"),
    ],
)
def test_what_is_recognised(env: list[str] | None, reference: str, told: str) -> None:
    image = None if env is None else {"Config": {"Env": env}}
    assert str(database(image, reference)) == told


@pytest.mark.parametrize(
    ("old", "new", "may"),
    [
        ("mariadb:11.4", "mariadb:11.4.3", True),
        ("mariadb:10.11", "mariadb:11.4", False),
        ("mysql:8.0.35", "mysql:8.0.36", False),
        ("mysql:8", "mysql:8.4", True),
        ("mysql:8.0", "mariadb:11", True),
        ("app:1", "mysql:8", True),
        ("postgres:15", "postgres:16", True),
    ],
)
def test_going_back(old: str, new: str, may: bool) -> None:
    assert can_go_back(database(None, old), database(None, new)) == may
