"""ENV_UPDATE: atomic edits of an env file that read back exactly."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated, Literal

from msgspec import Meta

from letsbe.errors import LetsbeError
from letsbe.executors import base
from letsbe.executors.base import BaseExecutor, ExecutionResult
from letsbe.executors.env_effects import AffectedStack, EnvEffects, Refusal
from letsbe.host.file_types import FileContent, sha256_of
from letsbe.tools.diff import unified_diff
from letsbe.tools.dotenv_edit import Edited, edit
from letsbe.tools.dotenv_redaction import EnvRedactor
from letsbe.tools.secret_values import meet_secrets

MAX_KEYS = 500
MAX_VALUE_BYTES = 32 * 1024
MAX_FILE_BYTES = 1024 * 1024

KEY_PATTERN = "^[A-Za-z_][A-Za-z0-9_]*$"
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")


class Payload(base.Payload, frozen=True):
    """What ENV_UPDATE takes."""

    path: Annotated[str, Meta(description="The env file: an absolute path below an allowed root.", max_length=4095)]
    set: Annotated[
        dict[str, str],
        Meta(
            description="Key -> value. Keys are [A-Za-z_][A-Za-z0-9_]*, values at most 32 KiB; with `unset`, 500 keys.",
            max_length=MAX_KEYS,
            extra={"journal": "digest"},
            extra_json_schema={"propertyNames": {"pattern": KEY_PATTERN, "maxLength": 256}},
        ),
    ] = {}
    unset: Annotated[list[str], Meta(description="Keys to remove, every line of each.", max_length=MAX_KEYS)] = []
    create: Annotated[bool, Meta(description="Make the file, mode 0600, when it does not exist.")] = False
    if_sha256: (
        Annotated[
            str,
            Meta(
                description="Edit only if the file holds this now (hex), or if there is none (absent).",
                pattern="^([0-9a-f]{64}|absent)$",
                max_length=64,
            ),
        ]
        | None
    ) = None
    quote: Annotated[
        Literal["auto", "bare", "single", "double"],
        Meta(
            description="How new values are written. auto: the plainest form that compose and bash read back exactly. "
            "The others for programs that need one; a value that it can't hold is an error."
        ),
    ] = "auto"


class Data(base.Data):
    """What ENV_UPDATE gives."""

    path: Annotated[str, Meta(description="The file, without symlinks.")]
    created: Annotated[bool, Meta(description="The file was not there before.")]
    added: Annotated[list[str], Meta(description="Keys that were not in the file.")]
    changed: Annotated[list[str], Meta(description="Keys that have another value now.")]
    removed: Annotated[list[str], Meta(description="Keys that are no longer in the file.")]
    unchanged: Annotated[list[str], Meta(description="Keys that were as wanted already.")]
    dependents: Annotated[list[str], Meta(description="Other keys whose value changed, since it names a changed key.")]
    sha256_before: Annotated[str | None, Meta(description="SHA-256 of the file before, hex; null: there was none.")]
    sha256_after: Annotated[str | None, Meta(description="SHA-256 of the file after, hex; null: there is none.")]
    diff: Annotated[str, Meta(description="Unified diff, secrets covered, at most 64 KiB; empty: no change.")]
    diff_truncated: Annotated[bool, Meta(description="The diff was longer.")]
    affected_services: Annotated[
        list[str], Meta(description="Services that read the file or interpolate an edited key, of all stacks.")
    ] = []
    needs_recreate: Annotated[
        list[str] | None,
        Meta(description="Of those, the running ones that have older values (DOCKER_RELOAD); null: no engine to ask."),
    ] = None
    stacks: Annotated[
        list[AffectedStack], Meta(description="The same for each stack that the file has a part in.")
    ] = []


class EnvUpdate(BaseExecutor[Payload, Data]):
    """Edit an env file: set and unset keys; every other byte stays.

    Values read back exactly in docker compose, as .env and as env_file, and in bash. When a stack uses the file, docker
    compose has to accept it afterwards, or the old content is put back. The diff shows values that look secret neither
    by their key nor by themselves; the journal keeps that, and of `set` only size and digest.
    """

    type = "ENV_UPDATE"
    changes = True
    rerun_safe = True
    example = {"path": "{root}/app.env", "set": {"APP_ENV": "production"}, "unset": ["DEBUG"]}

    def locks(self, payload: Payload) -> set[str]:
        """The file."""
        return {f"file:{self.host.files.canonical(payload.path)}"}

    def execute(self, payload: Payload) -> ExecutionResult[Data]:
        """Edit, write, validate; put back what compose refuses."""
        _refuse_bad_keys(payload)
        meet_secrets(self.context.redactor, payload.set)
        before = self._read(payload)
        edited = self._edit(payload, before)
        data = self._data(payload, before, edited)
        changed = data.sha256_before != data.sha256_after
        effects = EnvEffects(self.context, payload.path, data.path)
        error = None
        if changed:
            effects.ask_before()
            self.host.files.write(payload.path, edited.content, expect=before)
            refusal = effects.ask_after()
            if refusal is not None:
                error = self._put_back(payload, before, edited, refusal)
                changed, data.sha256_after = False, data.sha256_before
        if error is None:
            effects.warn_raw_readers(edited)
            # whole seconds, since the engine tells no more
            changed_at = float("inf") if changed or before is None else int(before.stat.mtime)
            _tell_affected(data, effects.affected({*payload.set, *payload.unset, *edited.dependents}, changed_at))
        return ExecutionResult(data=data, changed=changed, error=error, warnings=edited.warnings + effects.warnings)

    def _read(self, payload: Payload) -> FileContent | None:
        before = self.host.files.read_or_none(payload.path, max_bytes=MAX_FILE_BYTES)
        if before is None and not payload.create:
            raise LetsbeError(
                "file_not_found", f"{payload.path} does not exist", hint="Check the path, or send create: true."
            )
        found = before.sha256 if before else "absent"
        if payload.if_sha256 is not None and payload.if_sha256 != found:
            raise LetsbeError(
                "precondition_failed",
                f"{payload.path} holds {found}, not {payload.if_sha256}",
                hint="Somebody changed it since you looked. Look again (ENV_INSPECT), then decide.",
                details={"sha256": found},
            )
        return before

    def _edit(self, payload: Payload, before: FileContent | None) -> Edited:
        try:
            edited = edit(before.content if before else b"", payload.set, payload.unset, payload.quote)
        except LetsbeError as error:
            error.message = f"{payload.path}: {error.message}"
            raise
        for env in (edited.before, edited.after):
            meet_secrets(self.context.redactor, env.values)
        if len(edited.content) > MAX_FILE_BYTES:
            raise LetsbeError(
                "file_too_large",
                f"{payload.path} would have {len(edited.content)} bytes, an env file has at most {MAX_FILE_BYTES}",
                hint="Large values belong into files of their own (docker secrets, bind mounts).",
            )
        return edited

    def _data(self, payload: Payload, before: FileContent | None, edited: Edited) -> Data:
        path = self.host.files.canonical(payload.path)
        nothing = before is None and not edited.content
        old = before.content if before else None
        diff = unified_diff(old, None if nothing else edited.content, path, EnvRedactor(self.context.redactor))
        return Data(
            path=path,
            created=before is None and not nothing,
            added=edited.added,
            changed=edited.changed,
            removed=edited.removed,
            unchanged=edited.unchanged,
            dependents=edited.dependents,
            sha256_before=before.sha256 if before else None,
            sha256_after=None if nothing else sha256_of(edited.content),
            diff=diff.text,
            diff_truncated=diff.truncated,
        )

    def _put_back(self, payload: Payload, before: FileContent | None, edited: Edited, refusal: Refusal) -> LetsbeError:
        now = self.host.files.read_or_none(payload.path, max_bytes=MAX_FILE_BYTES)
        if now is None or now.content != edited.content:
            raise LetsbeError(
                "changed_meanwhile",
                f"docker compose refuses {refusal.directory} with the new values ({refusal.reason}), but {payload.path}"
                " was changed by somebody else before the old content could be put back",
                hint="Look at the file: it holds what they wrote.",
            )
        self.host.files.restore(payload.path, before)
        return LetsbeError(
            "compose_refused",
            f"docker compose refuses {refusal.directory} with the new values: {refusal.reason}",
            hint=f"{payload.path} is as it was. Mend the value, or the compose file first.",
            details={"directory": refusal.directory},
        )


def _tell_affected(data: Data, stacks: list[AffectedStack]) -> None:
    data.stacks = stacks
    data.affected_services = sorted({name for stack in stacks for name in stack.services})
    known = [stack.needs_recreate for stack in stacks]
    data.needs_recreate = None if None in known else sorted({name for names in known for name in names or []})


def _refuse_bad_keys(payload: Payload) -> None:
    for field, keys in (("set", payload.set), ("unset", payload.unset)):
        for key in keys:
            if not _KEY.fullmatch(key):
                raise _invalid(f"{field}", f"{key[:80]!r} is no key: letters, digits and _, no digit first, ≤ 256")
    for key, value in payload.set.items():
        if len(value.encode("utf-8", "surrogatepass")) > MAX_VALUE_BYTES:
            raise _invalid(f"set.{key}", f"the value of {key} has more than {MAX_VALUE_BYTES} bytes")
    both = sorted(set(payload.set) & set(payload.unset))
    if both:
        raise _invalid(f"unset[{payload.unset.index(both[0])}]", f"{both[0]} is to be set and unset")
    if len(payload.set) + len(payload.unset) > MAX_KEYS:
        raise _invalid("set", f"more than {MAX_KEYS} keys")


_invalid = partial(base.invalid_field, "ENV_UPDATE")
