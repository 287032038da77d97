"""Meeting a stack's secrets before anything about it is told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from letsbe.executors.base import Context
from letsbe.host.readable import Readable
from letsbe.tools.argument_secrets import secret_arguments
from letsbe.tools.compose_model import ComposeModel
from letsbe.tools.compose_project import membership
from letsbe.tools.dotenv import parse
from letsbe.tools.secret_values import meet_secrets


def meet_in_containers(context: Context, inspected: Iterable[dict[str, Any]]) -> None:
    """The secrets in the environment and the arguments of containers, and in the env files of their stacks."""
    directories = set()
    for one in inspected:
        config = one["Config"]
        pairs = (pair.partition("=") for pair in config.get("Env") or [])
        meet_secrets(context.redactor, {key: value for key, _, value in pairs})
        test = (config.get("Healthcheck") or {}).get("Test")
        _meet_arguments(context, config.get("Cmd"), config.get("Entrypoint"), test)
        member = membership(config.get("Labels"))
        if member is not None and member.directory:
            directories.add(member.directory)
    for directory in directories:
        meet_in_directory(context, directory)


def meet_in_directory(context: Context, directory: str) -> None:
    """The secrets in the env files of the stack in a directory, as far as they can be read."""
    from letsbe.tools.compose_load import read_stack

    readable = Readable(context.host.files)
    stack = read_stack(directory, readable)
    services = stack.services if stack is not None else []
    files = {use.path for service in services for use in service.env_files} | {f"{directory}/.env"}
    meet_in_files(context, files)


def meet_in_files(context: Context, paths: Iterable[str]) -> None:
    """The secrets in env files, as far as they can be read."""
    readable = Readable(context.host.files)
    for path in paths:
        meet_secrets(context.redactor, parse(readable.read(path) or b"").values)


def meet_in_model(context: Context, model: ComposeModel) -> None:
    """The secrets that compose resolved into services: from env files, from interpolation, or written there."""
    for service in model.services.values():
        build = service.definition.get("build") or {}
        for values in (service.environment, build.get("args") or {}, service.definition.get("labels") or {}):
            meet_secrets(context.redactor, {key: value for key, value in values.items() if isinstance(value, str)})
        test = (service.definition.get("healthcheck") or {}).get("test")
        _meet_arguments(context, service.definition.get("command"), service.definition.get("entrypoint"), test)
    for resource in model.resources:
        if resource.kind == "secrets" and isinstance(content := resource.definition.get("content"), str):
            context.redactor.meet(content)


def _meet_arguments(context: Context, *argvs: Any) -> None:
    for argv in argvs:
        words = [argv] if isinstance(argv, str) else argv or []
        for value in secret_arguments(words):
            context.redactor.meet(value)
