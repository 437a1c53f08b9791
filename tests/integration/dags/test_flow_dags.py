"""Orchestrations and flows as DAGs."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
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


def test_phases_and_tasks_have_ids_of_their_own_whatever_they_are_called(installation: Installation) -> None:
    installation.configuration("a", {})
    ids = ("1", "a b", "a_20_b", "y" * 197)
    phases = [{"id": name, "name": name} for name in ids]
    names = ("x y", "x_20_y", "z" * 46, "z" * 240)
    tasks = [{**task(0, 1, "a"), "id": f"{n}{name}", "phase": phase} for n, phase in enumerate(ids) for name in names]
    flow(installation, "daily", phases, tasks)
    dag = dag_of(installation, "daily")
    assert "broken" not in dag.tags
    assert len(dag.tasks) == len(ids) * (len(names) + 1)
    found = {item.task_id for item in dag.tasks}
    assert {"phase_1.task_0" + "z" * 46, "phase_a_20_b.task_2x_20_y", "phase_a_20_b.gate"} <= found
    assert all(len(name) <= 250 for name in found)


def test_a_task_whose_worker_was_killed_is_tried_again_whatever_the_flow_says_of_repeating(
    installation: Installation,
) -> None:
    installation.configuration("a", {})
    retry = {"strategy": "linear", "strategyParams": {"maxRetries": 7, "delay": 30}}
    own = {"configData": {}, "configId": None}
    tasks = [
        task(1, 1, "a", continueOnFailure=True), task(2, 1, "a", job={"retry": retry}),
        task(3, 1, "", job=own), task(4, 1, "", job={**own, "retry": retry}),
    ]  # fmt: skip
    flow(installation, "daily", [{"id": 1, "name": "First"}], tasks)
    dag = dag_of(installation, "daily")
    found = {item.task_id.partition(".")[2]: item for item in dag.tasks}
    assert {name: item.retries for name, item in found.items()} == {
        "task_1": 3, "task_2": 10, "task_3": 3, "task_4": 7, "gate": 3,
    }  # fmt: skip
    assert {item.retry_delay.total_seconds() for item in dag.tasks} == {5.0}
    pauses = {name: item.retry_policy.evaluate(ValueError(), 2, 9).retry_delay for name, item in found.items()}
    assert {name: pause.total_seconds() for name, pause in pauses.items()} == {
        "task_1": 10.0, "task_2": 30.0, "task_3": 10.0, "task_4": 30.0, "gate": 10.0,
    }  # fmt: skip
    assert (found["task_1"].repeats, found["task_2"].repeats) == (0, 7)


class Airflow:
    """As much of Airflow's server as a task of a flow asks, with its own messages; it loses answers when told to."""

    def __init__(self) -> None:
        self.runs: dict[str, str] = {}
        self.conf: dict[str, Any] = {}
        self.loses_an_answer = False

    def send(self, msg: Any) -> Any:
        from airflow.sdk.exceptions import ErrorType
        from airflow.sdk.execution_time import comms

        if isinstance(msg, comms.GetDRCount):
            return comms.DRCount(count=sum(run in self.runs for run in msg.run_ids or ()))
        if isinstance(msg, comms.GetDagRunState):
            return comms.DagRunStateResult(state=self.runs[msg.run_id])  # type: ignore[arg-type]
        if isinstance(msg, comms.GetDag):
            nothing = dict.fromkeys(("bundle_name", "bundle_version", "relative_fileloc", "owners", "next_dagrun"))
            return comms.DagResult(dag_id=msg.dag_id, is_paused=False, tags=[], **nothing)
        assert isinstance(msg, comms.TriggerDagRun)
        if msg.run_id in self.runs:
            return comms.ErrorResponse(error=ErrorType.DAGRUN_ALREADY_EXISTS)
        self.runs[msg.run_id] = "queued"
        self.conf = msg.conf or {}
        if self.loses_an_answer:
            # The client asks again.
            self.loses_an_answer = False
            return self.send(msg)
        return comms.OKResponse(ok=True)

    @property
    def states(self) -> list[str]:
        """States of all runs, by the order of their starts."""
        return list(self.runs.values())

    def end(self, state: str) -> None:
        self.runs[list(self.runs)[-1]] = state


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    from airflow.sdk.execution_time import task_runner

    import docker_runner_airflow.flow_operators as flow_operators

    server = Airflow()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", server, raising=False)
    monkeypatch.setattr(flow_operators, "triggerer_runs", lambda: True)
    return server


