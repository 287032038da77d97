"""The orchestrator, as the agent speaks to it: JSON over HTTPS, see docs/protocol.md."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec
import requests
import requests.auth

from letsbe import __version__
from letsbe.agent.alarm import alarm
from letsbe.agent.config import OrchestratorConfig
from letsbe.decoding import decode
from letsbe.errors import DeadlineReached, LetsbeError
from letsbe.host.clock import Deadline
from letsbe.protocol import (
    PROBLEM_MEDIA_TYPE,
    ClaimResponse,
    PollRequest,
    PollResponse,
    Problem,
    RegisterRequest,
    RegisterResponse,
    epoch,
)

CONNECT_S = 10
#: How long the next bytes may take, in seconds.
READ_S = 30
#: How long a whole exchange may take, in seconds: some megabytes on a slow line, and an end before leases run out.
EXCHANGE_S = 180
MAX_ANSWER_BYTES = 64 * 1024 * 1024

#: Where distributions keep the system's CA certificates.
_CA_FILES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")

T = TypeVar("T")


class RefusedByOrchestrator(LetsbeError):  # noqa: N818 - reads as what happened
    """An answer that is no success: its HTTP status, problem document, and ``Retry-After`` in seconds.

    ``is_final``: the orchestrator's own word that it will never be otherwise, rather than that of something before it.
    ``is_general``: whatever would be asked next would get the same answer. After any other one, it has its chance.
    """

    def __init__(
        self, status: int, problem: Problem, retry_after_s: float | None, what: str, *, is_problem: bool
    ) -> None:
        words = problem.detail or problem.title or "no reason given"
        super().__init__("orchestrator_refused", f"{what}: HTTP {status}: {words}", hint=_HINTS.get(status, ""))
        self.http_status = status
        self.problem = problem
        self.retry_after_s = retry_after_s
        self.is_final = is_problem and 400 <= status < 500 and status not in _MAY_HEAL
        self.is_general = status in _GENERAL


#: 4xx answers that another try may heal: authentication, time-out, conflict in time, too many requests.
_MAY_HEAL = frozenset({401, 408, 425, 426, 429})

#: Answers that have nothing to do with what was asked.
_GENERAL = frozenset({401, 429, 502, 503, 504})

_HINTS = {
    401: "If it persists, compare the clocks, then enrol this machine anew.",
    403: "Make a new token with `letsbe-orchestrator enrol` and put it into the enrolment token file.",
    409: "`letsbe status` shows what is waiting.",
    426: "Upgrade letsbe on this machine.",
}


class _Bearer(requests.auth.AuthBase):
    """The agent's token, or nothing: set as the session's authentication so that ~/.netrc can't put another in."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Client:
    """One session with an orchestrator."""

    def __init__(self, config: OrchestratorConfig, url: str, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._session = requests.Session()
        self._ca_file = ca_file(config)
        self._session.headers["User-Agent"] = f"letsbe/{__version__}"
        self._session.auth = _Bearer(token)

    def register(self, request: RegisterRequest) -> RegisterResponse:
        """Make this agent known."""
        return self._call("POST", "/api/v1/agents/register", request, RegisterResponse)

    def poll(self, agent_id: str, request: PollRequest) -> PollResponse:
        """Heartbeat, lease renewal and question in one."""
        return self._call("POST", f"/api/v1/agents/{agent_id}/poll", request, PollResponse)

    def claim(self, task_id: str, attempt_id: str) -> ClaimResponse:
        """Take a task."""
        return self._call("POST", f"/api/v1/tasks/{task_id}/attempts/{attempt_id}/claim", None, ClaimResponse)

    def report(self, task_id: str, attempt_id: str, outcome: bytes) -> None:
        """Deliver an outcome: the very bytes, so that a repetition is recognised."""
        path = f"/api/v1/tasks/{task_id}/attempts/{attempt_id}/result"
        content = self._request("PUT", path, outcome)
        if content:  # the page of a portal or a load balancer is no receipt: what is acknowledged is never sent again
            self._decoded(path, content, Any)

    def _decoded(self, path: str, content: bytes, answer: type[T]) -> T:
        try:
            return decode(content, answer)
        except msgspec.DecodeError as error:
            raise LetsbeError(
                "orchestrator_answer_invalid",
                f"{self.url}{path}: not the answer that the protocol wants: {error}",
                hint="Is a proxy or another program answering there?",
            ) from error

    def _call(self, method: str, path: str, body: msgspec.Struct | None, answer: type[T]) -> T:
        content = self._request(method, path, b"" if body is None else msgspec.json.encode(body))
        return self._decoded(path, content, answer)

    def _request(self, method: str, path: str, body: bytes) -> bytes:
        url = f"{self.url}{path}"
        headers = {"Content-Type": "application/json", "Accept": "application/json, application/problem+json"}
        try:
            with self._session.request(
                method,
                url,
                data=body,
                headers=headers,
                timeout=(CONNECT_S, READ_S),
                verify=self._ca_file,  # here, since REQUESTS_CA_BUNDLE would override the session's
                allow_redirects=False,
                stream=True,
            ) as response:
                content = _read(response, url)
        except requests.RequestException as error:
            raise _unreachable(self.url, error) from error
        if 200 <= response.status_code < 300:
            return content
        raise RefusedByOrchestrator(
            response.status_code,
            _problem(content),
            _retry_after(response),
            f"{method} {path.rpartition('/')[2]}",
            is_problem=response.headers.get("Content-Type", "").startswith(PROBLEM_MEDIA_TYPE),
        )


@contextmanager
def exchange() -> Iterator[None]:
    """A block that speaks with an orchestrator and has an end in time; ``orchestrator_unreachable`` when it comes.

    ``READ_S`` alone is none: a proxy that lets a byte through now and then would keep the locks of a poll for ever.
    """
    try:
        with alarm(Deadline(EXCHANGE_S)):
            yield
    except DeadlineReached:
        raise LetsbeError(
            "orchestrator_unreachable",
            f"the exchange was not over after {EXCHANGE_S:g} s",
            hint="Is the line very slow, or a proxy holding answers back?",
        ) from None


def ca_file(config: OrchestratorConfig) -> str:
    """The CA certificates that count: the configured file, ``SSL_CERT_FILE``, or the system's."""
    if config.ca_file is not None:
        if not os.access(config.ca_file, os.R_OK):
            raise LetsbeError(
                "invalid_config",
                f"orchestrator.ca_file {config.ca_file} can't be read",
                hint="`letsbe-orchestrator init` prints where its ca.pem is; copy it to this machine.",
            )
        return config.ca_file
    for path in (os.environ.get("SSL_CERT_FILE"), *_CA_FILES):
        if path and os.access(path, os.R_OK):
            return path
    raise LetsbeError(
        "no_ca_certificates",
        "this machine has no CA certificates",
        hint="apt-get install ca-certificates, or set orchestrator.ca_file.",
    )


def _read(response: requests.Response, url: str) -> bytes:
    content = bytearray()
    for part in response.iter_content(65_536):
        content += part
        if len(content) > MAX_ANSWER_BYTES:
            raise LetsbeError("orchestrator_answer_invalid", f"{url}: more than {MAX_ANSWER_BYTES} bytes of answer")
    return bytes(content)


def _problem(content: bytes) -> Problem:
    try:
        return decode(content, Problem)
    except msgspec.DecodeError:
        return Problem(detail=content[:200].decode("utf-8", "replace").strip())


def _retry_after(response: requests.Response) -> float | None:
    """``Retry-After`` in seconds: a number, or an HTTP date (RFC 9110, 10.2.3)."""
    value = response.headers.get("Retry-After")
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    import time
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _unreachable(url: str, error: Exception) -> LetsbeError:
    text = _innermost(error)
    if isinstance(error, requests.exceptions.SSLError):
        return LetsbeError(
            "orchestrator_certificate",
            f"{url}: its certificate is not trusted: {text}",
            hint="Set orchestrator.ca_file to the CA that signed it (the orchestrator's ca.pem), or mend the url.",
        )
    return LetsbeError(
        "orchestrator_unreachable",
        f"{url}: {text}",
        hint="Is the orchestrator running, and the port open? `letsbe doctor` looks further.",
    )


def _innermost(error: BaseException) -> str:
    """The reason at the bottom of requests' nested exceptions, without object addresses."""
    reason: Any = error
    while True:
        inner = getattr(reason, "reason", None) or next((a for a in reason.args if isinstance(a, Exception)), None)
        if not isinstance(inner, BaseException) or inner is reason:
            break
        reason = inner
    text = getattr(reason, "strerror", None) or str(reason)
    return str(text).rpartition("): ")[2]


def server_clock(server_time: str) -> float:
    """Seconds since the epoch of an answer's ``server_time``."""
    try:
        return epoch(server_time)
    except ValueError as error:
        raise LetsbeError("orchestrator_answer_invalid", f"server_time {server_time!r} is no instant") from error
