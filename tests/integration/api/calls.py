"""Every call of the HTTP API, with a request that is right; tests compare this list with the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.installation import SCRIPT
from tests.integration.api.world import ACTION, BRANCH

INLINE = {"configData": {"parameters": {"script": "print('hello')"}}}
JOB = "{job}"
"""Where the id of a job belongs."""


@dataclass(frozen=True)
class Call:
    """A call.

    Args:
        method: HTTP method.
        path: as in the OpenAPI document.
        url: path and query of a request that is right.
        body: JSON of a request that is right.
        starts: it starts a container: not for those who may only read (API-32).
        text: its body may be text that is no JSON too.
        wrong: bodies that are refused with 400, by words of the message.
        wrong_urls: paths and queries that are refused, by status and words of the message.
    """

    method: str
    path: str
    url: str
    body: Any = None
    starts: bool = False
    text: bool = False
    wrong: Mapping[str, Any] = field(default_factory=dict)
    wrong_urls: Mapping[tuple[int, str], str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """How OpenAPI names it."""
        return self.method, self.path

    def arguments(self) -> dict[str, Any]:
        """The body of a request that is right, as :func:`requests.request` takes it."""
        return {} if self.body is None else {"json": self.body}


_RUN_WRONG = {
    "Nothing is given to run": {},
    "row is given without its configuration": {"row": "one"},
    "Unknown attribute colour; allowed are config, row, configData, variableValuesId, variableValuesData": {
        **INLINE,
        "colour": "red",
    },
    "config": {"config": {"id": "plain"}},
    "configData": {"configData": "text"},
    "variableValuesData.values": {"config": "plain", "variableValuesData": {"values": {"a": "b"}}},
}


def _run(path: str, url: str) -> Call:
    wrong_urls = {(400, "was not found"): url.replace(SCRIPT, "no.such.component")}
    if BRANCH in url.split("/"):
        wrong_urls[400, "no branch"] = url.replace(f"/{BRANCH}/", "/nowhere/")
    return Call("POST", path, url, body=INLINE, starts=True, wrong=_RUN_WRONG, wrong_urls=wrong_urls)


def _action(path: str, url: str) -> Call:
    return Call(
        "POST",
        path,
        url,
        body={"configData": {"parameters": {"script": ACTION, "got": 1}}},
        starts=True,
        wrong={"configData is missing": {}, "Unknown attribute": {"configData": {}, "config": "plain"}},
        wrong_urls={
            (404, "no.such.component"): url.replace(SCRIPT, "no.such.component"),
            (404, "has no action"): f"{url}-not",
            (405, "cannot be called"): url.replace("/say", "/run"),
        },
    )


def _resolve(path: str, url: str) -> Call:
    body = {"componentId": SCRIPT, "configId": "plain", "configVersion": "1"}
    wrong = {f"{name} is missing": {key: value for key, value in body.items() if key != name} for name in body}
    return Call("POST", path, url, body=body, wrong={**wrong, "Unknown attribute": {**body, "colour": "red"}})


CALLS = (
    Call("GET", "/health", "/health"),
    Call("POST", "/run", "/run", wrong_urls={(400, "name of a component is required"): "/run"}),
    _run("/{component}/run", f"/{SCRIPT}/run"),
    _run("/{component}/run/tag/{tag}", f"/{SCRIPT}/run/tag/latest"),
    _run("/branch/{branch}/{component}/run", f"/branch/{BRANCH}/{SCRIPT}/run"),
    _run("/branch/{branch}/{component}/run/tag/{tag}", f"/branch/{BRANCH}/{SCRIPT}/run/tag/latest"),
    _run("/{component}/debug", f"/{SCRIPT}/debug"),
    _run("/branch/{branch}/{component}/debug", f"/branch/{BRANCH}/{SCRIPT}/debug"),
    _run("/{component}/input", f"/{SCRIPT}/input"),
    _run("/{component}/dry-run", f"/{SCRIPT}/dry-run"),
    Call(
        "POST",
        "/sandbox",
        "/sandbox",
        body={"configData": {"parameters": {"a": 1}}},
        starts=True,
        wrong={"configData": {}, "Unknown attribute": {"configData": {"parameters": {}}, "colour": "red"}},
        wrong_urls={(400, "format"): "/sandbox?format=xml"},
    ),
    Call(
        "POST",
        "/jobs",
        "/jobs",
        body={"component": SCRIPT, "mode": "run", **INLINE},
        starts=True,
        wrong={
            "component": {"mode": "run", **INLINE},
            "Unknown attribute": {"component": SCRIPT, "colour": "red", **INLINE},
            "mode": {"component": SCRIPT, "mode": "fast", **INLINE},
        },
    ),
    Call(
        "GET",
        "/jobs",
        "/jobs",
        wrong_urls={
            (400, "limit"): "/jobs?limit=many",
            (400, "several times"): "/jobs?status=error&status=success&limit=1&limit=2",
            (400, "createdTimeFrom"): "/jobs?createdTimeFrom=1700000000",
            (400, "createdTimeTo"): "/jobs?createdTimeTo=-4.2e-283",
        },
    ),
    Call(
        "GET",
        "/jobs/{job_id}",
        f"/jobs/{JOB}",
        wrong_urls={(404, "job"): "/jobs/123456", (400, "this call has none"): "/jobs/123456?limit=1"},
    ),
    Call(
        "POST",
        "/jobs/{job_id}/terminate",
        f"/jobs/{JOB}/terminate",
        wrong_urls={(404, "job"): "/jobs/1/terminate", (400, "this call has none"): "/jobs/1/terminate?after=5"},
    ),
    _action("/{component}/action/{action}", f"/{SCRIPT}/action/say"),
    _action("/branch/{branch}/{component}/action/{action}", f"/branch/{BRANCH}/{SCRIPT}/action/say"),
    Call(
        "POST",
        "/encrypt",
        f"/encrypt?componentId={SCRIPT}",
        body={"#secret": "plain"},
        text=True,
        wrong_urls={
            (400, "componentId"): "/encrypt",
            (400, "colour"): f"/encrypt?componentId={SCRIPT}&colour=red",
            (400, "projectId"): f"/encrypt?componentId={SCRIPT}&configId=1",
        },
    ),
    Call(
        "POST",
        "/{component}/encrypt",
        f"/{SCRIPT}/encrypt",
        body={"#secret": "plain"},
        text=True,
        wrong_urls={(400, "colour"): f"/{SCRIPT}/encrypt?colour=red"},
    ),
    _resolve("/configuration/resolve", "/configuration/resolve"),
    _resolve("/branch/{branch}/configuration/resolve", f"/branch/{BRANCH}/configuration/resolve"),
    Call(
        "GET",
        "/stats/project",
        "/stats/project",
        wrong_urls={(400, "this call has none"): "/stats/project?fromDate=2026-01-01"},
    ),
    Call(
        "GET",
        "/stats/project/daily",
        "/stats/project/daily?fromDate=2026-01-01&toDate=2026-01-02&timezoneOffset=%2B02:00",
        wrong_urls={
            (400, "fromDate"): "/stats/project/daily?toDate=2026-01-02&timezoneOffset=%2B02:00",
            (400, "toDate"): "/stats/project/daily?fromDate=2026-01-01&toDate=tomorrow&timezoneOffset=%2B02:00",
            (400, "timezoneOffset"): "/stats/project/daily?fromDate=2026-01-01&toDate=2026-01-02",
            (400, "several times"): "/stats/project/daily?fromDate=2026-01-01&fromDate=2026-01-01&toDate=2026-01-02"
            "&timezoneOffset=%2B02:00",
        },
    ),
)
OPEN = "/health"
"""The one call that asks nobody who they are."""
GUARDED = tuple(call for call in CALLS if call.path != OPEN)
WITH_BODY = tuple(call for call in GUARDED if call.body is not None)
STARTS = tuple(call for call in CALLS if call.starts)
