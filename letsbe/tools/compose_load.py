"""Loading a stack: its compose files, and what they name by ``COMPOSE_FILE``, override, ``include`` and ``extends``."""

from __future__ import annotations

import os.path
from collections.abc import Callable
from typing import Any, Protocol

from msgspec.structs import replace

from letsbe.tools.compose_service import Resource, Service, add_definition, expanded, resolved, resource_variables
from letsbe.tools.compose_stack import Stack, project_name
from letsbe.tools.compose_yaml import ComposeYamlError, as_list, as_map, interpolated, load
from letsbe.tools.dotenv import parse
from letsbe.tools.interpolation import Lookup, Variable

#: In compose's order: the first that exists is the stack's file.
FILE_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
#: Likewise: the first that exists is laid over the stack's file.
OVERRIDE_NAMES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)

_MAX_FILES = 50


class Tree(Protocol):
    """How a stack's files are reached."""

    def read(self, path: str) -> bytes | None:
        """A file's content; None when there is none that may be read."""

    def canonical(self, path: str) -> str:
        """The path without symlinks; the path itself when that can't be told."""

    def names(self, directory: str) -> tuple[list[str], list[str]]:
        """The files (symlinks included) and the directories in a directory; empty when it can't be listed."""


def read_stack(directory: str, tree: Tree) -> Stack | None:
    """The stack of a directory; None when no compose file is there."""
    loader = _Loader(tree)
    loader.project(directory, None, [os.path.join(directory, ".env")], lambda _: None)
    if not loader.files:
        return None
    return Stack(
        directory=directory,
        project=loader.name or project_name(directory),
        env_path=tree.canonical(os.path.join(directory, ".env")),
        files=loader.files,
        services=loader.finished(),
        problems=loader.problems,
    )


def files_with(path: str, content: bytes, tree: Tree) -> list[str]:
    """The files that compose takes by itself in the directory of ``path`` when that holds ``content``; in its order."""

    def read(name: str) -> bytes | None:
        return content if name == path else tree.read(name)

    directory = os.path.dirname(path)
    return default_files(directory, read, parse(read(os.path.join(directory, ".env")) or b"").values.get)


def default_files(directory: str, read: Callable[[str], bytes | None], lookup: Lookup) -> list[str]:
    """The files that compose takes in a directory when none are given; in its order."""
    named = lookup("COMPOSE_FILE")
    if named:
        separator = lookup("COMPOSE_PATH_SEPARATOR") or ":"
        return [os.path.normpath(os.path.join(directory, name)) for name in named.split(separator) if name]
    found: list[str] = []
    for names in (FILE_NAMES, OVERRIDE_NAMES):
        paths = (os.path.join(directory, name) for name in names)
        found += [path for path in paths if read(path) is not None][:1]
        if not found:
            break
    return found


class _Loader:
    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._documents: dict[str, dict[str, Any]] = {}
        self._services: dict[str, Service] = {}
        self._resources: dict[Resource, list[Variable]] = {}
        self._everywhere: list[Variable] = []
        #: As the environment or the last of the stack's own files has it; empty when neither does.
        self.name = ""
        self.files: list[str] = []
        self.problems: list[str] = []

    def project(self, directory: str, files: list[str] | None, scopes: list[str], outer: Lookup) -> None:
        """Load a project directory, as the stack's own (``files`` None) or as an included one.

        ``scopes`` are the env files that its variables come from, the nearest last.
        """
        values = parse(self._tree.read(scopes[-1]) or b"", outer).values

        def lookup(name: str) -> str | None:
            found = outer(name)
            return values.get(name) if found is None else found

        for path in default_files(directory, self._tree.read, lookup) if files is None else files:
            self._file(path, directory, scopes, lookup)
            if files is None:
                self._named(path, lookup)

    def finished(self) -> list[Service]:
        """The services, with the variables of what they are attached to and of their env files."""
        canonical = self._tree.canonical
        for service in self._services.values():
            service.scopes = [canonical(scope) for scope in service.scopes]
            service.env_files = [replace(use, path=canonical(use.path)) for use in service.env_files]
            for resource in service.resources:
                service.variables += self._resources.get(resource, [])
            for use in service.env_files:
                for statement in parse(self._tree.read(use.path) or b"").statements if not use.raw else []:
                    service.variables += [Variable(name, "-") for name in statement.refers]
                    if statement.inherited:
                        service.variables.append(Variable(statement.key, "-"))
            service.variables = list(dict.fromkeys([*service.variables, *self._everywhere]))
        return list(self._services.values())

    def _named(self, path: str, lookup: Lookup) -> None:
        name = as_map(self._document(path)).get("name")
        if given := lookup("COMPOSE_PROJECT_NAME"):
            self.name = given
        elif isinstance(name, str):
            self.name = expanded(name, lookup)

    def _file(self, path: str, directory: str, scopes: list[str], lookup: Lookup) -> None:
        if path in self.files or len(self.files) >= _MAX_FILES:
            return
        document = self._document(path)
        if document is None:
            return
        self.files.append(path)
        self._everywhere += interpolated(document.get("name"))
        for kind in ("volumes", "networks", "configs", "secrets"):
            for name, definition in as_map(document.get(kind)).items():
                self._resources.setdefault((kind, str(name)), []).extend(resource_variables(kind, definition))
        for name, definition in as_map(document.get("services")).items():
            service = self._services.setdefault(str(name), Service(name=str(name), scopes=[]))
            service.scopes += [scope for scope in scopes if scope not in service.scopes]
            self._define(service, path, as_map(definition), directory, lookup, set())
        for entry in as_list(document.get("include")):
            self._include(entry, os.path.dirname(path), scopes, lookup)

    def _define(
        self,
        service: Service,
        path: str,
        definition: dict[Any, Any],
        directory: str,
        lookup: Lookup,
        seen: set[tuple[str, str]],
    ) -> None:
        add_definition(service, definition, directory, lookup)
        extends = definition.get("extends")
        if extends is None:
            return
        entry = extends if isinstance(extends, dict) else {"service": extends}
        base = resolved(entry["file"], directory, lookup) if "file" in entry else path
        key = (base, str(entry.get("service")))
        document = self._document(base)
        if key in seen or document is None:
            return
        if base not in self.files:
            self.files.append(base)
        found = as_map(as_map(document.get("services")).get(key[1]))
        base_directory = directory if base == path else os.path.dirname(base)
        self._define(service, base, found, base_directory, lookup, seen | {key})

    def _include(self, entry: Any, directory: str, scopes: list[str], lookup: Lookup) -> None:
        options = entry if isinstance(entry, dict) else {"path": entry}
        paths = [resolved(path, directory, lookup) for path in as_list(options.get("path"))]
        if not paths:
            return
        own = options.get("project_directory")
        project = resolved(own, directory, lookup) if own else os.path.dirname(paths[0])
        named = [resolved(path, directory, lookup) for path in as_list(options.get("env_file"))]
        self.project(project, paths, [*scopes, *(named or [os.path.join(project, ".env")])], lookup)

    def _document(self, path: str) -> dict[str, Any] | None:
        if path not in self._documents:
            content = self._tree.read(path)
            if content is None:
                self.problems.append(f"{path} can't be read")
                return None
            try:
                self._documents[path] = load(content)
            except ComposeYamlError as error:
                self.problems.append(f"{path}: {error}")
                self._documents[path] = {}
        return self._documents[path]
