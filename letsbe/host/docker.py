"""The Docker engine, asked through its API; https://docs.docker.com/reference/api/engine/ says what it answers.

The docker package is used below its objects: its own ``containers.list()`` inspects one container after the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from letsbe.errors import LetsbeError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from docker.api.client import APIClient

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
#: What the engine may take for an answer, or between two pieces of one, in seconds.
ANSWER_S = 10.0
#: Questions asked at once.
PARALLEL = 8
_PIECE = 256 * 1024

_START = "Is it running? `systemctl start docker`, or look in `journalctl -u docker`."
_GROUP = "Run as root, or add the agent's user to the docker group: `usermod -aG docker USER`."

Json = dict[str, Any]


class LogStream(Struct):
    """The log of a container as the engine sends it: raw with a terminal, else in frames."""

    tty: bool
    chunks: Iterator[bytes]
    close: Callable[[], None]


class Engine:
    """The engine at ``DOCKER_HOST``, as for the compose program, else behind the usual socket; asked on first use.

    Every method raises ``docker_unavailable`` when there is no engine or no right to ask it, ``docker_timeout`` when it
    does not answer within ``answer_s`` seconds, ``docker_error`` when it refuses.
    """

    def __init__(self, address: str | None = None, *, answer_s: float = ANSWER_S) -> None:
        self.address = address or engine_address()
        self._answer_s = answer_s
        self._connected: APIClient | None = None

    @property
    def is_local(self) -> bool:
        """Whether it is this machine's, so that its processes and ports are to be found here."""
        return self.address.startswith("unix://")

    def info(self) -> Json:
        """``DockerRootDir`` and much more."""
        found: Json = self._json("/info")
        return found

    def version(self) -> Json:
        """``Version``, ``ApiVersion``, ``Os`` and more of the engine."""
        found: Json = self._json("/version")
        return found

    def containers(self, *, all: bool = True, labels: Mapping[str, str] | None = None) -> list[Json]:
        """Containers in the short form of ``/containers/json``, in one question; ``all``: stopped ones too."""
        filters = {"label": [f"{key}={value}" if value else key for key, value in (labels or {}).items()]}
        found: list[Json] = self._json("/containers/json", all=int(all), filters=_compact(filters))
        return found

    def addresses(self) -> set[str]:
        """The addresses of the running containers; none when there is no engine to ask."""
        try:
            running = self.containers(all=False)
        except LetsbeError:
            return set()
        networks = [
            net for one in running for net in ((one.get("NetworkSettings") or {}).get("Networks") or {}).values()
        ]
        return {net.get(key) for net in networks if net for key in ("IPAddress", "GlobalIPv6Address")} - {None, ""}

    def inspect(self, ids: Iterable[str]) -> list[Json]:
        """Containers in full, in the order of ``ids``; those that are gone meanwhile are left out."""
        return [one for one in self._each("/containers/{}/json", ids) if one is not None]

    def images(self, ids: Iterable[str]) -> dict[str, Json]:
        """Images by what they were asked for (id or reference); those that are not there are left out."""
        wanted = list(dict.fromkeys(ids))
        found = zip(wanted, self._each("/images/{}/json", wanted), strict=True)
        return {name: image for name, image in found if image is not None}

    def volumes(self) -> list[Json]:
        """The volumes."""
        return self._json("/volumes").get("Volumes") or []

    def networks(self) -> list[Json]:
        """The networks, in the short form of ``/networks``."""
        found: list[Json] = self._json("/networks")
        return found

    def logs(self, container: str, *, tty: bool, **options: Any) -> LogStream:
        """The log of a container, with options of ``/containers/{id}/logs`` (since, until, tail, follow, ...).

        ``tty`` is its Config.Tty: the engine does not say which form it sends. While it follows, the engine may be
        silent for as long as it likes; ``close`` from another thread ends the waiting.
        """
        client = self._client()
        params = {"stdout": 1, "stderr": 1, "timestamps": 1, **options}
        limits = (self._answer_s, None if params.get("follow") else self._answer_s)
        with self._told():
            response = client.get(
                self._url(f"/containers/{_quoted(container)}/logs"), params=params, stream=True, timeout=limits
            )
            if not response.ok:
                raise _refused(response.status_code, response.content)

        def chunks() -> Iterator[bytes]:
            try:
                with self._told():
                    # One message is one piece of the answer. To wait until many have come is faster by far, but who
                    # follows wants each at once.
                    read = response.raw.read1 if params.get("follow") else response.raw.read
                    while piece := read(_PIECE):
                        yield piece
            finally:
                response.close()

        return LogStream(tty=tty, chunks=chunks(), close=lambda: _hang_up(response))

    def archive(self, container: str, path: str, *, most_bytes: int) -> bytes | None:
        """A tar of a file, or with ``/.`` at its end of a directory, in a container as it is; None: not there.

        What is mounted is in it. ``archive_too_large`` when it has more than ``most_bytes``.
        """
        client = self._client()
        asked = {"url": self._url(f"/containers/{_quoted(container)}/archive"), "params": {"path": path}}
        plain = {"Accept-Encoding": "identity"}  # so that the bytes that come are those that count
        with self._told(), client.get(**asked, headers=plain, stream=True, timeout=self._answer_s) as response:
            content = bytes(response.raw.read(most_bytes + 1))
        if response.status_code == 404:
            return None
        if not response.ok:
            raise _refused(response.status_code, content)
        if len(content) > most_bytes:
            raise LetsbeError(
                "archive_too_large", f"{path} has more than {most_bytes} bytes", hint="Move what is large elsewhere."
            )
        return content

    def _each(self, path: str, names: Iterable[str]) -> list[Json | None]:
        """The answer for each name, None where there is none; asked side by side."""
        paths = [path.format(_quoted(name)) for name in names]
        if len(paths) < 2:
            return [self._there(one) for one in paths]
        from concurrent.futures import ThreadPoolExecutor

        self._client()  # connects before the threads would all do so
        pool = ThreadPoolExecutor(min(PARALLEL, len(paths)), "engine")
        try:
            asked: list[Future[Json | None]] = [pool.submit(self._there, one) for one in paths]
            return [one.result() for one in asked]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _there(self, path: str) -> Json | None:
        try:
            found: Json = self._json(path)
        except LetsbeError as error:
            if error.details.get("status") == 404:
                return None
            raise
        return found

    def _json(self, path: str, **params: Any) -> Any:
        client = self._client()
        with self._told():
            response = client.get(self._url(path), params=params, timeout=self._answer_s)
            content = response.content
        if not response.ok:
            raise _refused(response.status_code, content)
        try:
            return msgspec.json.decode(content)
        except msgspec.DecodeError:
            raise LetsbeError(
                "docker_error", f"what answers at {self.address} is no Docker engine", hint="Check DOCKER_HOST."
            ) from None

    def _url(self, path: str) -> str:
        client = self._client()
        return f"{client.base_url}/v{client.api_version}{path}"

    def _client(self) -> APIClient:
        if self._connected is None:
            if not self.address.startswith(("unix://", "tcp://", "http://")):
                raise LetsbeError(
                    "docker_unavailable",
                    f"DOCKER_HOST {self.address!r} is neither a socket nor a port",
                    hint="Write unix:///var/run/docker.sock or tcp://HOST:PORT, or unset it.",
                )
            from docker.api.client import APIClient

            with self._told():
                client = APIClient(
                    base_url=self.address, version="auto", timeout=self._answer_s, max_pool_size=PARALLEL
                )
            client.trust_env = False  # no proxy stands before a socket
            self._connected = client
        return self._connected

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what can happen on the way to the engine into errors that name the address."""
        from docker.errors import DockerException
        from requests.exceptions import RequestException
        from urllib3.exceptions import HTTPError

        try:
            yield
        except (DockerException, RequestException, HTTPError, OSError, ValueError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: BaseException) -> LetsbeError:
        causes = list(_causes(error))
        if any(isinstance(cause, TimeoutError) for cause in causes) or "timed out" in str(error):
            return LetsbeError(
                "docker_timeout",
                f"the Docker engine at {self.address} gave no answer within {self._answer_s:g} s",
                hint="It hangs or is overloaded: look in `journalctl -u docker`, then restart it.",
            )
        return not_answering(self.address, *causes)


def engine_address() -> str:
    """Where the engine is, as for the compose program."""
    return os.environ.get("DOCKER_HOST") or DEFAULT_ADDRESS


def not_answering(address: str, *causes: BaseException) -> LetsbeError:
    """``docker_unavailable``, from what happened on the way to the engine, the outermost first."""
    if any(isinstance(cause, PermissionError) for cause in causes):
        return LetsbeError("docker_unavailable", f"no permission to ask the Docker engine at {address}", hint=_GROUP)
    system = next((cause for cause in causes if isinstance(cause, OSError) and cause.strerror), None)
    reason = system.strerror if system is not None else str(causes[0])[:200]
    return LetsbeError("docker_unavailable", f"no Docker engine answers at {address}: {reason}", hint=_START)


def _refused(status: int, content: bytes) -> LetsbeError:
    try:
        message = str(msgspec.json.decode(content)["message"])
    except (msgspec.DecodeError, TypeError, KeyError):
        message = content.decode("utf-8", "replace").strip()
    return LetsbeError(
        "docker_error",
        f"the Docker engine refused ({status}): {message[:1000]}",
        hint="The engine's words say what was wrong.",
        details={"status": status},
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and what it was raised from or wraps, as requests and urllib3 nest them."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
        waiting += [other for other in inner if isinstance(other, BaseException)]


def _hang_up(response: Any) -> None:
    """End a stream that another thread may be waiting on; that thread closes it."""
    import socket
    from contextlib import suppress

    with suppress(OSError, AttributeError):  # it has ended already
        response.raw.connection.sock.shutdown(socket.SHUT_RDWR)


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="/:@")


def _compact(filters: Mapping[str, list[str]]) -> str:
    return msgspec.json.encode({key: values for key, values in filters.items() if values}).decode()
