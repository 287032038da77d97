"""The OpenAPI document says what the server does: schemathesis asks the real one, over TLS."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings

from letsbe.orchestrator.app import openapi_document
from letsbe.orchestrator.problems import KINDS
from tests.orchestrator_fixture import Orchestrator
from tests.test_orchestrator.fake_agent import FakeAgent, registered

DOCUMENT = json.loads(openapi_document())
schema = schemathesis.openapi.from_dict(DOCUMENT)


class Rig:
    """What makes valid requests succeed: a registered agent, fresh tokens, tasks that are offered and claimed."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self.orchestrator = orchestrator
        self.agent: FakeAgent = registered(orchestrator)
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {self.agent.token}"
        self.answered: dict[str, set[int]] = defaultdict(set)
        self._valid: Counter[str] = Counter()

    def prepare(self, case: schemathesis.Case[Any]) -> None:
        """Point every other valid request of an operation at something that exists, the first one included."""
        if not case.meta or case.meta.generation.mode is not schemathesis.GenerationMode.POSITIVE:
            return
        name = case.operation.definition.raw["operationId"]
        self._valid[name] += 1
        if self._valid[name] % 2 == 0:
            return
        if name == "register":
            self._change(case, enrolment_token=self.orchestrator.enrol())
        elif name == "poll":
            case.path_parameters = {"agent_id": self.agent.agent_id}
        else:
            case.path_parameters = self._attempt(claimed=name == "result")
            if name == "result":
                self._change(case, task_id=None)

    def _change(self, case: schemathesis.Case[Any], **members: Any) -> None:
        assert isinstance(case.body, dict)
        case.body = {**case.body, **members}

    def _attempt(self, *, claimed: bool) -> dict[str, Any]:
        self.orchestrator.submit("ECHO", {}, agent=self.agent.agent_id)
        offer = self.agent.offers(max_tasks=1)[0]
        attempt = {"task_id": offer["task_id"], "attempt_id": offer["attempt_id"]}
        if claimed:
            self.agent.claim(**attempt)
        return attempt


@pytest.fixture(scope="module")
def rig(shared_orchestrator: Orchestrator) -> Iterator[Rig]:
    rig = Rig(shared_orchestrator)
    yield rig
    rig.session.close()
    for name in ("register", "poll", "claim", "result"):
        assert rig.answered[name] & {200, 201}, f"no {name} ever succeeded: nothing was tested"


def _without_integral_floats(value: Any) -> Any:
    """JSON Schema takes 5.0 for an integer; here a number with a point is none, and no schema can say so."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _without_integral_floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_integral_floats(item) for item in value]
    return value


@schema.hook
def map_body(_context: schemathesis.HookContext, body: Any) -> Any:
    return _without_integral_floats(body)


@schema.parametrize()
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_answer_conforms_to_the_document(case: schemathesis.Case[Any], rig: Rig) -> None:
    rig.prepare(case)
    answer = case.call_and_validate(base_url=rig.orchestrator.url, session=rig.session, verify=rig.orchestrator.ca_file)
    rig.answered[case.operation.definition.raw["operationId"]].add(answer.status_code)


def test_the_document_is_served_and_printed_alike(shared_orchestrator: Orchestrator) -> None:
    url = f"{shared_orchestrator.url}/schema/openapi.json"
    served = requests.get(url, verify=shared_orchestrator.ca_file, timeout=10)
    assert served.headers["content-type"] == "application/vnd.oai.openapi+json"
    assert served.json() == json.loads(shared_orchestrator.run("openapi").stdout) == DOCUMENT


def test_every_kind_of_problem_is_documented_somewhere() -> None:
    operations = [operation for path in DOCUMENT["paths"].values() for operation in path.values()]
    documented = {int(status) for operation in operations for status in operation["responses"]}
    assert {kind.status for kind in KINDS.values()} <= documented


def test_the_document_carries_the_limits_of_the_structs() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["PollRequest"]["properties"]["running"]["maxItems"] == 100
    assert schemas["AttemptProgress"]["properties"]["percent"]["anyOf"][0] == {
        "type": "integer",
        "minimum": 0,
        "maximum": 100,
    }
    assert schemas["RegisterRequest"]["properties"]["executors"]["additionalProperties"]["maximum"] == 1_000_000


def test_only_registration_needs_no_token() -> None:
    operations = [operation for path in DOCUMENT["paths"].values() for operation in path.values()]
    without = [operation["operationId"] for operation in operations if "security" not in operation]
    assert without == ["register"]
    assert DOCUMENT["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
