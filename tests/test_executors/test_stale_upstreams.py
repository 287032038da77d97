"""STACK_HEALTH finds an nginx that sends to addresses which containers had before; on the real engine, with traffic."""

from __future__ import annotations

import io
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture
from rich.console import Console

from letsbe.cli.draw_stack_health import draw
from letsbe.host.docker import Engine
from letsbe.host.nginx_masters import NginxMaster, nginx_masters
from letsbe.tools.stale_upstreams import SLACK_S
from tests import nginx
from tests.agents import Agent, tree
from tests.engine import Stack, docker, running

#: A network of its own for each run: others test on this engine too.
SUBNET = f"10.{random.randrange(50, 100)}.{random.randrange(250)}"
NOBODY = f"{SUBNET}.77"
COMPOSE = """
x-base: &base {{image: "{busybox}", stop_grace_period: 0s}}
services:
  proxy:
    image: "{image}"
    stop_grace_period: 0s
    depends_on: [app, front]
    volumes: ["./nginx:/etc/nginx:ro", "./own:/own:ro", "./sites:/srv/sites:ro"]
    {proxy}
  app:
    <<: *base
    command: [httpd, -f, -p, "9000", -h, /www]
    volumes: ["./www:/www:ro"]
  front: *base
networks: {{default: {{ipam: {{config: [{{subnet: "{subnet}.0/24"}}]}}}}}}
"""


def location(upstream: str) -> str:
    return f"server {{ listen 80; location / {{ proxy_connect_timeout 1s; proxy_pass http://{upstream}; }} }}"


FILES = {
    "nginx/nginx.conf": nginx.configuration("include conf.d/*.conf;"),
    "nginx/conf.d/app.conf": f"# the shop\n{location('app:9000/')}\n",
    "own/main.conf": nginx.configuration("include /srv/sites/*;", location("$http_host")),
    "sites/app": location("app:9000"),
    "www/index.html": "the shop",
}


class Shop:
    """A proxy before an app."""

    def __init__(self, agent: Agent, stack: Stack) -> None:
        self.agent, self.stack = agent, stack
        self.proxy, self.app = stack.container("proxy"), stack.container("app")

    def health(self, **payload: Any) -> dict[str, Any]:
        files = tree(self.stack.directory)
        outcome = self.agent.run("STACK_HEALTH", {"stack": str(self.stack.directory), **payload})
        assert outcome.error is None, outcome.error
        assert outcome.warnings == []
        assert tree(self.stack.directory) == files
        return outcome.data

    def only(self) -> dict[str, Any]:
        """The one upstream that is or may be stale; nothing else is wrong."""
        data = self.health()
        (found,) = data["stale_upstreams"]
        assert (data["verdict"], data["reasons"]) == ("warn", [found["detail"]])
        assert (found["service"], found["container"]) == ("proxy", self.proxy)
        assert found["loaded_at"] <= (found["started_at"] or found["loaded_at"])
        return dict(found)

    def master(self) -> NginxMaster:
        mine = self.stack.inspect("proxy")["Id"]
        return next(one for one in nginx_masters() if one.container_id == mine)

    def later(self) -> None:
        """Past the time for which what is started counts as there when nginx looked."""
        time.sleep(max(0.0, self.master().loaded + SLACK_S + 0.5 - time.time()))

    def does(self, command: str) -> None:
        """Do what the outcome says, and wait for the worker that comes of it."""
        before = self.master()
        words = command.split()
        assert words[:3] == ["docker", "compose", "exec"]
        self.stack.compose("exec", "-T", *words[3:])
        until = time.monotonic() + nginx.LIMIT_S
        while self.master().loaded < before.loaded + 0.1:  # the same moment is not told the same to the last digit
            assert time.monotonic() < until, "nginx does not reload"


@pytest.fixture
def shop(request: pytest.FixtureRequest, engine: str, nginx_image: str, tmp_path: Path) -> Iterator[Shop]:
    """Up, with what a test adds to the proxy's service."""
    agent = Agent(tmp_path)
    compose = COMPOSE.format(busybox=engine, image=nginx_image, subnet=SUBNET, proxy=getattr(request, "param", ""))
    with running(agent.root / "shop", compose, FILES) as stack:
        one = Shop(agent, stack)
        try:
            nginx.loaded(one.proxy)
            yield one
        finally:
            docker("rm", "-f", f"{one.app}-stranger", f"{one.app}-outside", check=False)


def told(detail: str) -> str:
    """The command that a person is told to run."""
    found = re.search(r"`(.+)`", detail)
    assert found, detail
    return found[1]


def test_an_untouched_stack_has_none(shop: Shop) -> None:
    assert shop.health()["verdict"] == "ok"
    nginx.ask(shop.proxy, "the shop")
    data = shop.health()
    assert (data["verdict"], data["stale_upstreams"]) == ("ok", [])


