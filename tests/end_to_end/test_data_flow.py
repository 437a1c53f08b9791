"""Configurations that start by themselves, flows, and merged runs, in a real Airflow with its scheduler."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow_follow import known_dag
from tests.end_to_end.running import Running, states, until
from tests.installation import SCRIPT

from docker_runner.project.dag_ids import dag_id

pytestmark = [pytest.mark.engine, pytest.mark.airflow]

REPOSITORY = Path(__file__).parents[2]
SAMPLE = "sample.daily-delays"
SAMPLE_FOLDER = Path("project", "main", "transformation", SAMPLE, "new-york-delays")
DELAYS = "out.c-nycflights.daily_delays"
FLOW = "keboola.orchestrator"
NIGHT = "this-night"
COPY = "import shutil; shutil.copy('/data/in/tables/t.csv', '/data/out/tables/t.csv')"
WRITES = "open('/data/out/tables/r.csv', 'w').write('row\\n{name}\\n')"


@pytest.fixture(scope="module")
def started(running: Running) -> Iterator[Running]:
    """The sample project's daily delays on a schedule, what follows them, and a flow; all of them have been started."""
    installation = running.installation
    sample = installation.folder / SAMPLE_FOLDER
    shutil.copytree(REPOSITORY / "include/project/main/transformation" / SAMPLE / "new-york", sample)
    for file in (REPOSITORY / "include" / "components").glob("*.json"):
        shutil.copy(file, installation.folder / "components")
    write_schedule(running, "enabled")
    installation.load("in.c-nycflights.flights", (REPOSITORY / "include/sample_data/flights.csv").read_text())
    storage = {
        "input": {"tables": [{"source": DELAYS, "destination": "t.csv"}]},
        "output": {"tables": [{"source": "t.csv", "destination": "out.c-flow.report"}]},
    }
    installation.script("report", COPY, runtime={"trigger": "any_input"}, storage=storage)
    _write_flow(running)
    with running.airflow.api() as api:
        for dag in (dag_id(SAMPLE, "new-york-delays"), dag_id(SCRIPT, "report")):
            known_dag(running.airflow, api, dag)
            api.set_paused(dag, False)
        known_dag(running.airflow, api, dag_id(FLOW, "nightly"))
    yield running
    shutil.rmtree(sample)


def write_schedule(running: Running, state: str) -> None:
    """Give the sample a schedule for every minute, or one that is switched off."""
    schedule = {"cronTab": "* * * * *", "timezone": "UTC", "state": state}
    file = SAMPLE_FOLDER / "schedules" / "daily" / "config.json"
    (running.installation.folder / file).write_text(json.dumps({"schedule": schedule}))


def _write_flow(running: Running) -> None:
    """Two phases: one task of the first fails and may do so, the other is a merged run, as is that of the second."""
    installation = running.installation
    installation.script("no-luck", "import sys; sys.exit(1)")
    rows = {
        "quick": {"parameters": {"script": WRITES.format(name="quick")}},
        "slow": {"parameters": {"script": f"import time; time.sleep(9); {WRITES.format(name='slow')}"}},
        "left-out": {"parameters": {"script": WRITES.format(name="left-out")}},
    }
    output = {"tables": [{"source": "r.csv", "destination": "out.c-flow.rows", "incremental": True}]}
    merged = {"runtime": {"granularity": "merged"}, "storage": {"output": output}}
    installation.configuration("in-one", merged, rows=rows)
    installation.configuration("not-to-be-read", {}).write_text("{")
    phases = [{"id": 1, "name": "First"}, {"id": 2, "name": "Second", "dependsOn": [1]}]
    targets: list[tuple[int, str, dict[str, Any]]] = [
        (1, "no-luck", {}),
        (1, "in-one", {"configRowIds": ["quick"]}),
        (2, "in-one", {"configRowIds": ["left-out"]}),
    ]
    tasks = [
        {
            "id": number,
            "name": f"{config} in phase {phase}",
            "phase": phase,
            "continueOnFailure": config == "no-luck",
            "task": {"componentId": SCRIPT, "configId": config, "mode": "run", **job},
        }
        for number, (phase, config, job) in enumerate(targets)
    ]
    installation.configuration("nightly", {"phases": phases, "tasks": tasks}, component=FLOW)


def runs(running: Running, dag: str) -> list[dict[str, Any]]:
    with running.airflow.api() as api:
        found: list[dict[str, Any]] = api.call("GET", f"/dags/{dag}/dagRuns")["dag_runs"]
    return sorted(found, key=lambda run: str(run["run_after"]))


def all_ended(running: Running, *dags: str) -> bool:
    return all(run["state"] in ("success", "failed") for dag in dags for run in runs(running, dag))


