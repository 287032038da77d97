"""The configuration of an nginx in a container, read from outside."""

from __future__ import annotations

import posixpath

from letsbe.errors import LetsbeError
from letsbe.executors.side_by_side import side_by_side
from letsbe.host.container_files import MAX_BYTES, ContainerFiles, read_directory, read_file
from letsbe.host.docker import PARALLEL, Engine
from letsbe.host.nginx_masters import NginxMaster
from letsbe.tools.nginx_files import Loaded, Tree, load
from letsbe.tools.nginx_upstreams import main_files

#: How often what is missing may be fetched: includes lead to includes, and links to files.
MAX_ROUNDS = 8
#: How many files and directories may lie elsewhere than beside the main file.
MAX_FETCHED = 64


_UNREADABLE = ("archive_too_large", "archive_invalid", "docker_error")


class ContainerNginx:
    """Reads for one nginx; each path is asked for once."""

    def __init__(self, engine: Engine, master: NginxMaster) -> None:
        self._engine, self._master = engine, master
        self._tree = Tree()
        self._errors: list[str] = []
        self._bytes = 0

    def load(self) -> Loaded:
        """The configuration as its files are now, with what could not be read in ``errors``.

        Raises ``docker_unavailable`` and ``docker_timeout``.
        """
        main = self._main_file()
        if main is None:
            return Loaded(errors=[*self._errors, "no configuration file found"])
        fetched: set[str] = set()
        for _ in range(MAX_ROUNDS):
            loaded = load(self._tree, main)
            wanted = sorted(loaded.missing - fetched)[: MAX_FETCHED - len(fetched)]
            if not wanted:
                break
            fetched.update(wanted)
            for path, found in zip(wanted, side_by_side(self._fetched, wanted, PARALLEL), strict=True):
                self._tree.add(path.removesuffix("/."), found.files, found.links)
        loaded.errors += [*self._errors, *(f"{path} is one too many" for path in sorted(loaded.missing))]
        return loaded

    def _main_file(self) -> str | None:
        """The first that is there; what lies beside it is fetched with it, since most includes do."""
        for path in main_files(self._master.command):
            directory = posixpath.dirname(path)
            if directory != "/" and not self._tree.knows(directory):
                beside = self._fetched(f"{directory}/.")
                self._errors.clear()  # then file by file
                if beside.files or beside.links:
                    self._tree.add(directory, beside.files, beside.links)
            if not self._tree.knows(path):
                alone = self._fetched(path)
                self._tree.add(path, alone.files, alone.links)
            if path in self._tree.files or path in self._tree.links:
                return path
        return None

    def _fetched(self, path: str) -> ContainerFiles:
        if self._bytes > MAX_BYTES:
            self._errors.append(f"{path} is one too many")
            return ContainerFiles({}, {})
        read = read_directory if path.endswith("/.") else read_file
        try:
            found = read(self._engine, self._master.container_id, path.removesuffix("/."))
        except LetsbeError as error:
            if error.code not in _UNREADABLE:
                raise
            self._errors.append(error.message)
            return ContainerFiles({}, {})
        self._bytes += sum(map(len, found.files.values()))
        return found
