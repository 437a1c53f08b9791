"""What a component remembers from run to run."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest
from tests.installation import SCRIPT, Installation

from docker_runner.errors import ComponentError, ConfigurationError, UserError
from docker_runner.job.run import run_job

pytestmark = pytest.mark.engine

COUNT = """
import json
state = json.load(open('/data/in/state.json'))
print('got', json.dumps(state))
json.dump({**state, 'n': state.get('n', 0) + 1}, open('/data/out/state.json', 'w'))
"""


def write_state(state: Any) -> str:
    return f"import json; json.dump({state!r}, open('/data/out/state.json', 'w'))\n"


@pytest.mark.rules("ST-3", "EN-12", "LG-20")
def test_secrets_of_a_state_are_plain_for_the_component_and_nowhere_else(installation: Installation) -> None:
    secret = "t0ken-of-the-state"
    # The key has to be there.
    installation.cipher("any")
    script = (
        f"s = {secret[::-1]!r}[::-1]\nimport json\n"
        "json.dump({'#token': s, 'deep': [{'#t': s}], 'open': 'o'}, open('/data/out/state.json', 'w'))"
    )
    installation.script("first", script)
    installation.run("first")
    stored = installation.state("first")["component"]
    assert stored["#token"].startswith("KBC::ProjectSecure::")
    assert stored["deep"][0]["#t"].startswith("KBC::ProjectSecure::")
    assert stored["open"] == "o"
    check = "import json; s = json.load(open('/data/in/state.json')); print(len(s['#token']), s['deep'][0]['#t'])"
    installation.script("first", check)
    installation.run("first")
    assert f"{len(secret)} [hidden]" in installation.lines
    assert not [line for line in installation.lines if secret in line]


@pytest.mark.rules("EN-12", "CD-61")
def test_a_project_with_a_protected_branch_binds_states_to_the_kind_of_branch(installation: Installation) -> None:
    installation.variables["DOCKER_RUNNER_FEATURES"] = "protected-default-branch"
    installation.cipher("any")
    installation.script("first", write_state({"#token": "t0ken"}))
    installation.run("first")
    assert installation.state("first")["component"]["#token"].startswith("KBC::BranchTypeSecure::")
    installation.script("first", COUNT)
    installation.run("first")
    assert 'got {"#token": "[hidden]"}' in installation.lines


@pytest.mark.rules("ST-6")
def test_other_root_keys_survive_also_when_somebody_changes_them_meanwhile(installation: Installation) -> None:
    installation.script("counts", COUNT)
    installation.store_state("counts", {"component": {"n": 1}, "data_app": {"id": "before"}})

    def change(_row: str, step: str, _seconds: float) -> None:
        if step == "run_component":
            installation.store_state("counts", {"component": {"n": 1}, "data_app": {"id": "meanwhile"}})

    run_job(installation.job("counts"), installation.tools(), on_step=change)
    assert installation.state("counts") == {
        "component": {"n": 2},
        "storage": {"input": {"tables": [], "files": []}},
        "data_app": {"id": "meanwhile"},
    }


@pytest.mark.rules("ST-5", "ST-8")
@pytest.mark.parametrize("script", ["pass", write_state({}), "open('/data/out/state.json', 'w')"])
def test_a_component_that_writes_no_state_loses_the_one_it_had(installation: Installation, script: str) -> None:
    installation.store_state("forgets", {"component": {"n": 1}})
    installation.script("forgets", script)
    installation.run("forgets")
    assert installation.state("forgets")["component"] == {}


@pytest.mark.rules("ST-1", "ST-2", "LC-30")
@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ({"other": 1}, r"state of test\.script/wrong: Unknown key 'other'"),
        ({"component": "x"}, r"state of test\.script/wrong: component: Must be a map"),
        ({"component": {"#t": "plain"}}, r"state of test\.script/wrong: #t: The value is not encrypted"),
    ],
)
def test_a_stored_state_that_cannot_be_used_is_told_before_the_component_runs(
    installation: Installation, state: dict[str, Any], problem: str
) -> None:
    installation.store_state("wrong", state)
    installation.script("wrong", "print('has run')")
    with pytest.raises(ConfigurationError, match=problem):
        installation.run("wrong")
    assert "has run" not in installation.lines
    assert installation.state("wrong") == state


@pytest.mark.rules("ST-9", "D25", "ST-10")
@pytest.mark.parametrize(
    ("written", "problem"),
    [('{"n": 1,\\n"m": }', r"out/state\.json.*line 2"), ("5", r"out/state\.json: The state must be a map")],
)
def test_a_new_state_that_is_not_valid_names_the_place_and_stores_nothing(
    installation: Installation, written: str, problem: str
) -> None:
    script = f"open('/data/out/state.json', 'w').write('{written}')\nopen('/data/out/tables/t', 'w').write('a\\n1\\n')"
    installation.script("bad", script, storage={"output": {"default_bucket": "out.c-main"}})
    with pytest.raises(ConfigurationError, match=problem):
        installation.run("bad")
    assert installation.state("bad") == {}
    assert installation.tables() == []


@pytest.mark.rules("ST-7", "BR-1")
def test_each_row_and_each_branch_has_a_state_of_its_own(installation: Installation) -> None:
    rows = {"a": {}, "b": {}}
    for branch in ("main", "dev"):
        installation.configuration("counts", {"parameters": {"script": COUNT}}, rows=rows, branch=branch)
    installation.run("counts")
    installation.run("counts", rows=["b"])
    installation.variables["DOCKER_RUNNER_BRANCH"] = "dev"
    installation.run("counts")
    assert [installation.state("counts", row=row).get("component") for row in ("a", "b", "")] == [
        {"n": 1}, {"n": 2}, None,
    ]  # fmt: skip
    assert [installation.state("counts", row=row, branch="dev")["component"] for row in "ab"] == [{"n": 1}, {"n": 1}]


@pytest.mark.rules("ST-10", "LC-22", "LC-64", "CF-39")
def test_nothing_is_remembered_of_failed_debugged_and_inline_runs(installation: Installation) -> None:
    state = {"component": {"n": 1}}
    installation.store_state("counts", state)
    installation.script("counts", COUNT)
    installation.run("counts", mode="debug")
    assert installation.state("counts") == state
    installation.script("counts", COUNT + "raise SystemExit(1)")
    with pytest.raises(ComponentError):
        installation.run("counts")
    assert installation.state("counts") == state
    installation.lines.clear()
    result = installation.run("unknown", config_data={"parameters": {"script": COUNT}})
    assert result.manifests["unload_output"]["state"] is False
    assert installation.state("unknown") == {}
    assert "got {}" in installation.lines


@pytest.mark.rules("LC-22", "CF-39")
def test_a_run_that_brings_its_own_configuration_begins_empty_and_stores_for_the_one_it_names(
    installation: Installation,
) -> None:
    installation.store_state("counts", {"component": {"n": 7}})
    installation.script("counts", "pass")
    installation.run("counts", config_data={"parameters": {"script": COUNT}})
    assert "got {}" in installation.lines
    assert installation.state("counts")["component"] == {"n": 1}


@pytest.mark.rules("ST-10", "LC-31")
@pytest.mark.parametrize("staging", [{"input": "none"}, {"output": "none"}])
def test_a_component_without_mapping_has_a_state_too(installation: Installation, staging: dict[str, str]) -> None:
    installation.component("test.none", {"network": "none", "staging_storage": staging})
    script = COUNT + "open('/data/out/tables/t.csv', 'w').write('a\\n1\\n'); open('/data/out/files/f', 'w')"
    storage = {"output": {"default_bucket": "out.c-main"}}
    installation.script("counts", script, component="test.none", storage=storage)
    for _ in range(2):
        result = installation.run("counts", component="test.none")
    assert installation.state("counts", component="test.none")["component"] == {"n": 2}
    assert (installation.tables(), installation.files()) == ([], [])
    assert result.manifests["unload_output"]["state"] is True


@pytest.mark.rules("ST-11", "LC-54")
def test_a_configuration_that_is_removed_while_it_runs_still_succeeds(installation: Installation) -> None:
    file = installation.script("gone", COUNT)

    def remove(_row: str, step: str, _seconds: float) -> None:
        if step == "run_component":
            shutil.rmtree(file.parent)

    result = run_job(installation.job("gone"), installation.tools(), on_step=remove)
    assert result.manifests["unload_output"]["state"] is False
    assert installation.state("gone") == {}
    assert f"The configuration {SCRIPT}/gone was removed while it ran: its state is not stored." in installation.lines


@pytest.mark.rules("ST-12")
@pytest.mark.parametrize(("size", "warned"), [(900_000, False), (1_000_001, True)])
def test_a_large_state_is_stored_with_a_warning(installation: Installation, size: int, warned: bool) -> None:
    installation.script("large", f"import json; json.dump({{'x': 'y' * {size}}}, open('/data/out/state.json', 'w'))")
    installation.run("large")
    assert len(installation.state("large")["component"]["x"]) == size
    assert bool([line for line in installation.lines if "larger than 1 MB" in line]) is warned


def test_a_state_that_holds_a_secret_needs_a_key_and_says_so(installation: Installation) -> None:
    installation.script("keyless", write_state({"#token": "t0ken"}))
    with pytest.raises(UserError, match="no encryption key"):
        installation.run("keyless")
    assert json.dumps(installation.state("keyless")) == "{}"