def test_a_flow_runs_its_phases_in_order_and_goes_on_after_a_failure_that_may_be(started: Running) -> None:
    target = dag_id(SCRIPT, "in-one")
    # As if a worker had been killed right after it had started the run of this task.
    own = {"dag_run_id": f"{dag_id(FLOW, 'nightly')}--{NIGHT}--phase_1.task_1", "conf": {"rows": ["quick"]}}
    with started.airflow.api() as api:
        known_dag(started.airflow, api, target)
        api.call("POST", f"/dags/{target}/dagRuns", json={"logical_date": None, **own})
        night = {"logical_date": None, "dag_run_id": NIGHT}
        api.call("POST", f"/dags/{dag_id(FLOW, 'nightly')}/dagRuns", json=night)
    result = started.wait(dag_id(FLOW, "nightly"), NIGHT)
    assert result.succeeded, states(result)
    assert states(result) == {
        "phase_1.task_0": "failed",
        "phase_1.task_1": "success",
        "phase_1.gate": "success",
        "phase_2.task_2": "success",
        "phase_2.gate": "success",
    }
    first, second = runs(started, target)
    assert first["dag_run_id"] == own["dag_run_id"]
    assert second["conf"] == {"rows": ["left-out"], "orchestration_id": f"{result.dag_id}/{NIGHT}"}
    assert second["start_date"] > first["end_date"]
    assert [run["state"] for run in runs(started, dag_id(SCRIPT, "no-luck"))] == ["failed"]
    assert started.installation.rows("out.c-flow.rows") == [{"row": "left-out"}, {"row": "quick"}]


def test_a_schedule_runs_the_sample_and_the_table_that_it_writes_starts_what_reads_it(started: Running) -> None:
    sample, report = dag_id(SAMPLE, "new-york-delays"), dag_id(SCRIPT, "report")
    found = until(lambda: runs(started, report), seconds=400)
    # A run of a DAG that is paused meanwhile would stop where it is, and keep its folder; without a schedule it ends.
    write_schedule(started, "disabled")
    with started.airflow.api() as api:
        known_dag(started.airflow, api, sample)
    until(lambda: all_ended(started, sample, report), seconds=400)
    by_schedule = next(run for run in runs(started, sample) if run["run_type"] == "scheduled")
    assert by_schedule["state"] == "success"
    assert found[0]["run_type"] == "asset_triggered"
    assert started.wait(report, found[0]["dag_run_id"]).succeeded
    assert started.installation.rows("out.c-flow.report") == started.installation.rows(DELAYS)
    with started.airflow.api() as api:
        events = api.call("GET", f"/dags/{report}/dagRuns/{found[0]['dag_run_id']}/upstreamAssetEvents")["asset_events"]
    assert events[0]["uri"] == f"docker-runner://storage/{DELAYS}"
    assert events[0]["source_dag_id"] == sample
    assert events[0]["extra"]["rows"] == len(started.installation.rows(DELAYS))
    assert events[0]["extra"]["bytes"] > 0
    assert events[0]["extra"]["commit"]
    assert isinstance(events[0]["extra"]["snapshot"], int)


def test_a_merged_run_is_one_task_which_leaves_its_container_to_the_triggerer_and_goes_on(started: Running) -> None:
    result = started.run("in-one", rows=["quick", "slow"])
    assert states(result) == {"run_job": "success"}
    assert "Leaving the container to the triggerer; the worker is free." in started.log(result, "run_job")
    manifest = started.xcom(result, "run_job")
    assert manifest["slow.run_component"]["exit_code"] == 0
    assert manifest["quick.unload_output"]["tables"][0]["id"] == "out.c-flow.rows"
    assert {"row": "slow"} in started.installation.rows("out.c-flow.rows")


def test_parsing_again_makes_no_new_version_and_what_is_broken_hides_no_other(started: Running) -> None:
    dags = [
        dag_id(SCRIPT, "in-one"),
        dag_id(SCRIPT, "report"),
        dag_id(FLOW, "nightly"),
        dag_id(SAMPLE, "new-york-delays"),
    ]
    with started.airflow.api() as api:
        # Its schedule was switched off.
        own = api.call("GET", f"/dags/{dags[-1]}/dagVersions")["total_entries"]
        for _ in range(2):
            (started.installation.folder / "components" / "touched.txt").write_text("x")
            for dag in dags:
                known_dag(started.airflow, api, dag)
        versions = {dag: api.call("GET", f"/dags/{dag}/dagVersions")["total_entries"] for dag in dags}
        broken = api.call("GET", f"/dags/{dag_id(SCRIPT, 'not-to-be-read')}/details")
        assert api.import_errors() == []
    assert versions == dict.fromkeys(dags, 1) | {dags[-1]: own}
    assert "line 1, column 2" in broken["doc_md"]
