"""What the API finds in Airflow's database: in SQLite, and in PostgreSQL."""

from __future__ import annotations

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import delete, update
from sqlalchemy.orm import Session
from tests.installation import SCRIPT, Installation
from tests.integration.api.records import FLOW, MANAGER, NOON, OTHER, STORED, add_run, holder, request_of

from docker_runner.project.dag_ids import dag_id
from docker_runner.storage import open_ledger
from docker_runner.storage.events import EventSource, EventType, new_event
from docker_runner_airflow.api.callers import Caller
from docker_runner_airflow.api.errors import ApiError
from docker_runner_airflow.api.job_documents import job_document, job_summary
from docker_runner_airflow.api.job_ids import find_run, job_id_of, new_run_id
from docker_runner_airflow.api.job_search import JobFilter, find_jobs, may_see
from docker_runner_airflow.api.job_status import Status, note_of_termination, status_of
from docker_runner_airflow.api.own_dags import OwnDags
from docker_runner_airflow.api.starting import unfinished_job
from docker_runner_airflow.api.stats_calls import counted_dags, daily_sums, duration_sum
from docker_runner_airflow.api.turns import unfinished_before
from docker_runner_airflow.jobs_dag import JOBS_DAG

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def found(session: Session, dags: OwnDags, caller: Any = MANAGER, **wanted: Any) -> list[int]:
    return [run.id for run in find_jobs(session, JobFilter(**wanted), dags=dags, caller=caller)]


@pytest.mark.rules("API-55")
def test_jobs_are_listed_newest_first_and_page_by_page(session: Session, dags: OwnDags) -> None:
    for number in (1, 2, 3, 4):
        add_run(session, number)
    add_run(session, 5, dag="somebody_elses")
    assert found(session, dags) == [4, 3, 2, 1]
    assert found(session, dags, limit=2, offset=1) == [3, 2]


@pytest.mark.rules("API-55")
def test_a_token_sees_the_jobs_that_were_started_with_it(session: Session, dags: OwnDags) -> None:
    for number, name in enumerate(("storage-token-7", "storage-token-77", "admin", None), start=1):
        add_run(session, number, run_id=new_run_id(), triggering_user_name=name)
    assert found(session, dags, holder(7)) == [1]
    assert found(session, dags, holder(8)) == []
    assert found(session, dags) == [4, 3, 2, 1]


@pytest.mark.rules("API-55")
def test_a_user_who_is_called_like_a_token_is_not_taken_for_it(
    session: Session, dags: OwnDags, recorded: Installation
) -> None:
    from airflow.models import DagRun

    namesake = Caller(user=SimpleNamespace(get_name=lambda: "storage-token-7"))  # type: ignore[arg-type]
    other = Caller(user=SimpleNamespace(get_name=lambda: "ann"))  # type: ignore[arg-type]
    # By the API, in Airflow's UI, by a flow that the token has started, and by the token.
    add_run(session, 1, run_id=new_run_id(), triggering_user_name=namesake.name)
    add_run(session, 2, run_id="manual__2026-03-10", triggering_user_name="storage-token-7")
    add_run(session, 3, run_id="keboola.flow--nightly--api-x--task", triggering_user_name="storage-token-7")
    add_run(session, 4, run_id=new_run_id(), triggering_user_name=holder(7).name)
    assert found(session, dags, holder(7)) == [4]
    request = request_of(recorded.settings)
    for number in (1, 2, 3, 4):
        run = session.get(DagRun, number)
        assert run is not None
        assert may_see(run, holder(7)) is (number == 4)
        token = job_summary(run, "", request).token
        assert (token.id if token else None) == ("7" if number == 4 else None)
    assert (namesake.name, other.name, holder(7).name) == ("user storage-token-7", "ann", "storage-token-7")


