"""Secrets of every kind go through a real Airflow; afterwards they are hunted in everything that is left."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import quote

import docker
import pytest
from tests.end_to_end.running import Running, until
from tests.installation import SCRIPT_IMAGE
from tests.integration.engine.git_server import GitServer
from tests.integration.engine.real_registry import PASSWORD as REGISTRY_PASSWORD
from tests.integration.engine.real_registry import USER as REGISTRY_USER
from tests.integration.engine.real_registry import push, running_registry

from docker_runner.encryption import Scope
from docker_runner.encryption_keys import encryptor_of
from docker_runner.engine.client import Engine
from docker_runner.engine.containers import LABEL_PREFIX
from docker_runner.project.dag_ids import dag_id

pytestmark = [pytest.mark.engine, pytest.mark.airflow]

HUNTED = "test.hunted"
GIT_USER = "reader"
MARKS = {
    "parameters": "mark-Pa7ameter/one",
    "image parameters": "mark-Im4ge+two",
    "oauth token": "mark-0auth-token-three",
    "oauth application": "mark-0auth-app-four",
    "state": "mark-St8te?five",
    "git password": "mark-G1t&six",
    "registry password": REGISTRY_PASSWORD,
}
PROGRAM = "import json; c = json.load(open('/data/config.json')); exec(c['parameters']['script'])"
# What a component does that hides nothing: it prints, keeps, names and fails with whatever it knows.
SCRIPT = """
import os, sys, time, json
p = c['parameters']
oauth = c['authorization']['oauth_api']['credentials']
of_state = p['reversed'][::-1]
known = [p['#secret'], c['image_parameters']['#own'], json.loads(oauth['#data'])['access_token'], oauth['#appSecret']]
state = json.load(open('/data/in/state.json'))
known += [state['#kept']] if state else []
assert len(set(known)) == p['known'], 'a secret is missing'
for text in known:
    print('it is', text, flush=True)
    print('it was', text, file=sys.stderr, flush=True)
json.dump({'#kept': of_state}, open('/data/out/state.json', 'w'))
open('/data/out/tables/t.csv', 'w').write('id\\n1\\n')
while p['waits'] and not os.path.exists('/data/go'):
    time.sleep(0.1)
if p['fails']:
    print('Cannot go on with ' + ' '.join(known), file=sys.stderr)
    sys.exit(1)
"""


@dataclass
class Hunt:
    """An installation whose secrets are marked, and what has been seen of its containers."""

    running: Running
    seen: list[str] = field(default_factory=list)

    def cipher(self, mark: str, component: str, kind: str) -> str:
        scope = Scope(component=component, configuration="main")
        encryptor = encryptor_of(self.running.installation.settings, create=True)
        return encryptor.encrypt_value(MARKS[mark], scope, kind=kind)

    def define(self, repository: str) -> None:
        """The component: built from a private repository, with parameters of its own."""
        options = {
            "parent_type": "dockerhub",
            "repository": {"uri": repository, "type": "git"},
            "commands": ["git clone {{repository}} /home/"],
            "parameters": [
                {"name": name, "type": "string", "required": False} for name in ("version", "username", "#password")
            ],
            "entry_point": "python3 -u /home/main.py",
        }
        definition = {"type": "builder", "uri": "docker-runner/base", "tag": "latest", "build_options": options}
        own = {"#own": self.cipher("image parameters", HUNTED, "ComponentSecure")}
        self.running.installation.component(HUNTED, {"definition": definition, "image_parameters": own})

    def configure(self, *, fails: bool = False, waits: bool = False, known: int = 5) -> None:
        """The configuration, with secrets wherever one can have some."""
        content = {
            "parameters": {
                "#secret": self.cipher("parameters", HUNTED, "ConfigSecure"),
                "reversed": MARKS["state"][::-1], "script": SCRIPT, "fails": fails, "waits": waits,
                "known": known,
            },
            "authorization": {"oauth_api": {"id": "7"}},
            "runtime": {
                "username": GIT_USER, "#password": self.cipher("git password", HUNTED, "ConfigSecure"),
            },
            "storage": {"output": {"tables": [{"source": "t.csv", "destination": "out.c-hunt.t"}]}},
        }  # fmt: skip
        self.running.installation.configuration("main", content, component=HUNTED)

    def watch(self) -> None:
        """Look at the container of a run while it runs, as everybody with access to the engine can."""
        client = docker.from_env()
        try:
            own = f"{LABEL_PREFIX}installation={self.running.installation.settings.installation}"
            (container,) = until(lambda: client.containers.list(filters={"label": own}), seconds=400)
            self.seen.append(json.dumps(container.attrs))
            self.seen.append(json.dumps(container.top()))
        finally:
            client.close()

    def images(self) -> Iterator[str]:
        """What the images that were built and pulled for it tell, and what is in their layers."""
        client = docker.APIClient(**docker.utils.kwargs_from_env())
        try:
            own = client.images(filters={"label": ["com.keboola.docker-runner.owner=docker-runner"]})
            for image in own:
                yield json.dumps([client.inspect_image(image["Id"]), client.history(image["Id"])])
        finally:
            client.close()

    def left(self) -> Iterator[tuple[str, str]]:
        """Name and text of everything that is left: Airflow's database and logs, the lake, workspaces."""
        folder = self.running.installation.folder
        own = [folder / name for name in ("project", "components", "served", "registry")]
        for path, content in self.running.everything():
            if any(path.is_relative_to(place) for place in own):
                continue
            yield str(path), content.decode(errors="replace")
            if path.suffix == ".parquet":
                yield str(path), _rows(content)
            for name, text in _archived(content):
                yield f"{path}:{name}", text