def test_of_a_container_that_was_only_restarted_nobody_knows_until_it_is_asked(
    shop: Shop, mocker: MockerFixture
) -> None:
    nginx.ask(shop.proxy, "the shop")
    shop.later()
    docker("restart", "--time", "0", shop.app)
    found = shop.only()
    assert (found["upstream"], found["file"], found["line"]) == ("app:9000", "/etc/nginx/conf.d/app.conf", 2)
    assert (found["started"], found["sends_to"], found["proven"]) == ([shop.app], [], False)
    assert "may still send" in found["detail"]
    assert shop.health(deep=False)["stale_upstreams"] == []
    elsewhere = mocker.patch.object(Engine, "is_local", new_callable=mocker.PropertyMock, return_value=False)
    assert shop.health()["stale_upstreams"] == []
    mocker.stop(elsewhere)
    assert shop.only()["detail"] == found["detail"]
    nginx.ask(shop.proxy, "the shop")
    assert shop.health()["verdict"] == "ok"


@pytest.mark.parametrize(
    ("shop", "file", "reload"),
    [
        ("", "/etc/nginx/conf.d/app.conf", "nginx -s reload"),
        ("network_mode: service:front", "/etc/nginx/conf.d/app.conf", "nginx -s reload"),
        (
            "command: [sh, -c, \"nginx -c /own/main.conf -g 'daemon off;' & wait\"]",
            "/srv/sites/app",
            "nginx -c /own/main.conf -s reload",
        ),
    ],
    indirect=["shop"],
    ids=["own network", "the network of another", "not the first process"],
)
def test_an_address_that_nobody_has_is_proven_by_a_request(shop: Shop, file: str, reload: str) -> None:
    shop.later()
    before = nginx.address(shop.app)
    docker("rm", "-f", nginx.moved(shop.app))
    assert not shop.only()["proven"]
    nginx.ask(shop.proxy, "504")
    found = shop.only()
    assert (found["upstream"], found["file"], found["started"]) == ("app:9000", file, [shop.app])
    assert (found["sends_to"], found["proven"]) == ([{"address": before, "container": None}], True)
    assert f"sends requests for app:9000 to {before}, where no container is" in found["detail"]
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(draw(shop.health()))
    assert found["detail"] in console.export_text()
    assert told(found["detail"]) == f"docker compose exec proxy {reload}"
    shop.does(told(found["detail"]))
    assert shop.health()["verdict"] == "ok"
    nginx.ask(shop.proxy, "the shop")
    assert shop.health()["verdict"] == "ok"


def test_a_container_that_got_the_address_is_named(shop: Shop) -> None:
    nginx.ask(shop.proxy, "the shop")
    shop.later()
    before = nginx.address(shop.app)
    stranger = nginx.moved(shop.app, "httpd", "-f", "-p", "9000", "-h", "/bin")
    nginx.ask(shop.proxy, "404")
    found = shop.only()
    assert (found["sends_to"], found["proven"]) == ([{"address": before, "container": stranger}], True)
    assert f"to {before}, where {stranger} is" in found["detail"]


def test_a_container_of_no_stack_is_an_upstream_too(shop: Shop, engine: str) -> None:
    name = f"{shop.app}-outside"
    network = f"{shop.stack.name}_default"
    docker("run", "-d", "--name", name, "--network", network, "--network-alias", "outside", engine, "sleep", "1000")
    shop.stack.write("nginx/conf.d/app.conf", location("outside:81"))
    shop.does("docker compose exec proxy nginx -s reload")
    assert shop.health()["verdict"] == "ok"
    shop.later()
    docker("restart", "--time", "0", name)
    found = shop.only()
    assert (found["upstream"], found["started"]) == ("outside:81", [name])


def test_an_address_in_the_configuration_that_is_no_container_s(shop: Shop) -> None:
    here = nginx.address(shop.app)
    servers = f"upstream shop {{ server {here}:9000; server {NOBODY}:9000; server {SUBNET}.1:80 backup; }}"
    shop.stack.write("nginx/conf.d/app.conf", f"{location('shop')}\n{servers}\n")
    shop.does("docker compose exec proxy nginx -s reload")
    found = shop.only()
    assert (found["upstream"], found["line"], found["started_at"]) == (f"{NOBODY}:9000", 2, None)
    assert (found["sends_to"], found["proven"]) == ([{"address": NOBODY, "container": None}], True)
    assert f"/etc/nginx/conf.d/app.conf:2 names {NOBODY}:9000" in found["detail"]


def test_what_can_not_be_read_of_the_configuration_is_told(shop: Shop) -> None:
    shop.stack.write("nginx/conf.d/broken.conf", "server {")
    outcome = shop.agent.run("STACK_HEALTH", {"stack": str(shop.stack.directory)})
    assert outcome.data["verdict"] == "ok"
    (warning,) = outcome.warnings
    assert warning.startswith(f"{shop.proxy}: ")
    assert "/etc/nginx/conf.d/broken.conf" in warning
