"""The task types: one file each, one line each below.

The registry is an explicit literal, since scanning a package for modules finds nothing inside a frozen binary, and
names the classes without importing them, since ``letsbe echo`` should not pay for the other twenty.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from letsbe.errors import LetsbeError

if TYPE_CHECKING:
    from letsbe.executors.base import BaseExecutor

#: Task type -> ``module:class`` below this package.
EXECUTOR_REGISTRY: dict[str, str] = {
    "ECHO": "echo:Echo",
    "ENV_UPDATE": "env_update:EnvUpdate",
    "ENV_INSPECT": "env_inspect:EnvInspect",
    "FILE_WRITE": "file_write:FileWrite",
    "FILE_INSPECT": "file_inspect:FileInspect",
    "SHELL": "shell:Shell",
    "LOG_TAIL": "log_tail:LogTail",
    "SERVICE_DISCOVER": "service_discover:ServiceDiscover",
    "DOCKER_RELOAD": "docker_reload:DockerReload",
    "STACK_HEALTH": "stack_health:StackHealth",
    "HEALTHCHECK": "healthcheck:Healthcheck",
    "COMPOSITE": "composite:Composite",
}


def executor_class(task_type: str) -> type[BaseExecutor[Any, Any]]:
    """The executor of a task type; ``unknown_type`` when there is none."""
    try:
        module, _, name = EXECUTOR_REGISTRY[task_type].partition(":")
    except KeyError:
        known = ", ".join(EXECUTOR_REGISTRY)
        raise LetsbeError(
            "unknown_type", f"this agent has no executor {task_type!r}", hint=f"It knows {known}."
        ) from None
    found: type[BaseExecutor[Any, Any]] = getattr(import_module(f"letsbe.executors.{module}"), name)
    return found
