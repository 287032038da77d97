"""Faults, and signs that they show, as cases name them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from tests.engine import docker
from tests.faults.docker.case import Json
from tests.faults.docker.scene import Scene

Fault = Callable[[Scene, str], object]
Sign = Callable[[Json], bool]


def by_hand(*words: str) -> Fault:
    """What somebody did with ``docker``; the container's name comes last unless ``{container}`` stands somewhere."""

    def fault(scene: Scene, service: str) -> None:
        names = {"container": scene.stack.container(service), "project": scene.stack.name}
        given = words if any("{container}" in word for word in words) else (*words, "{container}")
        docker(*(word.format(**names) for word in given))

    return fault


def replaced(name: str, content: str) -> Fault:
    """A file of the stack's directory that an editor wrote anew and renamed into its place."""

    def fault(scene: Scene, service: str) -> None:
        scene.stack.write(f"{name}.new", content).replace(scene.stack.directory / name)

    return fault


def made_before_now(found: Json) -> bool:
    """The engine tells in whole seconds when a container was made."""
    return time.time() - datetime.fromisoformat(found["Created"]).timestamp() > 1.1


def started_long_ago(found: Json) -> bool:
    """What loaded a name then can't have been loading it only now."""
    return time.time() - datetime.fromisoformat(found["State"]["StartedAt"]).timestamp() > 5


def status(wanted: str) -> Sign:
    return lambda found: found["State"]["Status"] == wanted


def health(wanted: str) -> Sign:
    return lambda found: found["State"]["Health"]["Status"] == wanted


def flapped(found: Json) -> bool:
    """Well, and not well again, after it had been well."""
    codes = [one["ExitCode"] for one in found["State"]["Health"]["Log"] or []]
    return 0 in codes and 1 in codes[codes.index(0) :]


def restarted(times: int) -> Sign:
    return lambda found: found["RestartCount"] >= times


def pushed(*lines: str, then: Fault | None = None) -> Fault:
    """A newer image of these lines stands under the tag in the registry; here the tag means the old one still."""

    def fault(scene: Scene, service: str) -> None:
        image = scene.names(service)["image"]
        newer = scene.registry.push(image, *lines)
        docker("tag", scene.inspect(service)["Image"], image)
        docker("image", "rm", "--force", newer, check=False)  # so that a pull has to fetch it
        if then is not None:
            then(scene, service)

    return fault
