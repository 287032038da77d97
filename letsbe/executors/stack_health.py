"""STACK_HEALTH: what a stack declares against what runs."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from letsbe.executors import base
from letsbe.executors.base import BaseExecutor, ExecutionResult
from letsbe.executors.stack_config import declared
from letsbe.executors.stack_drift import Drift, OutdatedImage, StackDrift
from letsbe.executors.stack_source import FoundStack, Json, StackSource
from letsbe.executors.stack_upstreams import StackUpstreams, StaleUpstream
from letsbe.tools.compose_model import ComposeModel
from letsbe.tools.compose_project import Membership, container_name, membership
from letsbe.tools.compose_stack import project_name
from letsbe.tools.service_presence import is_done, needed_resources

Verdict = Literal["ok", "warn", "fail"]


class Payload(base.Payload, frozen=True):
    """What STACK_HEALTH takes."""

    stack: Annotated[
        str, Meta(description="A project name, or the directory of a stack.", min_length=1, max_length=4095)
    ]
    deep: Annotated[
        bool,
        Meta(description="Compare every field and where nginx sends to as well; false: only what is there and runs."),
    ] = True


class DeclaredState(Struct, kw_only=True):
    """A service of the compose files."""

    service: Annotated[str, Meta(description="Its name.")]
    scale: Annotated[int, Meta(description="How many containers it is to have.")]
    active: Annotated[bool, Meta(description="`docker compose up` starts it; false: its profile is off.")] = True
    running: Annotated[int, Meta(description="How many of its containers run.")] = 0


class Missing(Struct, kw_only=True):
    """A service with fewer containers than declared."""

    service: Annotated[str, Meta(description="Its name.")]
    declared: Annotated[int, Meta(description="How many containers it is to have.")]
    actual: Annotated[int, Meta(description="How many it has, running or not.")]


class StackContainer(Struct, kw_only=True):
    """A container of the stack that is not simply running."""

    service: Annotated[str, Meta(description="The service that it was made for.")]
    container: Annotated[str, Meta(description="Its name.")]
    state: Annotated[str, Meta(description="created, running, paused, restarting, exited or dead.")]
    exit_code: Annotated[int | None, Meta(description="Of its last run; null while it runs.")] = None


class OtherProject(Struct, kw_only=True):
    """Containers of the same directory under another project name."""

    project: Annotated[str, Meta(description="The name that they have.")]
    containers: Annotated[list[str], Meta(description="Their names.")]


class Data(base.Data):
    """What STACK_HEALTH gives."""

    project: Annotated[str, Meta(description="The stack's project name.")]
    dir: Annotated[str, Meta(description="Its directory.")]
    verdict: Annotated[
        Verdict, Meta(description="fail: something declared does not run; warn: something runs otherwise; else ok.")
    ] = "ok"
    reasons: Annotated[list[str], Meta(description="Why the verdict is not ok, the worst first.")] = []
    declared: Annotated[list[DeclaredState], Meta(description="The services of the compose files.")] = []
    running: Annotated[list[str], Meta(description="Containers of declared services that run.")] = []
    done: Annotated[list[str], Meta(description="Containers that ran once, ended with 0, and are to end.")] = []
    missing: Annotated[list[Missing], Meta(description="Services with fewer containers than declared.")] = []
    stopped: Annotated[list[StackContainer], Meta(description="Containers of declared services that do not run.")] = []
    paused: Annotated[list[str], Meta(description="Containers of declared services that are paused.")] = []
    orphans: Annotated[list[StackContainer], Meta(description="Containers of services that are not declared.")] = []
    renamed: Annotated[
        list[OtherProject], Meta(description="Containers of this directory that have another project's name.")
    ] = []
    drift: Annotated[list[Drift], Meta(description="Where containers differ from what is declared.")] = []
    images_outdated: Annotated[
        list[OutdatedImage], Meta(description="Containers whose image's name leads to another image by now.")
    ] = []
    volumes_missing: Annotated[list[str], Meta(description="Volumes that are declared and not there.")] = []
    networks_missing: Annotated[list[str], Meta(description="Networks that are declared and not there.")] = []
    stale_upstreams: Annotated[
        list[StaleUpstream],
        Meta(description="Where an nginx sends, or may send, to addresses that containers had before."),
    ] = []


class StackHealth(BaseExecutor[Payload, Data]):
    """Compare a stack's compose files with its containers: what is missing, stopped, orphaned, or runs otherwise.

    Fields are compared one by one, as the engine and compose would have filled them in. An nginx that may still send to
    addresses which containers had before is found. Nothing is changed.
    """

    type = "STACK_HEALTH"
    changes = False
    rerun_safe = True
    needs = ("docker",)
    example = {"stack": "{root}/stack"}

    def execute(self, payload: Payload) -> ExecutionResult[Data]:
        """Find, resolve, inspect, compare."""
        source = StackSource(self.context)
        stack = source.find(payload.stack)
        model = declared(self.context, stack)
        data = Data(project=model.project, dir=stack.directory)
        members = [one for one in stack.members if not one.stack.one_off and one.stack.project == model.project]
        inspected = source.inspect(members)
        containers = [(found, member) for found in inspected if (member := _member(found)) is not None]
        _sort(containers, model, stack, data)
        _renamed(stack, model, data)
        self._resources(containers, model, stack, data)
        upstreams = StackUpstreams(self.context, containers)
        if payload.deep:
            drift = StackDrift(self.context, model, containers)
            data.drift += drift.differences()
            data.images_outdated = drift.outdated_images()
            data.stale_upstreams = upstreams.stale()
        _judge(data, stack)
        return ExecutionResult(data=data, warnings=upstreams.warnings)

    def _resources(
        self, containers: list[tuple[Json, Membership]], model: ComposeModel, stack: FoundStack, data: Data
    ) -> None:
        present = {member.service for _, member in containers}
        active = {one.name for one in model.active(stack.profiles) if one.scale}
        services = [one for one in model.services.values() if one.name in present | active]
        volumes = {one["Name"] for one in self.host.engine.volumes()}
        networks = {one["Name"] for one in self.host.engine.networks()}
        data.volumes_missing = sorted(needed_resources("volumes", services, model) - volumes)
        data.networks_missing = sorted(needed_resources("networks", services, model) - networks)


def _member(found: Json) -> Membership | None:
    return membership(found["Config"].get("Labels"))


def _sort(containers: list[tuple[Json, Membership]], model: ComposeModel, stack: FoundStack, data: Data) -> None:
    """Each container into the list that it belongs to, and services without enough of them."""
    of_service: dict[str, list[Json]] = {name: [] for name in model.services}
    for found, member in sorted(containers, key=lambda one: (one[1].service, one[1].number)):
        facts = _facts(found, member)
        if member.service not in of_service:
            data.orphans.append(facts)
            continue
        of_service[member.service].append(found)
        if facts.state == "running":
            data.running.append(facts.container)
        elif facts.state == "paused":
            data.paused.append(facts.container)
        elif facts.state == "exited" and facts.exit_code == 0 and is_done(model.services[member.service], model, found):
            data.done.append(facts.container)
        else:
            data.stopped.append(facts)
    for name, found_here in of_service.items():
        service = model.services[name]
        active = service.is_active(stack.profiles)
        running = sum(one["State"]["Status"] == "running" for one in found_here)
        data.declared.append(DeclaredState(service=name, scale=service.scale, active=active, running=running))
        if active and len(found_here) < service.scale:
            data.missing.append(Missing(service=name, declared=service.scale, actual=len(found_here)))
        elif found_here and len(found_here) > service.scale:
            data.drift.append(
                Drift(service=name, field="scale", declared=str(service.scale), actual=str(len(found_here)))
            )


def _facts(found: Json, member: Membership) -> StackContainer:
    state = found["State"]
    ended = state["Status"] in ("exited", "dead", "restarting")
    return StackContainer(
        service=member.service,
        container=container_name(found),
        state=state["Status"],
        exit_code=state.get("ExitCode") if ended else None,
    )


def _renamed(stack: FoundStack, model: ComposeModel, data: Data) -> None:
    others: dict[str, list[str]] = {}
    for one in stack.members:
        if one.stack.project != model.project and not one.stack.one_off:
            others.setdefault(one.stack.project, []).append(container_name(one.listed))
    data.renamed = [OtherProject(project=name, containers=sorted(found)) for name, found in sorted(others.items())]


def _judge(data: Data, stack: FoundStack) -> None:
    wrong = [f"{one.service}: {one.actual} of {one.declared} containers are there" for one in data.missing]
    off = {one.service for one in data.declared if not one.active}  # nobody misses what was stopped of these
    wrong += [
        f"{one.container} is {one.state}" + ("" if one.exit_code is None else f", exit code {one.exit_code}")
        for one in data.stopped
        if one.service not in off
    ]
    wrong += [f"{name} is paused" for name in data.paused]
    wrong += [f"the volume {name} is not there" for name in data.volumes_missing]
    wrong += [f"the network {name} is not there" for name in data.networks_missing]
    odd = [f"{name} runs otherwise than declared: {fields}" for name, fields in _by_container(data.drift)]
    odd += [f"{one.container}: {one.image} is another image by now" for one in data.images_outdated]
    odd += [one.detail for one in data.stale_upstreams]
    odd += [f"{one.container} belongs to no declared service" for one in data.orphans]
    odd += [
        f"{len(one.containers)} containers of {data.dir} belong to the project {one.project}" for one in data.renamed
    ]
    if stack.calls_itself not in (data.project, project_name(stack.directory)):
        odd.append(f"the compose files name the project {stack.calls_itself}: up would make a second set of containers")
    data.reasons = wrong + odd
    data.verdict = "fail" if wrong else "warn" if odd else "ok"


def _by_container(drift: list[Drift]) -> list[tuple[str, str]]:
    fields: dict[str, list[str]] = {}
    for one in drift:
        fields.setdefault(one.container or one.service, []).append(one.field)
    return [(name, ", ".join(found)) for name, found in fields.items()]
