"""``/etc/letsbe/letsbe.yml``: every key optional, unknown keys an error with their line."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from letsbe.agent.permissions import refuse_writable_by_others
from letsbe.decoding import convert
from letsbe.errors import LetsbeError
from letsbe.protocol import TrustedKey
from letsbe.tools.command_policy import CommandRule

DEFAULT_PATH = "/etc/letsbe/letsbe.yml"
ENVIRONMENT_VARIABLE = "LETSBE_CONFIG"
_MAX_BYTES = 1024 * 1024

Origin = Literal["orchestrator", "ssh", "local"]
AbsolutePath = Annotated[str, Meta(pattern="^/", max_length=4095)]


class _Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class OrchestratorConfig(_Section, frozen=True):
    """Where tasks come from, and whose are believed."""

    url: Annotated[str, Meta(description="https://HOST:PORT; plain http only to loopback.")] | None = None
    ca_file: Annotated[AbsolutePath, Meta(description="CA certificates (PEM); else the system's store.")] | None = None
    enrolment_token_file: Annotated[AbsolutePath, Meta(description="Read once, at registration.")] = (
        "/etc/letsbe/enrolment-token"  # noqa: S105 - a path
    )
    require_signatures: Annotated[bool, Meta(description="Refuse tasks that no trusted key signed.")] = True
    trusted_keys: Annotated[
        dict[str, TrustedKey], Meta(description="Who may sign tasks; pinned at registration unless given.")
    ] = {}


class LogConfig(_Section, frozen=True):
    """Where the log goes: JSON lines, rotated at 10 MB, three old files kept."""

    file: Annotated[AbsolutePath, Meta(description="Log file.")] | None = "/var/log/letsbe/letsbe.log"
    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="Least severe level kept.")] = (
        "info"
    )


class OriginPolicy(_Section, frozen=True):
    """What one origin may do."""

    allow: Annotated[list[str], Meta(description='Task types, or "*".')] = msgspec.field(default_factory=lambda: ["*"])
    deny: Annotated[list[str], Meta(description="Task types taken away again.")] = []
    reveal: Annotated[
        bool | None, Meta(description="May see secret values in clear where a task asks for them; null: local only.")
    ] = None


class PolicyConfig(_Section, frozen=True):
    """What each origin may do; the last word is the host's."""

    orchestrator: OriginPolicy = OriginPolicy()
    ssh: OriginPolicy = OriginPolicy()
    local: OriginPolicy = OriginPolicy()


class ShellConfig(_Section, frozen=True):
    """Which commands SHELL may run."""

    allow: Annotated[list[CommandRule], Meta(description="Rules: an absolute program and argument patterns.")] = []
    defaults: Annotated[bool, Meta(description="Allow the built-in read-only commands (df, free, uptime, ...).")] = True


class ProbesConfig(_Section, frozen=True):
    """Where HEALTHCHECK may connect to, beside this machine and its containers."""

    allow: Annotated[list[str], Meta(description="Networks or addresses, such as 10.0.0.0/8 or 192.0.2.7.")] = []


class LimitsConfig(_Section, frozen=True):
    """Bounds of one run."""

    file_bytes: Annotated[int, Meta(ge=1024, le=1 << 30, description="Largest file written or edited.")] = 5_242_880
    output_bytes: Annotated[int, Meta(ge=1024, le=1 << 24, description="Output kept per stream, head and tail.")] = (
        65_536
    )
    timeout_s: Annotated[int, Meta(ge=1, le=86_400, description="Deadline of a run that names none.")] = 600


class PollConfig(_Section, frozen=True):
    """How ``letsbe poll`` behaves."""

    splay_s: Annotated[int, Meta(ge=0, le=59, description="A fixed offset per agent, from 0 to this.")] = 20
    max_tasks: Annotated[int, Meta(ge=1, le=100, description="Tasks claimed in one poll.")] = 10
    budget_s: Annotated[int, Meta(ge=1, le=86_400, description="No further task is begun after this.")] = 3_000


class Config(_Section, frozen=True):
    """The whole configuration."""

    orchestrator: OrchestratorConfig = OrchestratorConfig()
    roots: Annotated[list[AbsolutePath], Meta(min_length=1, description="Where file and stack executors may work.")] = (
        msgspec.field(default_factory=lambda: ["/opt/letsbe"])
    )
    state_dir: Annotated[AbsolutePath, Meta(description="Journal, identity, locks, undo snapshots.")] = (
        "/var/lib/letsbe"
    )
    log: LogConfig = LogConfig()
    policy: PolicyConfig = PolicyConfig()
    shell: ShellConfig = ShellConfig()
    probes: ProbesConfig = ProbesConfig()
    limits: LimitsConfig = LimitsConfig()
    poll: PollConfig = PollConfig()


