"""HEALTHCHECK's report as JUnit XML, for CI systems.

There is no one standard; this keeps to what the Jenkins schema (junit-10.xsd) allows, which others read as well.
"""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from letsbe.protocol import Outcome

#: What no XML 1.0 document may hold, escaped or not: https://www.w3.org/TR/xml/#charsets
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(outcome: Outcome) -> str:
    """A suite with a case for each check. A warning passes, and says so; groups of log lines are the suite's output."""
    checks = outcome.data.get("checks") or []
    failed = [check for check in checks if check["status"] == "fail"]
    could_look = bool(outcome.data)
    counts = {"tests": str(len(checks) or 1), "failures": str(len(failed)), "errors": str(int(not could_look))}
    seconds = f"{outcome.duration_ms / 1000:.3f}"
    suites = Element("testsuites", counts)
    suite = SubElement(suites, "testsuite", {"name": "letsbe healthcheck", "time": seconds, "skipped": "0", **counts})
    suite.set("timestamp", outcome.started_at.removesuffix("Z"))
    for check in checks:
        took = f"{(check.get('ms') or 0) / 1000:.3f}"
        case = SubElement(
            suite, "testcase", name=_text(check["id"]), classname=f"healthcheck.{check['kind']}", time=took
        )
        found = _text(f"{check['message']}\nobserved: {check['observed']}\nexpected: {check['expected']}")
        if check["status"] == "fail":
            SubElement(case, "failure", message=_text(check["message"]), type=check["kind"]).text = found
        elif check["status"] == "warn":
            SubElement(case, "system-out").text = f"warning: {found}"
    if not could_look:
        case = SubElement(suite, "testcase", name="healthcheck", classname="healthcheck", time=seconds)
        error = outcome.error
        if error is not None:
            SubElement(case, "error", message=_text(error.message), type=error.code).text = _text(error.hint)
    hits = [f"{hit['count']} x {hit['service']}: {hit['template']}" for hit in outcome.data.get("log_hits") or []]
    SubElement(suite, "system-out").text = _text("\n".join(hits))
    indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suites, encoding="unicode") + "\n"


def _text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
