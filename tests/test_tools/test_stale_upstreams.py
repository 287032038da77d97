"""What can be said of names that nginx looked up, from containers, networks and traffic."""

from __future__ import annotations

from typing import Any

import pytest

from letsbe.tools.container_networks import network_owner, surroundings
from letsbe.tools.nginx_upstreams import Upstream, Upstreams
from letsbe.tools.stale_upstreams import Surroundings, Traffic, stale

BASE = 1_800_000_000.0
#: When nginx loaded its configuration, in seconds past BASE; containers are started before or after.
LOADED = 100
OLD = "172.20.0.99"
NETWORKS: list[dict[str, Any]] = [
    {
        "Id": "net",
        "Name": "shop_default",
        "Driver": "bridge",
        "IPAM": {
            "Config": [
                {
                    "Subnet": "172.20.0.0/24",
                    "Gateway": "172.20.0.254",
                    "AuxiliaryAddresses": {"printer": "172.20.0.253"},
                },
                {"Subnet": "fd00::/64"},
            ]
        },
    },
    {"Id": "lan", "Name": "lan", "Driver": "macvlan", "IPAM": {"Config": [{"Subnet": "192.0.2.0/24"}]}},
    {"Id": "other", "Name": "other", "Driver": "bridge", "IPAM": {"Config": [{"Subnet": "172.21.0.0/24"}]}},
]


def container(
    name: str, last: int, at: int = 0, *, networks: tuple[str, ...] = ("net",), **more: Any
) -> dict[str, Any]:
    """A container of service ``name``, started ``at`` seconds past BASE, with addresses that end in ``last``."""
    nets = {"net": "172.20.0", "lan": "192.0.2", "other": "172.21.0"}
    fixed = {"IPv4Address": f"172.20.0.{last}"} if more.get("fixed") else None
    endpoints = {
        f"shop_{net}": {
            "NetworkID": net,
            "IPAddress": f"{nets[net]}.{last}" if more.get("running", True) else "",
            "GlobalIPv6Address": f"fd00::{last}" if net == "net" and more.get("running", True) else "",
            "Gateway": f"{nets[net]}.1",
            "IPAMConfig": fixed,
            "Aliases": [name, f"{name}-alias"],
            "DNSNames": more.get("dns_names"),
        }
        for net in networks
    }
    return {
        "Id": f"{name}-" + "0" * 60,
        "Name": f"/shop-{name}-1",
        "Config": {"Hostname": f"host-{name}"},
        "HostConfig": {"ExtraHosts": more.get("hosts"), "NetworkMode": "shop_default"},
        "at": at,
        "NetworkSettings": {"Networks": endpoints},
    }


def around(*peers: dict[str, Any], stopped: tuple[dict[str, Any], ...] = (), **own: Any) -> Surroundings:
    proxy = container("proxy", 2, networks=("net", "lan"), **own)
    running = [(one, BASE + one["at"]) for one in (proxy, *peers)]
    return surroundings(proxy, running, [proxy, *peers, *stopped], NETWORKS)


def found(
    hosts: str, surrounding: Surroundings, traffic: Traffic | None = None, *, others: bool = False
) -> list[tuple[str, list[str], dict[str, str | None]]]:
    """The findings: upstream, the containers that were started since, and where requests go."""
    once = []
    for one in hosts.split():
        host, _, port = one.rpartition(":")
        once.append(Upstream(host=host, port=int(port), file="/etc/nginx/nginx.conf", line=1))
    told = stale(Upstreams(once=once, others=others), surrounding, traffic or Traffic(), BASE + LOADED)
    return [(one.upstream.shown, [peer.name for peer in one.late], one.sends_to) for one in told]


def reached(*unanswered: str, **ports: int) -> Traffic:
    """nginx is connected to these ports of services."""
    last = {"app": 3, "api": 4, "old": 5, "stranger": 5}
    places = {f"shop-{name}-1": frozenset({(f"172.20.0.{last[name]}", port)}) for name, port in ports.items()}
    return Traffic(unanswered=frozenset(unanswered), reached=places)


MAY_BE = [("app:80", ["shop-app-1"], {})]


@pytest.mark.parametrize("at", [0, 99, 101], ids=["long before", "just before", "just after"])
def test_a_container_that_was_there_when_nginx_looked_is_no_matter(at: int) -> None:
    assert found("app:80", around(container("app", 3, at))) == []


