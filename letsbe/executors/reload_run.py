"""One reload: fetch images, bring the stack up, wait for it, and go back when that fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from letsbe.errors import DeadlineReached, LetsbeError, Terminated
from letsbe.executors.base import Context
from letsbe.executors.readiness_wait import wait_until_ready
from letsbe.executors.reload_contract import Failure, ImageChange, Payload
from letsbe.executors.reload_failures import failures
from letsbe.executors.reload_stack import ReloadStack
from letsbe.executors.reload_way_back import WayBack, WentBack
from letsbe.host.clock import Deadline, now, timed_out
from letsbe.tools import reload_plan
from letsbe.tools.reload_state import Place, ServiceChange, changes, is_well

#: What going back may take beyond the time for waiting, in seconds.
BACK_S = 120.0


class ReloadRun:
    """What one run does, and what came of it."""

    def __init__(self, context: Context, stack: ReloadStack, payload: Payload) -> None:
        self._context = context
        self._stack = stack
        self._payload = payload
        self._services = stack.affected()
        self._references = sorted({service.image for service in self._services})
        self._began = now()
        self._before = stack.containers()
        self._images = stack.images(self._references)
        self._up_began = False
        self.services: list[ServiceChange] = []
        self.images: list[ImageChange] = []
        self.failed: list[Failure] = []
        self.files_restored: list[str] = []
        self.warnings: list[str] = []
        self.rolled_back = False
        self.waited_s = 0.0
        self.changed = False
        self.error: LetsbeError | None = None

    def run(self) -> None:
        """Do it; a failure stands in ``error`` afterwards, with all else that is to be told."""
        try:
            self._fetch()
            self._start()
            self._tell()
        except (LetsbeError, DeadlineReached, KeyboardInterrupt, Terminated) as stop:
            self.error = _as_error(stop, self._context.host.deadline)
            self.changed = self._up_began  # until it is known better
            with self._context.steps.putting_back(self._payload.wait_timeout_s + BACK_S, resumable=False):
                self._go_back_from(self.error)

    def _go_back_from(self, error: LetsbeError) -> None:
        try:
            self._go_back(error)
        except LetsbeError as worse:
            self.error = worse if worse.code.startswith("rollback_") else _both(error, worse)
        try:
            self._tell()
        except LetsbeError as unknown:
            self.warnings.append(f"what there is now can't be told: {unknown.message}")

    def _fetch(self) -> None:
        """Pull and build, and look whether every image is here: nothing of this touches a container."""
        names = self._stack.selected
        wanted = reload_plan.to_pull(self._services, names, self._payload.pull, self._images)
        if wanted:
            self._stack.changes.pull(wanted)
        builds = [service.name for service in self._services if service.builds]
        if self._payload.build and builds:
            self._stack.changes.build(builds)
        here = self._stack.images(self._references)
        self.images = self._moved(here)
        for service in self._services:
            if service.image not in here and service.scale:
                hint = "Send build: true." if service.builds else "Send pull: missing, or build it."
                raise LetsbeError(
                    "image_missing", f"image {service.image} of service {service.name} is not here", hint=hint
                )

    def _start(self) -> None:
        within = Deadline(self._payload.wait_timeout_s)
        self._up_began = True
        self._stack.bring_up(
            self._stack.named,
            within=within if self._payload.wait else None,
            recreate_all=self._payload.recreate == "always",
            remove_orphans=self._payload.remove_orphans,
        )
        if self._payload.wait:
            self._wait(within.remaining())

    def _wait(self, seconds: float) -> None:
        waited = wait_until_ready(
            self._context.host,
            self._stack.containers,
            self._wanted(),
            stable_s=self._payload.stable_s,
            timeout_s=seconds,
        )
        self.waited_s = waited.waited_s
        if waited.not_ready:
            self._context.host.deadline.check()
            self.failed = failures(self._context, self._stack.containers(), waited.not_ready)
            what = "; ".join(f"{one.service} {one.reason}" for one in self.failed)
            raise LetsbeError("not_ready", f"not up after {waited.waited_s:.0f} s: {what}", hint=_LOOK)

    def _wanted(self) -> list[Place]:
        """The places that have to be up: not those that were down before and that the run did not touch."""
        here = self._stack.containers()
        actions = {(one.name, one.number): one for one in self._changes(here)}
        wanted = []
        for place in reload_plan.places(self._services, here):
            one = actions.get(place)
            if one is not None and one.action == "none" and one.before is not None and not one.before.well:
                self.warnings.append(f"{place[0]} was not up before and was not touched: {one.state}")
            else:
                wanted.append(place)
        return wanted

    def _go_back(self, error: LetsbeError) -> None:
        here = self._stack.containers()
        services = self._changes(here)
        touched = {(one.name, one.number) for one in services if one.action != "none"}
        self.images = self.images or self._moved(self._stack.images(self._references))
        way = WayBack(self._context, self._stack, self._payload, services, self.images)
        if not touched:
            way.tag_images_back()
            return
        if not self.failed:
            states = {place: here[place]["State"]["Status"] for place in sorted(touched & here.keys())}
            down = {place: str(state) for place, state in states.items() if not is_well(here[place], now())}
            self.failed = failures(self._context, here, down)
        if not self._payload.rollback:
            return
        self._context.host.progress("roll back", None, "")
        went = way.go()
        self.files_restored, self.rolled_back = went.restored, not went.problems
        if not went.problems:
            error.message += "; rolled back, the services run as before"
        elif went.refused:
            raise LetsbeError("rollback_refused", _not_back(error, went), hint=went.refused)
        else:
            hint = "The stack may be down: `letsbe service-discover` and `letsbe log-tail` show what is there."
            raise LetsbeError("rollback_failed", _not_back(error, went), hint=hint)

    def _changes(self, here: Mapping[Place, Mapping[str, Any]]) -> list[ServiceChange]:
        return changes(self._before, here, self._began)

    def _moved(self, here: Mapping[str, str]) -> list[ImageChange]:
        """References that mean another image than at the beginning."""
        found = reload_plan.moved(self._images, here).items()
        return [ImageChange(image=name, before=old, after=new) for name, (old, new) in found]

    def _tell(self) -> None:
        """The state now against the one before: ids and states, nothing that a program printed."""
        self.services = self._changes(self._stack.containers())
        moved = self._moved(self._stack.images(self._references))
        self.changed = bool(moved) or any(one.action != "none" for one in self.services)


def _both(error: LetsbeError, worse: LetsbeError) -> LetsbeError:
    error.message += f"; and then {worse.message}"
    return error


def _not_back(error: LetsbeError, went: WentBack) -> str:
    return f"{error.message}; not rolled back: {'; '.join(went.problems)}"


_LOOK = "failed[] has the end of their logs."


def _as_error(stop: BaseException, deadline: Deadline) -> LetsbeError:
    if isinstance(stop, LetsbeError):
        return stop
    if isinstance(stop, DeadlineReached):
        return timed_out(deadline.seconds)
    if isinstance(stop, Terminated):
        return LetsbeError("cancelled", str(stop) or "ended by SIGTERM", hint=_AGAIN)
    return LetsbeError("interrupted", "interrupted by Ctrl-C", hint=_AGAIN)


_AGAIN = "Run it again when the stack is to be reloaded after all."
