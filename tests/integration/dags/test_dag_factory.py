"""What DAGs Airflow gets from a project."""

from __future__ import annotations

import contextlib
import gc
import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.installation import SCRIPT, Installation

from docker_runner.errors import RunnerError
from docker_runner.project.shards import SIZE

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

PROCESSOR = {"definition": {"component": SCRIPT}}
TABLES = {"input": {"tables": [{"source": "in.c-main.t"}]}}


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def dags(installation: Installation) -> dict[str, Any]:
    from docker_runner_airflow.dag_factory import build_dags

    return build_dags(installation.settings)


def upstream(dag: Any) -> dict[str, set[str]]:
    return {task.task_id: set(task.upstream_task_ids) for task in dag.tasks}


def schedule(installation: Installation, name: str, *schedules: dict[str, Any]) -> None:
    file = installation.configuration(name, {})
    for number, content in enumerate(schedules):
        folder = file.parent / "schedules" / str(number)
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"schedule": content}))


@pytest.mark.rules("LC-33")
def test_a_configuration_has_only_the_tasks_that_it_needs(installation: Installation) -> None:
    installation.configuration("plain", {})
    processors = {"before": [PROCESSOR], "after": [PROCESSOR, PROCESSOR]}
    installation.configuration("full", {"storage": TABLES, "processors": processors})
    found = dags(installation)
    assert upstream(found[f"{SCRIPT}--plain"]) == {
        "create_workspace": set(),
        "pull_images": {"create_workspace"},
        "write_config": {"create_workspace", "pull_images"},
        "run_component": {"write_config"},
        "unload_output": {"run_component"},
        "unload_always": {"run_component", "unload_output"},
        "clean_up": {"create_workspace", "unload_output", "unload_always"},
    }
    full = upstream(found[f"{SCRIPT}--full"])
    assert full["load_tables"] == {"create_workspace"}
    assert full["write_config"] == {"load_tables", "pull_images"}
    order = ["write_config", "before_1", "run_component", "after_1", "after_2", "unload_output"]
    assert [full[later] for later in order[1:]] == [{earlier} for earlier in order[:-1]]
    assert full["unload_always"] == set(order[1:])


@pytest.mark.parametrize("granularity", ["steps", "merged"])
def test_a_task_whose_worker_was_killed_is_tried_again_within_seconds(
    installation: Installation, granularity: str
) -> None:
    installation.configuration("main", {"runtime": {"granularity": granularity}})
    tasks = dags(installation)[f"{SCRIPT}--main"].tasks
    assert {(task.retry_delay.total_seconds(), task.retries) for task in tasks} == {(5.0, 3)}


@pytest.mark.rules("LC-36", "LC-37")
def test_what_is_stored_after_a_failure_waits_for_one_and_its_row_is_not_waited_for(
    installation: Installation,
) -> None:
    installation.configuration("rows", {"storage": TABLES}, rows={"a": {}, "b": {}})
    dag = dags(installation)[f"{SCRIPT}--rows"]
    for row in ("a", "b"):
        task = dag.get_task(f"row_{row}.unload_always")
        assert task.trigger_rule == "one_failed"
        assert task.upstream_task_ids == {f"row_{row}.run_component", f"row_{row}.unload_output"}
        assert task.downstream_task_ids == {"clean_up"}


@pytest.mark.rules("LC-23", "LC-81")
def test_rows_run_one_after_the_other_or_as_many_at_once_as_wanted(installation: Installation) -> None:
    rows: dict[str, Any] = {"a": {}, "b": {}, "c": {}}
    installation.configuration("serial", {}, rows=rows)
    installation.configuration("two", {"runtime": {"parallelism": "2"}}, rows=rows)
    installation.configuration("all", {"runtime": {"parallelism": "infinity"}}, rows=rows)
    found = dags(installation)
    waits = {
        name: [upstream(found[f"{SCRIPT}--{name}"])[f"row_{row}.write_config"] - {"pull_images"} for row in rows]
        for name in ("serial", "two", "all")
    }
    assert waits == {
        "serial": [set(), {"row_a.unload_output"}, {"row_b.unload_output"}],
        "two": [set(), set(), {"row_a.unload_output"}],
        "all": [set(), set(), set()],
    }


def test_every_row_has_a_group_of_its_own_whatever_its_id_is(installation: Installation) -> None:
    rows: dict[str, Any] = {name: {} for name in ("1", "a.b", "a b", "a_20_b", "a_b", "x" * 196, "y" * 197, "é" * 90)}
    installation.configuration("main", {}, rows=rows)
    dag = dags(installation)[f"{SCRIPT}--main"]
    groups = {task.row_id: task.group for task in dag.tasks if task.row_id}
    digest = r"[0-9a-f]{16}"
    expected = {
        "1": "row_1", "a.b": "row_a_2e_b", "a b": f"row-a_20_b-{digest}", "a_20_b": "row_a_20_b", "a_b": "row_a_b",
        "x" * 196: "row_" + "x" * 196, "y" * 197: f"row-y{{179}}-{digest}", "é" * 90: f"row-(_e9_)+.*-{digest}",
    }  # fmt: skip
    assert groups.keys() == expected.keys()
    for row, group in groups.items():
        assert re.fullmatch(expected[row], group), row
        assert len(group) <= 200
    # Whoever is on another machine finds the same.
    again = dags(installation)[f"{SCRIPT}--main"]
    assert again.task_ids == dag.task_ids
    assert {task.task_id for task in dag.tasks if task.row_id == "a b"} >= {f"{groups['a b']}.run_component"}


