"""Log lines that differ in numbers, times and names only are one template."""

from __future__ import annotations

import re

import msgspec

#: Of a line so much is looked at, and of a template so much is kept, in characters.
MAX_LOOKED_AT = 4_096
MAX_TEMPLATE = 300

# Every repeat is either bounded or ends at a character that it can't take, so that no line takes long.
_VARIABLE = re.compile(
    r"(?P<time>\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d(?::\d\d)?(?:[.,]\d{1,9})?(?:Z|[ ]?[+-]\d\d:?\d\d)?"
    r"|\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d(?: [+-]\d{4})?"
    r"|\b[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d"
    r"|\b\d\d:\d\d:\d\d(?:[.,]\d{1,9})?)"
    r"|(?P<uuid>\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b)"
    r"|(?P<url>\b[a-z]{2,10}://[^\s\"'<>]{1,500})"
    r"|(?P<str>\"[^\"]{0,500}\"|(?<!\w)'[^']{0,500}'(?!\w)|`[^`]{0,500}`)"
    r"|(?P<path>(?<![\w./<])(?:/[\w.@%+~-]{1,200}){1,40}/?)"
    r"|(?P<ip>\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b)"
    r"|(?P<hex>\b0x[0-9a-fA-F]{1,64}\b|\b(?=[0-9]{0,64}[a-f])(?=[a-f]{0,64}[0-9])[0-9a-f]{7,64}\b)"
    r"|(?P<n>\d{1,100}(?:[.,]\d{1,100}){0,9})"
)
_BLANKS = re.compile(r"\s+")
_MESSAGE_KEYS = ("message", "msg", "event", "log", "text", "short_message")
_CAUSE_KEYS = ("error", "err", "exception", "exc")
_LOGFMT = re.compile(r"(?:^|\s)(msg|message|err|error)=(\"(?:[^\"\\]|\\.){0,2000}\"|\S{1,500})")


def template(line: str) -> str:
    """The line's message with ``<time>``, ``<uuid>``, ``<url>``, ``<str>``, ``<path>``, ``<ip>``, ``<hex>`` and
    ``<n>`` in the places of what varies; linear in the line's length.
    """
    text = message(line[:MAX_LOOKED_AT])
    varied = _VARIABLE.sub(lambda found: f"<{found.lastgroup}>", text)
    return _BLANKS.sub(" ", varied).strip()[:MAX_TEMPLATE]


def message(line: str) -> str:
    """What a structured line (a JSON object, logfmt) says in words; any other line as it is."""
    stripped = line.strip()
    if stripped[:1] == "{":
        try:
            fields = msgspec.json.decode(stripped)
        except msgspec.DecodeError:
            return line
        return _of_fields(fields) or line
    fields = {key: value.strip('"') for key, value in _LOGFMT.findall(line)}
    return (_of_fields(fields) if fields else "") or line


def _of_fields(fields: dict[str, object]) -> str:
    parts = []
    for keys in (_MESSAGE_KEYS, _CAUSE_KEYS):
        values = (fields.get(key) for key in keys)
        values = (value.get("message") if isinstance(value, dict) else value for value in values)
        parts += [value for value in values if isinstance(value, str) and value][:1]
    return ": ".join(dict.fromkeys(parts))
