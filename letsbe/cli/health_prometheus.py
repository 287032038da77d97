"""HEALTHCHECK's report for Prometheus' textfile collector.

The format: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format. Without time stamps, which
that collector refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from letsbe.protocol import Outcome

_LEVELS = {"ok": 0, "warn": 1, "fail": 2}
_PREFIX = "letsbe_healthcheck_"

Sample = tuple[Mapping[str, str], float]


def render(outcome: Outcome) -> str:
    """One metric after the other; when nothing could be looked at, only that."""
    data = outcome.data
    lines = _metric("success", "Whether it could be looked at all (1), whatever was found.", [({}, int(bool(data)))])
    lines += _metric("duration_seconds", "How long the run took.", [({}, outcome.duration_ms / 1000)])
    if data:
        checks = data.get("checks") or []
        lines += _metric("status", "The verdict: 0 ok, 1 warning, 2 failure.", [({}, _LEVELS[data["status"]])])
        counts = [({"status": one}, sum(c["status"] == one for c in checks)) for one in _LEVELS]
        lines += _metric("checks", "How many checks came to what.", counts)
        each = [({"id": c["id"], "kind": c["kind"], "target": c["target"]}, _LEVELS[c["status"]]) for c in checks]
        lines += _metric("check_status", "Each check: 0 ok, 1 warning, 2 failure.", each)
        hits: dict[str, int] = {}
        for hit in data.get("log_hits") or []:
            hits[hit["service"]] = hits.get(hit["service"], 0) + hit["count"]
        found = [({"service": service}, count) for service, count in sorted(hits.items())]
        lines += _metric("log_hits", "Lines of the log window that tell of problems.", found)
    return "\n".join(lines) + "\n"


def _metric(name: str, text: str, samples: Iterable[Sample]) -> list[str]:
    """All lines of a gauge; none without a sample."""
    name = _PREFIX + name
    found = [f"{name}{_labels(labels)} {value}" for labels, value in samples]
    return [f"# HELP {name} {text}", f"# TYPE {name} gauge", *found] if found else []


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
