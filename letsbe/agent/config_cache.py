"""The parsed configuration, kept beside the state: reading it back spares every start the YAML parser (20 ms).

The cache holds the very text that it was made from and counts only when that text is still the configuration's, so
it can't be stale. It is believed only under the permissions that the configuration itself must have, and written
only where the state directory already is.
"""

from __future__ import annotations

import os
import re

import msgspec

from letsbe import __version__
from letsbe.agent.config import Config
from letsbe.agent.permissions import refuse_writable_by_others
from letsbe.decoding import decode
from letsbe.errors import LetsbeError

_STATE_DIR = re.compile(rb"^state_dir:[ \t]*[\"']?(/[^\s\"'#]+)", re.M)
_NAME = "config-cache.json"


class _Cache(msgspec.Struct, frozen=True):
    version: str
    source: bytes
    config: Config


def find(source: bytes) -> Config | None:
    """The configuration that this text was parsed to, by this version, if that was kept."""
    path = _path(source)
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if os.geteuid() == 0 and status.st_uid != 0:
                return None
            refuse_writable_by_others(path, status)
            cache = decode(file.read(), _Cache)
    except (OSError, LetsbeError, msgspec.DecodeError):
        return None
    return cache.config if cache.version == __version__ and cache.source == source else None


def keep(source: bytes, config: Config) -> None:
    """Keep a parsed configuration; where that can't be, the next start parses again."""
    path = _path(source)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        if os.stat(os.path.dirname(path)).st_uid != os.geteuid():
            return  # root looks after another user's agent, who could not read what root keeps there
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as file:
            file.write(msgspec.json.encode(_Cache(__version__, source, config)))
        os.rename(temporary, path)
    except OSError:
        return


def _path(source: bytes) -> str:
    found = _STATE_DIR.search(source)
    state_dir = os.fsdecode(found[1]) if found else Config().state_dir
    return os.path.join(state_dir, _NAME)
