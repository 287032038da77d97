"""The command line of an SSH client, read without a shell: one task type, one payload, four options.

Quotes and backslashes mean what they mean in a POSIX shell; nothing else does. ``$``, `````, ``;``, ``|``, ``&``,
``>`` and ``*`` are ordinary characters.
"""

from __future__ import annotations

import re
import shlex

from msgspec import Struct

from letsbe.errors import LetsbeError

#: Longest command line taken, in bytes of UTF-8; larger payloads come by standard input.
MAX_BYTES = 65_536

#: Option with a value in seconds -> the least; the most is a day.
_SECONDS = {"--timeout": 0.1, "--lock-wait": 0.0}
_MOST_S = 86_400.0
_FLAGS = ("--check", "--diff")
_NUMBER = re.compile(r"[0-9]{1,5}(?:\.[0-9]{1,6})?", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

#: What a person does whose shell took the quotes away before SSH saw them.
QUOTES = """Over SSH the JSON needs quotes of its own: ssh HOST "echo '{...}'"; or send it by standard input: echo -"""


class GateLine(Struct, frozen=True, kw_only=True):
    """What a client asks for. ``payload``: JSON, ``-`` for standard input, or None when there is none."""

    command: str
    payload: str | None = None
    check: bool = False
    diff: bool = False
    timeout_s: float | None = None
    lock_wait_s: float = 0.0


def split(raw: bytes) -> list[str]:
    """The words of a command line, a leading ``letsbe`` (by any path) taken off; never none.

    Raises ``usage`` for a line that is empty, too long, not UTF-8, has control characters or an open quote.
    """
    if len(raw) > MAX_BYTES:
        raise _usage(
            f"the command line has {len(raw)} bytes, at most {MAX_BYTES} are taken", "Send the payload as - instead."
        )
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise _usage(f"the command line is not UTF-8 at byte {error.start}", "JSON is UTF-8.") from error
    if found := _CONTROL.search(text):
        what = f"the command line has a control character (U+{ord(found[0]):04X}) at {found.start()}"
        raise _usage(what, "JSON over several lines comes by standard input: echo -")
    try:
        words = shlex.split(text, comments=False, posix=True)
    except ValueError as error:
        raise _usage(f"the command line can't be read: {str(error).lower()}", QUOTES) from error
    if words and (words[0] == "letsbe" or words[0].endswith("/letsbe")):
        words = words[1:]
    if not words:
        raise _usage("the command line names no task type", "Like: echo '{}'")
    return words


def parse(words: list[str]) -> GateLine:
    """The meaning of the words, the first of them the command.

    Raises ``gate_refused`` for what is not for clients to use, ``usage`` for what is wrongly used.
    """
    given: dict[str, float] = {}
    payload: str | None = None
    rest = iter(words[1:])
    for word in rest:
        name, equals, value = word.partition("=")
        if name in _SECONDS:
            number = value if equals else next(rest, None)
            setting = _seconds(name, number)
        elif word in _FLAGS:
            setting = 1.0
        elif word == "-" or not word.startswith(("-", "@")):
            if payload is not None:
                raise _usage("there is more than one payload", QUOTES)
            payload = word
            continue
        else:
            raise _forbidden(word)
        if name in given:
            raise _usage(f"{name} is given twice", "Once is enough.")
        given[name] = setting
    return GateLine(
        command=words[0],
        payload=payload,
        check="--check" in given,
        diff="--diff" in given,
        timeout_s=given.get("--timeout"),
        lock_wait_s=given.get("--lock-wait", 0.0),
    )


def _seconds(name: str, text: str | None) -> float:
    if text is not None and _NUMBER.fullmatch(text) and _SECONDS[name] <= float(text) <= _MOST_S:
        return float(text)
    raise _usage(f"{name} is not followed by seconds from {_SECONDS[name]} to {_MOST_S:.0f}", f"Like: {name} 30")


def _forbidden(word: str) -> LetsbeError:
    if word.startswith("@"):
        what, instead = "a payload file (@)", "Send the payload itself, or by standard input: -"
    else:
        option = word.partition("=")[0]
        what = f"the option {option[:40]}" if re.fullmatch(r"--?[a-zA-Z0-9-]+", option, re.ASCII) else "this option"
        instead = f"The options are {', '.join((*_FLAGS, *_SECONDS))}; fields of the payload come as JSON."
    return LetsbeError("gate_refused", f"{what} is not for SSH clients", hint=instead)


def _usage(message: str, hint: str) -> LetsbeError:
    return LetsbeError("usage", message, hint=hint)
