from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from letsbe import decoding

#: One thread prepares a type, which takes long, since one of its annotations does; another decodes into it meanwhile.
TWO_THREADS = """
import threading, time, msgspec
from letsbe.decoding import {function}

begun = threading.Event()

def slow():
    begun.set()
    time.sleep(0.3)
    return int

class Inner(msgspec.Struct):
    number: "slow()" = 0

class Outer(msgspec.Struct):
    inner: "Inner | None" = None
    last: int = 0

first = threading.Thread(target=lambda: {function}({empty}, Outer))
first.start()
begun.wait()
print({function}({value}, Outer))
first.join()
"""


@pytest.mark.parametrize(
    ("function", "empty", "value"), [("decode", b"{}", b'{"last":5}'), ("convert", {}, {"last": 5})]
)
def test_type_that_another_thread_prepares_is_waited_for(function: str, empty: object, value: object) -> None:
    script = TWO_THREADS.format(function=function, empty=empty, value=value)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Outer(inner=None, last=5)\n", "")


def test_value_of_another_type_is_refused_with_its_place() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"Expected `int`, got `str` - at `\$\[1\]`"):
        decoding.decode('[1,"2"]', list[int])
    with pytest.raises(msgspec.ValidationError, match=r"Expected `int`, got `str` - at `\$\[1\]`"):
        decoding.convert([1, "2"], list[int])
    assert decoding.convert([1, "2"], list[int], strict=False) == [1, 2]


@pytest.mark.parametrize(
    ("text", "reason"),
    [(b"[1", "truncated"), (b'["\xff"]', "not UTF-8"), (b"[" * 100_000, "nested too deeply")],
    ids=["cut off", "other bytes", "deep"],
)
def test_what_can_not_be_read_is_one_error(text: bytes, reason: str) -> None:
    with pytest.raises(msgspec.DecodeError, match=reason):
        decoding.decode(text, list[Any])


@pytest.mark.parametrize("level", [lambda one: [1, one], lambda one: {"a": one, "b": 1}], ids=["list", "object"])
def test_depth(level: Callable[[Any], Any]) -> None:
    value: Any = 1
    for _ in range(decoding.MAX_DEPTH):
        value = level(value)
    assert not decoding.is_too_deep(value)
    assert decoding.is_too_deep(level(value))
