"""Requests that nobody thought of, made from the OpenAPI document: answers are documented, and never a server error.

``make test`` sends some hundreds, ``make requests`` more than two thousand.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import (
    FailureGroup,
    content_type_conformance,
    negative_data_rejection,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.installation import SCRIPT
from tests.integration.api.calls import CALLS
from tests.integration.api.server import PREFIX, ApiServer
from tests.integration.api.world import BRANCH

from docker_runner.project.configuration import Project

pytestmark = pytest.mark.airflow

FEW = 400
SLOW = "/action/"
"""Calls of which only few get as far as a container: each takes a second."""
PRINTS = {"configData": {"parameters": {"script": "print('[1]')"}}}
BODIES: dict[str, list[dict[str, Any]]] = {
    "run": [
        {"config": "plain"},
        {"config": "rows", "row": "one"},
        {"config": "nothing"},
        PRINTS,
        {"config": "plain", **PRINTS, "variableValuesData": {"values": [{"name": "a", "value": 1}]}},
    ],
    "jobs": [
        {"component": SCRIPT, "config": "plain"},
        {"component": SCRIPT, "config": "rows", "configRowIds": ["two"], "mode": "debug"},
        {"component": SCRIPT, **PRINTS, "branchId": BRANCH},
    ],
    "resolve": [
        {"componentId": SCRIPT, "configId": "plain", "configVersion": "1"},
        {"componentId": SCRIPT, "configId": "rows", "configVersion": 2},
    ],
    "action": [PRINTS],
    "encrypt": [{"#password": "secret"}],
}
"""Bodies that get further than what comes by chance."""
QUERIES = {
    "/encrypt": {"componentId": SCRIPT},
    "/stats/project/daily": {"fromDate": "2026-01-01", "toDate": "2026-01-03", "timezoneOffset": "+02:00"},
}


@dataclass
class Sent:
    """What was sent and how it was answered."""

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many requests there were."""
        return self.statuses.total()


def bodies_of(path: str) -> list[dict[str, Any]]:
    """Bodies that a call can do something with."""
    last = path.rpartition("/")[2]
    if SLOW in path:
        return BODIES["action"]
    if "/tag/" in path or last in ("run", "debug", "input", "dry-run"):
        return BODIES["run"] if path != "/run" else []
    return BODIES.get(last, [])


@dataclass
class Sender:
    """Sends requests to a server.

    Args:
        session: of a caller who may do everything.
        url: of the API.
        existing: values of parameters of paths that exist.
        sent: what was sent so far.
    """

    session: requests.Session
    url: str
    existing: dict[str, str]
    sent: Sent = field(default_factory=Sent)

    def send(self, operation: APIOperation[Any, Any], mode: GenerationMode, most: int, first_seed: int) -> None:
        """Send requests that one call gets, most of them to what exists."""
        names = [parameter.name for parameter in operation.path_parameters]
        numbers = st.lists(st.integers(0, 4), min_size=len(names), max_size=len(names))
        left = iter(range(most))

        @seed(first_seed)
        @settings(
            max_examples=most,
            database=None,
            deadline=None,
            derandomize=False,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode), random=numbers, body=st.integers(0, 2))
        def send(case: Case, random: list[int], body: int) -> None:
            number = next(left, most)
            # The ids of what exists never come by chance; most requests have them, and the first has everything right.
            deep = mode is GenerationMode.POSITIVE and number == 0
            for name, chance in zip(names, random, strict=True):
                if deep or (chance and name != "action"):
                    case.path_parameters[name] = self.existing[name]
            # A path with a line end does not get as far as this API: Airflow answers that there is no such page.
            assume(not any("\n" in unquote(str(value)) for value in case.path_parameters.values()))
            bodies = bodies_of(operation.path)
            if bodies and mode is GenerationMode.POSITIVE and (deep or body):
                case.body, case.media_type = bodies[number % len(bodies)], "application/json"
                case.query = QUERIES.get(operation.path, case.query)
            if deep:
                case.query, case.headers = QUERIES.get(operation.path, {}), {}
            self.note(operation, case)

        # A call without parameters and body cannot be called wrongly.
        with suppress(Unsatisfiable):
            send()

    def note(self, operation: APIOperation[Any, Any], case: Case) -> None:
        """Send one request, and look at the answer."""
        answer = case.call(base_url=self.url, session=self.session, timeout=60)
        self.sent.statuses[operation.label, answer.status_code] += 1
        try:
            case.validate_response(answer, checks=CHECKS)
        except FailureGroup as error:
            shown = f"{answer.status_code} {answer.text[:500]}"
            self.sent.problems.append(f"{case.as_curl_command()}\n{shown}\n{error}")


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]


def send_all(server: ApiServer, least: int) -> Sent:
    """Send at least so many requests, evenly to all calls, right ones and wrong ones in turns."""
    server.known("plain", "rows")
    admin = server.as_("admin")
    job = str(admin.call("POST", f"/{SCRIPT}/run", json=PRINTS).json()["id"])
    version = Project(server.installation.settings.project).configuration(SCRIPT, "plain").version
    BODIES["resolve"][0]["configVersion"] = version
    document = admin.call("GET", "/openapi.json").json()
    # Or it would invent credentials.
    del document["security"], document["components"]["securitySchemes"]
    schema = schemathesis.openapi.from_dict(document)
    existing = {"component": SCRIPT, "branch": BRANCH, "tag": "latest", "action": "say", "job_id": job}
    sender = Sender(admin, f"{server.url}{PREFIX}", existing)
    operations = [result.ok() for result in schema.get_all_operations()]
    most = least
    while sender.sent.total < least:
        for operation in operations:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                sender.send(operation, mode, most // len(operations) // 2 + 1, first_seed=most)
        most = least - sender.sent.total
    return sender.sent


@pytest.mark.rules("API-3")
def test_every_answer_is_documented(server: ApiServer) -> None:
    least = int(os.environ.get("DOCKER_RUNNER_API_REQUESTS") or FEW)
    sent = send_all(server, least)
    print(f"{sent.total} requests: {sorted(sent.statuses.items())}")
    assert not sent.problems, "\n\n".join(sent.problems[:10])
    assert sent.total >= least
    well = {call for call, status in sent.statuses if status < 300}
    assert well == {f"{call.method} {call.path}" for call in CALLS} - {"POST /run"}
