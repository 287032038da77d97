"""Fields of what is declared and of what runs: one default written in different ways is no difference."""

from __future__ import annotations

import json
from typing import Any

import pytest

from letsbe.tools.compose_model import parse_config
from letsbe.tools.drift import Difference, differences
from letsbe.tools.quantities import byte_count, nanoseconds

ID = "3e95dde6dd1d" + "0" * 52
Json = dict[str, Any]


def drift(
    service: Json,
    config: Json,
    host: Json,
    mounts: list[Json],
    networks: Json,
    *,
    name: str = "p-s-1",
    image: Json | None = None,
    others: Json | None = None,
) -> list[Difference]:
    """The differences of a container that is said to be of a service ``s``, with the plainest image."""
    services = {"s": {"image": "x", **service}, **(others or {})}
    model = parse_config(
        json.dumps({"name": "p", "services": services, "networks": {"default": {"name": "n"}}}).encode()
    )
    container = {
        "Id": ID,
        "Name": f"/{name}",
        "Config": {"Image": "x", "Hostname": ID[:12], **config},
        "HostConfig": {"NetworkMode": "n", **host},
        "Mounts": mounts,
        "NetworkSettings": {"Networks": networks or {"n": {"Aliases": ["p-s-1", "s", ID[:12]]}}},
    }
    peers = {"service:s": ID, "container:vpn": ID}
    return differences(model.services["s"], model, container, {"Config": image or {}}, peers)


@pytest.mark.parametrize(
    ("service", "config", "host", "mounts", "networks"),
    [
        ({}, {}, {"RestartPolicy": {"Name": "no"}}, [], {}),
        ({"restart": "no"}, {}, {"RestartPolicy": {"Name": ""}}, [], {}),
        ({"deploy": {"restart_policy": {"condition": "any"}}}, {}, {"RestartPolicy": {"Name": "always"}}, [], {}),
        ({"cap_add": ["NET_ADMIN"]}, {}, {"CapAdd": ["CAP_NET_ADMIN"]}, [], {}),
        ({"cap_drop": ["all"]}, {}, {"CapDrop": ["ALL"]}, [], {}),
        ({"security_opt": ["no-new-privileges:true"]}, {}, {"SecurityOpt": ["no-new-privileges"]}, [], {}),
        ({"privileged": True}, {}, {"Privileged": True, "SecurityOpt": ["label=disable"]}, [], {}),
        ({"extra_hosts": ["h:1.2.3.4"]}, {}, {"ExtraHosts": ["h=1.2.3.4"]}, [], {}),
        ({"extra_hosts": ["h=[::1]"]}, {}, {"ExtraHosts": ["h:::1"]}, [], {}),
        ({"environment": {"A": None}}, {"Env": ["A"]}, {}, [], {}),
        ({"environment": {"A": None}}, {"Env": []}, {}, [], {}),
        ({}, {"Env": ["HTTP_PROXY=x", "no_proxy=y"]}, {}, [], {}),
        ({}, {}, {"LogConfig": {"Type": "local", "Config": {"max-size": "1m"}}}, [], {}),
        ({}, {}, {"ShmSize": 67108864, "Runtime": "runc", "IpcMode": "private", "PidsLimit": None}, [], {}),
        ({"pids_limit": -1}, {}, {"PidsLimit": -1}, [], {}),
        ({"mem_limit": "50m"}, {}, {"Memory": 52428800, "MemorySwap": 104857600}, [], {}),
        (
            {"devices": ["/dev/x:/dev/y"]},
            {},
            {"Devices": [{"PathOnHost": "/dev/x", "PathInContainer": "/dev/y", "CgroupPermissions": "rwm"}]},
            [],
            {},
        ),
        ({"expose": ["80-81"]}, {"ExposedPorts": {"80/tcp": {}, "81/tcp": {}}}, {}, [], {}),
        (
            {"ports": [{"target": 80, "published": "8000-8010"}]},
            {"ExposedPorts": {"80/tcp": {}}},
            {"PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8000-8010"}]}},
            [],
            {},
        ),
        (
            {"tmpfs": ["/run:size=1m"]},
            {},
            {"Tmpfs": {"/run": "size=1m"}},
            [{"Type": "tmpfs", "Destination": "/run"}],
            {},
        ),
        (
            {"volumes": [{"type": "bind", "source": "/a/", "target": "/b/"}]},
            {},
            {},
            [{"Type": "bind", "Source": "/a", "Destination": "/b", "RW": True}],
            {},
        ),
        ({}, {}, {}, [], {"n": {"Aliases": ["p-s-1"], "DNSNames": ["p-s-1", "s", ID[:12]]}}),
        ({"hostname": "h"}, {"Hostname": "h"}, {}, [], {"n": {"Aliases": ["s"], "DNSNames": ["s", "h"]}}),
        ({"network_mode": "host"}, {"Hostname": "machine"}, {"NetworkMode": "host"}, [], {"host": {}}),
        ({"network_mode": "service:s"}, {"Hostname": "other"}, {"NetworkMode": f"container:{ID}"}, [], {}),
        ({"healthcheck": {"disable": True}}, {"Healthcheck": {"Test": ["NONE"]}}, {}, [], {}),
        ({"labels": {"a": "1"}}, {"Labels": {"a": "1", "com.docker.compose.project": "p"}}, {}, [], {}),
        (
            {"volumes_from": ["container:x"]},
            {},
            {},
            [{"Type": "volume", "Name": "v", "Destination": "/v", "RW": True}],
            {},
        ),
        ({"entrypoint": [], "command": ["a"]}, {"Entrypoint": None, "Cmd": ["a"]}, {}, [], {}),
        ({"network_mode": "container:vpn"}, {"Hostname": "other"}, {"NetworkMode": f"container:{ID}"}, [], {}),
        ({"network_mode": "container:vpn"}, {"Hostname": "other"}, {"NetworkMode": "container:vpn"}, [], {}),
        (
            {"pid": "container:vpn", "ipc": "service:s"},
            {},
            {"PidMode": f"container:{ID}", "IpcMode": f"container:{ID}"},
            [],
            {},
        ),
        ({"working_dir": "/app/"}, {"WorkingDir": "/app"}, {}, [], {}),
        ({"security_opt": ["systempaths=unconfined"]}, {}, {"SecurityOpt": None}, [], {}),
        ({"devices": ["nvidia.com/gpu=all"]}, {}, {"Devices": []}, [], {}),
        ({"cpus": 2.35}, {}, {"NanoCpus": 2350000128}, [], {}),
        (
            {"volumes": [{"type": "image", "source": "alpine", "target": "/i"}]},
            {},
            {},
            [{"Type": "image", "Name": "alpine", "Source": "/var/lib/docker/x", "Destination": "/i", "RW": False}],
            {},
        ),
        ({"models": {"ai": None}}, {"Env": ["AI_URL=http://x"]}, {}, [], {}),
        (
            {"use_api_socket": True},
            {"Env": ["DOCKER_CONFIG=/x"]},
            {},
            [{"Type": "bind", "Source": "/run/docker.sock", "Destination": "/var/run/docker.sock", "RW": True}],
            {},
        ),
    ],
    ids=lambda value: json.dumps(value)[:40] if value else "",
)
def test_two_ways_to_write_the_same(
    service: Json, config: Json, host: Json, mounts: list[Json], networks: Json
) -> None:
    assert drift(service, config, host, mounts, networks) == []


