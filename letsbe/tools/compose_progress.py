"""How far ``docker compose pull`` has come, from the lines that it prints where no terminal is.

A layer's line is `` 4632583fd62a Downloading [==>   ]  16.61MB/41.96MB``; compose 5 gives the first number alone.
``--progress json`` came with 2.29, and has no numbers before 2.40: these lines serve every version.
"""

from __future__ import annotations

import re

from msgspec import Struct

_LAYER = re.compile(
    r" ?(?P<id>[0-9a-f]{12}) (?P<what>[A-Z][A-Za-z ]*?)"
    r"(?: \[[=> ]*\])?(?: +(?P<done>[\d.]+[kMGT]?B)(?:/(?P<total>[\d.]+[kMGT]?B))?)? *"
)
_SIZE = re.compile(r"([\d.]+)([kMGT]?)B")
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
#: States of a layer whose bytes are all here.
_HERE = ("Verifying Checksum", "Download complete", "Extracting", "Pull complete")


class _Layer(Struct):
    done: int = 0
    total: int = 0


class PullProgress:
    """Fed with standard error as it comes; tells bytes pulled so far, of all layers that are not here yet."""

    def __init__(self) -> None:
        self._rest = b""
        self._layers: dict[str, _Layer] = {}

    def feed(self, data: bytes) -> bool:
        """More output; whether anything about a layer was in it."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return sum(self._line(line.decode("utf-8", "replace").rstrip()) for line in lines) > 0

    @property
    def percent(self) -> int | None:
        """Bytes pulled in percent of those known of; None while no size is known."""
        total = sum(layer.total for layer in self._layers.values())
        return min(100, 100 * self.pulled_bytes // total) if total else None

    @property
    def pulled_bytes(self) -> int:
        """Bytes pulled so far, as exact as compose prints them."""
        return sum(layer.done for layer in self._layers.values())

    def message(self) -> str:
        """``16.6 MB of 42.0 MB``."""
        total = sum(layer.total for layer in self._layers.values())
        pulled = f"{self.pulled_bytes / 1e6:.1f} MB"
        return f"{pulled} of {total / 1e6:.1f} MB" if total else pulled

    def _line(self, line: str) -> bool:
        found = _LAYER.fullmatch(line)
        if found is None or found["what"] == "Already exists":
            return False
        layer = self._layers.setdefault(found["id"], _Layer())
        if found["what"] == "Downloading":
            layer.done = max(layer.done, _bytes(found["done"]))
            layer.total = max(layer.total, _bytes(found["total"]))
        elif found["what"] in _HERE:
            layer.done = layer.total = max(layer.total, layer.done)
        return True


def _bytes(size: str | None) -> int:
    found = _SIZE.fullmatch(size or "")
    return int(float(found[1]) * _UNITS[found[2]]) if found else 0
