"""Secrets: a type that does not print itself, and the scrubbing of everything that leaves the agent.

Redaction works by key name (``DB_PASSWORD``) and by value: every value of :data:`MIN_SECRET_LENGTH` characters or more
that was met under such a key is replaced wherever it turns up again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

REDACTED = "[redacted]"

#: Stands for each character of a secret in :meth:`Redactor.mask`: from Unicode's private use area.
MASK = "\uf8ff"

#: Shorter values are not looked for elsewhere: replacing every "1" would only destroy the text.
MIN_SECRET_LENGTH = 6

_SECRET_NAME = re.compile(
    r"PASS(?!IVE|ENGER|AGE)|PWD|(?<![A-Z])PW(?![A-Z])|SECRET|TOKEN|KEY(?=$|[_.\-0-9])|CREDENTIAL|DSN|AUTHORIZATION"
    r"|COOKIE|SALT(?=$|_)",
    re.I,
)
#: From the `://` on, so that a long word before it is not looked at again from each of its letters. A password may hold
#: an @ itself, but then hardly a quote: that belongs to what comes after the address.
_URL_PASSWORD = re.compile(
    r"""(?<=[a-z0-9+.-])(?P<user>://[^\s:/@]*+):(?P<password>[^\s/@]+(?:@[^\s/@"'<>,]+)*)@""", re.I
)
_PEM = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)", re.S
)


def is_secret_name(name: str) -> bool:
    """Whether a key of this name holds a secret (``DB_PASSWORD``, ``API_KEY``, ``SENTRY_DSN``)."""
    return _SECRET_NAME.search(name) is not None


