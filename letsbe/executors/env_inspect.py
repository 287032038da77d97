"""ENV_INSPECT: what an env file says to docker compose, and what is wrong with it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from letsbe.errors import LetsbeError
from letsbe.executors import base
from letsbe.executors.base import BaseExecutor, ExecutionResult
from letsbe.host.accounts import owner_names
from letsbe.host.file_types import FileContent
from letsbe.host.readable import Readable
from letsbe.tools.compose_find import stacks_using
from letsbe.tools.dotenv import EnvFile, Statement, parse
from letsbe.tools.env_comparison import Comparison, Missing, against_example, against_stacks, example_names
from letsbe.tools.keyed_digest import KeyedDigest
from letsbe.tools.redaction import Secret
from letsbe.tools.secret_values import Weakness, is_secret, meet_secrets, user_names, weakness

MAX_FILE_BYTES = 1024 * 1024
MAX_ENTRIES = 1000
MAX_SHOWN = 4096


class Payload(base.Payload, frozen=True):
    """What ENV_INSPECT takes."""

    path: Annotated[str, Meta(description="The env file: an absolute path below an allowed root.", max_length=4095)]
    keys: Annotated[
        list[Annotated[str, Meta(max_length=1024)]],
        Meta(description="Only these keys' entries; empty: all, at most 1000.", max_length=500),
    ] = []
    reveal: Annotated[
        list[Annotated[str, Meta(max_length=1024)]],
        Meta(description="Keys whose value is given although it is secret; policy may refuse.", max_length=500),
    ] = []
    against: Annotated[
        Literal["compose", "example"],
        Meta(
            description="What declares the keys: the compose files of the stack, or the example beside the file"
            " (.env.example, .env.sample, .env.dist, .env.template)."
        ),
    ] = "compose"
    digest_key: Annotated[
        Secret | None,
        Meta(
            description="Secret of 16 characters or more that the digests are keyed with: under the same one, equal"
            " values have equal digests on every host, at any time. Without one they compare within this outcome only."
        ),
    ] = None


class Entry(base.Data):
    """A key as it counts: its last line."""

    key: Annotated[str, Meta(description="The key.")]
    line: Annotated[int, Meta(description="Where its last assignment begins, from 1.")]
    quoted: Annotated[bool, Meta(description="The value stands in quotes.")]
    inherited: Annotated[bool, Meta(description="A bare name: the value comes from compose's own environment.")]
    empty: Annotated[bool, Meta(description="The value is empty, or not set in the file.")]
    length: Annotated[int, Meta(description="Length of the value in characters.")]
    secret: Annotated[bool, Meta(description="Its name or its value looks like a secret.")]
    digest: Annotated[
        str,
        Meta(description="12 hex digits of HMAC-SHA256 of the value: equal ones mean equal values; see digest_key."),
    ]
    refers_to: Annotated[list[str], Meta(description="Variables that the value names (`$A`).")]
    value: Annotated[
        str | None,
        Meta(
            description="The value as compose sees it, when it is not secret or was revealed; at most 4096 characters."
        ),
    ] = None
    value_truncated: Annotated[bool, Meta(description="The value is longer.")] = False


class Duplicate(base.Data):
    """A key with several lines."""

    key: Annotated[str, Meta(description="The key.")]
    lines: Annotated[list[int], Meta(description="Its lines; the last one counts.")]


class Weak(base.Data):
    """A secret that is none."""

    key: Annotated[str, Meta(description="The key.")]
    line: Annotated[int, Meta(description="Its line.")]
    reason: Annotated[
        Weakness,
        Meta(
            description="A well-known default; a placeholder; under 8 characters (keys and tokens: 16); one or two"
            " different characters; the words of its own key; the same as a user or database name in the file."
        ),
    ]


class SyntaxFault(base.Data):
    """A line that compose refuses; it then reads nothing of the file."""

    line: Annotated[int, Meta(description="The line, from 1.")]
    message: Annotated[str, Meta(description="What is wrong with it.")]


class MissingKey(base.Data):
    """A key that is declared but not set."""

    key: Annotated[str, Meta(description="The key.")]
    required: Annotated[bool, Meta(description="compose refuses to start without it (`${KEY:?}`).")]
    services: Annotated[list[str], Meta(description="The services that name it; empty for an example.")]


class Data(base.Data):
    """What ENV_INSPECT gives."""

    path: Annotated[str, Meta(description="The file, without symlinks.")]
    sha256: Annotated[str, Meta(description="SHA-256 of the file, hex: for ENV_UPDATE's if_sha256.")]
    size: Annotated[int, Meta(description="Bytes.")]
    perms: Annotated[str, Meta(description="Mode in octal, like 0600.")]
    owner: Annotated[str, Meta(description="user:group.")]
    entries: Annotated[list[Entry], Meta(description="The keys, in the order of their last lines.")]
    truncated: Annotated[bool, Meta(description="There are more than 1000 keys.")]
    absent: Annotated[list[str], Meta(description="Keys that were asked for and are not in the file.")]
    duplicates: Annotated[list[Duplicate], Meta(description="Keys with several lines.")]
    weak: Annotated[list[Weak], Meta(description="Default, placeholder or short secrets.")]
    syntax_errors: Annotated[list[SyntaxFault], Meta(description="Lines that compose refuses.")]
    compared_with: Annotated[
        list[str], Meta(description="The files that declare the keys; empty: none was found, nothing was compared.")
    ] = []
    missing: Annotated[
        list[MissingKey] | None, Meta(description="Keys that are declared but not set; null: not compared.")
    ] = None
    unused: Annotated[
        list[str] | None, Meta(description="Keys that are set but nowhere declared; null: not compared.")
    ] = None


class EnvInspect(BaseExecutor[Payload, Data]):
    """Read an env file as docker compose does; values of secrets stay hidden.

    Values of secret-looking keys, and values that look issued or random, are given only when revealed, which the host's
    policy has to allow (reveal, per origin). Digests are keyed, so that a short secret can't be guessed from one.
    """

    type = "ENV_INSPECT"
    changes = False
    rerun_safe = True
    example = {"path": "{root}/app.env"}

    def execute(self, payload: Payload) -> ExecutionResult[Data]:
        """Read, parse, compare."""
        digest = self._digest(payload)
        self._require_right_to_reveal(payload)
        found = self.host.files.read(payload.path, max_bytes=MAX_FILE_BYTES)
        env = parse(found.content)
        self._meet(env, payload)
        data = self._data(payload, found, env, digest)
        warnings = self._compare(payload, env, data)
        if found.stat.mode & 0o007 and any(is_secret(key, value) for key, value in env.values.items() if value):
            warnings.append(f"{data.path} holds secrets and is open to every user of the machine (mode {data.perms})")
        return ExecutionResult(data=data, warnings=warnings)

    def _digest(self, payload: Payload) -> KeyedDigest:
        key = payload.digest_key.reveal() if payload.digest_key else None
        if key is not None and len(key) < 16:
            raise LetsbeError(
                "invalid_payload",
                "digest_key has fewer than 16 characters - at $.digest_key",
                hint="Digests under a short key can be guessed; make one with `openssl rand -hex 16`.",
                details={"path": "$.digest_key"},
            )
        return KeyedDigest(key)

    def _require_right_to_reveal(self, payload: Payload) -> None:
        if payload.reveal and not self.context.rights.reveal:
            raise LetsbeError(
                "policy_denied",
                f"the values of {', '.join(payload.reveal[:5])} may not be revealed to this origin",
                hint="An administrator of this host can set `reveal: true` under policy.<origin> in the configuration.",
            )

    def _meet(self, env: EnvFile, payload: Payload) -> None:
        values = env.values
        meet_secrets(self.context.redactor, values, but=payload.reveal)
        for key in payload.reveal:
            self.context.redactor.allow(_printable(values.get(key, ""))[:MAX_SHOWN])

    def _data(self, payload: Payload, found: FileContent, env: EnvFile, digest: KeyedDigest) -> Data:
        statements = env.by_key()
        wanted = payload.keys or list(statements)
        last = [statements[key][-1] for key in dict.fromkeys(wanted) if key in statements]
        last.sort(key=lambda statement: statement.start)
        users = user_names(env.values)
        reasons = ((one, weakness(one.key, one.value or "", users)) for one in last)
        return Data(
            path=found.stat.path,
            sha256=found.sha256,
            size=len(found.content),
            perms=f"{found.stat.mode:04o}",
            owner=owner_names(found.stat.uid, found.stat.gid),
            entries=[self._entry(one, payload, digest) for one in last[:MAX_ENTRIES]],
            truncated=len(last) > MAX_ENTRIES,
            absent=[key for key in payload.keys if key not in statements],
            duplicates=[
                Duplicate(key=key, lines=[one.line for one in ones])
                for key, ones in statements.items()
                if len(ones) > 1
            ][:MAX_ENTRIES],
            weak=[Weak(key=one.key, line=one.line, reason=reason) for one, reason in reasons if reason][:MAX_ENTRIES],
            syntax_errors=[SyntaxFault(line=one.line, message=one.message) for one in env.problems[:MAX_ENTRIES]],
        )

    def _entry(self, statement: Statement, payload: Payload, digest: KeyedDigest) -> Entry:
        value = statement.value or ""
        secret = is_secret(statement.key, value)
        entry = Entry(
            key=statement.key,
            line=statement.line,
            quoted=bool(statement.quote),
            inherited=statement.inherited,
            empty=not value,
            length=len(value),
            secret=secret,
            digest=digest.of(value),
            refers_to=list(statement.refers),
        )
        if statement.key in payload.reveal:
            entry.value = _printable(value)[:MAX_SHOWN]
        elif not secret:
            entry.value = self.context.redactor.text(_printable(value))[:MAX_SHOWN]
        entry.value_truncated = entry.value is not None and len(value) > MAX_SHOWN
        return entry

    def _compare(self, payload: Payload, env: EnvFile, data: Data) -> list[str]:
        readable = Readable(self.host.files)
        if payload.against == "example":
            comparison = self._with_example(payload.path, env, readable)
        else:
            stacks = stacks_using(payload.path, readable.root_of(data.path), readable)
            comparison = against_stacks(env, data.path, stacks) if stacks else None
        if comparison is None:
            return []
        data.compared_with = comparison.sources
        data.missing = [_missing(one) for one in comparison.missing]
        data.unused = comparison.unused
        return comparison.problems

    def _with_example(self, path: str, env: EnvFile, readable: Readable) -> Comparison | None:
        for name in example_names(path):
            content = readable.read(name)
            if content is not None:
                return against_example(env, name, parse(content))
        return None


def _printable(value: str) -> str:
    """Bytes that are no UTF-8 replaced: JSON has no form for them."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _missing(found: Missing) -> MissingKey:
    return MissingKey(key=found.key, required=found.required, services=found.services)
