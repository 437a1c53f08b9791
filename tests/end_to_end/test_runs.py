"""Configurations run as DAGs by a real Airflow, on real containers and a real Storage."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import docker
import pytest
from airflow_api import ApiError
from airflow_follow import RunError, RunResult, run_and_follow
from tests.end_to_end.running import WAIT, Running, states, until
from tests.installation import Installation

from docker_runner.engine.containers import LABEL_PREFIX
from docker_runner.job.images import pull_images
from docker_runner.job.plan import row_steps
from docker_runner.job.steps import create_workspace, perform
from docker_runner.job.supervision import Following, StillRunningError
from docker_runner.job.workspace import Workspace
from docker_runner.storage import open_ledger
from docker_runner.storage.events import Event, EventQuery, EventType
from docker_runner.storage.tokens import Access, Permissions

pytestmark = [pytest.mark.engine, pytest.mark.airflow]

COPY = "import shutil; shutil.copy('/data/in/tables/t.csv', '/data/out/tables/t.csv')"
MAPPING = {
    "input": {"tables": [{"source": "in.c-main.t", "destination": "t.csv"}]},
    "output": {"tables": [{"source": "t.csv", "destination": "out.c-main.copied"}]},
}


def containers(running: Running) -> list[str]:
    """Names of the containers of this installation's runs, found by label."""
    client = docker.from_env()
    try:
        own = f"{LABEL_PREFIX}installation={running.installation.settings.installation}"
        return [item.name for item in client.containers.list(all=True, ignore_removed=True, filters={"label": own})]
    finally:
        client.close()


def container_ids(running: Running) -> set[str]:
    """Their ids, of those that run."""
    client = docker.from_env()
    try:
        own = f"{LABEL_PREFIX}installation={running.installation.settings.installation}"
        return {item.id for item in client.containers.list(ignore_removed=True, filters={"label": own})}
    finally:
        client.close()


def test_every_step_is_a_task_and_the_result_is_in_storage(running: Running) -> None:
    running.installation.load("in.c-main.t", "id,v\n1,a\n2,b\n")
    running.installation.script("copy", COPY + "; print('two rows')", storage=MAPPING)
    result = running.run("copy")
    assert result.succeeded, running.log(result, "run_component")
    assert set(states(result)) == {
        "create_workspace",
        "pull_images",
        "load_tables",
        "write_config",
        "run_component",
        "unload_output",
        "unload_always",
        "clean_up",
    }
    assert states(result)["unload_always"] == "skipped"
    assert running.installation.rows("out.c-main.copied") == [{"id": "1", "v": "a"}, {"id": "2", "v": "b"}]
    assert "two rows" in running.log(result, "run_component")
    assert running.xcom(result, "load_tables")["tables"][0]["rows"] == 2
    assert running.xcom(result, "unload_output")["tables"][0]["id"] == "out.c-main.copied"
    assert running.installation.workspaces == []
    assert containers(running) == []


@pytest.mark.rules("LC-46", "CT-32")
def test_a_user_error_fails_at_once_with_the_components_message_and_cleans_up(running: Running) -> None:
    running.installation.script("fails", "import sys; print('No such account.', file=sys.stderr); sys.exit(1)")
    result = running.run("fails")
    assert result.state == "failed"
    task = next(task for task in result.tasks if task.task_id == "run_component")
    assert (task.state, task.attempt) == ("failed", 1)
    log = running.log(result, "run_component")
    assert "No such account." in log
    assert not [line for line in log if "Traceback" in line]
    assert states(result)["unload_output"] == "upstream_failed"
    assert running.installation.workspaces == []
    assert containers(running) == []


@pytest.mark.rules("LC-47", "CT-33")
def test_an_application_error_is_tried_again_and_starts_from_a_clean_folder(running: Running) -> None:
    script = (
        "import sys\n"
        "assert os.listdir('/data/out/tables') == [], 'left over'\n"
        "open('/data/out/tables/r.csv', 'w').write('n\\n1\\n')\n"
        "sys.exit(int(open('/data/go').read()))\n"
    )
    output = {"tables": [{"source": "r.csv", "destination": "out.c-main.retried", "incremental": True}]}
    running.installation.script("retried", WAIT + script, storage={"output": output})
    dag, run = running.trigger("retried")
    first = until(lambda: container_ids(running))
    running.go(dag, run, "3")
    until(lambda: container_ids(running) - first)
    running.go(dag, run, "0")
    result = running.wait(dag, run)
    assert result.succeeded, states(result)
    assert next(task.attempt for task in result.tasks if task.task_id == "run_component") > 1
    assert running.installation.rows("out.c-main.retried") == [{"n": "1"}]