@pytest.mark.rules("API-55")
def test_jobs_are_found_by_what_they_run_stored_or_not(session: Session, dags: OwnDags) -> None:
    add_run(session, 1, dag=STORED)
    add_run(session, 2, dag=OTHER)
    add_run(session, 3, dag=FLOW)
    add_run(session, 4, conf={"component": SCRIPT, "config": "stored", "mode": "debug", "branch": "feature"})
    add_run(session, 5, conf={"component": SCRIPT, "config": "", "mode": "run", "parent_run_id": "a.b"})
    add_run(session, 6, conf={"component": "test.yaml", "mode": ""})
    assert found(session, dags, component=SCRIPT) == [5, 4, 2, 1]
    assert found(session, dags, component=SCRIPT, config="stored") == [4, 1]
    assert found(session, dags, component="keboola.flow") == [3]
    assert found(session, dags, config="other") == [2]
    assert found(session, dags, mode="run") == [6, 5, 3, 2, 1]
    assert found(session, dags, mode="debug") == [4]
    assert found(session, dags, branchId="feature") == [4]
    assert found(session, dags, branchId="main") == [6, 5, 3, 2, 1]
    assert found(session, dags, branchId="nowhere") == []
    assert found(session, dags, parentRunId="a.b") == [5]


@pytest.mark.rules("API-55")
def test_jobs_are_found_by_the_time_of_their_creation(session: Session, dags: OwnDags) -> None:
    add_run(session, 1, started=NOON - timedelta(hours=1))
    add_run(session, 2)
    add_run(session, 3, created_at=None, run_after=NOON + timedelta(hours=1))
    assert found(session, dags, createdTimeFrom=NOON.isoformat()) == [3, 2]
    assert found(session, dags, createdTimeFrom="2026-03-10T12:00:00") == [3, 2]
    assert found(session, dags, createdTimeTo=NOON.isoformat()) == [1]


def runs_of_each_status(session: Session) -> dict[int, Status]:
    stopped = note_of_termination("mine", who="admin", clear_number=0)
    stopped_before = note_of_termination("", who="admin", clear_number=0)
    warns = {"api": {"behavior": {"onError": "warning"}}}
    waiting: dict[str, Any] = {"started": None, "seconds": None}
    add_run(session, 1, state="queued", **waiting)
    add_run(session, 2, state="running", seconds=None, note="a note of a person")
    add_run(session, 3, state="running", seconds=None, note=stopped)
    add_run(session, 4, state="success", conf=warns)
    add_run(session, 5, state="failed", conf=warns)
    add_run(session, 6, state="failed", conf={"api": {"behavior": {"onError": "error"}}})
    add_run(session, 7, state="failed", note=stopped, conf=warns)
    add_run(session, 8, state="success", note=stopped)
    add_run(session, 9, state="failed", started=None, note=stopped)
    add_run(session, 10, state="queued", note=stopped, **waiting)
    add_run(session, 11, state="success", note=stopped_before, clear_number=1)
    add_run(session, 12, state="failed", conf={"api": [1]})
    add_run(session, 13, state="failed", note=note_of_termination(stopped, who="admin", clear_number=1), clear_number=1)
    return {
        1: Status.WAITING, 2: Status.PROCESSING, 3: Status.TERMINATING, 4: Status.SUCCESS, 5: Status.WARNING,
        6: Status.ERROR, 7: Status.TERMINATED, 8: Status.TERMINATED, 9: Status.CANCELLED, 10: Status.TERMINATING,
        11: Status.SUCCESS, 12: Status.ERROR, 13: Status.TERMINATED,
    }  # fmt: skip


@pytest.mark.rules("LC-85")
def test_a_job_has_the_status_by_which_it_is_found(session: Session, dags: OwnDags, recorded: Installation) -> None:
    expected = runs_of_each_status(session)
    request = request_of(recorded.settings)
    rows = find_jobs(session, JobFilter(), dags=dags, caller=MANAGER)
    assert {run.id: job_summary(run, run.note or "", request).status for run in rows} == expected
    for status in Status:
        assert sorted(found(session, dags, status=[status])) == [n for n, known in expected.items() if known is status]
    assert sorted(found(session, dags, status=["success", "error"])) == [4, 6, 11, 12]