@pytest.mark.parametrize("mode", ["service:s", "container:vpn"])
def test_a_namespace_of_a_container_that_is_gone_differs(mode: str) -> None:
    found = drift({"network_mode": mode}, {}, {"NetworkMode": "container:old"}, [], {})
    assert found == [Difference(field="network_mode", declared=f"container:{ID}", actual="container:old")]


@pytest.mark.parametrize("aliases", [["web", "s"], ["web", "web", "s", ID[:12]], ["s"]], ids=str)
def test_every_container_is_called_by_its_name(aliases: list[str]) -> None:
    service = {"container_name": "web", "networks": {"default": {"aliases": ["web"]}}}
    assert drift(service, {}, {}, [], {"n": {"Aliases": aliases}}, name="web") == []


def test_a_service_whose_container_has_its_name() -> None:
    assert drift({"container_name": "s"}, {}, {}, [], {"n": {"Aliases": ["s", "s"]}}, name="s") == []


@pytest.mark.parametrize("path", ["/data", "/data/"])
def test_a_tmpfs_takes_the_place_of_the_image_s_volume(path: str) -> None:
    image = {"Volumes": {path: {}}}
    assert drift({"tmpfs": ["/data"]}, {}, {"Tmpfs": {"/data": ""}}, [], {}, image=image) == []
    volume = {"Type": "volume", "Name": "f" * 64, "Destination": "/data", "RW": True}
    assert drift({}, {}, {}, [volume], {}, image=image) == []


def test_variables_of_a_provider_that_it_depends_on_are_no_drift() -> None:
    service = {"depends_on": {"db": {"condition": "service_started"}}}
    given = ({"Env": ["DB_URL=postgres://x"]}, {}, [], {})
    assert drift(service, *given, others={"db": {"provider": {"type": "cloud"}}}) == []
    assert [one.field for one in drift(service, *given, others={"db": {"image": "y"}})] == ["environment.DB_URL"]


def test_other_cpus_are_told() -> None:
    assert [one.field for one in drift({"cpus": 2.35}, {}, {"NanoCpus": 2360000000}, [], {})] == ["cpus"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1m30s", 90 * 10**9), ("0.5s", 5 * 10**8), ("500ms", 5 * 10**8), ("1h0m0s", 3600 * 10**9), ("", 0), (None, 0)],
)
def test_durations(text: str | None, value: int) -> None:
    assert nanoseconds(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("52428800", 52428800), ("50m", 52428800), ("1.5GB", 1610612736), ("2KiB", 2048), (-1, -1), ("-1", -1), (None, 0)],
)
def test_sizes(text: str | int | None, value: int) -> None:
    assert byte_count(text) == value


@pytest.mark.parametrize(
    ("read", "text"), [(nanoseconds, "5"), (nanoseconds, "x5s"), (byte_count, "5x"), (byte_count, "m")]
)
def test_what_is_neither_is_refused(read: Any, text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        read(text)
