"""Every call of the HTTP API does what it says, with a real Airflow: jobs run to their end, in containers."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import docker
import pytest
import requests
from tests.end_to_end.running import Running, until
from tests.installation import SCRIPT, SCRIPT_IMAGE, Installation
from tests.integration.api.server import ApiServer

from docker_runner.engine.containers import LABEL_PREFIX
from docker_runner.project.configuration import Project

pytestmark = [pytest.mark.airflow, pytest.mark.engine]

BRANCH = "dev"
TAG = "tagged"
OTHER_TAG = """FROM {image}:latest
ENV WHICH=tagged
"""
WRITE = """
import os
which = os.environ.get("WHICH", "latest") + " " + os.environ.get("KBC_BRANCHID", "")
open("/data/out/tables/t.csv", "w").write("which,secret\\n" + which + "," + c["parameters"].get("#secret", "") + "\\n")
"""
SLEEP = "import time; print('asleep', flush=True); time.sleep(300)"
ACTION = "import json; print(json.dumps({'action': c['action'], 'got': c['parameters']['got']}))"


def writing(table: str, **parameters: Any) -> dict[str, Any]:
    """A configuration that writes into a table which image and branch ran it."""
    storage = {"output": {"tables": [{"source": "t.csv", "destination": f"out.c-api.{table}"}]}}
    return {"parameters": {"script": WRITE, **parameters}, "storage": storage}


@dataclass
class Made:
    """The answers to one request of each call, and what became of the jobs."""

    api: ApiServer
    answers: dict[tuple[str, str], requests.Response] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    first_day: str = ""
    last_day: str = ""

    def call(
        self, method: str, template: str, caller: str = "admin", query: str = "", body: Any = None, **places: str
    ) -> requests.Response:
        """Make a call, and remember that it was made."""
        arguments = {} if body is None else {"json": body}
        answer = self.api.as_(caller).call(method, template.format(**places) + query, **arguments)
        self.answers[method, template] = answer
        return answer

    def start(self, name: str, template: str, body: Any, *, status: int = 202, **places: str) -> None:
        """Start a job with a Storage token, so that the token's permissions hold for it."""
        answer = self.call("POST", template, "all", body=body, **places)
        assert answer.status_code == status, answer.text
        self.jobs[name] = str(answer.json()["id"])

    def job(self, name: str) -> dict[str, Any]:
        """The job as it is now."""
        answer = self.call("GET", "/jobs/{job_id}", "all", job_id=self.jobs[name])
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def wait(self) -> None:
        """Wait until all jobs have ended."""
        for name in self.jobs:
            self.ended[name] = until(lambda: job if (job := self.job(name))["isFinished"] else None, seconds=400)  # noqa: B023


def utc_day() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())


@pytest.fixture(scope="module")
def tagged_image() -> Iterator[None]:
    client = docker.from_env()
    dockerfile = io.BytesIO(OTHER_TAG.format(image=SCRIPT_IMAGE).encode())
    client.images.build(fileobj=dockerfile, tag=f"{SCRIPT_IMAGE}:{TAG}", rm=True)
    yield
    client.images.remove(f"{SCRIPT_IMAGE}:{TAG}")
    client.close()


def containers(made: Made, job: str) -> list[str]:
    """Names of the containers of a job."""
    client = docker.from_env()
    own = f"{LABEL_PREFIX}installation={made.api.installation.settings.installation}"
    names = [item.name for item in client.containers.list(ignore_removed=True, filters={"label": own})]
    client.close()
    return [name for name in names if job in name]


