"""ECHO: is the agent there, and what could it do here?"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from letsbe import __version__
from letsbe.errors import LetsbeError
from letsbe.executors import EXECUTOR_REGISTRY, base, executor_class
from letsbe.executors.base import BaseExecutor, ExecutionResult
from letsbe.host import machine

#: What asking one program for its version may take, in seconds.
PROBE_S = 3.0


class Payload(base.Payload, frozen=True):
    """What ECHO takes."""

    message: Annotated[str, Meta(description="Text to give back, at most 4 KiB.", max_length=4096)] = ""
    probe: Annotated[bool, Meta(description="Look which programs are there and which task types could work.")] = False


class Program(Struct, kw_only=True):
    """A program that task types use."""

    name: Annotated[str, Meta(description="docker (the engine), compose, nginx, restic, chromium or apt.")]
    version: Annotated[str | None, Meta(description="Its version; null when it is not there or does not answer.")]
    problem: Annotated[str, Meta(description="Why it can't be used; empty when it can.")] = ""


class Ability(Struct, kw_only=True):
    """Whether a task type could work here."""

    type: Annotated[str, Meta(description="Task type.")]
    works: Annotated[bool, Meta(description="All that it needs is there.")]
    missing: Annotated[list[str], Meta(description="What it needs and is not there.")] = []
    limited: Annotated[list[str], Meta(description="What is not there, and without which it does less.")] = []
    reasons: Annotated[list[str], Meta(description="Why each of these is missing, and what to do.")] = []


class Data(base.Data):
    """What ECHO gives."""

    message: Annotated[str, Meta(description="The text that was sent.")]
    version: Annotated[str, Meta(description="The agent's version.")]
    host: Annotated[str, Meta(description="The host's name.")]
    uptime_s: Annotated[int, Meta(description="Seconds since the machine was started.")]
    programs: Annotated[list[Program] | None, Meta(description="With probe: the programs.")] = None
    free_bytes: Annotated[dict[str, int] | None, Meta(description="With probe: free disk, by allowed root.")] = None
    abilities: Annotated[list[Ability] | None, Meta(description="With probe: each task type.")] = None


class Echo(BaseExecutor[Payload, Data]):
    """Give a message back: connectivity and capability test."""

    type = "ECHO"
    changes = False
    rerun_safe = True
    example = {"message": "hello"}

    def execute(self, payload: Payload) -> ExecutionResult[Data]:
        """Give the message back; with ``probe`` look around."""
        data = Data(message=payload.message, version=__version__, host=machine.hostname(), uptime_s=machine.uptime_s())
        if payload.probe:
            data.programs = self._programs()
            found = {root: machine.free_bytes(root) for root in self.host.files.roots}
            data.free_bytes = {root: free for root, free in found.items() if free is not None}
            data.abilities = abilities()
        return ExecutionResult(data=data)

    def _programs(self) -> list[Program]:
        """Ask all programs at once."""
        from concurrent.futures import ThreadPoolExecutor

        from letsbe.tools.versions import VERSION_COMMANDS

        with ThreadPoolExecutor(len(VERSION_COMMANDS)) as pool:
            return list(pool.map(self._program, VERSION_COMMANDS))

    def _program(self, name: str) -> Program:
        from letsbe.tools.versions import OLDEST_COMPOSE, VERSION_COMMANDS, is_older, version_in

        executable, arguments = VERSION_COMMANDS[name]
        path = self.host.processes.which(executable)
        if path is None:
            return Program(name=name, version=None, problem=f"{executable} is not installed")
        try:
            done = self.host.run([path, *arguments], changes=False, timeout_s=PROBE_S)
        except LetsbeError as error:
            return Program(name=name, version=None, problem=error.message)
        if done.timed_out:
            return Program(name=name, version=None, problem=f"no answer within {PROBE_S:g} s")
        text = (done.stdout + b"\n" + done.stderr).decode("utf-8", "replace")
        version = version_in(text) if done.rc == 0 else None
        if version is None:
            told = self.context.redactor.text(text.strip()[-500:])
            return Program(name=name, version=None, problem=told or "told no version")
        old = name == "compose" and is_older(version, OLDEST_COMPOSE)
        return Program(name=name, version=version, problem=f"older than {OLDEST_COMPOSE}" if old else "")


def abilities() -> list[Ability]:
    """What each task type needs, against what is there."""
    from letsbe.host.needs import missing

    found = []
    for name in EXECUTOR_REGISTRY:
        kind = executor_class(name)
        lacking, less = missing(kind.needs), missing(kind.better_with)
        found.append(
            Ability(
                type=name,
                works=not lacking,
                missing=[one.need for one in lacking],
                limited=[one.need for one in less],
                reasons=[f"{one.error.message}. {one.error.hint}" for one in (*lacking, *less)],
            )
        )
    return found
