"""An nginx configuration put together from files that are held in memory: its includes, found as nginx finds them.

Nothing is opened here: where a file or directory is not known yet, its path is told, and the caller may come back.
"""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

#: How deep files may include each other, and how many files and bytes a configuration may have.
MAX_DEPTH = 16
MAX_FILES = 2000
MAX_BYTES = 4 * 1024 * 1024
_MAX_LINKS = 40
_MAGIC = frozenset("*?[")

Json = dict[str, Any]


class Directive(Struct, frozen=True, kw_only=True):
    """A directive with what stands in its block; an ``include`` has given way to what it includes."""

    name: str
    args: list[str]
    file: str
    line: int
    block: list[Directive] = []


class Loaded(Struct, kw_only=True):
    """A configuration as far as it could be read."""

    directives: list[Directive] = []
    #: What can't be read: a file's path and why.
    errors: list[str] = []
    #: Paths that the tree does not know yet: of files, and with ``/.`` at the end of directories.
    missing: set[str] = set()


class Tree:
    """Files and symbolic links by absolute path; ``known`` are the files and directories that they are all of."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.links: dict[str, str] = {}
        #: What files were parsed to, and what was wrong with them: a configuration may be loaded several times.
        self.parsed: dict[str, tuple[list[Json], list[str]]] = {}
        self._known: set[str] = set()
        self._names: dict[str, set[str]] = {}

    def add(self, known: str, files: dict[str, bytes], links: dict[str, str]) -> None:
        """What was found at ``known``, a file, or a directory with all that is below it."""
        self._known.add(known)
        self.files.update(files)
        self.links.update(links)
        for path in (*files, *links):
            while path != "/":
                directory, name = posixpath.split(path)
                self._names.setdefault(directory, set()).add(name)
                path = directory

    def knows(self, path: str) -> bool:
        """Whether what is at a path was looked at, should there be nothing."""
        return any(path == one or path.startswith(f"{one.rstrip('/')}/") for one in self._known)

    def real(self, path: str) -> str:
        """The path without symbolic links, as far as they are known; itself when they lead in a circle."""
        followed, place, rest = 0, "/", path.split("/")
        while rest:
            place = posixpath.normpath(posixpath.join(place, rest.pop(0)))
            target = self.links.get(place)
            if target is not None:
                followed += 1
                if followed > _MAX_LINKS:
                    return path
                rest = [*posixpath.join(posixpath.dirname(place), target).split("/"), *rest]
                place = "/"
        return place

    def matching(self, pattern: str) -> list[str]:
        """The paths that a pattern of glob(7) fits, sorted; links among them may lead nowhere."""
        found = ["/"]
        for part in pattern.strip("/").split("/"):
            found = [posixpath.join(one, name) for one in found for name in self._fitting(one, part)]
        return sorted(found)

    def _fitting(self, directory: str, part: str) -> Iterator[str]:
        for name in self._names.get(self.real(directory), ()):
            if fnmatch.fnmatchcase(name, part) and (part[0] == "." or name[0] != "."):
                yield name


def load(tree: Tree, main: str) -> Loaded:
    """The configuration whose main file is at ``main``, an absolute path; other paths are relative to its directory."""
    loading = _Loading(tree, posixpath.dirname(main))
    loading.result.directives = loading.file(main, ())
    return loading.result


class _Loading:
    def __init__(self, tree: Tree, base: str) -> None:
        self._tree, self._base = tree, base
        self._files = self._bytes = 0
        self.result = Loaded()

    def file(self, path: str, within: tuple[str, ...]) -> list[Directive]:
        real = self._tree.real(path)
        content = self._tree.files.get(real)
        if content is None:
            if self._tree.knows(real):
                self._fail(path, "is not there")
            else:
                self.result.missing.add(real)
            return []
        if real in within:
            return self._fail(path, "includes itself")
        self._files += 1
        self._bytes += len(content)
        if len(within) >= MAX_DEPTH or self._files > MAX_FILES or self._bytes > MAX_BYTES:
            return self._fail(path, "is one file too many, too large or too deep")
        if real not in self._tree.parsed:
            self._tree.parsed[real] = _parsed(path, content)
        parsed, errors = self._tree.parsed[real]
        for error in errors:
            self._fail(path, error)
        return self._block(parsed, path, (*within, real))

    def _block(self, parsed: list[Json], path: str, within: tuple[str, ...]) -> list[Directive]:
        found: list[Directive] = []
        for one in parsed:
            if one["directive"] == "include":
                for included in self._included(one["args"]):
                    found += self.file(included, within)
                continue
            block = self._block(one.get("block") or [], path, within)
            found.append(
                Directive(name=one["directive"], args=one["args"], file=path, line=one["line"] or 0, block=block)
            )
        return found

    def _included(self, args: list[str]) -> list[str]:
        pattern = posixpath.normpath(posixpath.join(self._base, args[0] if args else ""))
        if _MAGIC.isdisjoint(pattern):
            return [pattern]
        parts = pattern.split("/")
        magic = next(place for place, part in enumerate(parts) if not _MAGIC.isdisjoint(part))
        directory = self._tree.real("/".join(parts[:magic]) or "/")
        if directory == "/":
            self._fail(pattern, "may be anywhere")
        elif not self._tree.knows(directory):
            self.result.missing.add(f"{directory}/.")
        return self._tree.matching(pattern)

    def _fail(self, path: str, why: str) -> list[Directive]:
        self.result.errors.append(why if path in why else f"{path} {why}")
        return []


def _parsed(path: str, content: bytes) -> tuple[list[Json], list[str]]:
    from crossplane import parse_string

    text = content.decode("utf-8", "replace")
    parsed = parse_string(text, filename=path, single=True, check_ctx=False, check_args=False)
    return parsed["config"][0]["parsed"], [str(one["error"]) for one in parsed["errors"]]
