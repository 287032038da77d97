from __future__ import annotations

import subprocess
import sys

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
    with pytest.raises(msgspec.DecodeError, match="truncated"):
        decoding.decode("[1", list[int])
