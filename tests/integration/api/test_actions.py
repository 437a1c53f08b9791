"""Synchronous actions over HTTP, with a real engine."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from anyio import to_thread
from tests.installation import Installation, build_script_image, container_names
from tests.integration.api.clients import Api, error_of, serving

from docker_runner.job import action as action_module
from docker_runner_airflow.api.action_places import ActionPlaces
from docker_runner_airflow.api.errors import ApiError

pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

COMPONENT = f"test.asked-{os.getpid()}"
SILENT = "test.silent"
LOOK = f"/{COMPONENT}/action/look"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    build_script_image(os.environ.get("DOCKER_RUNNER_BASE_IMAGE") or "docker-runner/base:latest")
    installation = Installation(tmp_path_factory.mktemp("actions"))
    installation.component(COMPONENT, {"network": "none", "synchronous_actions": ["look", "run"]})
    installation.component(SILENT)
    installation.configuration("c", {}, branch="dev-1")
    installation.variables["DOCKER_RUNNER_API_ACTIONS"] = "1"
    with serving(installation) as api:
        yield api


@pytest.fixture
def last_thread(api: Api) -> Iterator[None]:
    """Leave the server one of the threads that its calls share."""
    portal = api.client.portal
    assert portal
    limiter = portal.call(to_thread.current_default_thread_limiter)
    before = limiter.total_tokens
    portal.call(setattr, limiter, "total_tokens", 1)
    yield
    portal.call(setattr, limiter, "total_tokens", before)


def look(api: Api, script: str, *, path: str = LOOK, **parameters: Any) -> Any:
    return api.post(path, {"configData": {"parameters": {"script": script, **parameters}}})


def left_behind(api: Api) -> list[str]:
    return [name for name in container_names() if COMPONENT in name] + api.installation.workspaces


@pytest.mark.rules("API-16", "API-39", "LC-75")
@pytest.mark.parametrize("answer", ['{"ř": [1, null, {}, []], "component": "x"}', '"text"', "17", "[1, 2.5]", "null"])
def test_the_answer_is_exactly_what_the_component_printed(api: Api, answer: str) -> None:
    got = look(api, f"print({answer!r})")
    assert (got.status_code, got.json()) == (200, json.loads(answer))
    assert got.headers["Content-Type"] == "application/json"
    assert left_behind(api) == []


@pytest.mark.rules("API-17", "LC-71", "LC-72", "LC-74")
def test_an_action_knows_its_branch_and_its_secrets_and_nothing_of_storage(api: Api) -> None:
    cipher = api.installation.cipher("c1pher-s3cret", component=COMPONENT)
    script = (
        "import os\n"
        "found = sorted(os.path.join(p, f) for p, _, fs in os.walk('/data') for f in fs)\n"
        "told = [len(c['parameters'][name]) for name in ('#plain', '#cipher')]\n"
        "print(json.dumps([c['action'], os.environ['KBC_BRANCHID'], found, told, c['parameters']['#plain']]))"
    )
    parameters = {"script": script, "#plain": "pl4in-s3cret", "#cipher": cipher}
    storage = {"input": {"tables": [{"source": "in.c-one.t"}]}}
    body = {"configData": {"parameters": parameters, "storage": storage}}
    got = api.post(f"/branch/dev-1{LOOK}", body)
    assert got.json() == ["look", "dev-1", ["/data/config.json"], [12, 13], "[hidden]"]
    body["configData"]["parameters"] = {"#cipher": api.installation.cipher("x", component="another.one")}
    message = error_of(api.post(LOOK, body), 400)
    assert "parameters.#cipher: The cipher was made for another component" in message


@pytest.mark.rules("API-38", "LC-70", "API-32")
def test_what_is_wrong_is_told_in_an_order_that_callers_know(api: Api) -> None:
    good: dict[str, Any] = {"configData": {"parameters": {"script": "print(1)"}}}
    for path, said in (
        ("/no.body/action/look", "'no.body' is not registered"),
        (f"/{'x' * 300}/action/look", "at most 200"),
        (f"/{'ř' * 150}/action/look", "is not registered"),
        ("/a%00b/action/look", "is not registered"),
        (f"/{COMPONENT}/action/other", "has no action 'other'; it has: look."),
        (f"/{SILENT}/action/run", "has no action 'run'; it has: none."),
        (f"/branch/gone{LOOK}", "no branch 'gone'"),
    ):
        status = 400 if "at most" in said else 404
        # Whatever the body, and whoever asks.
        for body, token in ((good, None), ({}, None), (good, api.reader)):
            message = error_of(api.post(path, body, token=token), status)
            assert said in message
            assert str(api.installation.folder) not in message
    for body, token in ((good, None), ({}, api.reader)):
        assert "cannot be called" in error_of(api.post(f"/{COMPONENT}/action/run", body, token=token), 405)
    assert error_of(api.post(LOOK, {}, token=api.reader), 400) == "configData is missing."
    assert "may only read" in error_of(api.post(LOOK, good, token=api.reader), 400)


@pytest.mark.rules("API-39", "LC-75", "LC-76", "D8", "API-3")
def test_failures_are_the_users_or_the_components(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    for script, status, said in (
        ("import sys; sys.exit('Wrong password s3cret.')", 400, "Wrong password [hidden]."),
        ("import sys; print('at s3cret line', file=sys.stderr); sys.exit(3)", 500, "The runner failed. Try again"),
        ("print(' ')", 400, "The component did not answer"),
        ("print('not s3cret {')", 500, "The runner failed. Try again"),
    ):
        answer = look(api, script, **{"#p": "s3cret"})
        assert error_of(answer, status).startswith(said)
        assert "s3cret" not in answer.text
        if status == 500:
            assert "line" not in answer.text
            assert answer.json()["exceptionId"] in caplog.text
    assert "s3cret" not in caplog.text
    wrong = api.post(LOOK, {"configData": {"storage": 5}})
    assert "storage" in error_of(wrong, 400)
    assert left_behind(api) == []


@pytest.mark.rules("LC-73", "API-39", "D8")
def test_an_action_that_takes_too_long_is_the_users_error(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(action_module, "TIME_LIMIT_SECONDS", 1)
    assert "timeout of 1 second" in error_of(look(api, "import time; time.sleep(60)"), 400)
    assert left_behind(api) == []


def test_whoever_finds_all_places_taken_is_told_at_once(api: Api, last_thread: None) -> None:
    waits = "import os, time\nwhile not os.path.exists('/data/go'): time.sleep(0.05)\nprint(1)"
    first: list[Any] = []
    thread = threading.Thread(target=lambda: first.append(look(api, waits)))
    thread.start()
    deadline = time.monotonic() + 120
    while not [name for name in container_names() if COMPONENT in name]:
        assert thread.is_alive(), first
        assert time.monotonic() < deadline
        time.sleep(0.05)
    answer = look(api, "print(2)")
    assert thread.is_alive(), first
    assert "As many actions are running as may at a time (1," in error_of(answer, 429)
    assert int(answer.headers["Retry-After"]) > 0
    # The other calls have threads of their own.
    text = {"Content-Type": "text/plain"}
    assert api.call("POST", f"/{COMPONENT}/encrypt", content="x", headers=text).status_code == 200
    assert thread.is_alive(), first
    (config,) = api.installation.settings.workspaces.rglob("config.json")
    (config.parent / "go").touch()
    thread.join()
    assert first[0].json() == 1
    assert look(api, "print(2)").json() == 2


@pytest.mark.parametrize(("number", "of_one"), [(1, 1), (2, 1), (3, 2), (8, 4)])
def test_one_caller_leaves_half_of_the_places_to_others(number: int, of_one: int) -> None:
    places = ActionPlaces(number)
    with ExitStack() as held:
        for _ in range(of_one):
            held.enter_context(places.taken("ann"))
        with pytest.raises(ApiError, match=r"your actions|at a time") as refused, places.taken("ann"):
            pass
        assert refused.value.status_code == 429
        for name in range(number - of_one):
            held.enter_context(places.taken(f"other {name}"))
        with pytest.raises(ApiError, match=f"at a time .{number}, DOCKER_RUNNER_API_ACTIONS"), places.taken("bob"):
            pass
    with places.taken("ann"):
        pass


@pytest.mark.rules("API-3")
def test_an_engine_that_is_down_is_no_fault_of_the_caller(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{api.installation.folder}/no.sock")
    answer = look(api, "print(1)")
    assert error_of(answer, 500).startswith("The Docker engine failed or cannot be reached. Try again")
    assert "no.sock" not in answer.text
    monkeypatch.undo()
    assert look(api, "print(1)").json() == 1
