"""What a compose leaves that was killed while it replaced a container.

The new one is made beside the old under the name ``OLDID_NAME`` (12 digits of the old one's id), and gets its name when
the old one is gone. A later compose takes it as it stands, odd name and all, beside the old one or instead of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from letsbe.tools.compose_project import PROJECT_LABEL, container_name

#: Compose puts it on each container that it makes in place of another.
REPLACES_LABEL = "com.docker.compose.replace"
_HALF_WAY = re.compile(r"[0-9a-f]{12}_(?P<name>.+)")


class Leftovers(Struct, kw_only=True):
    """Ids of containers: those to remove, and the names that others were to have."""

    remove: list[str] = []
    rename: dict[str, str] = {}


def leftovers(containers: Iterable[Mapping[str, Any]], project: str) -> Leftovers:
    """Those of a project, from all containers in the engine's short form.

    Where the old container is there still, the new one is to be removed, and will be made again. Where it is not, the
    newest one is to have its name: anonymous volumes of the old one may be in it. One whose name somebody else's
    container has is left to compose.
    """
    found = Leftovers()
    everybody = sorted(containers, key=lambda one: int(one.get("Created") or 0), reverse=True)
    here = [one for one in everybody if (one.get("Labels") or {}).get(PROJECT_LABEL) == project]
    taken = {container_name(one) for one in here}
    foreign = {container_name(one) for one in everybody} - taken
    for one in here:
        half_way = _HALF_WAY.fullmatch(container_name(one))
        if half_way is None or half_way["name"] in foreign or REPLACES_LABEL not in one["Labels"]:
            continue
        if half_way["name"] in taken:
            found.remove.append(one["Id"])
        else:
            found.rename[one["Id"]] = half_way["name"]
            taken.add(half_way["name"])
    return found