@pytest.mark.rules("API-55")
def test_what_a_list_does_not_show_is_not_read(session: Session, dags: OwnDags) -> None:
    large = {"config_data": {"parameters": {"x": "y" * 1000}}, "variables": {"a": "b"}, "storage_token": "KBC::x"}
    add_run(session, 1, conf={**large, "component": SCRIPT, "tag": "1.2"})
    add_run(session, 2, conf=None)
    add_run(session, 3, conf=[1])
    rows = find_jobs(session, JobFilter(), dags=dags, caller=MANAGER)
    assert {row.id: row.conf or None for row in rows if row.id < 3} == {1: {"component": SCRIPT, "tag": "1.2"}, 2: None}


@pytest.mark.rules("API-20", "API-50")
def test_the_sum_of_all_jobs_is_that_of_their_seconds(session: Session, recorded: Installation) -> None:
    for number, seconds in enumerate((10.4, 20.5, 0.2, 30.0), start=1):
        add_run(session, number, seconds=seconds, dag=STORED if number < 3 else JOBS_DAG)
    add_run(session, 5, state="running", seconds=None)
    add_run(session, 6, state="failed", started=None)
    add_run(session, 7, dag=FLOW, seconds=1000)
    counted = counted_dags(session, OwnDags.of(recorded.settings), holder(5))
    assert set(counted) == {STORED, OTHER, JOBS_DAG}
    assert duration_sum(session, counted) == 10 + 21 + 0 + 30
    assert duration_sum(session, []) == 0
    request = request_of(recorded.settings)
    rows = find_jobs(session, JobFilter(), dags=OwnDags.of(recorded.settings), caller=MANAGER)
    shown = {run.id: job_summary(run, "", request).duration_seconds for run in rows}
    assert shown == {1: 10, 2: 21, 3: 0, 4: 30, 5: None, 6: None, 7: 1000}


@pytest.mark.rules("API-21", "API-51")
@pytest.mark.parametrize(("offset", "expected"), [(0, {0: 3, 1: 6}), (2, {0: 1, 1: 6}), (-1, {0: 7, 1: 10})])
def test_a_job_counts_on_the_day_on_which_it_ended(session: Session, offset: int, expected: dict[int, int]) -> None:
    midnight = datetime(2026, 3, 10, tzinfo=UTC)
    begin = midnight - timedelta(hours=offset)
    for number, (end, seconds) in enumerate(
        [
            (midnight + timedelta(hours=1), 1),
            (midnight + timedelta(hours=24, microseconds=-1), 2),
            (midnight + timedelta(hours=24), 4),
            (midnight + timedelta(hours=47), 2),
            (midnight + timedelta(hours=48), 8),
        ],
        start=1,
    ):
        add_run(session, number, started=end - timedelta(seconds=seconds), seconds=seconds)
    sums = daily_sums(session, [JOBS_DAG], begin=begin, days=2)
    assert sums == expected


@pytest.mark.rules("API-55", "LC-9", "LC-86")
def test_a_document_shows_what_was_asked_for_and_no_secret(session: Session, recorded: Installation) -> None:
    from airflow.models import DagRun

    cipher = recorded.cipher("hidden")
    conf = {
        "component": SCRIPT, "config": "c1", "branch": "feature", "mode": "forceRun", "tag": "1.2", "rows": ["a", 2],
        "values": "v1", "variables": {"city": "Ostrava", "n": 1}, "parent_run_id": "top.123",
        "backend": {"type": "large", "context": "wlm"}, "storage_token": cipher,
        "config_data": {"parameters": {"#cipher": cipher, "#plain": "do not show", "x": [1]}},
        "api": {"behavior": {"onError": "warning"}, "parallelism": "5"},
    }  # fmt: skip
    run_id = "api-01jd0000000123456789abcdef"
    add_run(session, 41, run_id=run_id, conf=conf, state="queued", started=None, seconds=None,
            triggering_user_name="storage-token-9")  # fmt: skip
    run = session.get(DagRun, 41)
    assert run is not None
    document = job_document(session, run, request_of(recorded.settings)).model_dump(mode="json", by_alias=True)
    assert "do not show" not in str(document)
    assert str(document).count(cipher) == 1
    expected = {
        "runId": f"top.123.{run_id}", "parentRunId": "top.123", "project": {"id": ""}, "token": {"id": "9"},
        "status": "waiting", "desiredStatus": "processing", "mode": "forceRun", "component": SCRIPT, "config": "c1",
        "configData": {"parameters": {"#cipher": cipher, "#plain": "[hidden]", "x": [1]}},
        "configRowIds": ["a", "2"], "tag": "1.2", "createdTime": "2026-03-10T12:00:00Z", "startTime": None,
        "endTime": None, "durationSeconds": None, "result": None, "usageData": [], "isFinished": False,
        "branchId": "feature", "variableValuesId": "v1",
        "variableValuesData": {"values": [{"name": "city", "value": "Ostrava"}, {"name": "n", "value": "1"}]},
        "backend": {"type": "large", "containerType": "large", "context": "wlm"}, "behavior": {"onError": "warning"},
        "parallelism": "5", "type": "standard",
    }  # fmt: skip
    assert {name: document[name] for name in expected} == expected
    assert document["metrics"]["backend"] == expected["backend"]
    assert document["airflow"]["url"].endswith(f"/dags/{JOBS_DAG}/runs/{run_id}")
    assert document["url"].endswith(f"/docker-runner/jobs/{document['id']}")
    assert document["url"].startswith("http")


