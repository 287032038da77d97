"""What a stack declares, as docker compose resolves it."""

from __future__ import annotations

from letsbe.errors import LetsbeError
from letsbe.executors import stack_secrets
from letsbe.executors.base import Context
from letsbe.executors.stack_source import FoundStack
from letsbe.host import Host
from letsbe.host.processes import Completed
from letsbe.tools.compose import stack_argv, version_argv
from letsbe.tools.compose_model import ComposeModel, config_argv, parse_config
from letsbe.tools.versions import OLDEST_COMPOSE, is_older

CONFIG_S = 60.0
VERSION_S = 20.0
_CONFIG_BYTES = 16 * 1024 * 1024
#: compose's own words, from their end.
_MAX_REASON = 2000


def declared(context: Context, stack: FoundStack) -> ComposeModel:
    """The stack as its files are now, services of all profiles included; its secrets are met.

    ``compose_missing``, ``compose_too_old``, ``compose_invalid`` with compose's own words, redacted.
    """
    argv = config_argv(compose_argv(context.host, stack))
    stack_secrets.meet_in_directory(context, stack.directory)
    stack_secrets.meet_in_files(context, stack.env_files)
    # With PWD, compose names paths as they were named to whoever brought the stack up, symlinks and all.
    pwd = {"PWD": stack.directory}
    done = context.host.run(
        argv, changes=False, cwd=stack.directory, env=pwd, timeout_s=CONFIG_S, output_bytes=_CONFIG_BYTES
    )
    _require_answer(context.host, done, CONFIG_S)
    if done.rc != 0:
        raise _invalid(stack, context.redactor.text(done.stderr.decode(errors="replace").strip())[-_MAX_REASON:])
    try:
        model = parse_config(done.stdout)
    except ValueError as error:
        raise _invalid(stack, str(error)) from None
    stack_secrets.meet_in_model(context, model)
    return model


def compose_argv(host: Host, stack: FoundStack) -> list[str]:
    """compose with what names the stack, to be run in its directory. Raises what :func:`compose_program` does."""
    return stack_argv(
        compose_program(host),
        directory=stack.directory if stack.files else None,
        files=stack.files,
        env_files=stack.env_files,
        project=stack.project,
    )


def compose_program(host: Host) -> str:
    """The docker program's path; ``compose_missing`` and ``compose_too_old`` when its compose can't be used."""
    docker = host.processes.which("docker")
    if docker is None:
        raise _missing("there is no docker program here")
    done = host.run(version_argv(docker), changes=False, timeout_s=VERSION_S)
    _require_answer(host, done, VERSION_S)
    if done.rc != 0:
        raise _missing("docker compose is not installed")
    version = done.stdout.decode(errors="replace").strip()
    if is_older(version, OLDEST_COMPOSE):
        raise LetsbeError(
            "compose_too_old",
            f"docker compose {version} is older than {OLDEST_COMPOSE}",
            hint=f"Upgrade it: its output is understood from {OLDEST_COMPOSE} on.",
            details={"version": version},
        )
    return docker


def _require_answer(host: Host, done: Completed, seconds: float) -> None:
    """A program that was cut off says nothing about what it was asked."""
    if done.timed_out:
        host.deadline.check()
        raise LetsbeError(
            "docker_timeout",
            f"docker compose gave no answer within {seconds:g} s",
            hint="The machine is overloaded, or the docker program hangs: try `docker compose version`.",
        )


def _missing(message: str) -> LetsbeError:
    hint = "Install the compose plugin: Debian's docker-compose, or Docker's docker-compose-plugin."
    return LetsbeError("compose_missing", message, hint=hint)


def _invalid(stack: FoundStack, reason: str) -> LetsbeError:
    return LetsbeError(
        "compose_invalid",
        f"docker compose refuses the stack in {stack.directory}: {reason}",
        hint="`docker compose config --quiet` there says the same; mend the file that it names.",
        details={"directory": stack.directory},
    )
