"""Checks of the way to the orchestrator, one step after the other: name, port, TLS, certificate, protocol, clock."""

from __future__ import annotations

import socket
import ssl
import time
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import SplitResult, urlsplit

from letsbe import __version__
from letsbe.agent import identity
from letsbe.agent.checkup.finding import Finding, fail, ok, warn
from letsbe.agent.client import ca_file
from letsbe.agent.config import Config
from letsbe.errors import LetsbeError
from letsbe.protocol import PROBLEM_MEDIA_TYPE, new_id

_CONNECT_S = 2.0
_ANSWER_S = 2.5
_EXPIRES_SOON_DAYS = 14
_SKEW_S = 60.0


def orchestrator(config: Config) -> list[Finding]:
    """Every step as far as it goes; the first that fails ends it."""
    url = config.orchestrator.url
    if url is None:
        return [warn("orchestrator", "none is set: local use only", "Set orchestrator.url in the configuration.")]
    parts = urlsplit(url)
    connection = _connection(config, parts)
    try:
        connection.connect()
    except (OSError, HTTPException) as error:
        return [_unreachable(parts, connection, error)]
    try:
        findings = [ok("orchestrator", f"{url} takes connections")]
        if isinstance(connection.sock, ssl.SSLSocket):
            findings.append(_certificate(connection.sock, parts))
        return [*findings, *_protocol(config, connection)]
    except (OSError, HTTPException) as error:
        hint = "Is a proxy or another program answering there?"
        return [*findings, fail("protocol", f"{url} does not answer: {error or type(error).__name__}", hint)]
    finally:
        connection.close()


def _connection(config: Config, parts: SplitResult) -> HTTPConnection:
    """A connection, through the proxy that polls would take from the same environment."""
    host, port = parts.hostname or "", parts.port
    proxy = _proxy(parts)
    first = (proxy.hostname or "", proxy.port or 3128) if proxy else (host, port)
    if parts.scheme == "http":
        return HTTPConnection(*first, timeout=_CONNECT_S)
    context = ssl.create_default_context(cafile=ca_file(config.orchestrator))
    connection = HTTPSConnection(*first, timeout=_CONNECT_S, context=context)
    if proxy:
        connection.set_tunnel(host, port or 443)
    return connection


def _proxy(parts: SplitResult) -> SplitResult | None:
    from urllib.request import getproxies, proxy_bypass

    proxy = getproxies().get(parts.scheme)
    if parts.scheme == "http" or not proxy or proxy_bypass(parts.hostname or ""):
        return None
    return urlsplit(proxy if "//" in proxy else f"//{proxy}")


def _unreachable(parts: SplitResult, connection: HTTPConnection, error: Exception) -> Finding:
    where = f"{connection.host}:{connection.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = "Set orchestrator.ca_file to the CA that signed it (the orchestrator's ca.pem), or mend the url."
        return fail("certificate", f"not trusted for {parts.hostname}: {error.verify_message}", hint)
    if isinstance(error, ssl.SSLError):
        hint = "Is it an https port, and does nothing on the way take TLS apart?"
        return fail("certificate", f"no TLS with {where}: {error.reason or error}", hint)
    if isinstance(error, socket.gaierror):
        return fail("orchestrator", f"{connection.host} has no address: {error.strerror}", "Mend the url, or DNS.")
    if isinstance(error, TimeoutError):
        return fail("orchestrator", f"{where} does not answer", "A firewall on the way, or the machine is down?")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return fail("orchestrator", f"{where}: {reason}", "Is the orchestrator running, and is this its port?")


def _certificate(opened: ssl.SSLSocket, parts: SplitResult) -> Finding:
    expires = str((opened.getpeercert() or {})["notAfter"])
    days = (ssl.cert_time_to_seconds(expires) - time.time()) / 86_400
    observed = f"{opened.version()}, trusted for {parts.hostname}, {days:.0f} days left"
    if days < _EXPIRES_SOON_DAYS:
        return warn("certificate", observed, "Renew the orchestrator's certificate.")
    return ok("certificate", observed)


def _protocol(config: Config, connection: HTTPConnection) -> list[Finding]:
    """Ask for a task that does not exist: changes nothing there, and shows whether the token is known."""
    try:
        me = identity.load(config.state_dir)
    except LetsbeError:
        me = None  # told by the check of the identity
    token = None if me is None else me.agent_token
    headers = {"Content-Type": "application/json", "User-Agent": f"letsbe/{__version__}"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    if connection.sock is not None:
        connection.sock.settimeout(_ANSWER_S)
    base = urlsplit(config.orchestrator.url or "").path.rstrip("/")
    connection.request("POST", f"{base}/api/v1/tasks/{new_id()}/attempts/{new_id()}/claim", b"", headers)
    response = connection.getresponse()
    response.read(65_536)
    clock = _clock(response)
    return [_answer(response, enrolled=token is not None), *([clock] if clock else [])]


def _answer(response: HTTPResponse, *, enrolled: bool) -> Finding:
    kind = (response.headers.get("Content-Type") or "nothing").partition(";")[0]
    if kind != PROBLEM_MEDIA_TYPE:
        hint = "Is a proxy or another program answering there?"
        return fail("protocol", f"answers HTTP {response.status} with {kind}, as no orchestrator does", hint)
    if response.status in (404, 409, 410) and enrolled:
        return ok("protocol", "the orchestrator knows this agent")
    if response.status == 401 and not enrolled:
        return ok("protocol", "an orchestrator answers")
    if response.status == 401:
        hint = "Compare the clocks. Was the agent removed there? Then enrol this machine anew."
        return fail("protocol", "the orchestrator does not take this agent's token", hint)
    if response.status == 426:
        return fail("protocol", "the orchestrator wants a newer agent", "Upgrade letsbe on this machine.")
    hint = "Its own log says why; polls come back by themselves."
    return warn("protocol", f"the orchestrator answers HTTP {response.status}", hint)


def _clock(response: HTTPResponse) -> Finding | None:
    """The ``Date`` header, against this machine's clock: expiry is judged by the orchestrator's."""
    from email.utils import parsedate_to_datetime

    try:
        skew = parsedate_to_datetime(response.headers["Date"] or "").timestamp() - time.time()
    except (TypeError, ValueError):
        return None
    if abs(skew) > _SKEW_S:
        hint = "Set the clock (timedatectl set-ntp true); find out first which of the two is wrong."
        return warn("clock", f"{abs(skew):.0f} s {'behind' if skew > 0 else 'ahead of'} the orchestrator's", hint)
    return ok("clock", f"within {_SKEW_S:.0f} s of the orchestrator's")
