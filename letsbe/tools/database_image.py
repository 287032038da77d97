"""Databases whose files a newer version converts when it starts, so that an older one can't read them any more.

MySQL and MariaDB upgrade the data directory at the first start, MongoDB and Redis write newer formats as they go; none
of them promises a way back (https://dev.mysql.com/doc/refman/8.4/en/downgrading.html,
https://mariadb.com/docs/server/server-management/install-and-upgrade-mariadb/upgrading/downgrading-between-versions-of-mariadb).
A PostgreSQL server refuses the data directory of another major version and leaves it as it was
(https://www.postgresql.org/docs/current/upgrading.html): there the way back is open.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

#: Variable that the official image sets -> database, and how many leading numbers of the version name a format.
_BY_VARIABLE = {
    "MARIADB_VERSION": ("mariadb", 2),
    "MYSQL_VERSION": ("mysql", 3),
    "MONGO_VERSION": ("mongo", 2),
    "REDIS_VERSION": ("redis", 2),
}
#: For images that set none: the last part of the name, with the version from the tag.
_BY_NAME = {"mariadb": ("mariadb", 2), "mysql": ("mysql", 3), "percona": ("mysql", 3), "mongo": ("mongo", 2)}
_NUMBER = re.compile(r"\d+")


class Database(Struct, frozen=True):
    """A database's kind and the part of its version that its files depend on, as (8, 4, 1)."""

    kind: str
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.kind} {'.'.join(map(str, self.version))}"


def database(image: Mapping[str, Any] | None, reference: str) -> Database | None:
    """The database in an image, by its environment, else by its name and tag; None when it is none of them."""
    config = (image or {}).get("Config") or {}
    env = dict(entry.split("=", 1) for entry in config.get("Env") or [] if "=" in entry)
    for variable, (kind, digits) in _BY_VARIABLE.items():
        if version := _numbers(env.get(variable, "").partition(":")[2] or env.get(variable, ""), digits):
            return Database(kind, version)
    name, _, tag = reference.partition("@")[0].rpartition("/")[2].partition(":")
    if name in _BY_NAME and (version := _numbers(tag, _BY_NAME[name][1])):
        return Database(_BY_NAME[name][0], version)
    return None


def can_go_back(old: Database | None, new: Database | None) -> bool:
    """Whether an old image can be expected to read the files that a new one had in its hands."""
    if old is None or new is None or old.kind != new.kind:
        return True
    shared = min(len(old.version), len(new.version))
    return old.version[:shared] == new.version[:shared]


def _numbers(text: str, count: int) -> tuple[int, ...]:
    """``1:11.2.2+maria~ubu2204`` has an epoch before its colon, which the caller has cut off."""
    head = re.match(r"v?\d+(?:\.\d+)*", text)
    return tuple(int(one) for one in _NUMBER.findall(head.group()))[:count] if head else ()
