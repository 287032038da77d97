"""What a change of an env file means for the stacks that use it: do they stay valid, and who has to be recreated?"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from letsbe.executors import base
from letsbe.executors.base import Context
from letsbe.executors.compose_client import ComposeClient, Verdict
from letsbe.host.readable import Readable
from letsbe.tools.compose_find import stacks_using
from letsbe.tools.dotenv_edit import Edited


class AffectedStack(base.Data):
    """A stack that the file has a part in."""

    directory: Annotated[str, Meta(description="The stack's directory.")]
    services: Annotated[list[str], Meta(description="Its services that read the file or interpolate a key of it.")]
    valid: Annotated[
        bool | None, Meta(description="What `docker compose config` says of it afterwards; null: not asked.")
    ] = None
    needs_recreate: Annotated[
        list[str] | None, Meta(description="Of those services, the running ones with older values; null: unknown.")
    ] = None


class Refusal(Struct, frozen=True):
    """A stack that compose accepted before the change and refuses after it."""

    directory: str
    reason: str


class EnvEffects:
    """The stacks around one env file, asked before and after it is written."""

    def __init__(self, context: Context, given: str, path: str) -> None:
        readable = Readable(context.host.files)
        self._path = path
        self._check = context.check
        self._client = ComposeClient(context.host, context.redactor)
        self._stacks = stacks_using(given, readable.root_of(path), readable)
        self._before: dict[str, Verdict] = {}
        self._valid: dict[str, bool | None] = {}
        self.warnings = [problem for stack in self._stacks for problem in stack.problems]

    def ask_before(self) -> None:
        """What compose says of the stacks while they have the old values."""
        self._before = {stack.directory: self._client.validate(stack.directory) for stack in self._stacks}

    def ask_after(self) -> Refusal | None:
        """What compose says of them now: a stack that only the change can have broken, if there is one."""
        for stack in self._stacks:
            directory, old = stack.directory, self._before[stack.directory]
            if old.state == "unknown":
                self.warnings.append(f"{directory}: not validated, {old.reason}")
            if self._check or old.state == "unknown":
                continue
            new = self._client.validate(directory)
            self._valid[directory] = {"valid": True, "invalid": False}.get(new.state)
            if new.state == "invalid" and old.state == "valid":
                return Refusal(directory, new.reason)
            if new.state == "invalid":
                self.warnings.append(
                    f"{directory}: docker compose refuses the stack, as before this change: {new.reason}"
                )
            elif new.state == "unknown":
                self.warnings.append(f"{directory}: not validated, {new.reason}")
        return None

    def affected(self, keys: set[str], changed_at: float) -> list[AffectedStack]:
        """Each stack with the services that some keys reach, and those of them that run with older values.

        compose reads env files when it makes a container: one made before ``changed_at`` has older values.
        """
        found: list[AffectedStack] = []
        for stack in self._stacks:
            services = stack.affected(self._path, keys)
            found.append(
                AffectedStack(
                    directory=stack.directory,
                    services=services,
                    valid=self._valid.get(stack.directory),
                    needs_recreate=self._outdated(stack.directory, services, changed_at) if services else [],
                )
            )
        if any(stack.needs_recreate is None for stack in found):
            self.warnings.append("no docker engine answers: which of the affected services run is not known")
        return found

    def warn_raw_readers(self, edited: Edited) -> None:
        """Services that read the file with ``format: raw`` see what is written, quotes and escapes included."""
        env = edited.after
        texts = {one.key: env.text[one.value_start : one.end] for one in env.statements}
        values = env.values
        odd = [key for key in (*edited.added, *edited.changed) if texts.get(key) != values.get(key)]
        for stack in self._stacks:
            for service, use in stack.reading(self._path):
                if use.raw and odd:
                    keys = ", ".join(odd)
                    self.warnings.append(
                        f"{service.name} reads the file with format raw: it gets the quotes of {keys} too"
                    )

    def _outdated(self, directory: str, services: list[str], changed_at: float) -> list[str] | None:
        running = self._client.running(directory)
        if running is None:
            return None
        return sorted({one.service for one in running if one.created < changed_at} & set(services))