@pytest.fixture(scope="module")
def made(running: Running, tagged_image: None) -> Made:
    """All calls, once each; the jobs run beside each other."""
    installation = running.installation
    installation.component(SCRIPT, {"network": "none", "synchronous_actions": ["say"]})
    installation.configuration("api-stored", writing("stored"))
    installation.configuration("api-stored", writing("stored"), branch=BRANCH)
    installation.load("in.c-api.letters", "a\nx\n")
    api = ApiServer(running.airflow, installation)
    api.known("api-stored")
    made = Made(api)
    made.first_day = utc_day()
    stored, component = {"config": "api-stored"}, {"component": SCRIPT}
    in_branch = {**component, "branch": BRANCH}
    made.start("run", "/{component}/run", stored, **component)
    made.start("branch run", "/branch/{branch}/{component}/run", stored, **in_branch)
    tag = {"configData": writing("tag")}
    made.start("tag", "/{component}/run/tag/{tag}", tag, tag=TAG, **component)
    made.start("branch tag", "/branch/{branch}/{component}/run/tag/{tag}", tag, tag=TAG, **in_branch)
    debug = {"configData": writing("debug")}
    made.start("debug", "/{component}/debug", debug, **component)
    made.start("branch debug", "/branch/{branch}/{component}/debug", debug, **in_branch)
    read = {"input": {"tables": [{"source": "in.c-api.letters", "destination": "letters.csv"}]}}
    preview = writing("preview")
    preview["storage"] |= read
    made.start("input", "/{component}/input", {"configData": preview}, **component)
    made.start("dry-run", "/{component}/dry-run", {"configData": preview}, **component)
    made.start("sandbox", "/sandbox", {"configData": {"storage": read}})
    cipher = made.call("POST", "/encrypt", "all", f"?componentId={SCRIPT}", body={"#secret": "first"}).json()["#secret"]
    made.start("job", "/jobs", {"component": SCRIPT, "configData": writing("job", **{"#secret": cipher})}, status=201)
    made.call("POST", "/{component}/encrypt", "all", body={"#secret": "second", "open": {}}, **component)
    action = {"configData": {"parameters": {"script": ACTION, "got": [1, None]}}}
    made.call("POST", "/{component}/action/{action}", "all", body=action, action="say", **component)
    made.call("POST", "/branch/{branch}/{component}/action/{action}", "all", body=action, action="say", **in_branch)
    version = Project(installation.settings.project).configuration(SCRIPT, "api-stored").version
    resolve = {"componentId": SCRIPT, "configId": "api-stored", "configVersion": version}
    made.call("POST", "/configuration/resolve", "all", body=resolve)
    made.call("POST", "/branch/{branch}/configuration/resolve", "all", body=resolve, branch=BRANCH)
    made.call("GET", "/health", "")
    made.call("POST", "/run", "all", body=stored)
    asleep = {"component": SCRIPT, "configData": {"parameters": {"script": SLEEP}}}
    made.start("terminated", "/jobs", asleep, status=201)
    until(lambda: containers(made, made.jobs["terminated"]))
    made.call("POST", "/jobs/{job_id}/terminate", "all", job_id=made.jobs["terminated"])
    made.wait()
    made.call("GET", "/jobs", "all", "?limit=100")
    made.call("GET", "/stats/project", "manage")
    # Midnight may have passed since then.
    made.last_day = utc_day()
    days = f"?fromDate={made.first_day}&toDate={made.last_day}&timezoneOffset=%2B00:00"
    made.call("GET", "/stats/project/daily", "manage", days)
    return made


@pytest.mark.rules("API-1")
def test_every_call_was_made(made: Made) -> None:
    document = made.api.as_("admin").call("GET", "/openapi.json").json()
    assert set(made.answers) == {
        (method.upper(), path) for path, calls in document["paths"].items() for method in calls
    }
    refused = {key: answer.text for key, answer in made.answers.items() if not answer.ok}
    assert list(refused) == [("POST", "/run")]
    assert {answer.headers["Content-Type"] for answer in made.answers.values()} == {"application/json"}


@pytest.mark.rules("API-5")
def test_jobs_end_with_success_and_say_so(made: Made) -> None:
    assert {name: job["status"] for name, job in made.ended.items() if name != "terminated"} == {
        name: "success" for name in made.jobs if name != "terminated"
    }, made.ended
    for name, job in made.ended.items():
        assert job["id"] == made.jobs[name]
        assert job["url"].endswith(f"/docker-runner/jobs/{job['id']}")
        assert job["startTime"]
        assert job["endTime"]
    shown = {job["id"]: job["status"] for job in made.answers["GET", "/jobs"].json()}
    assert shown == {job["id"]: job["status"] for job in made.ended.values()}


