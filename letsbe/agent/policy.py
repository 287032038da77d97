"""The host's last word: what each origin may do."""

from __future__ import annotations

from collections.abc import Sequence

from letsbe.agent.config import Config, Origin, OriginPolicy
from letsbe.errors import LetsbeError
from letsbe.executors.base import Rights
from letsbe.tools.command_policy import DEFAULT_RULES


def check(config: Config, origin: Origin, task_type: str) -> None:
    """Raise ``policy_denied``, with the rule that says so, unless the origin may use the executor."""
    section = _section(config, origin)
    if task_type in section.deny or "*" in section.deny:
        rule = f"policy.{origin}.deny: {section.deny}"
    elif task_type not in section.allow and "*" not in section.allow:
        rule = f"policy.{origin}.allow: {section.allow}"
    else:
        return
    raise LetsbeError(
        "policy_denied",
        f"{task_type} is not allowed for tasks from {_SPOKEN[origin]} ({rule})",
        hint=f"An administrator of this host can change {rule.partition(':')[0]} in the configuration.",
        details={"origin": origin, "rule": rule},
    )


def check_signer(granted: Sequence[str], task_type: str) -> None:
    """Raise ``policy_denied`` unless the key that signed the task may ask for the executor."""
    if "*" not in granted and task_type not in granted:
        may = ", ".join(sorted(granted)) or "nothing"
        raise LetsbeError(
            "policy_denied",
            f"the key that signed this task may not ask for {task_type}, only for {may}",
            hint="Keys and their executors are under orchestrator.trusted_keys in this host's configuration.",
        )


def rights(config: Config, origin: Origin) -> Rights:
    """What the origin is granted beyond the executor itself."""
    defaults = DEFAULT_RULES if config.shell.defaults else ()
    reveal = _section(config, origin).reveal
    return Rights(
        commands=(*config.shell.allow, *defaults),
        reveal=origin == "local" if reveal is None else reveal,
        output_bytes=config.limits.output_bytes,
        file_bytes=config.limits.file_bytes,
    )


_SPOKEN = {"orchestrator": "the orchestrator", "ssh": "SSH", "local": "the command line"}


def _section(config: Config, origin: Origin) -> OriginPolicy:
    section: OriginPolicy = getattr(config.policy, origin)
    return section
