"""Files in containers, read through the engine."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from pytest_mock import MockerFixture

from letsbe.errors import LetsbeError
from letsbe.host import container_files
from letsbe.host.container_files import read_directory, read_file
from letsbe.host.docker import Engine
from tests.engine import docker

MAKE = """
mkdir -p /made/below /elsewhere; cd /made
echo one >file; ln file below/hard; ln -s ../elsewhere link; ln -s gone below/dangling; mkfifo pipe
echo two >/elsewhere/two; ln -s /made/below /into; exec sleep 1000
"""


@pytest.fixture(scope="module")
def container(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    name = f"lt-files-{uuid.uuid4().hex[:8]}"
    bound = tmp_path_factory.mktemp("bound")
    (bound / "mounted").write_bytes(b"from the host\xff")
    docker("run", "-d", "--name", name, "-v", f"{bound}:/made/bound:ro", engine, "sh", "-c", MAKE)
    while "two" not in docker("exec", name, "ls", "/elsewhere", check=False):
        pass
    yield name
    docker("rm", "-f", name)


def test_a_directory_is_read_with_what_is_mounted_in_it(container: str) -> None:
    found = read_directory(Engine(), container, "/made")
    assert found.files == {
        "/made/file": b"one\n",
        "/made/below/hard": b"one\n",
        "/made/bound/mounted": b"from the host\xff",
    }
    assert found.links == {"/made/link": "../elsewhere", "/made/below/dangling": "gone"}


def test_links_on_the_way_are_followed_in_the_container(container: str) -> None:
    assert read_directory(Engine(), container, "/made/link").files == {"/made/link/two": b"two\n"}
    assert read_file(Engine(), container, "/into/hard").files == {"/into/hard": b"one\n"}
    assert read_file(Engine(), container, "/made/link").links == {"/made/link": "../elsewhere"}


def test_what_is_not_there_is_nothing(container: str) -> None:
    for read, path in ((read_file, "/made/gone"), (read_directory, "/gone"), (read_file, "/gone/file")):
        found = read(Engine(), container, path)
        assert (found.files, found.links) == ({}, {})


@pytest.mark.parametrize(("limit", "most"), [("MAX_BYTES", 4096), ("MAX_ENTRIES", 4)])
def test_there_are_bounds(container: str, limit: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_files, limit, most)
    with pytest.raises(LetsbeError, match=f"/made.*has more than {most}") as raised:
        read_directory(Engine(), container, "/made")
    assert raised.value.code == "archive_too_large"
    assert read_file(Engine(), container, "/made/file").files == {"/made/file": b"one\n"}


def test_an_engine_that_sends_no_tar(container: str, mocker: MockerFixture) -> None:
    mocker.patch.object(Engine, "archive", return_value=b"no tar" * 1000)
    with pytest.raises(LetsbeError) as raised:
        read_file(Engine(), container, "/made/file")
    assert raised.value.code == "archive_invalid"
