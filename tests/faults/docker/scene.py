"""A stack with faults in it, and what of the machine a task could have touched."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from docker.api.client import APIClient

from tests.agents import Agent, tree
from tests.engine import IMAGE, docker, running
from tests.faults.docker.case import Case, Json, filled
from tests.faults.docker.registry_proxy import RegistryProxy
from tests.registry import Registry

#: What a fault may take to show, in seconds: a limit for broken machines, never waited for.
SHOWS_S = 60
#: Every service has secrets from an env file, by interpolation, and in its own environment.
BASE = f"""
x-base: &base
  image: "{IMAGE}"
  command: [sleep, "1000"]
  stop_grace_period: 0s
  env_file: [secrets.env]
  environment: {{DATABASE_URL: "postgres://app:${{DB_PASSWORD}}@db/app", SESSION_SECRET: "INLINE"}}
"""


class Scene:
    """An agent whose root holds a stack with one service for each of some cases."""

    def __init__(self, base: Path, cases: Sequence[Case], registry: Registry) -> None:
        self.agent = Agent(base)
        self.cases = {case.name: case for case in cases}
        self.secrets = {kind: f"S3cret-{kind}-{uuid.uuid4().hex[:12]}" for kind in ("interpolated", "file", "inline")}
        self.registry = registry
        #: Stands before the registry of a case that has an image.
        self.proxy: RegistryProxy | None = None
        self.client = APIClient(version="auto")
        #: The image that each service with one of its own was made from.
        self.first_images: dict[str, str] = {}
        #: What is taken away when the scene ends, after the stack.
        self.ends = ExitStack()
        self._given: Json = {"secret": self.secrets["file"], "unique": f"lt{uuid.uuid4().hex[:10]}"}

    @contextmanager
    def played(self) -> Iterator[Scene]:
        """The stack is up, and every fault shows."""
        with self.ends:
            self.ends.callback(self.client.close)
            self._prepare()
            own = [one for case in self.cases.values() for one in case.files.items()]
            files = {name: filled(content, self._given) for name, content in own}
            files[".env"] = f"DB_PASSWORD={self.secrets['interpolated']}\n"
            files["secrets.env"] = f"API_TOKEN={self.secrets['file']}\n"
            services = {name: case.service for name, case in self.cases.items()}
            with running(self.agent.root / "stack", self._compose(services), files) as self.stack:
                try:
                    self._break()
                    yield self
                finally:
                    self.declare(services)  # so that compose can take it down

    def _prepare(self) -> None:
        taken = self.ends.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._given["taken"] = str(taken.getsockname()[1])
        for lines in (case.image for case in self.cases.values() if case.image is not None):
            self.proxy = self.ends.enter_context(RegistryProxy(self.registry.port))
            self._given["image"] = f"{self.proxy.address}/{self.registry.repository().rpartition('/')[2]}:1"
            self.ends.callback(docker, "image", "rm", "--force", self._given["image"], check=False)
            self.registry.push(self._given["image"], *lines)

    def _break(self) -> None:
        self.first_images = {name: self.inspect(name)["Image"] for name, case in self.cases.items() if case.image}
        later = {name: case.service if case.later == "same" else case.later for name, case in self.cases.items()}
        self.declare({name: text for name, text in later.items() if text is not None})
        for name, case in self.cases.items():
            if case.fault is not None:
                case.fault(self, name)
        for name, case in self.cases.items():
            if case.until is not None:
                self.wait(name, case.until)

    def declare(self, services: dict[str, str], project: str | None = None) -> None:
        """Write the compose file anew, with these services, and perhaps another project's name."""
        self.stack.write("compose.yaml", f"name: {project or self.stack.name}\n{self._compose(services)}")

    def _compose(self, services: dict[str, str]) -> str:
        some = services or {"another": ""}  # a stack without services is none
        some |= {f"{name}-behind": case.behind for name, case in self.cases.items() if case.behind is not None}
        rows = [f"  {name}: {{<<: *base{', ' if text else ''}{text}}}" for name, text in some.items()]
        for kind in ("volumes", "networks"):
            named = [one for case in self.cases.values() for one in getattr(case, kind)]
            rows.append(f"{kind}: {{{', '.join(f'{one}: {{}}' for one in named)}}}")
        text = "\n".join([BASE.replace("INLINE", self.secrets["inline"]), "services:", *rows, ""])
        return str(filled(text, self._given))

    def wait(self, service: str, until: Callable[[Json], bool]) -> None:
        """Until something is true of a service's container."""
        limit = time.monotonic() + SHOWS_S
        while not until(found := self.inspect(service)):
            assert time.monotonic() < limit, f"{service}: the fault does not show: {found['State']}"
            time.sleep(0.1)

    def inspect(self, service: str) -> Json:
        """The engine's full description of a service's container."""
        found: Json = self.client.inspect_container(self.stack.container(service))
        return found

    def names(self, service: str) -> Json:
        """What stands for the placeholders of a case."""
        container = self.stack.container(service)
        names = {"project": self.stack.name, "dir": str(self.stack.directory), "service": service, **self._given}
        found = self.client.containers(all=True, filters={"name": [f"^/{container}$"]})
        ports = [port["PublicPort"] for one in found for port in one["Ports"] if "PublicPort" in port]
        return {**names, "container": container, **({"port": ports[0]} if ports else {})}

    def machine(self, service: str) -> Json:
        """All of the stack that a task could touch: containers, the service's own with its start, and what they use."""
        mine = {"label": [f"com.docker.compose.project={self.stack.name}"]}
        listed = self.client.containers(all=True, filters=mine)
        own = [one["Id"] for one in listed if one["Labels"]["com.docker.compose.service"] == service]
        tags = {tag: one["Id"] for one in self.client.images() for tag in one["RepoTags"] or []}
        return {
            "containers": (
                sorted((one["Id"], one["Names"], one["ImageID"]) for one in listed),
                [_settled(self.client.inspect_container(identifier)) for identifier in own],
            ),
            "networks": sorted(one["Id"] for one in self.client.networks(filters=mine)),
            "volumes": sorted(one["Name"] for one in self.client.volumes(filters=mine)["Volumes"] or []),
            "images": {tag: image for tag, image in tags.items() if tag in (IMAGE, self._given.get("image"))},
            "files": tree(self.agent.root),
        }


def _settled(container: Json) -> tuple[object, ...]:
    """What stays of a container while nobody touches it; one that crashes starts by itself."""
    state, host = container["State"], container["HostConfig"]
    run = None if container["RestartCount"] else (state["Status"], state["StartedAt"])
    return run, host["RestartPolicy"], host["Memory"], sorted(container["NetworkSettings"]["Networks"])
