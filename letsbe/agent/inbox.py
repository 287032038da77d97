"""Tasks between their receipt and their end: ``<state_dir>/inbox/<task id>``, mode 0600.

The payload of a task may hold secrets, so it is kept here, and only until the task is finished, rather than in the
journal.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

import msgspec

from letsbe.agent.durable import remove, usable, write_private
from letsbe.agent.log import logger
from letsbe.agent.trust import Believed
from letsbe.decoding import decode


class Inbox:
    """The inbox of one state directory."""

    def __init__(self, state_dir: str) -> None:
        self._directory = os.path.join(state_dir, "inbox")

    def put(self, believed: Believed) -> None:
        """Keep a task; on disk when it returns."""
        write_private(self._path(believed.task.task_id), msgspec.json.encode(believed))

    def get(self, task_id: str) -> Believed | None:
        """A task that is kept; None when it is not there, or no task to this version of the agent.

        Raises ``state_unusable`` when that can't be told.
        """
        path = self._path(task_id)
        try:
            with usable(path), suppress(FileNotFoundError), open(path, "rb") as file:
                return decode(file.read(), Believed)
        except msgspec.DecodeError as error:
            logger().error("task in the inbox can't be read", path=path, reason=str(error))
        return None

    def drop(self, task_id: str) -> None:
        """The task is finished."""
        remove(self._path(task_id))

    def task_ids(self, *, older_than_s: float) -> list[str]:
        """The tasks that have been kept for longer than that."""
        before = time.time() - older_than_s
        try:
            with os.scandir(self._directory) as entries:
                return [
                    entry.name
                    for entry in entries
                    if not entry.name.endswith(".tmp") and entry.stat().st_mtime < before
                ]
        except FileNotFoundError:
            return []

    def _path(self, task_id: str) -> str:
        return os.path.join(self._directory, task_id)
