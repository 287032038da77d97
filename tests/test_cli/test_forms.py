"""Forms of output beside text and JSON: JUnit XML and Prometheus text of HEALTHCHECK."""

from __future__ import annotations

import re
import socket
from xml.etree import ElementTree

import pytest

from letsbe.cli import health_junit, health_prometheus
from letsbe.protocol import Outcome
from tests.agents import Agent

HOSTILE = 'a"b\\c\nd<&>\x00é\U0001f600'
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)')


def outcome(**data: object) -> Outcome:
    return Outcome(
        task_id=None, type="HEALTHCHECK", status="failed", success=False, changed=False, data=data, error=None,
        warnings=[], check=False, started_at="2026-11-25T10:00:00Z", duration_ms=1500, agent_version="1",
    )  # fmt: skip


def check(status: str, name: str) -> dict[str, object]:
    return {
        "id": f"state:{name}", "kind": "state", "target": name, "status": status, "observed": HOSTILE,
        "expected": "running", "message": "" if status == "ok" else HOSTILE, "ms": 12,
    }  # fmt: skip


REPORT = outcome(
    status="fail",
    checks=[check("fail", HOSTILE), check("warn", "b"), check("ok", "c")],
    log_hits=[
        {"service": HOSTILE, "template": HOSTILE, "count": 1_234_567, "first": "", "last": "", "sample": ""},
        {"service": HOSTILE, "template": "x", "count": 1, "first": "", "last": "", "sample": ""},
    ],
)


def metrics(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """A strict reader of Prometheus' text: HELP and TYPE before each metric's samples, no time stamps, no repeats."""
    assert text.endswith("\n")
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    lines = iter(text.splitlines())
    name = ""
    for line in lines:
        if line.startswith("# HELP "):
            name = line.split(" ")[2]
            assert name not in found
            assert next(lines) == f"# TYPE {name} gauge"
            found[name] = {}
            continue
        matched = re.fullmatch(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)", line)
        assert matched, line
        assert matched[1] == name
        labels, rest = [], matched[2] or ""
        while rest:
            one = LABEL.match(rest)
            assert one, rest
            value = re.sub(r"\\(.)", lambda escape: "\n" if escape[1] == "n" else escape[1], one[2])
            labels.append((one[1], value))
            rest = rest[one.end() :]
        assert tuple(labels) not in found[name]
        found[name][tuple(labels)] = float(matched[3])
    assert all(found.values())
    return found


def test_prometheus_reads_what_is_said() -> None:
    found = metrics(health_prometheus.render(REPORT))
    assert set(found) == {
        f"letsbe_healthcheck_{name}"
        for name in ("success", "duration_seconds", "status", "checks", "check_status", "log_hits")
    }
    assert found["letsbe_healthcheck_status"] == {(): 2}
    assert found["letsbe_healthcheck_duration_seconds"] == {(): 1.5}
    assert found["letsbe_healthcheck_log_hits"] == {(("service", HOSTILE),): 1_234_568}
    states = {dict(labels)["target"]: value for labels, value in found["letsbe_healthcheck_check_status"].items()}
    assert states == {HOSTILE: 2, "b": 1, "c": 0}


def test_junit_is_well_formed_and_counts_right() -> None:
    root = ElementTree.fromstring(health_junit.render(REPORT))
    assert root.tag == "testsuites"
    (suite,) = root
    cases = suite.findall("testcase")
    assert suite.get("tests") == root.get("tests") == str(len(cases)) == "3"
    assert suite.get("failures") == str(len(suite.findall("testcase/failure"))) == "1"
    assert (suite.get("errors"), suite.get("skipped"), suite.get("timestamp")) == ("0", "0", "2026-11-25T10:00:00")
    for case in cases:
        assert {"name", "classname", "time"} == set(case.attrib)
        assert {child.tag for child in case} <= {"failure", "error", "skipped", "system-out"}
        float(case.attrib["time"])
    assert [child.tag for child in suite][-1] == "system-out"
    assert "\x00" not in cases[0].attrib["name"]
    assert "é\U0001f600" in cases[0].attrib["name"]
    assert (cases[1].findtext("system-out") or "").startswith("warning: ")


def test_what_could_not_look_is_an_error_in_every_form(agent: Agent) -> None:
    env = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
    junit = agent.cli("healthcheck", "--output", "junit", env=env)
    assert junit.returncode == 1
    suite = ElementTree.fromstring(junit.stdout)[0]
    assert (suite.get("errors"), suite.get("tests")) == ("1", "1")
    error = suite.find("testcase/error")
    assert error is not None
    assert error.get("type") == "docker_unavailable"
    prometheus = agent.cli("healthcheck", "--output", "prometheus", env=env)
    assert metrics(prometheus.stdout.decode())["letsbe_healthcheck_success"] == {(): 0}


def test_the_exit_code_says_whether_it_is_healthy(agent: Agent) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        words = ["healthcheck", f'{{"ports": [{{"port": {listening.getsockname()[1]}}}]}}', "--output", "prometheus"]
        assert agent.cli(*words).returncode == 1
        listening.listen()
        well = agent.cli(*words)
        assert well.returncode == 0
        assert metrics(well.stdout.decode())["letsbe_healthcheck_status"] == {(): 0}


@pytest.mark.parametrize("form", ["junit", "prometheus", "sarif"])
def test_other_task_types_name_the_forms_that_they_have(agent: Agent, form: str) -> None:
    done = agent.cli("echo", "--output", form)
    assert done.returncode == 2
    assert done.stdout == b""
    assert f"'{form}' is not one of 'auto', 'text', 'json'" in done.stderr.decode()