class Secret:
    """A string that prints as ``[redacted]``; :meth:`reveal` gives it away."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The string itself."""
        return self._value

    def __repr__(self) -> str:
        return REDACTED

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class Redactor:
    """The secrets that one run has met, and the replacing of them."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._allowed: set[str] = set()
        self._forms: _Forms | None = None

    def meet(self, value: str | Secret) -> None:
        """Remember a secret value; shorter than :data:`MIN_SECRET_LENGTH` characters it is ignored."""
        text = value.reveal() if isinstance(value, Secret) else value
        for form in {text, *(line.strip() for line in text.splitlines())}:
            if len(form) >= MIN_SECRET_LENGTH and form not in self._values:
                self._values.add(form)
                self._forms = None

    @property
    def met(self) -> frozenset[str]:
        """The secrets themselves: for a redactor that goes on with the same run."""
        return frozenset(self._values)

    def meet_mapping(self, values: Mapping[str, str]) -> None:
        """Remember the values that stand under secret-looking keys."""
        for name, value in values.items():
            if is_secret_name(name):
                self.meet(value)

    def meet_assigned(self, text: str) -> None:
        """Remember what stands under secret-looking names in a text, whatever format it is in."""
        from letsbe.tools.assignments import secret_values

        for start, end in secret_values(text, is_secret_name):
            self.meet(text[start:end])

    def allow(self, value: str) -> None:
        """Let :meth:`data` give a string of exactly this value as it is: policy and caller agreed to reveal it."""
        self._allowed.add(value)

    def text(self, text: str) -> str:
        """The text with its secrets replaced: met, ``SECRET_NAME=value``, in URLs, keys, tokens, password hashes."""
        text = self.prose(text)
        return _found_replaced(text, lambda value: value if value.startswith(REDACTED) else REDACTED)

    def prose(self, text: str) -> str:
        """Our own words with met values, URL passwords and private keys replaced; ``key: value`` is no secret there."""
        if "-----BEGIN" in text:
            text = _PEM.sub(REDACTED, text)
        text = self.met_values(text)
        return _URL_PASSWORD.sub(rf"\g<user>:{REDACTED}@", text) if "://" in text else text

    def met_values(self, text: str) -> str:
        """The text with every met value replaced, and nothing else."""
        return self._met_values_replaced(text, lambda _: REDACTED)

    def _met_values_replaced(self, text: str, replacement: Callable[[str], str]) -> str:
        if not self._values:
            return text
        if self._forms is None:
            self._forms = _Forms(self._values | self._escaped_forms())
        return self._forms.replaced(text, replacement)

    def mask(self, text: str) -> str:
        """What :meth:`text` replaces, covered character by character with :data:`MASK`; line ends stay.

        Length and lines are those of the text, so that a part can be cut out of it, or two texts be compared line by
        line; then :func:`unmask` writes the covered stretches as ``[redacted]``.
        """
        if "-----BEGIN" in text:
            text = _PEM.sub(lambda found: _covered(found.group()), text)
        text = self._met_values_replaced(text, _covered)
        if "://" in text:
            text = _URL_PASSWORD.sub(lambda found: f"{found['user']}:{_covered(found['password'])}@", text)
        return _found_replaced(text, _covered)

    def _escaped_forms(self) -> set[str]:
        """As the values look inside JSON strings, double quotes of env files, and compose output (``$$``)."""
        forms: set[str] = set()
        for value in self._values:
            forms.add(value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t"))
            forms.add(value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$"))
            forms.add(value.replace("$", "$$"))
        return forms

    def data(self, value: Any) -> Any:
        """A JSON value with :meth:`prose` applied to every string in it, keys included.

        Programs' output and files' content go through :meth:`text` first, where they are read.
        """
        if isinstance(value, str):
            return value if value in self._allowed else self.prose(value)
        if isinstance(value, Secret):
            return REDACTED
        if isinstance(value, Mapping):
            return {self.met_values(str(key)): self.data(item) for key, item in value.items()}
        if isinstance(value, Iterable) and not isinstance(value, bytes):
            return [self.data(item) for item in value]
        return value

    def named(self, value: Any, name: str = "") -> Any:
        """Like :meth:`data`, and whatever stands under a secret-looking key is replaced whole: for payloads."""
        if isinstance(value, Mapping):
            return {str(key): self.named(item, str(key)) for key, item in value.items()}
        if name and is_secret_name(name) and value not in (None, "", False, True):
            return REDACTED
        if isinstance(value, list):
            return [self.named(item) for item in value]
        return self.data(value)


class _Forms:
    """Strings to look for all at once, the longest first, in time that does not grow with how many there are."""

    def __init__(self, forms: Iterable[str]) -> None:
        by_start: dict[str, dict[int, set[str]]] = {}
        for form in forms:
            by_start.setdefault(form[:MIN_SECRET_LENGTH], {}).setdefault(len(form), set()).add(form)
        self._by_start = {start: sorted(by_length.items(), reverse=True) for start, by_length in by_start.items()}

    def replaced(self, text: str, replacement: Callable[[str], str]) -> str:
        pieces: list[str] = []
        done = position = 0
        last = len(text) - MIN_SECRET_LENGTH
        by_start = self._by_start
        while position <= last:
            lengths = by_start.get(text[position : position + MIN_SECRET_LENGTH])
            if lengths is not None:
                for length, forms in lengths:
                    if text[position : position + length] in forms:
                        pieces += (text[done:position], replacement(text[position : position + length]))
                        position = done = position + length
                        break
                else:
                    position += 1
            else:
                position += 1
        return "".join(pieces) + text[done:]


def _found_replaced(text: str, replacement: Callable[[str], str]) -> str:
    """What stands under the name of a secret, then what has the shape of one."""
    from letsbe.tools.assignments import secret_values  # `letsbe echo` needs none of these patterns
    from letsbe.tools.secret_shapes import shaped_secrets

    text = _spans_replaced(text, secret_values(text, is_secret_name), replacement)
    return _spans_replaced(text, shaped_secrets(text), replacement)


def _spans_replaced(text: str, spans: Iterable[tuple[int, int]], replacement: Callable[[str], str]) -> str:
    pieces: list[str] = []
    done = 0
    for start, end in spans:
        pieces += (text[done:start], replacement(text[start:end]))
        done = end
    return "".join(pieces) + text[done:] if pieces else text


def unmask(text: str) -> str:
    """A masked text, or a part of one, with each covered stretch written as ``[redacted]``."""
    return _COVERED.sub(REDACTED, text)


_COVERED = re.compile(f"{MASK}+")
_NOT_LINE_END = re.compile(r"[^\r\n]")


def _covered(secret: str) -> str:
    return _NOT_LINE_END.sub(MASK, secret)
