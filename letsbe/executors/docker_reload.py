"""DOCKER_RELOAD: a stack brought to what its files and its registry say, or left serving what it served."""

from __future__ import annotations

from letsbe.errors import LetsbeError
from letsbe.executors.base import BaseExecutor, ExecutionResult
from letsbe.executors.reload_contract import Data, Payload
from letsbe.executors.reload_forecast import foreseen
from letsbe.executors.reload_run import ReloadRun
from letsbe.executors.reload_stack import ReloadStack
from letsbe.executors.reload_way_back import WayBack
from letsbe.executors.stack_source import StackSource
from letsbe.tools.compose_project import PROJECT_LABEL

#: What pulling and building may take, beyond the time for waiting, in seconds.
FETCH_S = 1800.0


class DockerReload(BaseExecutor[Payload, Data]):
    """Pull the images of a stack and bring it up; go back when it does not come up.

    Containers are recreated where their image or configuration changed, others are not touched. A service is up when it
    is healthy, or has run for stable_s seconds without a restart, or has ended with exit code 0 and is not to be
    restarted. If one is not within wait_timeout_s, the images that ran before are tagged back, files that the same run
    changed are put back, and the stack is brought up again.
    """

    type = "DOCKER_RELOAD"
    changes = True
    rerun_safe = True
    needs = ("docker",)
    example = {"stack": "{stack}", "pull": "never", "stable_s": 0}

    def locks(self, payload: Payload) -> set[str]:
        """The stack."""
        named = payload.stack
        # A directory is taken as it stands: an earlier step of a COMPOSITE may be what puts the compose file there.
        directory = named if named.startswith("/") else StackSource(self.context).find(named).directory
        return {f"stack:{self.host.files.canonical(directory)}"}

    def timeout_s(self, payload: Payload) -> float | None:
        """Room for pulling and building, and for the waiting asked for."""
        return FETCH_S + payload.wait_timeout_s

    def execute(self, payload: Payload) -> ExecutionResult[Data]:
        """Look, fetch, start, wait; go back on failure."""
        stack = ReloadStack(self.context, payload.stack, payload.services)
        if self.context.check:
            services, warnings = foreseen(self.context, stack, payload)
            data = Data(stack=stack.project, dir=stack.directory, services=services)
            changed = any(one.action != "none" for one in services)
            return ExecutionResult(data=data, changed=changed, warnings=warnings)
        run = ReloadRun(self.context, stack, payload)
        run.run()
        data = Data(
            stack=stack.project,
            dir=stack.directory,
            services=run.services,
            images_pulled=run.images,
            rolled_back=run.rolled_back,
            files_restored=run.files_restored,
            failed=run.failed,
            waited_s=round(run.waited_s, 1),
        )
        return ExecutionResult(data=data, changed=run.changed, error=run.error, warnings=run.warnings)

    def undo(self, payload: Payload, data: Data) -> list[str]:
        """Go back to the images that ran before; the files are what their snapshots hold by then."""
        if data.rolled_back or not (data.images_pulled or any(one.action != "none" for one in data.services)):
            return []
        try:
            stack = self._stack_between(payload, data)
        except LetsbeError as error:
            return [] if self._is_gone(data) else [error.message]
        return WayBack(self.context, stack, payload, data.services, data.images_pulled).go().problems

    def _stack_between(self, payload: Payload, data: Data) -> ReloadStack:
        """The stack as it is declared now; after a crash some of its files may be as before, and some not yet."""
        try:
            return ReloadStack(self.context, payload.stack, ())
        except LetsbeError:
            directory = self.host.files.canonical(data.dir)
            if not self.context.steps.put_files_back(lambda path: path.startswith(f"{directory}/")).restored:
                raise
        return ReloadStack(self.context, payload.stack, ())

    def _is_gone(self, data: Data) -> bool:
        """Whether a stack that was made by the run is there no more: an earlier way back was cut off at its end."""
        if any(one.before is not None for one in data.services):
            return False
        return not self.host.engine.containers(labels={PROJECT_LABEL: data.stack})
