"""The project's manifest and the API: read once for each request, and no jobs are lost when it is broken."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session
from tests.installation import SCRIPT, Installation
from tests.integration.api.clients import Api, error_of, new_token, serving
from tests.integration.api.records import add_run, airflow_tables

from docker_runner.project import configuration
from docker_runner.project.dag_ids import dag_id
from docker_runner.storage.tokens import Permissions
from docker_runner_airflow.api import own_dags, starting
from docker_runner_airflow.api.job_ids import new_run_id
from docker_runner_airflow.api.remembered_dags import remembered_keys
from docker_runner_airflow.jobs_dag import JOBS_DAG

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
STORED, FLOW = dag_id(SCRIPT, "stored"), "keboola.flow--nightly"
DAGS = (JOBS_DAG, STORED, FLOW, f"{SCRIPT}--a_2f_b", f"99--{SCRIPT}--branched", "somebody.elses--dag", "somebody_elses")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Airflow's tables, which know some DAGs."""
    from airflow.models import DagModel
    from airflow.models.dagbundle import DagBundleModel

    with airflow_tables(f"sqlite:///{tmp_path_factory.mktemp('airflow') / 'airflow.db'}") as engine:
        with Session(engine) as session:
            session.add(DagBundleModel(name="any"))
            session.flush()
            for name in DAGS:
                session.add(DagModel(dag_id=name, bundle_name="any", is_stale=False, is_paused=False))
            for number, name in enumerate(DAGS, start=1):
                conf = {"component": SCRIPT, "config": "inline", "branch": "dev"} if name == JOBS_DAG else {}
                add_run(session, number, dag=name, conf=conf)
            session.commit()
        yield engine


@pytest.fixture
def api(database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    @contextmanager
    def create_session(**_: Any) -> Iterator[Session]:
        with Session(database, expire_on_commit=False) as session:
            yield session
            session.commit()

    monkeypatch.setattr("airflow.utils.session.create_session", create_session)
    installation = Installation(tmp_path)
    installation.component(SCRIPT)
    installation.script("stored", "pass")
    write_manifest(installation)
    own_dags._read.cache_clear()
    own_dags._branch.cache_clear()
    with serving(installation) as api:
        api.token = new_token(installation, "manage", Permissions(can_manage=True)).secret
        yield api


def write_manifest(installation: Installation) -> Path:
    """A manifest with two branches and a configuration."""
    for branch in ("main", "dev"):
        (installation.folder / "project" / branch).mkdir(exist_ok=True)
        (installation.folder / "project" / branch / "meta.json").write_text(json.dumps({"isDefault": branch == "main"}))
    folder = next((installation.folder / "project" / "main").rglob("stored"))
    path = str(folder.relative_to(installation.folder / "project" / "main"))
    manifest = {
        "version": 2,
        "project": {"id": 17, "apiHost": "connection.example.com"},
        "branches": [{"id": 1, "path": "main"}, {"id": 2, "path": "dev"}],
        "configurations": [{"branchId": 1, "componentId": SCRIPT, "id": "stored", "path": path}],
    }
    file = installation.folder / "project" / ".keboola" / "manifest.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(manifest, indent=1))
    return file


@pytest.mark.rules("API-55")
def test_jobs_that_ran_can_be_looked_at_while_the_manifest_is_broken(api: Api) -> None:
    before = {job["airflow"]["dagId"]: job for job in api.call("GET", "/jobs").json()}
    assert sorted(before) == sorted([JOBS_DAG, STORED])
    assert before[STORED]["project"] == {"id": "17"}
    manifest = api.installation.folder / "project" / ".keboola" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": 2,', '"version": 2'))
    own_dags._read.cache_clear()
    own_dags._branch.cache_clear()
    answer = api.call("GET", "/jobs")
    assert answer.status_code == 200, answer.text
    after = {job["airflow"]["dagId"]: job for job in answer.json()}
    assert sorted(after) == sorted([JOBS_DAG, STORED, FLOW, f"{SCRIPT}--a_2f_b"])
    names = {dag: (job["component"], job["config"], job["type"]) for dag, job in after.items()}
    assert names[STORED] == (SCRIPT, "stored", "standard")
    assert names[FLOW] == ("keboola.flow", "nightly", "orchestrationContainer")
    assert names[f"{SCRIPT}--a_2f_b"] == (SCRIPT, None, "standard"), "its id does not tell"
    assert (after[STORED]["project"], after[STORED]["branchId"]) == ({"id": ""}, None)
    assert after[JOBS_DAG]["branchId"] == "dev"
    one = api.call("GET", f"/jobs/{before[STORED]['id']}")
    assert (one.status_code, one.json()["status"]) == (200, "success")
    assert error_of(api.call("GET", "/jobs/6"), 404)
    assert [job["id"] for job in api.call("GET", f"/jobs?component={SCRIPT}&config=stored").json()] == ["2"]
    assert api.call("GET", "/stats/project").json() == {"jobs": {"durationSum": 30}}
    assert api.post(f"/jobs/{before[STORED]['id']}/terminate").status_code == 400
    for what in ({"config": "stored"}, {"configData": {"parameters": {"a": 1}}}):
        message = error_of(api.post("/jobs", {"component": SCRIPT, **what}), 400)
        assert "manifest.json" in message
        assert "line 3, column 2" in message


def test_dags_of_a_branch_are_remembered_where_a_branch_is_run(api: Api) -> None:
    components = api.installation.settings.components
    assert f"99--{SCRIPT}--branched" not in remembered_keys(components, has_branch=False)
    assert remembered_keys(components, has_branch=True)[f"99--{SCRIPT}--branched"] == (SCRIPT, "branched")


@pytest.mark.parametrize(
    "body",
    [
        {"component": SCRIPT, "config": "stored"},
        {"component": SCRIPT, "config": "stored", "branchId": "dev", "configData": {"parameters": {"a": 1}}},
        {"component": SCRIPT, "config": "stored", "branchId": "1", "parallelism": ""},
    ],
)
def test_a_request_reads_the_manifest_once(api: Api, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.models import DagRun

    reads: list[str] = []
    read = configuration.read_object

    def counted(file: Path, **arguments: Any) -> Any:
        reads.append(file.name)
        return read(file, **arguments)

    def trigger(session: Session, dag: str, conf: dict[str, Any], *_: Any) -> Any:
        number = 100 + os.getpid() + session.query(DagRun).count()
        add_run(session, number, dag=dag, conf=conf, run_id=new_run_id(), state="queued", started=None, seconds=None)
        session.execute(update(DagRun).where(DagRun.id == number).values(state="success"))
        return session.get(DagRun, number)

    monkeypatch.setattr(configuration, "read_object", counted)
    monkeypatch.setattr(starting, "_trigger", trigger)
    answer = api.post("/jobs", body)
    assert answer.status_code == 201, answer.text
    assert reads.count("manifest.json") == 1
    assert answer.json()["project"] == {"id": "17"}
