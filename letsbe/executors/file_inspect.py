"""FILE_INSPECT: look at files and directories, within limits."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

from msgspec import Meta, Struct

from letsbe.errors import LetsbeError
from letsbe.executors import base
from letsbe.executors.base import BaseExecutor, ExecutionResult
from letsbe.executors.file_search import FileSearch
from letsbe.host.accounts import owner_names
from letsbe.host.clock import Deadline
from letsbe.host.files import FileStat, OpenFile
from letsbe.protocol import instant
from letsbe.tools.dotenv import parse
from letsbe.tools.env_names import is_env_name
from letsbe.tools.file_part import SURROUNDINGS, Part, lines_from_end, lines_from_start, part_of
from letsbe.tools.redaction import Redactor
from letsbe.tools.secret_values import meet_secrets

#: Up to this size the whole file's SHA-256 is given.
HASHED_BYTES = 64 * 1024 * 1024
_ENV_BYTES = 1024 * 1024
#: A search ends after this, and says where to go on.
SEARCH_S = 10.0


class Payload(base.Payload, frozen=True):
    """What FILE_INSPECT takes."""

    path: Annotated[str, Meta(description="Absolute path, under an allowed root.", min_length=1, max_length=4095)]
    mode: Annotated[
        Literal["stat", "head", "tail", "range", "grep", "list"],
        Meta(
            description="stat: what it is. head, tail, range: a part of a file. grep: lines that match."
            " list: what is in a directory."
        ),
    ] = "stat"
    offset: Annotated[int, Meta(description="Byte to begin at, for range and grep.", ge=0, le=2**62)] = 0
    max_bytes: Annotated[int, Meta(description="Bytes of content to give, at most 1 MiB.", ge=4, le=1024 * 1024)] = (
        65_536
    )
    lines: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)] | None,
        Meta(description="At most so many lines, within max_bytes; for head and tail."),
    ] = None
    pattern: Annotated[
        Annotated[str, Meta(min_length=1, max_length=500)] | None,
        Meta(
            description="Regular expression for grep, searched in linear time: no backreferences, no look-around, and"
            " counted repeats only as far as they need no more than 500 states. Secrets are covered before the search;"
            " a line longer than 1 MiB is searched in pieces."
        ),
    ] = None
    fixed: Annotated[bool, Meta(description="The pattern is plain text.")] = False
    ignore_case: Annotated[bool, Meta(description="Upper and lower case are the same.")] = False
    max_matches: Annotated[int, Meta(description="Lines to give, for grep.", ge=1, le=1_000)] = 100
    max_depth: Annotated[int, Meta(description="Levels to go down, for list; 1: no further.", ge=1, le=16)] = 2
    max_entries: Annotated[int, Meta(description="Entries to give, for list.", ge=1, le=10_000)] = 1_000
    reveal: Annotated[bool, Meta(description="Show secrets; the host's policy must allow it.")] = False


class Match(Struct, kw_only=True):
    """A line that matches."""

    line: Annotated[int | None, Meta(description="Its number, from 1; null when the search began further on.")]
    offset: Annotated[int, Meta(description="The byte that it begins at.")]
    text: Annotated[str, Meta(description="The line, at most 2,000 characters of it.")]


class Entry(Struct, kw_only=True):
    """Something in a directory."""

    path: Annotated[str, Meta(description="Relative to the directory; unprintable characters are escaped.")]
    type: Annotated[str, Meta(description="file, directory, symlink, fifo, socket, block_device or char_device.")]
    size: Annotated[int, Meta(description="Bytes.")]
    perms: Annotated[str, Meta(description="Mode in octal.")]
    owner: Annotated[str, Meta(description="user:group.")]
    mtime: Annotated[str, Meta(description="When it was last written.")]


class Data(base.Data):
    """What FILE_INSPECT gives."""

    path: Annotated[str, Meta(description="The path without symlinks.")]
    type: Annotated[str, Meta(description="file, directory, fifo, socket, block_device or char_device.")]
    size: Annotated[int, Meta(description="Bytes.")]
    perms: Annotated[str, Meta(description="Mode in octal.")]
    owner: Annotated[str, Meta(description="user:group.")]
    mtime: Annotated[str, Meta(description="When it was last written.")]
    links: Annotated[int, Meta(description="Hard links; a file with more than one is not read.")]
    sha256: Annotated[str | None, Meta(description="Of the whole file, up to 64 MiB; null beyond.")] = None
    encoding: Annotated[
        Literal["utf-8", "binary"] | None, Meta(description="Of the part; binary content is in content_b64.")
    ] = None
    offset: Annotated[int | None, Meta(description="The byte that the part begins at.")] = None
    bytes: Annotated[int | None, Meta(description="How many bytes of the file the part is.")] = None
    content: Annotated[str | None, Meta(description="The part, secrets redacted.")] = None
    content_b64: Annotated[
        str | None, Meta(description="The part in base64 when it is no UTF-8; secrets overwritten with *.")
    ] = None
    redacted: Annotated[bool, Meta(description="Something in content or matches is not shown.")] = False
    truncated: Annotated[bool, Meta(description="There is more than what was given.")] = False
    next_offset: Annotated[int | None, Meta(description="The byte to go on from; never inside a character.")] = None
    matches: Annotated[list[Match], Meta(description="The lines that match.")] = []
    entries: Annotated[list[Entry], Meta(description="What is in the directory, by name.")] = []


class FileInspect(BaseExecutor[Payload, Data]):
    """Look at a file or directory: status, a part of the content, matching lines, or a listing.

    Only regular files are read, a part at a time however large they are; secrets are redacted unless reveal is allowed.
    """

    type = "FILE_INSPECT"
    changes = False
    rerun_safe = True
    example = {"path": "{root}/notes.txt", "mode": "head"}

    def execute(self, payload: Payload) -> ExecutionResult[Data]:
        """Look."""
        self._require_consistent(payload)
        if payload.mode == "list":
            return ExecutionResult(data=self._list(payload))
        if payload.mode == "stat":
            return ExecutionResult(data=self._stat(payload))
        with self.host.files.open(payload.path) as file:
            data = _described(file.stat)
            data.sha256 = file.sha256() if file.size <= HASHED_BYTES else None
            redactor = None if payload.reveal else self._redactor(file)
            if payload.mode == "grep":
                self._grep(payload, file, redactor, data)
            else:
                self._part(payload, file, redactor, data)
        if payload.reveal:
            for text in (data.content or "", *(match.text for match in data.matches)):
                self.context.redactor.allow(text)
        return ExecutionResult(data=data)

    def _stat(self, payload: Payload) -> Data:
        found = self.host.files.stat(payload.path)
        if found.type == "file" and found.size <= HASHED_BYTES and found.links == 1:
            with self.host.files.open(payload.path) as file:
                data = _described(file.stat)
                data.sha256 = file.sha256()
                return data
        return _described(found)

    def _list(self, payload: Payload) -> Data:
        data = _described(self.host.files.stat(payload.path))
        if data.type != "directory":
            raise LetsbeError(
                "not_a_directory", f"{data.path} is a {data.type}, no directory", hint="Use stat or head for a file."
            )
        found = self.host.files.list(payload.path, payload.max_depth, payload.max_entries + 1)
        data.truncated = len(found) > payload.max_entries
        data.entries = [_entry(entry) for entry in found[: payload.max_entries]]
        return data

    def _part(self, payload: Payload, file: OpenFile, redactor: Redactor | None, data: Data) -> None:
        start = max(0, file.size - payload.max_bytes) if payload.mode == "tail" else min(payload.offset, file.size)
        content = file.pread(start, payload.max_bytes)
        stop = start + len(content)
        if payload.lines is not None and payload.mode == "tail":
            start += lines_from_end(content, payload.lines)
        elif payload.lines is not None:
            stop = start + lines_from_start(content, payload.lines)
        first = max(0, start - SURROUNDINGS)
        around = file.pread(first, stop - first + SURROUNDINGS)
        part = part_of(around, first, start, stop, redactor)
        self._show(part, data)
        data.truncated = part.start > 0 if payload.mode == "tail" else part.stop < file.size

    def _show(self, part: Part, data: Data) -> None:
        data.encoding, data.redacted = part.encoding, part.redacted
        data.offset, data.bytes, data.next_offset = part.start, part.stop - part.start, part.stop
        if part.text is None:
            data.content_b64 = b2a_base64(part.raw, newline=False).decode()
        else:
            data.content = part.text

    def _grep(self, payload: Payload, file: OpenFile, redactor: Redactor | None, data: Data) -> None:
        search = FileSearch(
            _matcher(payload),
            max_matches=payload.max_matches,
            max_bytes=payload.max_bytes,
            deadline=Deadline(self.host.deadline.within(SEARCH_S)),
        )
        found = search.run(file, payload.offset, redactor)
        data.truncated, data.next_offset = found.truncated, found.next_offset
        data.redacted = any(line.redacted for _, line in found.lines)
        data.matches = [
            Match(line=None if payload.offset else number, offset=line.start, text=line.text)
            for number, line in found.lines
        ]

    def _redactor(self, file: OpenFile) -> Redactor:
        """The run's redactor, which has met the secrets of the file, or of the ``.env`` beside it."""
        redactor = self.context.redactor
        directory, _, name = file.stat.path.rpartition("/")
        if is_env_name(name):
            meet_secrets(redactor, parse(file.pread(0, _ENV_BYTES)).values)
            return redactor
        try:
            beside = self.host.files.read_or_none(f"{directory}/.env", max_bytes=_ENV_BYTES)
        except LetsbeError:
            return redactor  # it can't be read, so nothing of it is known
        if beside is not None:
            meet_secrets(redactor, parse(beside.content).values)
        return redactor

    def _require_consistent(self, payload: Payload) -> None:
        if payload.reveal and not self.context.rights.reveal:
            raise LetsbeError(
                "policy_denied",
                "this host's policy does not let the caller reveal secrets",
                hint="Ask without reveal, or have an administrator set `reveal` in the origin's policy.",
            )
        if (payload.pattern is not None) != (payload.mode == "grep"):
            raise _invalid("pattern", "mode grep needs a pattern, and only it takes one")
        if payload.offset and payload.mode not in ("range", "grep"):
            raise _invalid("offset", "only range and grep take an offset")
        if payload.lines is not None and payload.mode not in ("head", "tail"):
            raise _invalid("lines", "only head and tail take a number of lines")


def _matcher(payload: Payload) -> Callable[[str], bool]:
    from letsbe.tools.linear_regex import LinearRegex

    pattern = payload.pattern or ""
    if not payload.fixed:
        return LinearRegex(pattern, ignore_case=payload.ignore_case).search
    if payload.ignore_case:
        folded = pattern.casefold()
        return lambda text: folded in text.casefold()
    return lambda text: pattern in text


def _described(stat: FileStat) -> Data:
    return Data(
        path=stat.path,
        type=stat.type,
        size=stat.size,
        perms=f"{stat.mode:04o}",
        owner=owner_names(stat.uid, stat.gid),
        mtime=instant(stat.mtime),
        links=stat.links,
    )


def _entry(stat: FileStat) -> Entry:
    name = stat.path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return Entry(
        path=name if name.isprintable() else name.encode("unicode_escape").decode(),
        type=stat.type,
        size=stat.size,
        perms=f"{stat.mode:04o}",
        owner=owner_names(stat.uid, stat.gid),
        mtime=instant(stat.mtime),
    )


_invalid = partial(base.invalid_field, "FILE_INSPECT")
