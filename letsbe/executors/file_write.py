"""FILE_WRITE: give a file its content, safely."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from msgspec import Meta, Struct

from letsbe.errors import LetsbeError
from letsbe.executors import base
from letsbe.executors.base import BaseExecutor, ExecutionResult
from letsbe.executors.bind_mount_search import containers_that_mount
from letsbe.executors.content_checks import ContentChecks
from letsbe.host.accounts import owner_ids, owner_names
from letsbe.host.files import MAX_REPLACED_BYTES, Change, FileContent
from letsbe.tools.diff import unified_diff
from letsbe.tools.dotenv import parse
from letsbe.tools.env_names import is_env_name
from letsbe.tools.managed_block import with_block
from letsbe.tools.secret_values import meet_secrets

#: Mode of a new file unless `perms` says otherwise: what a container's user must be able to read.
NEW_FILE_MODE = 0o644

Path = Annotated[str, Meta(description="Absolute path, under an allowed root.", min_length=1, max_length=4095)]


class Payload(base.Payload, frozen=True):
    """What FILE_WRITE takes."""

    path: Path
    content: Annotated[
        Annotated[str, Meta(max_length=5_242_880)] | None,
        Meta(
            description="The content as text; this or content_b64. At most limits.file_bytes (5 MiB).",
            extra={"journal": "digest"},
        ),
    ] = None
    content_b64: Annotated[
        Annotated[str, Meta(max_length=7_340_032)] | None,
        Meta(description="The content in base64, for what is no text.", extra={"journal": "digest"}),
    ] = None
    mode: Annotated[
        Literal["overwrite", "append", "block", "create_only"],
        Meta(
            description="overwrite: the whole file. append: at its end, each time. block: between two marker comments,"
            " the rest of the file stays; empty content removes the block. create_only: leave an existing file alone."
        ),
    ] = "overwrite"
    block_id: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] | None,
        Meta(description="Name of the block, for mode block."),
    ] = None
    perms: Annotated[
        Annotated[str, Meta(pattern=r"^0?[0-7]{3,4}$")] | None,
        Meta(description="Mode in octal, like 0640; kept when not given, 0644 for a new file."),
    ] = None
    owner: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\$?:[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\$?$")]
        | None,
        Meta(description="user:group, names or numbers; kept when not given."),
    ] = None
    if_sha256: Annotated[
        Annotated[str, Meta(pattern=r"^([0-9a-f]{64}|absent)$")] | None,
        Meta(description="Write only if the file holds this now (hex), or if there is none (absent)."),
    ] = None
    validate: Annotated[
        Literal["json", "yaml", "compose", "nginx"] | None,
        Meta(
            description="Check the content before it counts: json and yaml by themselves, compose by"
            " `docker compose config` (with the base or override beside it, as `up` takes them), nginx by `nginx -t`"
            " (of a main configuration, or of what belongs into http)."
        ),
    ] = None
    in_place: Annotated[
        Literal["never", "on_bind"],
        Meta(
            description="on_bind: keep the inode when a running container has exactly this file mounted, so that it"
            " sees the new content at once. Such a write is not atomic."
        ),
    ] = "never"
    make_dirs: Annotated[
        bool,
        Meta(
            description="Make missing parent directories, mode 0755. A COMPOSITE's rollback removes them; `letsbe undo`"
            " leaves them, empty."
        ),
    ] = False


class Mounted(Struct, kw_only=True):
    """A running container that has exactly this file mounted."""

    container: Annotated[str, Meta(description="Its name.")]
    needs_restart: Annotated[bool, Meta(description="It sees the old content until it is recreated or restarted.")]


class Data(base.Data):
    """What FILE_WRITE gives."""

    path: Annotated[str, Meta(description="The path without symlinks.")]
    created: Annotated[bool, Meta(description="There was no such file.")]
    bytes: Annotated[int, Meta(description="Size now.")]
    sha256_before: Annotated[str | None, Meta(description="SHA-256 of the old content; null when there was none.")]
    sha256_after: Annotated[str, Meta(description="SHA-256 of the content now.")]
    perms: Annotated[str, Meta(description="Mode now, in octal.")]
    owner: Annotated[str, Meta(description="user:group now.")]
    in_place: Annotated[bool, Meta(description="The inode was kept.")] = False
    unchanged_because: Annotated[str, Meta(description="Why nothing was written; empty when something was.")] = ""
    validated: Annotated[str | None, Meta(description="What the content was checked as.")] = None
    made_dirs: Annotated[tuple[str, ...], Meta(description="Directories that were made.")] = ()
    bind_mounted_in: Annotated[list[Mounted], Meta(description="Running containers that mount this file.")] = []
    diff: Annotated[str | None, Meta(description="Unified diff, redacted; with --diff.")] = None
    diff_truncated: Annotated[bool, Meta(description="The diff was cut at 64 KiB.")] = False


class FileWrite(BaseExecutor[Payload, Data]):
    """Write a file whole, atomically; do nothing when the content is already there.

    The new content is put beside the file, synced and renamed over it, with the old one's owner, mode and attributes.
    A file of more than 64 MiB is not replaced.
    """

    type = "FILE_WRITE"
    changes = True
    rerun_safe = False  # append would add its content twice
    example = {"path": "{root}/example.conf", "content": "one\ntwo\n"}

    def locks(self, payload: Payload) -> set[str]:
        """The file."""
        return {f"file:{self.host.files.canonical(payload.path)}"}

    def execute(self, payload: Payload) -> ExecutionResult[Data]:
        """Compose the new content, check it, write it."""
        body = self._body(payload)
        files = self.host.files
        before = files.read_or_none(payload.path, max_bytes=MAX_REPLACED_BYTES)
        _require_digest(payload, before)
        if payload.mode == "create_only" and before is not None:
            return self._left_alone(before)
        content = _new_content(payload, body, before)
        warnings: list[str] = []
        validated = self._validate(payload, content, warnings)
        mounted = self._mounted(payload, before, content, warnings)
        made = files.make_parents(payload.path) if payload.make_dirs else ()
        change = files.write(
            payload.path,
            content,
            perms=_perms(payload, before),
            owner=owner_ids(payload.owner) if payload.owner else None,
            in_place=bool(mounted) and payload.in_place == "on_bind",
            expect=before,
        )
        data = self._data(change, before)
        data.validated, data.made_dirs = validated, made
        data.bind_mounted_in = [
            Mounted(container=name, needs_restart=change.changed and not change.in_place) for name in mounted
        ]
        if self.context.diff:
            self._add_diff(data, before.content if before else None, content)
        return ExecutionResult(data=data, changed=change.changed, warnings=warnings)

    def undo(self, payload: Payload, data: Data) -> list[str]:  # noqa: ARG002
        """Remove the directories that were made, after the file in them; what else came into them stays."""
        if self.context.check:
            return []
        files = self.host.files.without_recorder()
        if data.created and data.made_dirs:
            found = files.read_or_none(data.path, max_bytes=MAX_REPLACED_BYTES)
            if found is not None and found.sha256 == data.sha256_after:
                files.remove(data.path)
        kept = [path for path in reversed(data.made_dirs) if not files.remove_if_empty(path)]
        return [f"{path} is not empty" for path in kept]

    def _add_diff(self, data: Data, before: bytes | None, content: bytes) -> None:
        redactor = self.context.redactor
        if is_env_name(data.path.rpartition("/")[2]):
            for text in (before or b"", content):
                meet_secrets(redactor, parse(text).values)
        found = unified_diff(before, content, data.path, redactor)
        data.diff, data.diff_truncated = found.text, found.truncated

    def _body(self, payload: Payload) -> bytes:
        if (payload.content is None) == (payload.content_b64 is None):
            raise _invalid("content", "give either content or content_b64")
        if (payload.block_id is not None) != (payload.mode == "block"):
            raise _invalid("block_id", "mode block needs a block_id, and only it takes one")
        if payload.content is not None:
            try:
                body = payload.content.encode()
            except UnicodeEncodeError:
                raise _invalid("content", "not UTF-8: what is no text goes into content_b64") from None
        else:
            from binascii import a2b_base64

            try:
                body = a2b_base64(payload.content_b64 or "", strict_mode=True)
            except ValueError as error:  # binascii's own, or of a letter that is not ASCII
                raise _invalid("content_b64", f"not base64: {error}") from None
        if len(body) > self.context.rights.file_bytes:
            raise LetsbeError(
                "content_too_large",
                f"{len(body)} bytes of content, at most {self.context.rights.file_bytes} are taken",
                hint="Append it in parts, or raise limits.file_bytes in the configuration.",
            )
        return body

    def _validate(self, payload: Payload, content: bytes, warnings: list[str]) -> str | None:
        """What the content was checked as; None, and a warning, when it could not be."""
        if payload.validate is None:
            return None
        checks = ContentChecks(self.host, self.context.redactor)
        warning = checks.check(payload.validate, self.host.files.canonical(payload.path), content)
        if warning:
            warnings.append(warning)
        return None if warning else payload.validate

    def _mounted(self, payload: Payload, before: FileContent | None, content: bytes, warnings: list[str]) -> list[str]:
        """The containers that mount exactly this file. A new file, or the same content, is no matter."""
        if before is None or before.content == content:
            return []
        containers, warning = containers_that_mount(self.host, {payload.path, before.stat.path})
        if warning:
            warnings.append(warning)
        return containers

    def _left_alone(self, before: FileContent) -> ExecutionResult[Data]:
        same = Change(path=before.stat.path, before_sha256=before.sha256, after_sha256=before.sha256, changed=False)
        data = self._data(same, before)
        data.unchanged_because = "the file is there, and mode create_only leaves it alone"
        return ExecutionResult(data=data)

    def _data(self, change: Change, before: FileContent | None) -> Data:
        now = self.host.files.stat(change.path)
        return Data(
            path=change.path,
            created=before is None,
            bytes=now.size,
            sha256_before=change.before_sha256,
            sha256_after=change.after_sha256 or "",
            perms=f"{now.mode:04o}",
            owner=owner_names(now.uid, now.gid),
            in_place=change.in_place and change.changed,
            unchanged_because="" if change.changed else "content, mode and owner are there already",
        )


def _new_content(payload: Payload, body: bytes, before: FileContent | None) -> bytes:
    old = before.content if before else b""
    if payload.mode == "append":
        content = old + body
    elif payload.mode == "block":
        content = with_block(old, payload.path, payload.block_id or "", body)
    else:
        content = body
    if len(content) > MAX_REPLACED_BYTES:
        raise LetsbeError(
            "content_too_large",
            f"{payload.path} would hold {len(content)} bytes, at most {MAX_REPLACED_BYTES} are written",
            hint="Rotate or split the file.",
        )
    return content


def _perms(payload: Payload, before: FileContent | None) -> int | None:
    if payload.perms is not None:
        return int(payload.perms, 8)
    return NEW_FILE_MODE if before is None else None


def _require_digest(payload: Payload, before: FileContent | None) -> None:
    if payload.if_sha256 is None:
        return
    found = before.sha256 if before else "absent"
    if found != payload.if_sha256:
        raise LetsbeError(
            "precondition_failed",
            f"{payload.path} holds {found}, not {payload.if_sha256}",
            hint="Somebody changed it: read it again, then decide.",
            details={"sha256": found},
        )


_invalid = partial(base.invalid_field, "FILE_WRITE")
