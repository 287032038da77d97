"""Importing extension modules that are not unpacked at every start.

OpenSSL, SQLite, cryptography and the like are three quarters of the built file, and ``letsbe echo`` needs none. They
are cold entries of the archive; the first import of one puts it and the libraries that it is linked with into the
unpack directory, where the dynamic linker looks (the first process set the library path).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from letsbe.frozen.archive import Archive

#: A cold entry beside the cold files, written by the build: a line for each module, with its name and the files that it
#: needs, its own last, between tabs.
INDEX = "cold-index"


class ColdFinder:
    """The last entry of ``sys.meta_path``: asked for what nothing else finds."""

    def __init__(self) -> None:
        self._archive: Archive | None = None
        self._index: dict[str, list[str]] = {}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the protocol of finders
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """The module's spec, its files unpacked; None when it is no cold module."""
        if self._archive is None:
            self._open()
        files = self._index.get(fullname)
        if files is None:
            return None
        location = [self._unpacked(file) for file in files][-1]
        from importlib.util import spec_from_file_location

        return spec_from_file_location(fullname, location)

    def _open(self) -> None:
        from letsbe.frozen.archive import Archive

        self._archive = Archive()
        for line in self._archive.read(INDEX).decode().splitlines():
            module, *files = line.split("\t")
            self._index[module] = files

    def _unpacked(self, file: str) -> str:
        import os

        assert self._archive is not None  # noqa: S101 - only called once it is open
        target = f"{sys._MEIPASS}/{file}"  # type: ignore[attr-defined]
        if not os.path.exists(target):
            self._archive.unpack(file, target)
        return target
