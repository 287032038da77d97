"""What DOCKER_RELOAD takes and gives."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from letsbe.executors import base
from letsbe.tools.reload_state import ServiceChange

Name = Annotated[str, Meta(min_length=1, max_length=255)]


class Payload(base.Payload, frozen=True):
    """What DOCKER_RELOAD takes."""

    stack: Annotated[
        str,
        Meta(
            description="A project name, or the directory of a stack below an allowed root.",
            min_length=1,
            max_length=4095,
        ),
    ]
    services: Annotated[
        list[Name],
        Meta(description="Only these, with what they depend on; empty: all that are declared.", max_length=100),
    ] = []
    pull: Annotated[
        Literal["always", "missing", "never"],
        Meta(description="Ask the registry for each image, only for those that are not here, or not at all."),
    ] = "always"
    recreate: Annotated[
        Literal["auto", "always"],
        Meta(description="auto: containers whose image or configuration changed. always: all, each time."),
    ] = "auto"
    build: Annotated[bool, Meta(description="Build the images of services that have a `build:` first.")] = False
    remove_orphans: Annotated[
        bool, Meta(description="Remove containers of the project whose service is no longer declared.")
    ] = False
    wait: Annotated[bool, Meta(description="Wait until the services are up for good; a failure is rolled back.")] = True
    wait_timeout_s: Annotated[
        float, Meta(description="How long starting and waiting may take, in seconds.", gt=0, le=3600)
    ] = 180
    stable_s: Annotated[
        float,
        Meta(
            description="A container without a health check is up for good after running so long, in seconds,"
            " without a restart.",
            ge=0,
            le=600,
        ),
    ] = 10
    rollback: Annotated[
        bool,
        Meta(
            description="When it fails, go back to the images that ran, and to what the stack's files held before this"
            " run (a COMPOSITE may have changed them)."
        ),
    ] = True
    rollback_databases: Annotated[
        bool,
        Meta(
            description="Go back to an older MySQL, MariaDB, MongoDB or Redis too, though the newer one has had its"
            " files. Without it such a rollback is refused."
        ),
    ] = False


class ImageChange(Struct, frozen=True, kw_only=True):
    """A reference that means another image than before."""

    image: Annotated[str, Meta(description="The image as it is asked for.")]
    before: Annotated[str | None, Meta(description="The image's id before; null: it was not here.")]
    after: Annotated[str, Meta(description="The image's id now.")]


class Failure(Struct, frozen=True, kw_only=True):
    """A container that did not come up."""

    service: Annotated[str, Meta(description="Its service.")]
    container: Annotated[str | None, Meta(description="Its name; null: there is none.")]
    reason: Annotated[str, Meta(description="What was the matter when it was given up.")]
    log: Annotated[list[str], Meta(description="The end of its log, at most 30 lines, redacted.")] = []


class Data(base.Data):
    """What DOCKER_RELOAD gives."""

    stack: Annotated[str, Meta(description="The project's name.")]
    dir: Annotated[str, Meta(description="The stack's directory.")]
    services: Annotated[list[ServiceChange], Meta(description="Each container of the project, before and after.")]
    images_pulled: Annotated[
        list[ImageChange],
        Meta(description="Images that are others than before, pulled or built; those unchanged are not listed."),
    ] = []
    rolled_back: Annotated[bool, Meta(description="It failed, and the services run again as before.")] = False
    files_restored: Annotated[list[str], Meta(description="Files of the stack that the rollback put back.")] = []
    failed: Annotated[list[Failure], Meta(description="What did not come up, with the end of its log.")] = []
    waited_s: Annotated[float, Meta(description="How long the services took to be up for good, in seconds.")] = 0.0