@pytest.mark.rules("API-55")
def test_runs_that_airflow_started_itself_are_jobs_too(session: Session, recorded: Installation) -> None:
    from airflow.models import DagRun

    add_run(session, 17, dag=STORED, run_id="scheduled__2026-03-10T12:00:00+00:00", state="running", seconds=None)
    add_run(session, 18, dag=FLOW, state="running", seconds=None)
    request = request_of(recorded.settings)
    stored, flow = (job_document(session, session.get(DagRun, number), request) for number in (17, 18))  # type: ignore[arg-type]
    assert (stored.id, stored.component, stored.config, stored.mode, stored.type) == (
        "17", SCRIPT, "stored", "run", "standard",
    )  # fmt: skip
    assert stored.airflow.url.endswith("/runs/scheduled__2026-03-10T12%3A00%3A00%2B00%3A00")
    assert (flow.type, flow.component, flow.config) == ("orchestrationContainer", "keboola.flow", "nightly")


@pytest.mark.rules("LC-8", "LC-6")
def test_a_run_that_was_begun_anew_does_not_tell_errors_of_before(session: Session, recorded: Installation) -> None:
    from airflow.models import DagRun

    ledger = open_ledger(recorded.settings.storage)

    def tell(number: int, message: str, when: datetime) -> None:
        source = EventSource(f"{STORED}/run-{number}", f"run-{number}")
        event = new_event(source, EventType.ERROR, message, results={"error": "user"})
        ledger.add_events([replace(event, id=os.urandom(8).hex(), created=when)])

    request = request_of(recorded.settings)
    for number in (1, 2):
        add_run(session, number, dag=STORED, state="failed")
        tell(number, "Of yesterday.", NOON - timedelta(days=1))
    # Where the files lie is the operator's business.
    tell(2, f"{recorded.settings.project}/main: Of this time.", NOON + timedelta(seconds=5))
    messages = []
    for number in (1, 2):
        run = session.get(DagRun, number)
        assert run is not None
        result = job_document(session, run, request).result
        assert result is not None
        messages.append(result.message)
    assert messages == ["The job failed: see its run in Airflow.", "main: Of this time."]


@pytest.mark.rules("LC-85")
def test_a_termination_counts_for_one_beginning_of_a_run_and_keeps_what_people_noted() -> None:
    note = note_of_termination("x" * 2000, who="y" * 2000, clear_number=3)
    assert len(note) <= 1000
    assert note.startswith("x" * 500)
    known: dict[str, Any] = {"state": "running", "start": NOON, "conf": {}, "note": note}
    assert status_of(**known, clear_number=3) is Status.TERMINATING
    assert status_of(**known, clear_number=4) is Status.PROCESSING