@pytest.mark.rules("API-10", "API-11", "API-12", "API-13", "API-34")
def test_runs_store_what_their_image_wrote_in_their_branch(made: Made) -> None:
    rows = made.api.installation.rows

    def which(table: str) -> list[str]:
        return [row["which"].strip() for row in rows(table)]

    default = which("out.c-api.stored")[0].removeprefix("latest").strip()
    assert which("out.c-api.stored") == [f"latest {default}".strip()]
    assert which(f"out.c-{BRANCH}-api.stored") == [f"latest {BRANCH}"]
    assert which("out.c-api.tag") == [f"tagged {default}".strip()]
    assert which(f"out.c-{BRANCH}-api.tag") == [f"tagged {BRANCH}"]
    assert default != BRANCH


def archive(installation: Installation, *tags: str) -> list[set[str]]:
    """The names in each stored archive with these tags."""
    found = []
    for file in installation.files(*tags):
        with zipfile.ZipFile(installation.download(file)) as content:
            found.append(set(content.namelist()))
    return found


@pytest.mark.rules("API-14", "API-15", "API-24", "API-25", "API-26", "LC-60", "LC-64")
def test_debug_jobs_and_previews_leave_archives_and_no_tables(made: Made) -> None:
    installation = made.api.installation
    for name in ("debug", "branch debug"):
        before, after = archive(installation, "debug", f"jobId:{made.jobs[name]}")
        assert "out/tables/t.csv" not in before
        assert "out/tables/t.csv" in after
    for mode, component in (("input", SCRIPT), ("dry-run", SCRIPT), ("sandbox", "sandbox")):
        (names,) = archive(installation, mode, "docker", component)
        assert "in/tables/letters.csv" in names
        assert ("out/tables/t.csv" in names) == (mode == "dry-run")
    assert not {"out.c-api.debug", f"out.c-{BRANCH}-api.debug", "out.c-api.preview"} & set(installation.tables())


@pytest.mark.rules("API-16", "API-17", "API-39")
def test_actions_answer_with_what_the_component_printed(made: Made) -> None:
    for path in ("/{component}/action/{action}", "/branch/{branch}/{component}/action/{action}"):
        answer = made.answers["POST", path]
        assert (answer.status_code, answer.json()) == (200, {"action": "say", "got": [1, None]})
        assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.rules("API-18", "API-27", "API-47", "API-55")
def test_what_is_encrypted_over_http_reaches_a_job_in_the_clear_and_nowhere_else(made: Made) -> None:
    cipher = made.answers["POST", "/encrypt"].json()["#secret"]
    assert cipher.startswith("KBC::ComponentSecure::")
    assert made.api.installation.rows("out.c-api.job")[0]["secret"] == "first"
    assert "first" not in json.dumps(made.ended["job"])
    other = made.answers["POST", "/{component}/encrypt"].json()
    assert other["#secret"].startswith("KBC::ComponentSecure::")
    assert other["open"] == {}


@pytest.mark.rules("API-22", "API-23")
def test_resolving_gives_the_configuration(made: Made) -> None:
    for path in ("/configuration/resolve", "/branch/{branch}/configuration/resolve"):
        assert made.answers["POST", path].json()["configuration"]["parameters"] == {"script": WRITE}


def test_a_job_that_is_terminated_leaves_no_container(made: Made) -> None:
    answer = made.answers["POST", "/jobs/{job_id}/terminate"]
    assert answer.status_code in (200, 202)
    assert answer.json()["desiredStatus"] == "terminating"
    assert made.ended["terminated"]["status"] == "terminated"
    until(lambda: not containers(made, made.jobs["terminated"]))


@pytest.mark.rules("API-20", "API-21")
def test_the_statistics_sum_up_the_jobs(made: Made) -> None:
    total = made.answers["GET", "/stats/project"].json()["jobs"]["durationSum"]
    assert total >= sum(job["durationSeconds"] for job in made.ended.values()) > 0
    days = made.answers["GET", "/stats/project/daily"].json()["jobs"]
    assert [day["date"] for day in days] == sorted({made.first_day, made.last_day})
    assert 0 < sum(day["durationSum"] for day in days) <= total


def test_the_page_of_the_description_works_without_the_internet(made: Made) -> None:
    admin = made.api.as_("admin")
    page = admin.call("GET", "/docs")
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert "http://" not in page.text
    assert "https://" not in page.text
    for path in ("/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/docs/favicon.png"):
        assert f"/docker-runner{path}" in page.text
        assert admin.call("GET", path).status_code == 200
