"""Having content judged before it becomes a file."""

from __future__ import annotations

from typing import Literal

from letsbe.errors import LetsbeError
from letsbe.host import Host
from letsbe.host.processes import Completed
from letsbe.host.readable import Readable
from letsbe.tools import compose, content_syntax, nginx_candidate
from letsbe.tools.compose_load import FILE_NAMES, OVERRIDE_NAMES, files_with
from letsbe.tools.redaction import Redactor

Kind = Literal["json", "yaml", "compose", "nginx"]

VALIDATION_S = 60.0
#: A program's own words, from their end.
MAX_REASON = 2_000


class ContentChecks:
    """Checks for one executor. What programs print is redacted: it may hold values of env files."""

    def __init__(self, host: Host, redactor: Redactor) -> None:
        self._host = host
        self._redactor = redactor

    def check(self, kind: Kind, path: str, content: bytes) -> str:
        """Raise ``validation_failed`` or ``validator_missing``; a warning when no verdict can be had yet, else "".

        ``path`` is where the content will stand: what a compose file names is looked for beside it, and so are the
        files that compose takes together with it.
        """
        self._redactor.meet_assigned(content.decode(errors="replace"))
        if kind == "json":
            content_syntax.require_json(content, path)
        elif kind == "yaml":
            content_syntax.require_yaml(content, path)
        elif kind == "compose":
            return self._compose(path, content)
        else:
            return self._nginx(path, content)
        return ""

    def _compose(self, path: str, content: bytes) -> str:
        content_syntax.require_yaml(content, path)
        if not content.strip():
            raise content_syntax.validation_failed(path, "an empty file is no compose file")
        readable = Readable(self._host.files)
        together = files_with(path, content, readable)
        if path not in together:
            together = [path]
        for other in set(together) - {path}:
            self._redactor.meet_assigned((readable.read(other) or b"").decode(errors="replace"))
        argv = compose.stack_argv(
            self._program("docker"),
            directory=path.rpartition("/")[0] or "/",
            files=["-" if file == path else file for file in together],
        )
        argv += ["config", "--quiet"]
        done = self._host.run(argv, changes=False, cwd="/", stdin=content, timeout_s=VALIDATION_S)
        if done.rc == 0:
            return ""
        said = self._said(done, "docker compose")
        if "is not a docker command" in said or "unknown shorthand flag" in said:
            raise _missing("docker compose", "Install the compose plugin, or write without `validate`.")
        if self._host.files.pending:
            return f"refused as the files are now, without what earlier steps would do: {said}"
        raise content_syntax.validation_failed(path, said, _compose_hint(path, together))

    def _nginx(self, path: str, content: bytes) -> str:
        nginx = self._program("nginx")
        with self._host.files.candidate(path, nginx_candidate.test_document(content)) as candidate:
            if candidate is None:
                return "not checked by nginx: it reads the file from disk, where it can't be put yet"
            argv = nginx_candidate.test_argv(nginx, candidate)
            done = self._host.run(argv, changes=False, cwd="/", timeout_s=VALIDATION_S)
        if done.rc != 0:
            said = self._said(done, "nginx -t")
            raise content_syntax.validation_failed(path, nginx_candidate.first_error(said, candidate, path))
        return ""

    def _said(self, done: Completed, program: str) -> str:
        if done.rc is None:
            raise LetsbeError(
                "validator_failed",
                f"{program} gave no verdict: {'no answer in time' if done.timed_out else done.signal}",
                hint="Run it by hand, or write without `validate`; the file was left as it was.",
            )
        text = self._redactor.text(done.stderr.decode(errors="replace")).strip()
        return text[-MAX_REASON:] or f"{program} refused it without a word"

    def _program(self, name: str) -> str:
        found = self._host.processes.which(name)
        if found is None:
            raise _missing(name, f"Install {name}, or write without `validate`.")
        return found


def _compose_hint(path: str, together: list[str]) -> str:
    others = ", ".join(file for file in together if file != path)
    if others:
        what = f"compose takes it together with {others}: correct the content, or write without `validate`"
    elif path.rpartition("/")[2] in OVERRIDE_NAMES:
        what = f"compose lays it over a base file, and there is none beside it: write {FILE_NAMES[0]} first"
    else:
        what = "correct the content"
    return f"{what[0].upper()}{what[1:]}; the file was left as it was."


def _missing(name: str, hint: str) -> LetsbeError:
    return LetsbeError("validator_missing", f"{name} is not installed here; nothing was written", hint=hint)
