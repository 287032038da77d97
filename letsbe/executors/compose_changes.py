"""docker compose at work on a stack: pulling, building, starting, with progress, and its refusals as errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from letsbe.errors import LetsbeError
from letsbe.executors.base import Context
from letsbe.tools import compose_up
from letsbe.tools.compose_progress import PullProgress

#: Tagging, renaming or removing, in seconds.
QUICK_S = 60.0
#: At most this often is progress told, in seconds.
TOLD_EVERY_S = 0.5


class ComposeChanges:
    """Runs what changes a stack. Whatever compose prints may hold values of env files, so all of it is redacted.

    ``compose`` is the program with what names the stack, run in ``directory``.
    """

    def __init__(self, context: Context, compose: Sequence[str], directory: str) -> None:
        self._context = context
        self._docker = compose[0]
        self._compose = compose
        self._directory = directory

    def pull(self, services: Sequence[str]) -> None:
        """Pull the images of services. Raises ``pull_failed``, ``timed_out``."""
        progress, told = PullProgress(), [0.0]

        def watch(data: bytes) -> None:
            if progress.feed(data) and time.monotonic() - told[0] >= TOLD_EVERY_S:
                told[0] = time.monotonic()
                self._context.host.progress("pull", progress.percent, progress.message())

        self._context.host.progress("pull", None, ", ".join(services))
        why = self._failure("pull", compose_up.pull_argv(self._compose, services), watch=watch)
        if why is not None:
            hint = (
                "The containers are as they were. Check the image's name and tag, the registry, and"
                " `docker login` of the agent's user."
            )
            raise LetsbeError("pull_failed", why, hint=hint)
        if progress.pulled_bytes:
            self._context.host.progress("pull", progress.percent, progress.message())

    def build(self, services: Sequence[str]) -> None:
        """Build the images of services. Raises ``build_failed``, ``timed_out``."""
        self._context.host.progress("build", None, ", ".join(services))
        why = self._failure("build", compose_up.build_argv(self._compose, services))
        if why is not None:
            hint = "The containers are as they were. Build by hand in the stack's directory to see all of its output."
            raise LetsbeError("build_failed", why, hint=hint)

    def create(
        self, services: Sequence[str], *, timeout_s: float | None, recreate_all: bool, remove_orphans: bool
    ) -> None:
        """Make what is missing or differs, and start nothing. Raises ``up_failed``, ``timed_out``."""
        self._context.host.progress("create", None, ", ".join(services))
        argv = compose_up.create_argv(self._compose, services, recreate_all=recreate_all, remove_orphans=remove_orphans)
        self._bring_up("create", argv, timeout_s)

    def up(self, services: Sequence[str], *, timeout_s: float | None) -> None:
        """Start services within ``timeout_s`` seconds. Raises ``up_failed``, ``timed_out``."""
        self._context.host.progress("start", None, ", ".join(services))
        self._bring_up("up", compose_up.up_argv(self._compose, services), timeout_s)

    def remove(self, containers: Iterable[str]) -> None:
        """Take containers away. Raises ``remove_failed``."""
        why = self._failure("rm", compose_up.remove_argv(self._docker, containers), timeout_s=QUICK_S)
        if why is not None:
            raise LetsbeError("remove_failed", why, hint="`docker ps --all` shows what is there.")

    def rename(self, container: str, name: str) -> None:
        """Give a container another name. Raises ``rename_failed``."""
        why = self._failure("rename", compose_up.rename_argv(self._docker, container, name), timeout_s=QUICK_S)
        if why is not None:
            raise LetsbeError("rename_failed", why, hint="`docker ps --all` shows what is there.")

    def tag(self, image_id: str, reference: str) -> None:
        """Let a reference mean an image. Raises ``tag_failed``."""
        why = self._failure("tag", compose_up.tag_argv(self._docker, image_id, reference), timeout_s=QUICK_S)
        if why is not None:
            raise LetsbeError("tag_failed", why, hint=f"Is it still there? `docker image inspect {image_id}`")

    def _bring_up(self, verb: str, argv: list[str], timeout_s: float | None) -> None:
        why = self._failure(verb, argv, timeout_s=timeout_s)
        if why is not None:
            hint = "A port or a name that is taken, or a service that others wait for: failed[] has the ends of logs."
            raise LetsbeError("up_failed", why, hint=hint)

    def _failure(
        self,
        verb: str,
        argv: list[str],
        *,
        timeout_s: float | None = None,
        watch: Callable[[bytes], object] | None = None,
    ) -> str | None:
        """Run it; why it failed, in compose's words, or None when it did not."""
        host = self._context.host
        host.deadline.check()
        # With PWD, compose names paths as they were named to whoever brought the stack up, symlinks and all.
        pwd = {"PWD": self._directory}
        done = host.run(argv, cwd=self._directory, env=pwd, timeout_s=timeout_s, watch=watch)
        words = self._context.redactor.text(compose_up.words_of(done.stderr.decode("utf-8", "replace")))
        if done.timed_out:
            host.deadline.check()  # the run's own deadline has words of its own
            return f"docker {verb} in {self._directory} did not end in time{f': {words}' if words else ''}"
        if done.rc == 0:
            return None
        how = f"signal {done.signal}" if done.signal else f"exit code {done.rc}"
        return f"docker {verb} in {self._directory}: {words or how}"
