"""Reading files in a container from outside, through the engine: nothing is run in it, nothing is changed."""

from __future__ import annotations

import io
import posixpath

from msgspec import Struct

from letsbe.errors import LetsbeError
from letsbe.host.docker import Engine

#: Of one archive: what it may have altogether, and in how many files, directories and links.
MAX_BYTES = 16 * 1024 * 1024
MAX_ENTRIES = 5000


class ContainerFiles(Struct, frozen=True):
    """Regular files and symbolic links by their absolute path; a link's target is as it was written."""

    files: dict[str, bytes]
    links: dict[str, str]


def read_directory(engine: Engine, container: str, directory: str) -> ContainerFiles:
    """A directory and what is below it; nothing where there is none. Errors as of :func:`read_file`."""
    return _read(engine, container, f"{directory.rstrip('/')}/.", directory)


def read_file(engine: Engine, container: str, path: str) -> ContainerFiles:
    """One file or link; nothing where there is none.

    ``archive_too_large`` past :data:`MAX_BYTES` or :data:`MAX_ENTRIES`, ``archive_invalid`` when what the engine sent
    is no tar, and what :class:`Engine` raises.
    """
    return _read(engine, container, path, posixpath.dirname(path))


def _read(engine: Engine, container: str, asked: str, parent: str) -> ContainerFiles:
    import tarfile

    found = ContainerFiles({}, {})
    content = engine.archive(container, asked, most_bytes=MAX_BYTES)
    if content is None:
        return found
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for count, member in enumerate(archive):
                if count >= MAX_ENTRIES:
                    raise LetsbeError(
                        "archive_too_large", f"{asked} has more than {MAX_ENTRIES} files", hint="Remove some of them."
                    )
                path = posixpath.normpath(posixpath.join(parent, member.name.lstrip("/")))
                if member.issym():
                    found.links[path] = member.linkname
                elif (member.isreg() or member.islnk()) and (opened := archive.extractfile(member)) is not None:
                    found.files[path] = opened.read()
    except (tarfile.TarError, KeyError) as error:  # KeyError: a hard link to what is not in it
        raise LetsbeError("archive_invalid", f"the engine's archive of {asked} can't be read: {error}") from error
    return found