def test_a_configuration_of_no_branch_of_the_manifest_is_a_dag_that_says_so(installation: Installation) -> None:
    installation.configuration("main", {})
    item = {"branchId": 2, "componentId": SCRIPT, "id": "main", "path": f"other/{SCRIPT}/main"}
    file = installation.folder / "project" / ".keboola" / "manifest.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"branches": [{"id": 1, "path": "main"}], "configurations": [item]}))
    (dag,) = dags(installation).values()
    assert dag.dag_id == f"{SCRIPT}--main"
    assert "The manifest has no branch 2; its branches are: 1 (main)." in str(dag.doc_md)


@pytest.mark.parametrize(
    "broken",
    [
        [{"cronTab": "99 * * * *"}],
        [{"cronTab": "* * *"}],
        [{"cronTab": "0 6 * * *", "timezone": "Europe/Prag"}],
        [{"cronTab": "0 6 * * *", "timezone": "UTC"}, {"cronTab": "0 7 * * *", "timezone": "Europe/Prague"}],
    ],
)
def test_a_schedule_that_cannot_be_is_an_error_of_its_own_dag_only(
    installation: Installation, broken: list[dict[str, Any]]
) -> None:
    schedule(installation, "broken", *broken)
    schedule(installation, "sound", {"cronTab": "0 6 * * *", "timezone": "Europe/Prague"})
    found = dags(installation)
    assert "broken" in found[f"{SCRIPT}--broken"].tags
    assert "schedule" in str(found[f"{SCRIPT}--broken"].doc_md)
    assert "broken" not in found[f"{SCRIPT}--sound"].tags
    assert type(found[f"{SCRIPT}--sound"].timetable).__name__ == "CronTriggerTimetable"


def test_what_airflow_refuses_does_not_hide_the_other_dags(installation: Installation) -> None:
    component = "vendor." + "x" * 120
    installation.component(component, {})
    installation.configuration("long-" + "y" * 160, {}, component=component)
    installation.configuration("unknown", {}, component="vendor." + "z" * 230)
    installation.configuration("sound", {})
    found = dags(installation)
    assert len(found) == 3
    assert all(len(name) <= 250 for name in found)
    assert "broken" not in found[f"{SCRIPT}--sound"].tags


def test_an_unknown_component_and_broken_json_are_told_in_the_dags_documentation(installation: Installation) -> None:
    installation.configuration("unknown", {}, component="vendor.nothing")
    installation.configuration("json", {}).write_text("{")
    found = dags(installation)
    assert "'vendor.nothing' is not registered" in str(found["vendor.nothing--unknown"].doc_md)
    assert "line 1, column 2" in str(found[f"{SCRIPT}--json"].doc_md)


@pytest.mark.parametrize("in_row", [False, True])
def test_a_mistake_that_can_be_read_is_told_in_the_dags_documentation_and_takes_no_task_away_from_runs_at_work(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, in_row: bool
) -> None:
    table = {"source": "in.c-main.t", "destination": "t.csv", "columns": ["{{columns}}"]}

    def configured(table: dict[str, Any]) -> Any:
        content = {"storage": {"input": {"tables": [table]}}}
        rows = {"one": content, "two": {}} if in_row else None
        installation.configuration("main", {} if in_row else content, rows=rows)
        return dags(installation)[f"{SCRIPT}--main"]

    sound, broken = configured(table), configured({**table, "colums": ["a"]})
    assert "broken" not in sound.tags
    assert "broken" in broken.tags
    problem = "storage.input.tables[0]: Unknown key 'colums'; did you mean 'columns'?"
    assert f"config.json:1: {problem}" in str(broken.doc_md)
    assert broken.description == problem
    assert broken.task_ids == sound.task_ids
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", broken.dag_id)
    (of_task,) = dags(installation).values()
    assert of_task.task_ids == sound.task_ids


