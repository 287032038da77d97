"""What a service should have mounted where: volumes, binds, tmpfs, configs, secrets, other services' volumes."""

from __future__ import annotations

import posixpath
from typing import Any

from letsbe.tools.compose_model import ComposeModel, DeclaredService, Kind
from letsbe.tools.drift_fields import Fields, mount

Json = dict[str, Any]


def mount_fields(fields: Fields, service: DeclaredService, model: ComposeModel, image: Json) -> None:
    """Add ``mounts.PATH`` and ``tmpfs.PATH``; volumes that the image declares are anonymous."""
    for path in image.get("Volumes") or {}:
        fields[f"mounts.{clean(path)}"] = mount("volume", "", read_only=False)
    for entry in service.definition.get("volumes_from") or []:
        fields.update(_inherited(entry, model))
    own = _own(service, model)
    for field in own:
        if field.startswith("tmpfs."):  # it takes the place of a volume
            fields.pop(f"mounts.{clean(field.removeprefix('tmpfs.'))}", None)
    fields.update(own)


def same_mount(declared: str, actual: str, service: DeclaredService) -> bool:
    """Whether it is the same that is mounted; some versions of compose lose the ``:ro`` of ``volumes_from``."""
    if not service.definition.get("volumes_from"):
        return declared == actual
    return declared.removesuffix(" read-only") == actual.removesuffix(" read-only")


def takes_from_outside(service: DeclaredService) -> bool:
    """Whether it has the volumes of a container that the stack does not declare."""
    return any(str(entry).startswith("container:") for entry in service.definition.get("volumes_from") or [])


def bound_files(service: DeclaredService, model: ComposeModel) -> dict[str, str]:
    """Where the service has what of the host: target -> source."""
    found = {clean(one["target"]): clean(one["source"]) for one in _volumes(service) if one.get("type") == "bind"}
    kinds: tuple[Kind, ...] = ("configs", "secrets")
    for kind in kinds:
        found.update(_files(kind, service, model))
    return found


def _inherited(entry: Any, model: ComposeModel) -> Fields:
    other = model.services.get(str(entry).partition(":")[0])
    found = _own(other, model) if other is not None else {}
    return {key: value for key, value in found.items() if key.startswith("mounts.")}


def _own(service: DeclaredService, model: ComposeModel) -> Fields:
    fields: Fields = {}
    volumes = model.of_kind("volumes")
    for one in _volumes(service):
        kind, source, target = one.get("type", "volume"), clean(one.get("source") or ""), clean(one["target"])
        if kind == "volume" and source in volumes:
            source = volumes[source].name
        read_only = kind == "image" or bool(one.get("read_only"))
        fields[f"mounts.{target}"] = mount(kind, "" if kind == "tmpfs" else source, read_only=read_only)
    kinds: tuple[Kind, ...] = ("configs", "secrets")
    for kind in kinds:
        for target, source in _files(kind, service, model).items():
            fields[f"mounts.{target}"] = mount("bind", source, read_only=True)
    for text in service.definition.get("tmpfs") or []:
        path, _, options = str(text).partition(":")
        fields[f"tmpfs.{path}"] = options
    return fields


def _volumes(service: DeclaredService) -> list[Json]:
    return service.definition.get("volumes") or []


def _files(kind: Kind, service: DeclaredService, model: ComposeModel) -> Json:
    """Configs and secrets that come from files; the others are copied into the container when it is made."""
    known = model.of_kind(kind)
    found = {}
    for one in service.definition.get(kind) or []:
        resource = known.get(one["source"])
        if resource is None or "file" not in resource.definition:
            continue
        target = one.get("target") or one["source"]
        if not target.startswith("/"):
            target = f"/{target}" if kind == "configs" else f"/run/secrets/{target}"
        found[target] = resource.definition["file"]
    return found


def clean(path: str) -> str:
    """A path as the engine has it; the name of a volume, or nothing, as it is."""
    return posixpath.normpath(path) if path.startswith("/") else path
