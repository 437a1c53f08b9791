"""Orchestrations and flows as DAGs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.installation import SCRIPT, Installation

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
FLOW = "keboola.flow"


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def flow(installation: Installation, name: str, phases: list[dict[str, Any]], tasks: list[dict[str, Any]]) -> Path:
    content = {"phases": phases, "tasks": tasks}
    return installation.configuration(name, content, component="keboola.orchestrator")


def task(number: int, phase: int, config: str, **options: Any) -> dict[str, Any]:
    job = options.pop("job", {})
    target = {"componentId": SCRIPT, "configId": config, "mode": "run", **job}
    return {"id": number, "name": f"Task {number}", "phase": phase, "task": target, **options}


def dag_of(installation: Installation, name: str) -> Any:
    from docker_runner_airflow.dag_factory import build_dags

    return build_dags(installation.settings)[f"keboola.orchestrator--{name}"]


def upstream(dag: Any) -> dict[str, set[str]]:
    return {item.task_id: set(item.upstream_task_ids) for item in dag.tasks}


def test_phases_follow_each_other_and_their_tasks_run_at_once(installation: Installation) -> None:
    for name in ("a", "b", "c"):
        installation.configuration(name, {})
    phases = [{"id": 1, "name": "First"}, {"id": 2, "name": "Second", "dependsOn": [1]}]
    tasks = [
        task(11, 1, "a"),
        task(12, 1, "b"),
        task(13, 1, "b", enabled=False),
        task(21, 2, "c", job={"configRowIds": [], "tag": "1.2", "mode": "debug"}),
    ]
    flow(installation, "daily", phases, tasks)
    dag = dag_of(installation, "daily")
    assert upstream(dag) == {
        "phase_1.task_11": set(),
        "phase_1.task_12": set(),
        "phase_1.gate": {"phase_1.task_11", "phase_1.task_12"},
        "phase_2.task_21": {"phase_1.gate"},
        "phase_2.gate": {"phase_2.task_21"},
    }
    assert dag.get_task("phase_2.task_21").target == f"{SCRIPT}--c"
    assert dag.get_task("phase_2.task_21").asked == {"mode": "debug", "tag": "1.2"}
    assert dag.get_task("phase_1.task_11").asked == {}
    assert "Task 13" in dag.doc_md


def test_a_task_that_may_fail_is_waited_for_by_a_gate_that_knows_it(installation: Installation) -> None:
    installation.configuration("a", {})
    phases = [{"id": 1, "name": "First"}]
    flow(installation, "daily", phases, [task(11, 1, "a", continueOnFailure=True), task(12, 1, "a")])
    gate = dag_of(installation, "daily").get_task("phase_1.gate")
    assert gate.may_fail == ("phase_1.task_11",)
    assert gate.trigger_rule == "all_done"


@pytest.mark.parametrize(
    ("states", "opens"),
    [
        ({"a": "failed", "b": "success"}, True),
        ({"a": "success", "b": "failed"}, False),
        ({"a": "upstream_failed", "b": "success"}, False),
        ({"a": "skipped", "b": "success"}, False),
    ],
)
def test_a_gate_opens_for_failures_that_may_be_and_for_nothing_else(
    states: dict[str, str], opens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import docker_runner_airflow.flow_operators as flow_operators
    from docker_runner_airflow.retries import StepFailed

    gate = flow_operators.GateOperator(task_id="gate", may_fail=("a",))
    gate.upstream_task_ids.update(states)
    monkeypatch.setattr(flow_operators, "task_states", lambda _: states)
    if opens:
        gate.execute({})
    else:
        with pytest.raises(StepFailed, match="The phase failed"):
            gate.execute({})


def test_a_flow_has_its_schedule_and_is_paused_until_somebody_switches_it_on(installation: Installation) -> None:
    installation.configuration("a", {})
    file = flow(installation, "daily", [{"id": 1, "name": "First"}], [task(11, 1, "a")])
    folder = file.parent / "schedules" / "s"
    folder.mkdir(parents=True)
    schedule = {"cronTab": "0 6 * * *", "timezone": "Europe/Prague", "state": "enabled"}
    (folder / "config.json").write_text(json.dumps({"schedule": schedule}))
    dag = dag_of(installation, "daily")
    assert dag.timetable.summary == "0 6 * * *"
    assert dag.is_paused_upon_creation


def test_a_flow_with_an_error_is_a_dag_that_carries_it_and_hides_no_other(installation: Installation) -> None:
    installation.configuration("a", {})
    flow(installation, "broken", [{"id": 1, "name": "First"}], [task(11, 1, "nothing")])
    flow(installation, "sound", [{"id": 1, "name": "First"}], [task(11, 1, "a")])
    broken = dag_of(installation, "broken")
    assert "broken" in broken.tags
    assert f"There is no configuration {SCRIPT}/nothing" in str(broken.doc_md)
    assert "flow" in dag_of(installation, "sound").tags


def test_a_task_that_brings_its_configuration_runs_it_itself(installation: Installation) -> None:
    content = {"parameters": {"script": "print(1)"}}
    job = {"configData": content, "configId": None}
    flow(installation, "inline", [{"id": 1, "name": "First"}], [task(11, 1, "", job=job)])
    item = dag_of(installation, "inline").get_task("phase_1.task_11")
    assert type(item).__name__ == "MergedOperator"
    assert item.asked == {"config_data": content}
