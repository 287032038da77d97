"""Locks named after the resource that a run needs, so that a hand-run command and a poll never collide.

``flock(2)`` on files below the state directory: the kernel frees them whatever kills the holder, and they are never
inherited, since Python opens files close-on-exec. The file says who holds it. (The filelock package does the same at
the price of importing asyncio, a third of an idle poll's start.)
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import msgspec
from msgspec import Struct

from letsbe.agent.durable import usable
from letsbe.decoding import decode
from letsbe.errors import LetsbeError
from letsbe.protocol import instant

_RETRY_S = 0.05
#: Bytes of a lock's name that its file's name has room for; of a longer one the beginning stands there, and its hash.
_NAME_MAX = 200


class Holder(Struct, frozen=True, kw_only=True):
    """Who holds a lock."""

    pid: int
    type: str
    task_id: str | None = None
    since: str = ""


class Locks:
    """The lock files of one state directory."""

    def __init__(self, state_dir: str) -> None:
        self.directory = os.path.join(state_dir, "locks")

    @contextmanager
    def hold(self, names: set[str], holder: Holder, wait_s: float = 0.0) -> Iterator[None]:
        """Hold all the named locks; ``busy``, naming the holder, when one isn't free within ``wait_s`` seconds.

        They are taken in the order of their names, so that two runs that want the same ones can't block each other.
        """
        with usable(self.directory):
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
        until = time.monotonic() + wait_s
        with ExitStack() as stack:
            for name in sorted(names):
                descriptor = self._acquire(name, until)
                stack.callback(os.close, descriptor)
                with suppress(OSError):  # a full disk: held it is, and who holds it is only for people
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, msgspec.json.encode(holder), 0)
            yield

    def holder(self, name: str) -> Holder | None:
        """Who holds a lock now, None when it is free."""
        try:
            descriptor = os.open(self._path(name), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read_holder(descriptor)
        finally:
            os.close(descriptor)
        return None

    def sweep(self, older_than_s: float = 7 * 86_400) -> None:
        """Remove lock files that nobody has held for a while."""
        try:
            names = os.listdir(self.directory)
        except FileNotFoundError:
            return
        for name in names:
            path = os.path.join(self.directory, name)
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - os.fstat(descriptor).st_mtime > older_than_s:
                    os.unlink(path)
            except (BlockingIOError, FileNotFoundError):
                continue
            finally:
                os.close(descriptor)

    def _acquire(self, name: str, until: float) -> int:
        path = self._path(name)
        while True:
            with usable(path):
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _read_holder(descriptor)
                os.close(descriptor)
                if time.monotonic() >= until:
                    raise _busy(name, holder) from None
                time.sleep(_RETRY_S)
                continue
            if _still_there(path, descriptor):
                return descriptor
            os.close(descriptor)  # swept between open and lock: the next one to come would not see this lock

    def _path(self, name: str) -> str:
        quoted = name.replace("%", "%25").replace("/", "%2F")
        if len(encoded := os.fsencode(quoted)) > _NAME_MAX:
            from hashlib import sha256

            quoted = f"{encoded[:60].decode(errors='ignore')}-{sha256(os.fsencode(name)).hexdigest()}"
        return os.path.join(self.directory, quoted)


def _still_there(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _read_holder(descriptor: int) -> Holder | None:
    try:
        return decode(os.pread(descriptor, 4096, 0), Holder)
    except msgspec.DecodeError:
        return None  # taken a moment ago, not yet signed


def _busy(name: str, holder: Holder | None) -> LetsbeError:
    if holder is None:
        who, details = "another run", {}
    else:
        task = f", task {holder.task_id}" if holder.task_id else ""
        who = f"{holder.type} (pid {holder.pid}{task}, since {holder.since})"
        details = msgspec.to_builtins(holder)
    return LetsbeError(
        "busy",
        f"{name} is held by {who}",
        hint="Wait for it with --lock-wait SECONDS.",
        details={"resource": name, "holder": details},
    )


def holder_now(task_type: str, task_id: str | None) -> Holder:
    """This process as a holder."""
    return Holder(pid=os.getpid(), type=task_type, task_id=task_id, since=instant(time.time()))
