"""One container as the engine describes it, in the words that people use."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from letsbe.tools.compose_project import Membership, container_name

#: The engine's "never", for containers that were not started yet.
_NEVER = "0001-01-01T00:00:00Z"


class Container(Struct, kw_only=True):
    """A container, of a stack's service or of none."""

    service: Annotated[str | None, Meta(description="Its service; null for a container of no stack.")]
    container: Annotated[str, Meta(description="Its name.")]
    container_id: Annotated[str, Meta(description="Its id, the first 12 characters.")]
    state: Annotated[str, Meta(description="running, exited, restarting, paused, created or dead.")]
    health: Annotated[str | None, Meta(description="healthy, unhealthy or starting; null without a health check.")] = (
        None
    )
    exit_code: Annotated[int | None, Meta(description="Of the last run; null while it runs.")] = None
    oom_killed: Annotated[bool, Meta(description="The kernel ended it for want of memory.")] = False
    restarts: Annotated[int, Meta(description="How often the engine started it again.")] = 0
    started_at: Annotated[str | None, Meta(description="When it was last started; null: never.")] = None
    ports: Annotated[list[str], Meta(description="Published ports: address:port->port/protocol.")] = []
    image: Annotated[str, Meta(description="The image as it was asked for.")]
    image_id: Annotated[str, Meta(description="The image's id.")]
    digest: Annotated[str | None, Meta(description="Its digest in the registry; null for one made here.")] = None
    networks: Annotated[dict[str, str], Meta(description="Networks, each with its address there.")] = {}
    mounts: Annotated[list[str], Meta(description="Mounts: volume or path:target, and :ro.")] = []
    restart: Annotated[str, Meta(description="The restart policy.")] = "no"
    one_off: Annotated[bool, Meta(description="Made by `docker compose run`.")] = False


def container_facts(found: dict[str, Any], image: dict[str, Any] | None, stack: Membership | None) -> Container:
    """From the engine's full description of a container, and of its image if that is still there."""
    state, host = found["State"], found["HostConfig"]
    networks = found["NetworkSettings"].get("Networks") or {}
    status = str(state["Status"])
    return Container(
        service=stack.service if stack else None,
        container=container_name(found),
        container_id=found["Id"][:12],
        state=status,
        health=_health(state),
        exit_code=None if status in ("running", "paused", "created") else state.get("ExitCode"),
        oom_killed=bool(state.get("OOMKilled")),
        restarts=found.get("RestartCount") or 0,
        started_at=None if state["StartedAt"] == _NEVER else state["StartedAt"],
        ports=_ports(found["NetworkSettings"].get("Ports") or {}),
        image=found["Config"]["Image"],
        image_id=found["Image"],
        digest=_digest(image, found["Config"]["Image"]),
        networks={name: (one or {}).get("IPAddress") or "" for name, one in networks.items()},
        mounts=[_mount(one) for one in found.get("Mounts") or []],
        restart=_restart(host.get("RestartPolicy") or {}),
        one_off=stack.one_off if stack else False,
    )


def _health(state: dict[str, Any]) -> str | None:
    status = (state.get("Health") or {}).get("Status")
    return None if status in (None, "", "none") else str(status)


def _ports(ports: dict[str, list[dict[str, str]] | None]) -> list[str]:
    found = {
        f"{_bracketed(one.get('HostIp') or '0.0.0.0')}:{one['HostPort']}->{inner}"  # noqa: S104 - what is told
        for inner, published in ports.items()
        for one in published or []
    }
    return sorted(found)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _digest(image: dict[str, Any] | None, reference: str) -> str | None:
    digests: list[str] = (image or {}).get("RepoDigests") or []
    repository = reference.partition("@")[0]
    own = [one for one in digests if repository.startswith(one.partition("@")[0])]
    return next(iter(own or digests), None)


def _mount(mount: dict[str, Any]) -> str:
    source = mount.get("Name") if mount["Type"] == "volume" else mount.get("Source") or mount["Type"]
    return f"{source}:{mount['Destination']}{'' if mount.get('RW', True) else ':ro'}"


def _restart(policy: dict[str, Any]) -> str:
    name, most = policy.get("Name") or "no", policy.get("MaximumRetryCount")
    return f"{name}:{most}" if most else str(name)