def test_configurations_whose_dags_would_have_one_id_become_one_that_names_them(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from docker_runner_airflow.dag_factory import build_dags

    names = {"x y", "x_20_y", *(f"c{number}" for number in range(SIZE))}
    for name in names:
        installation.configuration(name, {})
    name = f"{SCRIPT}--x_20_y"
    shards = [build_dags(installation.settings, shard=shard) for shard in range(2)]
    # Wherever the two lie, one file has the DAG.
    (dag,) = [dags[name] for dags in shards if name in dags]
    assert f"{SCRIPT}/x y and {SCRIPT}/x_20_y would be DAGs of one id" in str(dag.doc_md)
    assert sum(len(dags) for dags in shards) == len(names) - 1
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", name)
    (own,) = dags(installation).values()
    assert own.task_ids == dag.task_ids == ["broken_configuration"]


def test_a_task_builds_only_the_dag_that_it_belongs_to(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.configuration("wanted", {})
    installation.configuration("other", {}).write_text("{ not even read")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", f"{SCRIPT}--wanted")
    assert list(dags(installation)) == [f"{SCRIPT}--wanted"]


def test_parsing_twice_gives_the_same_dag_version(installation: Installation) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    installation.configuration("same", {"storage": TABLES}, rows={"a": {}, "b": {}})
    first, second = (
        {name: DagSerialization.to_dict(dag) for name, dag in dags(installation).items()} for _ in range(2)
    )
    assert first == second
    # Params stand in the DAG once, not in each of its tasks.
    assert json.dumps(first).count("How to run it.") == 1


@pytest.mark.rules("BR-1", "BR-2")
def test_the_dags_of_another_branch_carry_its_name_and_run_what_stands_in_it(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.configuration("plain", {})
    installation.configuration("oven", {}, branch="dev")
    assert set(dags(installation)) == {f"{SCRIPT}--plain"}
    installation.variables["DOCKER_RUNNER_BRANCH"] = "dev"
    found = dags(installation)
    assert set(found) == {f"dev--{SCRIPT}--oven"}
    assert found[f"dev--{SCRIPT}--oven"].get_task("create_workspace").branch == "dev"
    installation.configuration("other", {}, branch="dev").write_text("{ not even read")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", f"dev--{SCRIPT}--oven")
    assert list(dags(installation)) == [f"dev--{SCRIPT}--oven"]


@pytest.mark.rules("LC-84", "VR-4")
def test_the_trigger_form_offers_what_a_stored_configuration_can_be_run_in_and_stored_values(
    installation: Installation,
) -> None:
    installation.configuration("plain", {"variables_id": "v"})
    params = dags(installation)[f"{SCRIPT}--plain"].params
    assert params.get_param("mode").schema["enum"] == ["run", "forceRun", "debug", "dry-run", "input"]
    assert params["values"] == ""


@pytest.mark.rules("EN-10")
@pytest.mark.parametrize(
    ("data", "taken"),
    [
        ({"parameters": {"#a": "hunter2"}}, False),
        ({"parameters": {"deep": [{"#a": 1}]}}, False),
        ({"#a": {"b": {"#c": "KBC::ProjectSecure::x\ny", "#d": "hunter2"}}}, False),
        ({"#a": "KBC::ProjectSecure::gAAA", "b": {"#c": "", "#d": "{{ vault.d }}", "#e": None, "f": "plain"}}, True),
        ({}, True),
    ],
)
def test_a_configuration_with_plain_secrets_is_refused_before_airflow_keeps_it(
    installation: Installation, data: dict[str, Any], taken: bool
) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    installation.configuration("main", {})
    params = dags(installation)[f"{SCRIPT}--main"].params
    if taken:
        params["config_data"] = data
        assert params.validate()["config_data"] == data
    else:
        with pytest.raises(ParamValidationError):
            params["config_data"] = data


def test_what_no_database_could_hold_is_kept_out_of_what_airflow_stores_in_columns(installation: Installation) -> None:
    file = installation.configuration("main", {})
    file.with_name("meta.json").write_text(json.dumps({"name": "a\0b"}))
    file.with_name("description.md").write_text("c\0d")
    broken = installation.configuration("broken", {})
    broken.with_name("meta.json").write_text(json.dumps({"name": {"e\0f": 1}, "isDisabled": "e\0f"}))
    found = dags(installation)
    for dag in found.values():
        shown = [dag.dag_display_name, dag.description, *dag.tags, *(task.task_display_name for task in dag.tasks)]
        assert not any("\0" in str(text) for text in shown)
    assert found[f"{SCRIPT}--main"].description == "c\ufffdd"


@pytest.mark.parametrize("is_on", [True, False])
def test_the_garbage_collector_waits_and_is_then_as_it_was(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, is_on: bool
) -> None:
    from docker_runner.project.configuration import Project

    seen: list[bool] = []
    monkeypatch.setattr(Project, "has", lambda *_: seen.append(gc.isenabled()))
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", f"{SCRIPT}--gone")
    (gc.enable if is_on else gc.disable)()
    try:
        assert dags(installation) == {}
        assert (seen, gc.isenabled()) == ([False], is_on)
        (installation.folder / "project" / "main").rmdir()
        with contextlib.suppress(RunnerError):
            dags(installation)
        assert gc.isenabled() is is_on
    finally:
        gc.enable()