class Attempts:
    """Attempts of a flow's task that is asked to repeat a failed run."""

    def __init__(self, *, repeats: int = 0, max_tries: int | None = None, run_id: str = "run") -> None:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        from docker_runner_airflow.flow_operators import RunConfigurationOperator

        retries = 3 + repeats
        given: dict[str, Any] = {"task_id": "task_1", "retries": retries}
        self.operator = RunConfigurationOperator(target="target", asked={"tag": "1"}, repeats=repeats, **given)
        own = {"dag_id": "flow", "run_id": run_id, "task_id": "task_1", "max_tries": max_tries or retries}
        questions = {
            name: getattr(RuntimeTaskInstance, name) for name in ("get_dr_count", "get_dagrun_state", "get_dag")
        }
        self.context = {"ti": SimpleNamespace(**own, **questions)}

    def attempt(self) -> Any:
        """An attempt, as a worker begins one; gives what it leaves to the triggerer, or None when it has ended well."""
        from airflow.sdk.exceptions import TaskDeferred

        try:
            self.operator.execute(self.context)
        except TaskDeferred as left:
            return left
        return None

    def resume(self, left: Any, states: dict[str, str]) -> None:
        getattr(self.operator, left.method_name)(self.context, event=("trigger", states), **left.kwargs)


def test_an_attempt_after_a_killed_worker_finds_the_run_and_starts_none_beside_it(airflow: Airflow) -> None:
    task = Attempts()
    first = task.attempt()
    assert airflow.conf == {"tag": "1", "orchestration_id": "flow/run"}
    (run,) = airflow.runs
    for state in ("queued", "running"):
        # The worker was killed when it had started the run, or when it was to take the verdict.
        airflow.end(state)
        again = task.attempt()
        assert again.trigger.run_ids == first.trigger.run_ids == [run]
    airflow.end("success")
    assert task.attempt() is None
    task.resume(again, airflow.runs)
    assert airflow.states == ["success"]


def test_a_run_that_failed_is_repeated_as_often_as_the_flow_says_and_killed_workers_do_not_count(
    airflow: Airflow,
) -> None:
    from docker_runner_airflow.retries import StepFailed

    task = Attempts(repeats=1)
    left = task.attempt()
    airflow.end("failed")
    with pytest.raises(StepFailed, match="The run flow--run--task_1 of target failed") as failure:
        task.resume(left, airflow.runs)
    assert failure.value.can_be_repeated
    left = task.attempt()
    assert [task.attempt().trigger.run_ids for _ in range(3)] == [["flow--run--task_1--again-1"]] * 3
    airflow.end("failed")
    for verdict in (lambda: task.resume(left, airflow.runs), task.attempt, task.attempt):
        with pytest.raises(StepFailed, match="The run flow--run--task_1--again-1 of target failed") as failure:
            verdict()
        assert not failure.value.can_be_repeated
    assert airflow.states == ["failed", "failed"]


def test_a_run_that_failed_unseen_is_not_repeated_when_the_flow_does_not_ask_for_it(airflow: Airflow) -> None:
    from docker_runner_airflow.retries import StepFailed

    task = Attempts()
    task.attempt()
    airflow.end("failed")
    with pytest.raises(StepFailed) as failure:
        task.attempt()
    assert not failure.value.can_be_repeated
    assert airflow.states == ["failed"]


def test_who_clears_the_task_has_another_run(airflow: Airflow) -> None:
    Attempts().attempt()
    airflow.end("failed")
    cleared = Attempts(max_tries=5)
    assert cleared.attempt().trigger.run_ids == ["flow--run--task_1--2"]
    assert cleared.attempt().trigger.run_ids == ["flow--run--task_1--2"]
    assert airflow.states == ["failed", "queued"]


def test_runs_of_a_flow_with_a_long_id_have_ids_of_their_own(airflow: Airflow) -> None:
    from docker_runner_airflow.retries import StepFailed

    task = Attempts(repeats=1, run_id="r" * 200)
    left = task.attempt()
    airflow.end("failed")
    with pytest.raises(StepFailed):
        task.resume(left, airflow.runs)
    task.attempt()
    assert airflow.states == ["failed", "queued"]
    assert all(len(run) <= 200 for run in airflow.runs)


def test_a_run_whose_start_was_not_answered_is_waited_for(airflow: Airflow) -> None:
    airflow.loses_an_answer = True
    assert Attempts().attempt().trigger.run_ids == ["flow--run--task_1"]
    assert airflow.states == ["queued"]


def test_without_a_triggerer_the_task_waits_itself_also_for_a_run_that_it_found(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    import docker_runner_airflow.flow_operators as flow_operators

    class Killed(BaseException):
        pass

    monkeypatch.setattr(flow_operators, "triggerer_runs", lambda: False)
    moments = iter(
        [lambda: airflow.end("running"), Killed, lambda: airflow.end("running"), lambda: airflow.end("success")]
    )

    def sleep(_seconds: float) -> None:
        moment = next(moments)
        if moment is Killed:
            raise Killed
        moment()

    monkeypatch.setattr(flow_operators.time, "sleep", sleep)
    task = Attempts()
    with pytest.raises(Killed):
        task.attempt()
    assert task.attempt() is None
    assert airflow.states == ["success"]
    assert next(moments, None) is None


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
