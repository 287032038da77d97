"""The only side effects an executor has: files, processes, the Docker engine and the clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from letsbe.host.clock import Deadline, Progress
from letsbe.host.docker import Engine
from letsbe.host.files import Files
from letsbe.host.processes import Completed, Processes

if TYPE_CHECKING:
    from letsbe.host.probe_targets import ProbeTargets


class Host(Struct, kw_only=True):
    """The machine, as one run may touch it. In check mode reads pass and writes vanish."""

    files: Files
    processes: Processes
    engine: Engine
    deadline: Deadline
    progress: Progress
    #: Networks that may be probed beside this machine and its containers.
    probe_networks: tuple[str, ...] = ()

    @property
    def probe_targets(self) -> ProbeTargets:
        """Which hosts may be probed."""
        from letsbe.host.probe_targets import ProbeTargets

        return ProbeTargets(self.probe_networks, self.engine.addresses)

    def run(
        self,
        argv: Sequence[str],
        *,
        changes: bool = True,
        cwd: str | None = None,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        output_bytes: int = 65_536,
        descriptors: Sequence[int] = (),
        watch: Callable[[bytes], object] | None = None,
    ) -> Completed:
        """Run a program to its end within the deadline: see :meth:`Processes.run`."""
        return self.processes.run(
            argv,
            changes=changes,
            cwd=cwd,
            stdin=stdin,
            env=env,
            timeout_s=self.deadline.within(timeout_s),
            output_bytes=output_bytes,
            descriptors=descriptors,
            watch=watch,
        )
