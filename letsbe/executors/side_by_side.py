"""The same for many things at once, but not for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(function: Callable[[T], R], items: Iterable[T], most: int) -> list[R]:
    """The results in order, ``most`` made at a time; the first failure is raised and ends the rest."""
    wanted = list(items)
    if len(wanted) < 2:
        return [function(one) for one in wanted]
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(min(most, len(wanted)), "health")
    try:
        return list(pool.map(function, wanted))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