def config_path(given: str | None = None) -> str:
    """The file that applies: ``--config``, else ``LETSBE_CONFIG``, else :data:`DEFAULT_PATH`."""
    return given or os.environ.get(ENVIRONMENT_VARIABLE) or DEFAULT_PATH


def load(given: str | None = None) -> Config:
    """Read and check the configuration; the defaults when no file is there and none was asked for.

    Raises ``invalid_config`` with file, line and key, and ``unsafe_permissions`` when others can write it.
    """
    path = config_path(given)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        if path == DEFAULT_PATH:
            return Config()
        raise LetsbeError(
            "invalid_config", f"{path}: no such file", hint="Name another with --config, or unset LETSBE_CONFIG."
        ) from None
    except OSError as error:
        raise LetsbeError(
            "invalid_config", f"{path}: {error.strerror}", hint="Run as a user who may read it."
        ) from error
    with open(descriptor, "rb") as file:
        refuse_writable_by_others(path, os.fstat(descriptor))
        source = file.read(_MAX_BYTES + 1)
    if len(source) > _MAX_BYTES:
        raise LetsbeError("invalid_config", f"{path}: larger than 1 MiB", hint="A configuration is a page, not a book.")
    if not source.strip():
        return Config()
    from letsbe.agent import config_cache

    cached = config_cache.find(source)
    if cached is not None:
        return cached
    config = parse(source, path)
    config_cache.keep(source, config)
    return config


def parse(source: bytes, path: str) -> Config:
    """YAML to :class:`Config`; ``invalid_config`` names ``path``, line and key."""
    from letsbe.agent import config_errors

    document = config_errors.load_yaml(source, path)
    try:
        config = convert({} if document is None else document, Config)
    except msgspec.ValidationError as error:
        raise config_errors.with_line(str(error), source, path) from None
    for check in (_check_orchestrator, _check_types, _check_roots, _check_keys, _check_probes):
        problem = check(config)
        if problem:
            raise LetsbeError("invalid_config", f"{path}: {problem[0]}", hint=problem[1])
    return config


def _check_orchestrator(config: Config) -> tuple[str, str] | None:
    url = config.orchestrator.url
    if url is None:
        return None
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if parts.username or parts.password:
        return "orchestrator.url holds a user name or password", "The agent's token is in the state directory."
    if parts.scheme not in ("https", "http") or not parts.hostname:
        return f"orchestrator.url {url!r} is no https URL", "Write https://HOST:PORT."
    if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        return f"orchestrator.url {url!r} is not encrypted", "Use https; plain http is for loopback only."
    return None


def _check_types(config: Config) -> tuple[str, str] | None:
    from letsbe.executors import EXECUTOR_REGISTRY

    for origin in ("orchestrator", "ssh", "local"):
        section: OriginPolicy = getattr(config.policy, origin)
        for key in ("allow", "deny"):
            for name in getattr(section, key):
                if name != "*" and name not in EXECUTOR_REGISTRY:
                    return (
                        f"policy.{origin}.{key} names {name!r}, which is no task type",
                        f"One of {', '.join(EXECUTOR_REGISTRY)}, or '*'.",
                    )
    return None


def _check_roots(config: Config) -> tuple[str, str] | None:
    for root in config.roots:
        if os.path.normpath(root) != root.rstrip("/") or root == "/":
            return f"roots: {root!r} is not a plain directory below /", "Write it without '..', '.' or a trailing '/'."
    return None


def _check_probes(config: Config) -> tuple[str, str] | None:
    if not config.probes.allow:
        return None
    from ipaddress import ip_network

    for network in config.probes.allow:
        try:
            ip_network(network)
        except ValueError as error:
            return f"probes.allow: {error}", "Write networks as 10.0.0.0/8 or fd00::/8, single addresses as 192.0.2.7."
    return None


def _check_keys(config: Config) -> tuple[str, str] | None:
    for name, key in config.orchestrator.trusted_keys.items():
        for path in key.paths or ():
            if os.path.normpath(path) != path or not any(f"{path}/".startswith(f"{root}/") for root in config.roots):
                return (
                    f"orchestrator.trusted_keys.{name}.paths: {path!r} is no plain directory below a root",
                    f"Roots are {', '.join(config.roots)}; write it without '..', '.' or a trailing '/'.",
                )
    return None


def as_json(config: Config) -> Any:
    """The configuration as JSON values."""
    return msgspec.to_builtins(config)