@pytest.mark.thorough
@pytest.mark.rules("OM-17", "OM-100", "OM-103", "LC-36", "LC-37", "LC-46")
def test_a_row_that_fails_leaves_its_tables_with_write_always_and_the_run_stays_failed(running: Running) -> None:
    writes = "open('/data/out/tables/log.csv', 'w').write('line\\nbegun\\n')\n"
    manifest = "open('/data/out/tables/log.csv.manifest', 'w').write('{\"write_always\": true}')\n"
    fails = "import os, sys; sys.exit(1 if c['parameters']['fails'] else 0)"

    def row(name: str, *, fails: bool) -> dict[str, object]:
        output = {"tables": [{"source": "log.csv", "destination": f"out.c-always.{name}", "incremental": True}]}
        return {"parameters": {"fails": fails}, "storage": {"output": output}}

    rows = {"a": row("a", fails=False), "b": row("b", fails=True), "c": row("c", fails=False)}
    parameters = {"script": writes + manifest + fails}
    file = running.installation.configuration("always", {"parameters": parameters}, rows=rows)
    result = running.run("always")
    assert result.state == "failed"
    found = states(result)
    assert {name: found[f"row_{name}.unload_always"] for name in rows} == {
        "a": "skipped",
        "b": "success",
        "c": "skipped",
    }
    assert running.installation.rows("out.c-always.b") == [{"line": "begun"}]
    assert running.xcom(result, "row_b.unload_always")["tables"][0]["id"] == "out.c-always.b"
    assert "out.c-always.c" not in running.installation.tables()
    # Cleared and mended, the row goes on from where it failed.
    (file.parent / "rows/b/config.json").write_text(json.dumps(row("b", fails=False)))
    with running.airflow.api() as api:
        api.clear(result.dag_id, result.run_id, ["row_b.run_component"])
    again = running.wait(result.dag_id, result.run_id)
    assert again.succeeded, states(again)
    assert states(again)["row_b.unload_always"] == "skipped"
    assert running.installation.rows("out.c-always.b") == [{"line": "begun"}, {"line": "begun"}]
    assert "out.c-always.c" in running.installation.tables()
    # Before an image has run there is nothing to store.
    mapping = {"input": {"tables": [{"source": "in.c-main.absent"}]}}
    running.installation.script("no-input", writes + manifest, storage=mapping)
    result = running.run("no-input")
    assert result.state == "failed"
    assert states(result)["unload_always"] == "skipped"
    assert running.installation.workspaces == []


def test_clearing_the_last_step_of_a_finished_run_makes_what_it_needs_anew(running: Running) -> None:
    running.installation.load("in.c-main.t", "id,v\n1,a\n2,b\n")
    running.installation.script("cleared", COPY, storage=MAPPING)
    result = running.run("cleared")
    assert result.succeeded
    running.installation.load("in.c-main.t", "id,v\n3,c\n")
    with running.airflow.api() as api:
        api.clear(result.dag_id, result.run_id, ["unload_output"])
    again = running.wait(result.dag_id, result.run_id)
    assert again.succeeded, states(again)
    assert running.installation.rows("out.c-main.copied") == [{"id": "3", "v": "c"}]
    assert running.installation.workspaces == []


@pytest.mark.rules("RW-6", "RW-7", "LC-24")
def test_rows_are_groups_that_are_chosen_in_the_trigger_form(running: Running) -> None:
    rows = {
        name: {"parameters": {"script": f"open('/data/out/tables/r.csv', 'w').write('row\\n{name}\\n')"}}
        for name in ("a", "b", "c")
    }
    output = {"tables": [{"source": "r.csv", "destination": "out.c-main.rows", "incremental": True}]}
    running.installation.configuration("rows", {"storage": {"output": output}}, rows=rows, disabled_rows=("b",))
    result = running.run("rows")
    assert result.succeeded, states(result)
    assert running.installation.rows("out.c-main.rows") == [{"row": "a"}, {"row": "c"}]
    assert states(result)["row_b.run_component"] == "skipped"
    result = running.run("rows", rows=["b"])
    assert result.succeeded, states(result)
    assert running.installation.rows("out.c-main.rows") == [{"row": "a"}, {"row": "b"}, {"row": "c"}]
    assert states(result)["row_c.run_component"] == "skipped"