@pytest.mark.rules("LC-86")
def test_a_job_is_one_run_of_one_of_the_projects_dags(session: Session, recorded: Installation) -> None:
    first, second, third = (new_run_id() for _ in range(3))
    add_run(session, 1, run_id=first)
    add_run(session, 2, dag="somebody.elses", run_id=first)
    add_run(session, 3, dag="somebody.elses", run_id=second)
    add_run(session, 4, dag=STORED, run_id=third)
    add_run(session, 5, dag=OTHER, run_id=third)
    add_run(session, 6, dag=FLOW, run_id="scheduled__2026-03-10")
    add_run(session, 7, dag="somebody.elses")
    wanted = (first, second, third, "1", "6", "7", "8", "06", "-6", str(2**40), "api-", "scheduled__2026-03-10")
    runs = [find_run(session, job_id, recorded.settings) for job_id in wanted]
    assert [run and run.id for run in runs] == [1, None, None, None, 6, *[None] * 7]
    assert [job_id_of(run) for run in runs if run] == [first, "6"]


def test_ids_of_jobs_grow_with_time_and_are_never_the_same() -> None:
    ids = []
    for _ in range(3):
        ids.append([new_run_id() for _ in range(1000)])
        time.sleep(0.002)
    assert len({job_id for part in ids for job_id in part}) == 3000
    assert max(ids[0]) < min(ids[2])
    assert all(re.fullmatch("api-[0-9a-z]{26}", job_id) for part in ids for job_id in part)


@pytest.mark.rules("LC-80")
def test_who_looks_for_a_deduplication_id_waits_for_whoever_looks_for_one_at_that_moment(database: Any) -> None:
    from airflow.models import DagModel, DagRun
    from airflow.models.dagbundle import DagBundleModel

    def look() -> int | None:
        with Session(database) as other:
            run = unfinished_job(other, "nightly", MANAGER)
            return run.id if run else None

    with Session(database) as one:
        one.add(DagBundleModel(name="any"))
        one.flush()
        one.add(DagModel(dag_id=JOBS_DAG, bundle_name="any", is_stale=False))
        one.commit()
    with Session(database) as one, ThreadPoolExecutor(1) as pool:
        assert unfinished_job(one, "nightly", MANAGER) is None
        waiting = pool.submit(look)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.3)
        add_run(one, 901, state="queued", conf={"api": {"deduplication_id": "nightly"}}, triggering_user_name="me")
        one.commit()
        assert waiting.result(timeout=30) == 901
        with pytest.raises(ApiError, match="not yours to see"):
            unfinished_job(one, "nightly", holder(7))
        one.execute(update(DagRun).where(DagRun.id == 901).values(state="success"))
        assert unfinished_job(one, "nightly", MANAGER) is None
        one.execute(delete(DagRun).where(DagRun.id == 901))
        one.commit()


@pytest.mark.rules("LC-11")
def test_a_run_waits_for_the_last_unfinished_runs_of_its_configuration(session: Session) -> None:
    conf = {"component": SCRIPT, "config": "1", "mode": "run"}
    later = datetime.now(UTC) + timedelta(hours=1)
    for number, state, changes, columns in (
        (1, "running", {}, {}),
        (2, "queued", {"branch": "main"}, {}),
        (3, "queued", {}, {"run_after": later}),
        (4, "success", {}, {}),
        (5, "running", {"mode": "debug"}, {}),
        (6, "running", {"branch": "dev"}, {}),
        (7, "running", {"config": "2"}, {}),
        (8, "running", {"component": "other"}, {}),
    ):
        add_run(session, number, state=state, conf={**conf, **changes}, **columns)
    add_run(session, 9, state="running", dag=STORED)
    add_run(session, 10, state="failed", dag=STORED)

    def before(**asked: Any) -> list[int]:
        asked = {"component": SCRIPT, "config": "1", "branches": {"", "main"}, "own": "", **asked}
        return [run.id for run in unfinished_before(session, **asked)]

    assert before() == [2]
    assert before(own=STORED) == [2, 9]
    assert before(branches={"dev"}) == [6]
    assert before(config="3") == []


def test_a_dag_that_came_a_moment_ago_is_one_of_the_projects(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    assert OwnDags.of(installation.settings).ids == {JOBS_DAG}
    installation.script("new", "")
    new = dag_id(SCRIPT, "new")
    assert OwnDags.knowing(installation.settings, new).keys[new] == (SCRIPT, "new")
    known = OwnDags.of(installation.settings)
    for other in ("somebody.elses", "somebody--elses"):
        assert OwnDags.knowing(installation.settings, other) is known, "the project is not read again for it"
