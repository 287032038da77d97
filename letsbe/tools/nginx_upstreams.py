"""Where an nginx sends requests to by names that it looks up once, when it loads its configuration.

https://nginx.org/en/docs/http/ngx_http_upstream_module.html and the modules of the directives below say what is looked
up when: an argument with variables is looked up anew, by the ``resolver``, and so is a server with ``resolve``.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

from msgspec import Struct

from letsbe.tools.nginx_files import Directive

#: Where nginx's configuration is when its command line does not say so: Debian and nginx's own images, OpenResty, and
#: what is built from source.
MAIN_FILES = (
    "/etc/nginx/nginx.conf",
    "/usr/local/openresty/nginx/conf/nginx.conf",
    "/usr/local/nginx/conf/nginx.conf",
)
_PASSES = {"proxy_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass", "memcached_pass"}
_DEFAULT_PORTS = {"http": 80, "https": 443, "grpc": 80, "grpcs": 443}


class Upstream(Struct, frozen=True, kw_only=True):
    """A host that is looked up once, and where the configuration names it first."""

    #: A name in lower case, or an address; IPv6 without brackets.
    host: str
    #: 0: none is named, and there is none that goes without saying.
    port: int
    file: str
    line: int

    @property
    def shown(self) -> str:
        """The host with its port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else host


class Upstreams(Struct, frozen=True, kw_only=True):
    """What a configuration looks up."""

    once: list[Upstream]
    #: Something is looked up anew for a request: what it comes to, the configuration does not say.
    others: bool


def main_files(command: Iterable[str]) -> list[str]:
    """Where the main file of an nginx that was started like this may be, absolute paths, the likeliest first."""
    given = _options(command)
    prefix = given.get("-p", "")
    if "-c" in given:
        prefixes = [prefix] if prefix else [posixpath.dirname(MAIN_FILES[0])]
        found = [posixpath.join(one, given["-c"]) for one in prefixes]
    else:
        found = [posixpath.join(prefix, "conf/nginx.conf")] if prefix else []
        found += MAIN_FILES
    return [posixpath.normpath(one) for one in found if one.startswith("/")]


def reload_words(command: Iterable[str]) -> list[str]:
    """How the same nginx is told to reload: the program, its file and prefix, ``-s reload``."""
    words = list(command)
    own = [word for option, value in _options(words).items() for word in (option, value)]
    return [words[0] if words else "nginx", *own, "-s", "reload"]


def _options(command: Iterable[str]) -> dict[str, str]:
    """The values of ``-c`` and ``-p``, which may be written together with them."""
    found: dict[str, str] = {}
    words = iter(command)
    for word in words:
        option, value = word[:2], word[2:]
        if option in ("-c", "-p"):
            found[option] = value or next(words, "")
    return found


def upstreams(directives: list[Directive]) -> Upstreams:
    """Each host and port once, in the order of the configuration."""
    everything = list(_all(directives))
    groups = {one.args[0].lower() for one in everything if one.name == "upstream" and one.args}
    found: dict[tuple[str, int], Upstream] = {}
    others = False
    for one in everything:
        if one.name == "upstream":
            servers = [inner for inner in one.block if inner.name == "server" and inner.args]
            others |= any("resolve" in inner.args[1:] for inner in servers)
            named = [(one, one.args[0], 80) for one in servers if not {"resolve", "down"}.intersection(one.args[1:])]
        elif one.name in _PASSES and one.args:
            others |= "$" in one.args[0]
            named = [] if "$" in one.args[0] else [(one, *_target(one.args[0]))]
        else:
            continue
        for directive, address, default in named:
            host, port = _host_and_port(address, default)
            if host and not (one.name in _PASSES and host in groups):
                place = Upstream(host=host, port=port, file=directive.file, line=directive.line)
                found.setdefault((host, port), place)
    return Upstreams(once=list(found.values()), others=others)


def _all(directives: list[Directive]) -> Iterator[Directive]:
    for one in directives:
        yield one
        yield from _all(one.block)


def _target(argument: str) -> tuple[str, int]:
    """The address in what a ``*_pass`` says, and the port that goes without saying."""
    scheme, separator, rest = argument.partition("://")
    if not separator:
        return argument, 0
    return (rest if rest.startswith("unix:") else rest.partition("/")[0]), _DEFAULT_PORTS.get(scheme.lower(), 0)


def _host_and_port(address: str, default: int) -> tuple[str, int]:
    """Without a host for a socket in the file system."""
    if address.startswith("unix:"):
        return "", 0
    if address.startswith("["):
        host, _, rest = address[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = address.partition(":")
    port = port.partition("/")[0]
    return host.lower(), int(port) if port.isdecimal() else default
