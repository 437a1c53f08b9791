"""How what tasks returned and told becomes the result of a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from docker_runner.storage.events import Event, EventSource, EventType, new_event

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ROWS = ["a b", "z", "a"]
IMAGES = {
    "images": {
        "main": {
            "reference": "quay.io/acme/main:1.2",
            "digests": ["quay.io/acme/main@sha256:12"],
            "id": "x",
            "pulled": True,
        },
        "processor": {"reference": "docker-runner/move:1", "digests": [], "id": "y", "pulled": False},
    }
}
CREATED = {"rows": ROWS, "version": "v7", "variables": {"city": "Ostrava", "vault.pin": "1234"}}
# JSON columns of PostgreSQL do not keep the order of keys.
SHUFFLED = ("after_2", "run_component", "before_1", "after_10", "unload_output", "load_tables", "load_files")


def manifests(row: str) -> dict[str, dict[str, Any]]:
    table = {"destination": "in/tables/t.csv", "bytes": 10, "last_import_date": "2026-01-01", "columns": 2}
    written = {"table_rows": 20, "bytes": 7, "commit": "c", "snapshot": 1, "created": True}
    container = {"image": "docker-runner/move:1", "exit_code": 0}
    return {
        "before_1": container,
        "after_2": container,
        "after_10": container,
        "run_component": {
            **container,
            "image": "quay.io/acme/main:1.2",
            "usage": [{"metric": row, "value": 1}],
            "artifacts": {"downloaded": [5]},
        },
        "load_tables": {"tables": [{"source": f"in.c-x.{row}", "rows": 3, **table}]},
        "load_files": {"files": [{"id": 4, "destination": "in/files/4_f.txt", "bytes": 100}]},
        "unload_output": {
            "tables": [{"id": f"out.c-x.{row}", "rows": 2, **written}],
            "files": [{"id": 6, "name": "r.txt", "bytes": 1000}],
            "variables": {row: 1},
            "artifacts": {"uploaded": [7]},
        },
    }


def of_tasks(rows: list[str]) -> list[tuple[str, str, Any]]:
    from docker_runner_airflow.task_ids import LONGEST_GROUP, own_ids

    groups = own_ids("row", ROWS, longest=LONGEST_GROUP)
    own = [(f"{groups[row]}.{step}", "return_value", manifests(row)[step]) for row in sorted(rows) for step in SHUFFLED]
    return [("create_workspace", "return_value", CREATED), ("pull_images", "return_value", IMAGES), *own]


def of_one_task(rows: list[str], key: str = "return_value") -> list[tuple[str, str, Any]]:
    own = {f"{row}.{step}": manifests(row)[step] for row in sorted(rows) for step in SHUFFLED}
    return [("run_job", key, {**own, "pull_images": IMAGES, "create_workspace": CREATED})]


def event(kind: EventType, message: str, results: Mapping[str, Any], *, row: str = "") -> Event:
    return new_event(EventSource("dag/run", "run", row_id=row), kind, message, results=results)


def of_events(rows: list[str]) -> list[Event]:
    own = [
        event(EventType.SUCCESS, "Done.", {"step": step, **manifests(row)[step]}, row=row)
        for row in rows
        for step in SHUFFLED
    ]
    return [event(EventType.SUCCESS, "Images are ready.", {"step": "pull_images", **IMAGES}), *own]


def reports(xcoms: Any, events: Any = ()) -> Any:
    from docker_runner_airflow.api.job_reports import Reports

    return Reports.of(xcoms, events)


@pytest.mark.rules("LC-8", "LC-9", "US-4", "OM-78", "VR-12")
@pytest.mark.parametrize("told", [of_tasks, of_one_task])
def test_a_job_of_many_tasks_and_one_of_a_single_task_have_the_same_result(told: Any) -> None:
    found = reports(told(ROWS))
    main = {"id": "acme/main:1.2", "digests": ["acme/main@sha256:12"]}
    move: dict[str, Any] = {"id": "docker-runner/move:1", "digests": []}
    assert found.images() == [[move, main, move, move]] * 3
    assert [table["id"] for table in found.output_tables()] == ["out.c-x.a b", "out.c-x.z", "out.c-x.a"]
    assert found.output_tables()[1] == {"id": "out.c-x.z", "name": "z", "rows": 2, "tableRows": 20, "bytes": 7}
    assert found.input_tables()[0] == {
        "id": "in.c-x.a b", "name": "a b", "destination": "in/tables/t.csv", "rows": 3, "bytes": 10,
        "lastImportDate": "2026-01-01",
    }  # fmt: skip
    assert found.input_files()[0] == {"id": 4, "name": "4_f.txt", "bytes": 100}
    assert found.output_files()[0] == {"id": 6, "name": "r.txt", "bytes": 1000}
    assert found.usage() == [{"metric": row, "value": 1} for row in ROWS]
    assert found.output_variables() == {"a b": 1, "z": 1, "a": 1}
    assert found.artifacts() == {"uploaded": [{"storageFileId": 7}] * 3, "downloaded": [{"storageFileId": 5}] * 3}
    assert (found.config_version, found.variables) == ("v7", {"city": "Ostrava", "vault.pin": "[hidden]"})
    assert found.moved_bytes() == {
        "inputTablesBytesSum": 30, "inputFilesBytesSum": 300, "outputTablesBytesSum": 21, "outputFilesBytesSum": 3000
    }  # fmt: skip
    assert found.failure is None


@pytest.mark.rules("LC-9")
def test_metrics_tell_what_a_job_ran_on_and_until_then_what_was_asked_for() -> None:
    from docker_runner_airflow.api.job_documents import metrics_of
    from docker_runner_airflow.api.job_models import BackendOfJob

    asked = BackendOfJob(type="large", container_type="large", context="asked")
    created = reports([("create_workspace", "return_value", {"backend": {"type": "small", "context": ""}})])
    assert metrics_of(reports([]), asked).backend == asked
    assert metrics_of(created, asked).backend == BackendOfJob(type="small", container_type="small", context=None)


@pytest.mark.rules("LC-8", "LC-9", "LC-38", "US-2")
@pytest.mark.parametrize("told", [of_tasks(ROWS[:1]), of_one_task(ROWS[:1], key="done"), []])
def test_of_a_job_that_failed_what_had_been_done_is_known(told: Any) -> None:
    from docker_runner_airflow.api.job_results import result_of
    from docker_runner_airflow.api.job_status import Status

    failed = [
        event(EventType.ERROR, "First try.", {"error": "application"}, row="z"),
        event(EventType.ERROR, "The component's words.", {"error": "user"}, row="z"),
        event(EventType.ERROR, "The run failed: see run_component.", {}),
    ]
    usage = [("row_z.run_component", "usage", [{"metric": "z", "value": 9}])]
    found = reports([*told, *usage], [*of_events(ROWS[:1]), *failed])
    result = result_of(Status.ERROR, found, [])
    assert result is not None
    assert [table["id"] for table in result.output["tables"]] == ["out.c-x.a b"]
    assert len(result.images) == 1
    assert [table["id"] for table in result.input["tables"]] == ["in.c-x.a b"]
    assert "files" not in result.input
    assert found.moved_bytes() == {
        "inputTablesBytesSum": 10, "inputFilesBytesSum": 100, "outputTablesBytesSum": 7, "outputFilesBytesSum": 1000
    }  # fmt: skip
    assert found.usage() == [{"metric": "a b", "value": 1}, {"metric": "z", "value": 9}]
    assert (found.failure.message, found.failure.kind) == ("The component's words.", "user")


@pytest.mark.rules("LC-8")
def test_what_a_task_returned_counts_before_an_event_that_lost_details() -> None:
    whole = [("load_tables", "return_value", {"tables": [{"source": "in.c-x.t", "bytes": 3}]})]
    cut = event(EventType.SUCCESS, "Loaded.", {"step": "load_tables", "tables": []})
    assert [table["id"] for table in reports(whole, [cut]).input_tables()] == ["in.c-x.t"]
    left_out = event(EventType.SUCCESS, "Loaded.", {"left_out": "20000 bytes of details"})
    assert reports([], [left_out]).input_tables() == []
    assert reports([("load_tables", "return_value", "s3://where/xcoms/are"), ("run_job", "done", None)]).usage() == []


@pytest.mark.rules("LC-8")
def test_rows_whose_tasks_would_have_one_name_are_told_apart() -> None:
    from docker_runner_airflow.task_ids import LONGEST_GROUP, own_ids

    ids = ["a b", "a_20_b"]
    groups = own_ids("row", ids, longest=LONGEST_GROUP)
    xcoms = [("create_workspace", "return_value", {"rows": ids})]
    xcoms += [(f"{groups[row]}.unload_output", "return_value", manifests(row)["unload_output"]) for row in ids]
    files = manifests("")["load_files"]
    late = [event(EventType.SUCCESS, "Done.", {"step": "load_files", **files}, row=row) for row in ids]
    found = reports(xcoms, late)
    assert [table["id"] for table in found.output_tables()] == ["out.c-x.a b", "out.c-x.a_20_b"]
    assert len(found._groups()) == 3
    assert len(found.input_files()) == 2


@pytest.mark.rules("LC-6", "LC-8", "LC-85")
@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        ("success", None, ("Component processing finished.", None, None)),
        ("error", "user", ("Its words.", "user", "id")),
        ("warning", "application", ("Its words.", "application", "id")),
        ("error", None, ("The job failed: see the log of run_job.", "application", None)),
        ("terminated", "user", ("The job was terminated.", None, None)),
        ("cancelled", None, ("The job was cancelled before it began.", None, None)),
    ],
)
def test_a_result_has_the_message_of_what_became_of_the_job(status: str, kind: str | None, expected: Any) -> None:
    from docker_runner_airflow.api.job_results import result_of
    from docker_runner_airflow.api.job_status import Status

    events = [event(EventType.ERROR, "Its words.", {"error": kind})] if kind else []
    result = result_of(Status(status), reports([], events), [("run_job", "failed"), ("clean_up", "success")])
    assert result is not None
    shown = result.error and result.error.exceptionId
    assert (result.message, result.error and result.error.type, shown and "id") == expected
    if shown:
        assert shown == events[0].id
    assert result_of(Status.PROCESSING, reports([]), []) is None


@pytest.mark.rules("LC-7")
def test_a_job_without_a_row_to_run_says_that_nothing_was_executed() -> None:
    from docker_runner_airflow.api.job_results import result_of
    from docker_runner_airflow.api.job_status import Status

    for rows, message in (([], "No configurations executed."), ([""], "Component processing finished.")):
        created = reports([("create_workspace", "return_value", {**CREATED, "rows": rows})])
        result = result_of(Status.SUCCESS, created, [])
        assert result is not None
        assert result.message == message
