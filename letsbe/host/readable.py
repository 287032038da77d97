"""Files as something that is only looked at: what can't be read is not there."""

from __future__ import annotations

import os.path

from letsbe.errors import LetsbeError
from letsbe.host.files import Files

#: Larger files are taken for absent, and directories with more entries for their first ones.
MAX_BYTES = 1024 * 1024
MAX_ENTRIES = 1000


class Readable:
    """Looks at files below the allowed roots, for search that must go on when something can't be read."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def read(self, path: str) -> bytes | None:
        """A file's content; None when there is none that may be read."""
        try:
            found = self._files.read_or_none(path, max_bytes=MAX_BYTES)
        except LetsbeError:
            return None
        return None if found is None else found.content

    def canonical(self, path: str) -> str:
        """The path without symlinks; the path itself when that can't be told."""
        try:
            return self._files.canonical(path)
        except LetsbeError:
            return path

    def names(self, directory: str) -> tuple[list[str], list[str]]:
        """The files (symlinks included) and the directories in a directory; empty when it can't be listed."""
        try:
            found = self._files.list(directory, max_depth=1, max_entries=MAX_ENTRIES)
        except LetsbeError:
            return [], []
        plain = [entry.path for entry in found if entry.type in ("file", "symlink")]
        return plain, [entry.path for entry in found if entry.type == "directory"]

    def root_of(self, path: str) -> str:
        """The allowed root, without symlinks, that a canonical path is below; the innermost when several are."""
        roots = [self.canonical(root) for root in self._files.roots]
        return max((root for root in roots if os.path.commonpath([root, path]) == root), key=len, default="/")
