"""From a template to an answer."""

from __future__ import annotations

import re
import time
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Request, Response
from markupsafe import Markup

from letsbe import __version__
from letsbe.orchestrator.pages.sessions import Session
from letsbe.orchestrator.times import SKEW_S
from letsbe.protocol import epoch, instant

# What an agent sent must not turn the text around it either: control characters, and those that direct writing.
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

#: An agent that was not seen for so long, beyond what it was asked to stay away, is late; seconds.
LATE_AFTER_S = 300


def page(request: Request[Any, Any, Any], template: str, *, status_code: int = 200, **context: object) -> Response[str]:
    """A template as an answer; ``session`` is the request's, None before the login."""
    session = request.scope.get("user")
    known = session if isinstance(session, Session) else None
    text = _ENVIRONMENT.get_template(template).render(
        session=known, path=request.scope["path"], version=__version__, now=time.time(), **context
    )
    return Response(text, status_code=status_code, media_type="text/html")


def visible(text: str) -> str:
    """Text in which what could not be seen is spelled out."""
    return _INVISIBLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def ago(moment: str, now: float) -> str:
    """How long a moment is past, in words: ``12 s ago``, ``2 min ago``, ``3 h ago``, ``5 days ago``."""
    seconds = max(0, int(now - epoch(moment)))
    if seconds < 60:
        return f"{seconds} s ago"
    if seconds < 3600:
        return f"{seconds // 60} min ago"
    if seconds < 2 * 86_400:
        return f"{seconds // 3600} h ago"
    return f"{seconds // 86_400} days ago"


def is_late(moment: str | None, due: float, now: float) -> bool:
    """Whether an agent that was last seen then, or never, should have come again."""
    return moment is None or not due <= epoch(moment) <= now + SKEW_S


def due_since(now: float, next_poll_s: int) -> float:
    """Since when an agent must have been seen, so that it is not late."""
    return now - LATE_AFTER_S - next_poll_s


def _finalize(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


_ENVIRONMENT = Environment(
    loader=PackageLoader("letsbe.orchestrator.pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=_finalize,
)
_ENVIRONMENT.filters |= {"ago": ago, "instant": instant}