def _rows(content: bytes) -> str:
    import duckdb

    with NamedTemporaryFile(suffix=".parquet") as file, duckdb.connect() as connection:
        file.write(content)
        file.flush()
        return str(connection.execute("SELECT COLUMNS(*)::VARCHAR FROM read_parquet(?)", [file.name]).fetchall())


def _archived(content: bytes) -> Iterator[tuple[str, str]]:
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            yield name, archive.read(name).decode(errors="replace")


def forms(mark: str) -> Iterator[str]:
    """A secret as it is, and as other programs write it."""
    yield mark
    yield quote(mark, safe="")
    yield json.dumps(mark)[1:-1].replace("/", "\\/")
    for shift in range(3):
        yield base64.b64encode(b"\0" * shift + mark.encode()).decode()[shift and shift + 1 :].rstrip("=")[:-2]


def found(text: str) -> list[str]:
    """Which secrets a text betrays."""
    return [name for name, mark in MARKS.items() if any(form in text for form in forms(mark))]


def test_what_betrays_a_secret_is_found() -> None:
    for name, mark in MARKS.items():
        assert found(f"x{mark}y") == [name]
        assert found(base64.b64encode(f"{GIT_USER}:{mark}".encode()).decode()) == [name]


@pytest.fixture
def hunt(running: Running) -> Iterator[Hunt]:
    folder = running.installation.folder / "served"
    folder.mkdir()
    server = GitServer(folder, login=f"{GIT_USER}:{MARKS['git password']}")
    repository = server.repository()
    repository.commit(
        {"main.py": "import json; c = json.load(open('/data/config.json')); exec(c['parameters']['script'])"}
    )
    made = Hunt(running)
    made.define(repository.address)
    credentials: dict[str, Any] = {
        "#data": {"access_token": MARKS["oauth token"], "scope": "calendar"}, "#appSecret": MARKS["oauth application"],
    }  # fmt: skip
    running.installation.command("oauth", "add", HUNTED, "7", input=json.dumps(credentials))
    yield made
    server.stop()


@pytest.mark.rules("LG-20", "LG-21", "LG-22", "D12", "D15", "D16", "D18", "AU-3", "CD-8")
def test_secrets_of_every_kind_leave_no_trace_behind_runs_that_end_well_badly_and_in_debug_mode(hunt: Hunt) -> None:
    running = hunt.running
    # What will be in the state is nobody's secret yet.
    hunt.configure(waits=True, known=4)
    dag, run = _start(running)
    hunt.watch()
    running.go(dag, run)
    first = running.wait(dag, run)
    assert first.succeeded, running.log(first, "run_component")
    assert running.log(first, "run_component").count("it is [hidden]") == 4
    hunt.configure()
    assert running.run("main", component=HUNTED, mode="debug").succeeded
    hunt.configure(fails=True)
    failed = running.run("main", component=HUNTED)
    assert failed.state == "failed"
    assert any("Cannot go on with [hidden]" in line for line in running.log(failed, "run_component"))
    _run_private_image(hunt)

    assert running.installation.workspaces == []
    places = dict(hunt.left()) | {f"container {n}": text for n, text in enumerate(hunt.seen)}
    places |= {f"image {n}": text for n, text in enumerate(hunt.images())}
    assert sum("stage_" in name or ".zip" in name or ":" in name for name in places), "no debug archive was looked into"
    for marker in (dag, "out.c-hunt"):
        assert any(marker in text for text in places.values()), "no database was looked into"
    assert {name: marks for name, text in places.items() if (marks := found(text))} == {}


def _start(running: Running) -> tuple[str, str]:
    from airflow_follow import known_dag

    dag = dag_id(HUNTED, "main")
    with running.airflow.api() as api:
        known_dag(running.airflow, api, dag)
        return dag, api.trigger(dag, {})


def _run_private_image(hunt: Hunt) -> None:
    """Run a component whose image is in a registry that wants the password of its definition."""
    installation = hunt.running.installation
    folder = installation.folder / "registry"
    folder.mkdir()
    with running_registry(folder, login=True) as address, Engine.from_environment() as engine:
        push(engine, f"{SCRIPT_IMAGE}:latest", f"{address}/keboola/private", "1.0", login=True)
        password = hunt.cipher("registry password", "test.private", "ComponentSecure")
        login = {"username": REGISTRY_USER, "#password": password}
        definition = {
            "type": "dockerhub-private",
            "uri": f"{address}/keboola/private",
            "tag": "1.0",
            "repository": login,
        }
        installation.component("test.private", {"definition": definition})
        installation.script("main", "print('pulled')", component="test.private")
        result = hunt.running.run("main", component="test.private")
        assert result.succeeded
        hunt.seen.append(json.dumps(engine.client.inspect_image(f"{address}/keboola/private:1.0")))
        engine.client.remove_image(f"{address}/keboola/private:1.0")
