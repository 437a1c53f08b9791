"""A writer that fails and still reports what it could not write; and its actions, which answer while somebody waits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.workbench import Workbench

from docker_runner.errors import ApplicationError, ComponentError

pytestmark = pytest.mark.engine

ACTIONS = ["testConnection", "listBooks", "reset"]
GOOD, BAD = "account,amount\na,1\nb,2\n", "account,amount\na,1\nb,many\n"
PASSWORD = "open sesame"


def writer(
    workbench: Workbench, *, password: str = PASSWORD, logging: dict[str, Any] | None = None, **parameters: Any
) -> str:
    component = workbench.register("wr-ledger", {"synchronous_actions": ACTIONS, "logging": logging or {}})
    storage = {
        "input": {"tables": [{"source": "in.c-main.amounts", "destination": "amounts.csv"}]},
        "output": {"default_bucket": "out.c-ledger"},
    }
    secret = workbench.secret(component, password)
    workbench.configuration(
        "main", {"parameters": {"#password": secret, **parameters}, "storage": storage}, component=component
    )
    return component


@pytest.mark.rules("EV-9", "EV-21", "OM-100", "OM-103", "LC-36", "LC-46", "OM-35", "CT-32")
def test_a_failing_component_keeps_the_table_that_it_always_writes_and_nothing_else(workbench: Workbench) -> None:
    component = writer(workbench)
    workbench.load("in.c-main.amounts", BAD)
    with pytest.raises(ComponentError, match=r"^1 amounts were refused; they are in the table refused\.$"):
        workbench.run("main", component=component)
    assert workbench.tables() == ["in.c-main.amounts", "out.c-ledger.refused"]
    assert workbench.rows("out.c-ledger.refused") == [{"account": "b", "amount": "many", "reason": "not a number"}]
    assert workbench.state("main", component=component) == {}
    assert workbench.left_behind() == []

    workbench.load("in.c-main.amounts", GOOD)
    workbench.run("main", component=component)
    assert [row["account"] for row in workbench.rows("out.c-ledger.written")] == ["a", "b"]
    assert len(workbench.rows("out.c-ledger.refused")) == 1
    assert workbench.state("main", component=component)["component"] == {"written": 2}


@pytest.mark.rules("CT-33", "LC-47", "OM-100", "OM-102")
def test_a_crash_is_no_fault_of_the_users_and_keeps_that_table_too(workbench: Workbench) -> None:
    component = writer(workbench, stop=True)
    workbench.load("in.c-main.amounts", BAD)
    with pytest.raises(ApplicationError, match=r"wr-ledger.*\(2\) (?s:.*)The ledger burst into flames\."):
        workbench.run("main", component=component)
    assert workbench.tables() == ["in.c-main.amounts", "out.c-ledger.refused"]
    assert workbench.state("main", component=component) == {}
    assert workbench.left_behind() == []


@pytest.mark.rules("EV-21", "OM-100")
def test_without_the_queue_feature_the_package_leaves_write_always_out_and_nothing_is_kept(
    workbench: Workbench,
) -> None:
    component = writer(workbench)
    workbench.load("in.c-main.amounts", BAD)
    done = workbench.command("run", f"{component}/main", DOCKER_RUNNER_FEATURES="artifacts,new-native-types")
    assert done.returncode == 1
    assert workbench.tables() == ["in.c-main.amounts"]


@pytest.mark.rules("LC-46", "LC-47")
@pytest.mark.parametrize(("stop", "code"), [(False, 1), (True, 2)])
def test_the_command_line_ends_as_the_component_did(workbench: Workbench, stop: bool, code: int) -> None:
    component = writer(workbench, stop=stop)
    workbench.load("in.c-main.amounts", BAD)
    done = workbench.command("run", f"{component}/main")
    assert done.returncode == code
    assert "Error: " in done.stderr
    assert PASSWORD not in done.stdout + done.stderr


def act(workbench: Workbench, action: str, parameters: dict[str, Any], *, component: str) -> tuple[int, str, str]:
    """Call an action of the command line as a form would."""
    file = workbench.folder / "action.json"
    file.write_text(json.dumps({"parameters": parameters}))
    done = workbench.command("action", component, action, "--config", str(file))
    return done.returncode, done.stdout, done.stderr


@pytest.mark.rules("LC-70", "LC-71", "LC-72", "LC-74", "LC-75", "LC-76")
@pytest.mark.parametrize(
    ("action", "answer"),
    [
        ("testConnection", {"message": "The ledger is open.", "type": "success", "status": "success"}),
        ("listBooks", [{"value": "red", "label": "Red"}, {"value": "black", "label": "Black"}]),
        ("reset", {"status": "success"}),
    ],
)
def test_an_action_answers_with_the_components_own_json(workbench: Workbench, action: str, answer: Any) -> None:
    component = writer(workbench)
    code, said, _ = act(workbench, action, {"#password": PASSWORD, "books": ["red", "black"]}, component=component)
    assert code == 0
    assert json.loads(said) == answer
    assert workbench.tables() == []
    assert workbench.left_behind() == []


@pytest.mark.rules("LC-74", "LC-76", "CT-32")
def test_an_action_that_fails_says_why(workbench: Workbench) -> None:
    component = writer(workbench)
    code, said, error = act(workbench, "testConnection", {"#password": "guess"}, component=component)
    assert (code, said) == (1, "")
    assert "The ledger does not know this password." in error
    assert "Traceback" not in error


@pytest.mark.rules("LC-70")
@pytest.mark.parametrize("action", ["run", "listbooks"])
def test_only_registered_actions_can_be_called(workbench: Workbench, action: str) -> None:
    component = writer(workbench)
    code, said, error = act(workbench, action, {"#password": PASSWORD}, component=component)
    assert (code, said) == (1, "")
    assert action in error


@pytest.mark.rules("CD-20", "LC-75")
def test_what_a_component_meant_for_a_gelf_server_is_no_part_of_its_answer(workbench: Workbench) -> None:
    component = writer(workbench, logging={"type": "gelf"})
    talkative = {"#password": PASSWORD, "talkative": True}
    code, said, log = act(workbench, "testConnection", talkative, component=component)
    assert code == 0, log
    assert json.loads(said)["message"] == "The ledger is open."
    assert "Opening the ledger with [hidden]." in log


@pytest.mark.rules("LC-75")
def test_a_component_that_mixes_its_answer_with_its_log_is_told_so(workbench: Workbench) -> None:
    component = writer(workbench)
    talkative = {"#password": PASSWORD, "talkative": True}
    code, said, log = act(workbench, "testConnection", talkative, component=component)
    assert (code, said) == (2, "")
    assert "The component's answer is not JSON" in log
    assert PASSWORD not in log
