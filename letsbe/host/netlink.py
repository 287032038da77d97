"""Asking the kernel through netlink(7), in this process's network namespace or in those of others."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import TypeVar

_REQUEST_DUMP = 0x301
_DONE, _ERROR = 3, 2
_HEADER = struct.Struct("=IHHII")
_NEW_NET = 0x4000_0000
_ANSWER_S = 2.0
_PIECE = 64 * 1024

T = TypeVar("T")


def dumps(protocol: int, questions: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """What a netlink protocol answers to some questions: the place of the question, and a message without its header.

    A question is a message type and its content. OSError when the kernel does not know it, or does not answer.
    """
    with closing(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)) as netlink:
        netlink.settimeout(_ANSWER_S)
        for place, (kind, content) in enumerate(questions):
            netlink.send(_HEADER.pack(_HEADER.size + len(content), kind, _REQUEST_DUMP, 0, 0) + content)
            for message in _messages(netlink):
                yield place, message


def _messages(netlink: socket.socket) -> Iterator[bytes]:
    while True:
        answer = netlink.recv(_PIECE)
        position = 0
        while position + _HEADER.size <= len(answer):
            length, kind, *_ = _HEADER.unpack_from(answer, position)
            if kind == _DONE:
                return
            if kind == _ERROR:
                raise OSError("the kernel does not know what it was asked")
            yield answer[position + _HEADER.size : position + length]
            position += (length + 3) & ~3


def in_namespaces(pids: Iterable[int], ask: Callable[[], T | None]) -> dict[int, T]:
    """What ``ask`` gives in the network namespaces of some processes, which takes root; without None and what failed.

    A thread that ends afterwards goes into one after the other, so that this process stays where it is.
    """
    from threading import Thread

    found: dict[int, T] = {}

    def visit() -> None:
        from ctypes import CDLL  # costs milliseconds, which `letsbe echo` must not pay

        enter = CDLL(None, use_errno=True).setns
        for pid in pids:
            try:
                descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue  # it has just ended, or is another's
            try:
                answer = ask() if enter(descriptor, _NEW_NET) == 0 else None
            finally:
                os.close(descriptor)
            if answer is not None:
                found[pid] = answer

    visitor = Thread(target=visit, name="namespaces")
    visitor.start()
    visitor.join()
    return found