def test_a_broken_configuration_is_a_dag_that_carries_its_error_and_hides_no_other(running: Running) -> None:
    file = running.installation.configuration("broken", {})
    file.write_text('{"parameters": ')
    running.installation.script("beside", "print('fine')")
    assert running.run("beside").succeeded
    result = running.run("broken")
    assert result.state == "failed"
    assert any(
        f"{file}" in line and "line 1, column 16" in line for line in running.log(result, "broken_configuration")
    )
    with running.airflow.api() as api:
        details = api.call("GET", f"/dags/{result.dag_id}/details")
    assert "line 1, column 16" in details["doc_md"]
    file.unlink()


def test_a_wrong_value_in_the_trigger_form_starts_nothing(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    running.installation.script("asked", "print(1)")
    with pytest.raises(ApiError, match="mode"):
        running.run("asked", mode="fast")
    monkeypatch.setattr("airflow_follow.NEW_FILE_SECONDS", 3)
    with pytest.raises(RunError, match="askd"):
        running.run("askd")


def test_a_run_that_a_person_marks_as_failed_stops_its_container_and_stays_failed(running: Running) -> None:
    running.installation.script("stopped", "import time; time.sleep(120)")
    dag, run = running.trigger("stopped")
    until(lambda: containers(running))
    with running.airflow.api() as api:
        api.call("PATCH", f"/dags/{dag}/dagRuns/{run}", json={"state": "failed"})
    until(lambda: not containers(running))
    until(lambda: running.installation.workspaces == [])
    assert running.wait(dag, run).state == "failed"


@pytest.mark.thorough
def test_a_killed_worker_loses_nothing_and_leaves_nothing_behind(running: Running) -> None:
    script = "import time; time.sleep(4); open('/data/out/tables/r.csv', 'w').write('n\\n1\\n')"
    output = {"tables": [{"source": "r.csv", "destination": "out.c-main.survived", "incremental": True}]}
    running.installation.script("killed", script, storage={"output": output})
    dag, run = running.trigger("killed")
    until(lambda: containers(running))
    for pid in task_processes(running, dag, run):
        os.kill(pid, signal.SIGKILL)
    result = running.wait(dag, run)
    assert result.succeeded, states(result)
    assert next(task.attempt for task in result.tasks if task.task_id == "run_component") == 2
    assert running.installation.rows("out.c-main.survived") == [{"n": "1"}]
    assert containers(running) == []
    assert running.installation.workspaces == []


def task_processes(running: Running, dag: str, run: str) -> list[int]:
    """The process that runs the component's task, and its supervisor."""
    with running.airflow.api() as api:
        pid = next(task["pid"] for task in api.tasks(dag, run) if task["task_id"] == "run_component")
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return [parent, pid]


def test_xcom_holds_small_manifests_only(running: Running) -> None:
    running.installation.load("in.c-main.t", "id,v\n" + "".join(f"{n},marker-{n}\n" for n in range(2000)))
    running.installation.script("small", COPY, storage=MAPPING)
    result = running.run("small")
    assert result.succeeded
    for task in set(states(result)) - {"write_config", "unload_always", "clean_up"}:
        text = json.dumps(running.xcom(result, task))
        assert len(text) < 2000, task
        assert "marker-1" not in text


def test_the_housekeeping_dag_removes_what_an_ended_run_left_and_leaves_a_live_run_alone(running: Running) -> None:
    installation = running.installation
    waits = "import os, time\nprint('begun', flush=True)\nwhile not os.path.exists('/data/go'): time.sleep(0.1)"
    secret = "left-behind-secret"
    parameters = {"script": waits, "#p": installation.cipher(secret)}
    installation.configuration("alive", {"parameters": parameters})
    installation.configuration("dies", {"parameters": {**parameters, "script": "print('done')"}})
    ended = running.run("dies")
    assert ended.succeeded
    dag, run = running.trigger("alive")
    (alive,) = until(lambda: containers(running))
    left = leave_behind(installation, f"{ended.dag_id}/{ended.run_id}")
    assert len(containers(running)) == 2
    assert len(files_with(secret, installation.settings.workspaces)) == 2
    done = run_and_follow(
        running.airflow, "docker_runner_housekeeping", conf={"ended_hours": 0, "image_days": 36_500}, timeout=150
    )
    assert done.succeeded, running.log(done, "clean")
    said = running.xcom(done, "clean").splitlines()
    assert said[0] == "Removed 1 containers, 1 workspaces, 0 images."
    assert f"  workspace {left.name}" in said
    assert said[0] in "\n".join(running.log(done, "clean"))
    assert not left.exists()
    assert containers(running) == [alive]
    (config,) = files_with(secret, installation.settings.workspaces)
    (config.parent / "go").touch()
    result = running.wait(dag, run)
    assert result.succeeded, states(result)
    assert installation.workspaces == []
    assert containers(running) == []


def leave_behind(installation: Installation, job_id: str) -> Path:
    """What a run leaves when everything is killed at once: a container that runs, and its folders with a secret."""
    tools = installation.tools()
    job = replace(installation.job("alive"), id=job_id)
    workspace = Workspace(installation.settings.workspaces, job_id)
    create_workspace(job, workspace, tools)
    images = pull_images(job, tools)
    row = job.rows[0]
    manifests = {"pull_images": images}
    for step in row_steps(row.configuration, row.component):
        if step.name == "run_component":
            with suppress(StillRunningError):
                perform(
                    step, workspace=workspace, row_id=row.row_id, tools=tools, manifests=manifests,
                    following=Following(series="1", leave_after=0),
                )  # fmt: skip
            return workspace.folder
        manifests[step.name] = perform(step, workspace=workspace, row_id=row.row_id, tools=tools, manifests=manifests)
    raise AssertionError("it has no container")


def files_with(secret: str, folder: Path) -> list[Path]:
    """Files that hold a secret in plain text."""
    return [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_a_run_gets_no_further_than_its_storage_token_and_tells_its_events(running: Running) -> None:
    installation = running.installation
    installation.load("in.c-guarded.t", "id\n1\n")
    ledger = open_ledger(installation.settings.storage)
    buckets = {"in.c-guarded": Access.READ, "out.c-guarded": Access.WRITE}
    good = ledger.create_token("guarded", Permissions(buckets), creator="test")
    poor = ledger.create_token("poor", Permissions(), creator="test")
    good_cipher, poor_cipher = installation.cipher(good.secret), installation.cipher(poor.secret)
    storage = {
        "input": {"tables": [{"source": "in.c-guarded.t", "destination": "t.csv"}]},
        "output": {"tables": [{"source": "t.csv", "destination": "out.c-guarded.copied"}]},
    }
    installation.script("guarded", COPY, storage=storage, runtime={"#storage_token": good_cipher})
    # The token that comes with a run counts before that of its configuration.
    refused = running.run("guarded", storage_token=poor_cipher)
    assert refused.state == "failed"
    message = f"The Storage {poor.token.title} may not read the table in.c-guarded.t"
    assert any(message in line for line in running.log(refused, "create_workspace"))
    assert "out.c-guarded.copied" not in installation.tables()
    result = running.run("guarded")
    assert result.succeeded, running.log(result, "create_workspace")
    assert installation.rows("out.c-guarded.copied") == [{"id": "1"}]

    def events(run: RunResult) -> list[Event]:
        return list(ledger.events(EventQuery(run=f"{run.dag_id}/{run.run_id}")))

    told = events(result)
    assert {event.source.token_id for event in told} == {good.token.id}
    steps = [event.results["step"] for event in told if "step" in event.results]
    assert steps == ["pull_images", "load_tables", "write_config", "run_component", "unload_output"]
    assert (told[-1].type, told[-1].message) == (EventType.SUCCESS, "Component processing finished.")
    assert any(message in event.message for event in events(refused) if event.type is EventType.ERROR)
    kept = b"".join(path.read_bytes() for path in installation.folder.rglob("*") if path.is_file())
    assert good_cipher.encode() in kept  # The configuration itself, so the right folder was searched.
    for token in (good, poor):
        assert token.secret.encode() not in kept