@pytest.mark.parametrize(
    "name",
    ["app", "app-alias", "shop-app-1", "app-00000000", "app.shop_net", "shop-app-1.shop_net", "new"],
)
def test_a_container_that_was_started_since_may_be_elsewhere_by_whatever_name(name: str) -> None:
    peer = container("app", 3, 200, dns_names=["new"])
    assert found(f"{name}:80", around(peer)) == [(f"{name}:80", ["shop-app-1"], {})]


@pytest.mark.parametrize(
    ("peers", "own"),
    [
        ((), {}),
        ((container("app", 3, 200, networks=("other",)),), {}),
        ((container("app", 3, 200, fixed=True),), {}),
        ((container("app", 3, 200),), {"hosts": ["app:192.0.2.1"]}),
    ],
    ids=["nobody has it", "on another network", "fixed address", "in the hosts file"],
)
def test_of_these_nothing_can_be_said(peers: tuple[dict[str, Any], ...], own: dict[str, Any]) -> None:
    assert found("app:80", around(*peers, **own)) == []


def test_who_shares_a_network_with_another_has_that_one_s() -> None:
    assert network_owner({"HostConfig": {"NetworkMode": "container:abc"}}) == "abc"
    assert network_owner({"HostConfig": {"NetworkMode": "shop_default"}}) is None


def test_one_of_several_containers_behind_a_name_is_enough() -> None:
    second = container("app2", 4, 200, dns_names=["app"])
    assert found("app:80", around(container("app", 3), second)) == [("app:80", ["shop-app2-1"], {})]


APP, API = container("app", 3, 200), container("api", 4, 200)
STRANGER = container("stranger", 5, 150)


@pytest.mark.parametrize(
    ("hosts", "peers", "traffic", "expected"),
    [
        ("app:80", [APP], Traffic(met=frozenset({"shop-app-1"})), []),
        ("app:80", [APP], reached(app=80), []),
        ("app:80", [APP], reached(app=81), MAY_BE),
        ("app:80", [APP], Traffic(unanswered=frozenset({OLD})), [("app:80", ["shop-app-1"], {OLD: None})]),
        ("app:80", [APP], Traffic(unanswered=frozenset({"172.20.0.3", "172.20.0.254", "198.51.100.1"})), MAY_BE),
        ("app:80", [APP], Traffic(unanswered=frozenset({OLD}), met=frozenset({"shop-app-1"})), MAY_BE),
        ("app:80", [APP], reached(OLD, app=80), []),
        ("app:80 gone:80", [APP], Traffic(unanswered=frozenset({OLD})), MAY_BE),
        ("app:80 gone:80", [APP], Traffic(unanswered=frozenset({OLD}), met=frozenset({"shop-app-1"})), []),
        (
            "app:80 gone.example:80",
            [APP],
            Traffic(unanswered=frozenset({OLD})),
            [("app:80", ["shop-app-1"], {OLD: None})],
        ),
        (
            "app:80",
            [APP, STRANGER],
            reached(stranger=80),
            [("app:80", ["shop-app-1"], {"172.20.0.5": "shop-stranger-1"})],
        ),
        ("app:80", [APP, STRANGER], reached(stranger=81), MAY_BE),
        (
            "app:80",
            [APP, container("old", 5, 50)],
            reached(old=80),
            MAY_BE,
        ),
        ("app:80 stranger:80", [APP, container("stranger", 5, 101)], reached(stranger=80), MAY_BE),
    ],
    ids=[
        "met",
        "reached",
        "reached at another port",
        "nobody answers",
        "what is no old address",
        "met, but an old address is tried",
        "reached, whatever is tried",
        "one of two is tried",
        "met, and the old address is another's",
        "a name from elsewhere",
        "a stranger has it",
        "a stranger is reached for something else",
        "who was there before can't have it",
        "who is named is no stranger",
    ],
)
def test_traffic_settles_it(
    hosts: str, peers: list[dict[str, Any]], traffic: Traffic, expected: list[tuple[str, list[str], dict[str, str]]]
) -> None:
    assert found(hosts, around(*peers), traffic) == expected


@pytest.mark.parametrize(
    ("hosts", "peers", "place", "sends_to"),
    [
        ("app:80", [APP], (OLD, 80), {OLD: None}),
        ("app:80", [APP], (OLD, 81), {}),
        ("app:80", [APP], ("172.20.0.3", 80), {}),
        ("app:80", [APP], ("198.51.100.1", 80), {}),
        ("app:80", [APP, STRANGER], ("172.20.0.5", 80), {"172.20.0.5": "shop-stranger-1"}),
        ("app:80 gone:80", [APP], (OLD, 80), {}),
        ("app:80 gone:81", [APP], (OLD, 80), {OLD: None}),
        (f"app:80 {OLD}:80", [APP], (OLD, 80), {}),
    ],
    ids=[
        "nobody is there",
        "another port",
        "its own",
        "elsewhere",
        "a stranger is there",
        "of two on one port",
        "of two on two ports",
        "an address of the configuration",
    ],
)
def test_what_nginx_itself_connects_to_shows_where_it_sends(
    hosts: str, peers: list[dict[str, Any]], place: tuple[str, int], sends_to: dict[str, str | None]
) -> None:
    told = found(hosts, around(*peers), Traffic(connected=frozenset({place})))
    assert told[0] == ("app:80", ["shop-app-1"], sends_to)


def test_of_two_that_may_have_changed_places_nobody_knows_who_is_sent_to_a_stranger() -> None:
    told = found("app:80 api:80", around(APP, API, STRANGER), reached(stranger=80))
    assert [where for *_, where in told] == [{}, {}]


def test_what_is_looked_up_anew_may_lead_to_a_stranger() -> None:
    traffic = reached(stranger=80)
    assert found("app:80", around(APP, STRANGER), traffic, others=True) == MAY_BE


def test_two_that_may_have_changed_places_are_settled_by_different_ports_alone() -> None:
    both = [("app:80", ["shop-app-1"], {}), ("api:80", ["shop-api-1"], {})]
    met = Traffic(met=frozenset({"shop-app-1", "shop-api-1"}))
    assert found("app:80 api:80", around(APP, API), met) == both
    assert found("app:80 api:80", around(APP, API), reached(app=80, api=80)) == both
    assert found("app:80 api:81", around(APP, API), reached(app=80, api=81)) == []
    assert found("app:80 api:81", around(APP, API), reached(app=81, api=80)) == [
        ("app:80", ["shop-app-1"], {"172.20.0.4": "shop-api-1"}),
        ("api:81", ["shop-api-1"], {"172.20.0.3": "shop-app-1"}),
    ]


def test_two_names_of_one_container_are_not_two_that_changed_places() -> None:
    hosts, met = "app:80 app-alias:81", Traffic(met=frozenset({"shop-app-1"}))
    assert found(hosts, around(APP), met) == []
    tried = found(hosts, around(APP), Traffic(unanswered=frozenset({OLD})))
    assert [one[2] for one in tried] == [{OLD: None}, {OLD: None}]


def test_addresses_of_two_are_proven_when_there_are_two() -> None:
    one = Traffic(unanswered=frozenset({OLD}))
    assert [where for *_, where in found("app:80 api:80", around(APP, API), one)] == [{}, {}]
    two = Traffic(unanswered=frozenset({OLD, "172.20.0.98"}))
    places = {OLD: None, "172.20.0.98": None}
    assert [where for *_, where in found("app:80 api:80", around(APP, API), two)] == [places, places]


@pytest.mark.parametrize(
    ("address", "is_stale"),
    [
        (OLD, True),
        ("fd00::99", True),
        ("172.20.0.3", False),
        ("fd00::3", False),
        ("172.20.0.2", False),
        ("172.20.0.254", False),
        ("172.20.0.1", False),
        ("fd00::1", False),
        ("172.20.0.253", False),
        ("172.20.0.7", False),
        ("172.21.0.99", False),
        ("192.0.2.99", False),
        ("198.51.100.1", False),
    ],
)
def test_an_address_on_its_network_at_which_no_container_is(address: str, is_stale: bool) -> None:
    stopped = container("stopped", 7, fixed=True, running=False)
    surrounding = around(container("app", 3), stopped=(stopped,))
    shown = f"[{address}]:80" if ":" in address else f"{address}:80"
    assert found(f"{address}:80", surrounding) == ([(shown, [], {address: None})] if is_stale else [])
