"""Pulling from the real registry, open and behind a login, over good lines and bad ones."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import subprocess
import sys
import tarfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.installation import Installation
from tests.integration.engine.real_registry import PASSWORD, USER, BadLine, push, running_registry

from docker_runner.encryption import Scope
from docker_runner.encryption_keys import encryptor_of
from docker_runner.engine.attempts import PullLimits
from docker_runner.engine.client import Engine
from docker_runner.engine.images import ImageRequest, PreparedImage, PullPolicy, prepare_image
from docker_runner.engine.outlook import look_up
from docker_runner.engine.registries import Login
from docker_runner.errors import ApplicationError, NotFoundError, UserError
from docker_runner.job.images import outlook_of, pull_images
from docker_runner.job.tools import Tools

pytestmark = pytest.mark.engine

FAST = PullLimits(attempts=3, first_pause_seconds=0.05)
LOGIN = {"username": USER, "password": PASSWORD}
COMPONENT = "vendor.private"


@pytest.fixture(scope="module")
def open_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="module")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("private"), login=True) as address:
        yield address


@dataclass
class Images:
    """Makes images of one layer and pushes them; forgets them all at the end."""

    engine: Engine
    names: list[str] = field(default_factory=list)

    def push(self, registry: str, *, login: bool = False, name: str = "", tag: str = "1.0") -> tuple[str, str]:
        """Push a new image; gives its name and digest."""
        uri = name or f"{registry}/keboola/{uuid.uuid4().hex}"
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as archive:
            entry = tarfile.TarInfo("content")
            entry.size = 1_000_000
            archive.addfile(entry, io.BytesIO(os.urandom(entry.size)))
        made = json.loads(self.engine.client.import_image_from_data(layer.getvalue()))
        digest = push(self.engine, made["status"], uri, tag, login=login)
        self.names.append(uri)
        return uri, digest

    def forget(self) -> None:
        for name in self.names:
            for image in self.engine.client.images(name=name):
                self.engine.client.remove_image(image["Id"], force=True)


@pytest.fixture
def images(engine: Engine) -> Iterator[Images]:
    made = Images(engine)
    yield made
    made.forget()


@pytest.fixture
def bad_line(open_registry: str) -> Iterator[BadLine]:
    line = BadLine(open_registry)
    yield line
    line.stop()


@dataclass
class Private:
    """An installation with a component whose image is in the private registry."""

    installation: Installation
    uri: str

    def define(self, **definition: Any) -> None:
        self.installation.component(COMPONENT, {"definition": {"type": "dockerhub", "uri": self.uri, **definition}})
        self.installation.configuration("main", {}, component=COMPONENT)

    def define_with_login(self, password: str, **definition: Any) -> None:
        done = self.installation.command("encrypt", "--component", COMPONENT, "--definition", "--value", input=password)
        cipher = done.stdout.strip()
        assert cipher.startswith("KBC::ComponentSecure::"), done.stderr
        self.define(**{"tag": "1.0", "repository": {"username": USER, "#password": cipher}, **definition})

    def pull(self, **tools: Any) -> PreparedImage:
        own = self.installation.tools() if not tools else Tools(self.installation.settings, log=self.log(), **tools)
        manifest = pull_images(self.installation.job("main", component=COMPONENT, tag="1.0"), own)
        assert PASSWORD not in json.dumps(manifest)
        (image,) = manifest["images"].values()
        return PreparedImage.from_manifest(image)

    def log(self) -> logging.Logger:
        return self.installation.tools().log


@pytest.fixture
def private(images: Images, private_registry: str, tmp_path: Path) -> Private:
    uri, _ = images.push(private_registry, login=True)
    return Private(Installation(tmp_path), uri)


@pytest.mark.rules("IG-10", "IG-3", "IG-7", "D3")
def test_an_open_registry_needs_no_login_and_its_digest_is_checked(
    engine: Engine, images: Images, open_registry: str
) -> None:
    uri, digest = images.push(open_registry)
    told: list[str] = []
    image = prepare_image(engine, ImageRequest(uri, "1.0", digest=digest), told.append, limits=FAST)
    assert (image.pulled, image.digests) == (True, (f"{uri}@{digest}",))
    assert told[0] == f"Pulling the image {uri}:1.0."
    assert told[-1].startswith(f"Pulled the image {uri}:1.0 in ")
    images.push(open_registry, name=uri)
    moved = ImageRequest(uri, "1.0", digest=digest, pull_policy=PullPolicy.ALWAYS)
    with pytest.raises(ApplicationError, match=f"not the registered one.*{digest}"):
        prepare_image(engine, moved, told.append, limits=FAST)


def test_a_plan_asks_the_registry_for_the_digest_and_pulls_nothing(
    engine: Engine, images: Images, open_registry: str
) -> None:
    uri, digest = images.push(open_registry)
    found = look_up(engine, ImageRequest(uri, "1.0"))
    assert (found.digest, found.id, found.pulled, found.problem) == (digest, "", True, "")
    assert not engine.client.images(name=uri)
    other = look_up(engine, ImageRequest(uri, "1.0", digest="0" * 64))
    assert other.problem == f"The registered digest is {'0' * 64}, but the registry has {digest}."
    absent = look_up(engine, ImageRequest(uri, "2.0"))
    assert (absent.digest, absent.pulled) == ("", True)
    assert "2.0 is not in its registry" in absent.problem


@pytest.mark.rules("IG-14")
def test_a_plan_asks_a_private_registry_with_the_components_login(private: Private) -> None:
    private.define_with_login(PASSWORD)
    installation = private.installation
    (row,) = installation.job("main", component=COMPONENT).rows
    found = outlook_of(row.main, installation.tools())
    assert found.digest.startswith("sha256:")
    assert not found.problem
    private.define_with_login("wrong-password")
    (row,) = installation.job("main", component=COMPONENT).rows
    refused = outlook_of(row.main, installation.tools())
    assert refused.digest == ""
    assert "refuses the image" in refused.problem
    assert "wrong-password" not in refused.problem


@pytest.mark.rules("IG-11")
def test_what_an_open_registry_does_not_have_is_a_user_error_at_once(engine: Engine, open_registry: str) -> None:
    told: list[str] = []
    with pytest.raises(NotFoundError, match=r"keboola/absent:2 is not in its registry"):
        prepare_image(engine, ImageRequest(f"{open_registry}/keboola/absent", "2"), told.append, limits=FAST)
    assert len(told) == 1


@pytest.mark.rules("CD-8", "IG-13", "IG-14")
def test_the_login_of_a_definition_is_decrypted_for_the_pull_alone(private: Private, private_registry: str) -> None:
    private.define_with_login(PASSWORD, type="dockerhub-private")
    image = private.pull()
    assert image.pulled
    private.define_with_login(PASSWORD, pull_policy="always")
    definition = json.loads((private.installation.folder / "components" / f"{COMPONENT}.json").read_text())
    definition["data"]["definition"]["repository"]["server"] = f"http://{private_registry}"
    private.installation.component(COMPONENT, definition["data"])
    assert private.pull().pulled
    job = private.installation.job("main", component=COMPONENT).to_json()
    assert PASSWORD not in job
    assert PASSWORD not in "\n".join(private.installation.lines)
    assert not any(PASSWORD in path.read_text() for path in private.installation.folder.rglob("*") if path.is_file())


@pytest.mark.rules("CD-8", "IG-13")
def test_a_wrong_login_of_a_definition_is_refused_without_being_shown(private: Private) -> None:
    private.define_with_login("wrong-password")
    with pytest.raises(UserError, match=r"The registry refuses the image.*in the component's definition") as caught:
        private.pull()
    assert "wrong-password" not in str(caught.value)
    assert "wrong-password" not in "\n".join(private.installation.lines)
    assert len(private.installation.lines) == 1


@pytest.mark.rules("EN-4", "CD-8")
def test_a_login_encrypted_for_another_component_is_refused(private: Private) -> None:
    encryptor = encryptor_of(private.installation.settings, create=True)
    cipher = encryptor.encrypt_value(PASSWORD, Scope(component="vendor.other"), kind="ComponentSecure")
    private.define(repository={"username": USER, "#password": cipher})
    with pytest.raises(UserError, match=r"definition of vendor\.private: repository\.#password.*another component"):
        private.pull()


@pytest.mark.rules("IG-14")
def test_without_any_login_a_private_image_is_refused(private: Private) -> None:
    private.define()
    with pytest.raises(UserError, match=r"Airflow connection \(DOCKER_RUNNER_DOCKER_CONN_ID\).*docker login"):
        private.pull()


@pytest.mark.rules("IG-14")
def test_airflow_connections_bring_the_logins_of_their_own_registries(
    private: Private, private_registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from docker_runner_airflow.hooks import registry_login

    host, _, port = private_registry.partition(":")
    connection = {"conn_type": "docker", "login": USER, "password": PASSWORD}
    monkeypatch.setenv("AIRFLOW_CONN_HUB", json.dumps(connection | {"host": "https://index.docker.io/v1/"}))
    monkeypatch.setenv("AIRFLOW_CONN_OURS", json.dumps(connection | {"host": host, "port": int(port)}))
    monkeypatch.setenv("DOCKER_RUNNER_DOCKER_CONN_ID", "hub, ours")
    settings = private.installation.settings.from_environment()
    private.define()
    assert private.pull(registry_login=lambda name: registry_login(settings, name)).pulled
    assert registry_login(settings, "docker.io") == Login(USER, PASSWORD)
    assert registry_login(settings, "quay.io") is None
    assert PASSWORD not in "\n".join(private.installation.lines)


@pytest.mark.rules("IG-14")
@pytest.mark.parametrize(
    ("connection", "problem"),
    [({}, "'ours' has no login and no password"), (None, "'ours' of DOCKER_RUNNER_DOCKER_CONN_ID cannot be used")],
)
def test_a_connection_that_cannot_be_used_is_named(
    private: Private, monkeypatch: pytest.MonkeyPatch, connection: dict[str, str] | None, problem: str
) -> None:
    from docker_runner_airflow.hooks import registry_login

    if connection is not None:
        monkeypatch.setenv("AIRFLOW_CONN_OURS", json.dumps({"conn_type": "docker", "host": "quay.io", **connection}))
    monkeypatch.setenv("DOCKER_RUNNER_DOCKER_CONN_ID", "ours")
    settings = private.installation.settings.from_environment()
    private.define()
    with pytest.raises(UserError, match=problem):
        private.pull(registry_login=lambda name: registry_login(settings, name))


@pytest.mark.rules("IG-14")
def test_the_machines_own_login_is_used(
    private: Private, private_registry: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "config.json").write_text(json.dumps({"auths": {private_registry: {"auth": login}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    private.define()
    assert private.pull().pulled


@pytest.mark.rules("IG-11")
def test_amazons_registry_needs_boto3(private: Private, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    private.define(type="aws-ecr")
    with pytest.raises(UserError, match="pip install boto3"):
        private.pull()


@dataclass
class Amazon:
    """A local end for Amazon's own client: gives the registry's login as a token, after some refusals.

    Attributes:
        refusals: how many of the next questions are refused.
        asked: region and registries of each question.
    """

    refusals: int = 0
    asked: list[tuple[str, list[str]]] = field(default_factory=list)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        size = int(request.headers["Content-Length"])
        region = request.headers["Authorization"].split("/")[2]  # of the signature's scope
        self.asked.append((region, json.loads(request.rfile.read(size))["registryIds"]))
        assert request.headers["X-Amz-Target"].endswith(".GetAuthorizationToken")
        if self.refusals:
            self.refusals -= 1
            status, content = 400, {"__type": "ExpiredTokenException", "message": "The token has expired."}
        else:
            token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            status, content = 200, {"authorizationData": [{"authorizationToken": token}]}
        body = json.dumps(content).encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch) -> Iterator[Amazon]:
    amazon = Amazon()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            amazon.answer(self)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    yield amazon
    server.shutdown()
    server.server_close()


@pytest.mark.rules("IG-11")
@pytest.mark.parametrize(("repository", "region"), [({}, "us-east-1"), ({"region": "eu-west-1"}, "eu-west-1")])
def test_amazon_gives_a_login_for_one_pull(
    private: Private, amazon: Amazon, repository: dict[str, str], region: str
) -> None:
    amazon.refusals = 1
    private.define(type="aws-ecr", repository=repository)
    assert private.pull().pulled
    assert amazon.asked == [(region, ["127"])] * 2
    assert "Amazon gives no login" in private.installation.lines[1]
    assert "Trying again in" in private.installation.lines[1]
    # The image is here now: nobody is asked.
    assert not private.pull().pulled
    assert len(amazon.asked) == 2


@pytest.mark.rules("IG-11")
def test_amazon_refusing_a_login_is_an_application_error(
    private: Private, amazon: Amazon, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = PullLimits(attempts=5, doubtful_attempts=3, first_pause_seconds=0.05)
    monkeypatch.setattr("docker_runner.engine.images.PullLimits", lambda: limits)
    amazon.refusals = 99
    private.define(type="aws-ecr")
    with pytest.raises(ApplicationError, match=r"Amazon gives no login for the image 127.*ExpiredToken"):
        private.pull()
    assert len(amazon.asked) == limits.doubtful_attempts


@pytest.mark.rules("IG-5")
def test_a_layer_that_ends_in_its_midst_is_fetched_again(engine: Engine, images: Images, bad_line: BadLine) -> None:
    uri, digest = images.push(bad_line.target)
    here = uri.replace(bad_line.target, bad_line.address)
    images.names.append(here)
    bad_line.cut = 1
    image = prepare_image(engine, ImageRequest(here, "1.0", digest=digest), print, limits=FAST)
    assert image.pulled
    assert bad_line.cut == 0


@pytest.mark.rules("IG-5", "IG-6")
def test_a_layer_that_comes_spoilt_is_pulled_again_and_never_used(
    engine: Engine, images: Images, bad_line: BadLine
) -> None:
    uri, _ = images.push(bad_line.target)
    here = uri.replace(bad_line.target, bad_line.address)
    images.names.append(here)
    told: list[str] = []
    bad_line.spoil = 99
    with pytest.raises(ApplicationError, match="cannot be pulled"):
        prepare_image(engine, ImageRequest(here, "1.0"), told.append, limits=FAST)
    assert sum("Trying again in" in line for line in told) == FAST.attempts - 1
    assert engine.client.images(name=here) == []
    bad_line.spoil = 1
    assert prepare_image(engine, ImageRequest(here, "1.0"), told.append, limits=FAST).pulled


@pytest.mark.rules("IG-5")
def test_a_pull_that_takes_too_long_is_given_up(engine: Engine, images: Images, bad_line: BadLine) -> None:
    uri, _ = images.push(bad_line.target)
    here = uri.replace(bad_line.target, bad_line.address)
    images.names.append(here)
    bad_line.pause_seconds = 2
    limits = PullLimits(attempts=1, attempt_seconds=0.5)
    with pytest.raises(ApplicationError, match=r"was not pulled within 0\.5 s"):
        prepare_image(engine, ImageRequest(here, "1.0"), print, limits=limits)
    bad_line.pause_seconds = 0


def test_progress_is_told_now_and_then(engine: Engine, images: Images, bad_line: BadLine) -> None:
    uri, _ = images.push(bad_line.target)
    here = uri.replace(bad_line.target, bad_line.address)
    images.names.append(here)
    bad_line.pause_seconds = 0.3
    told: list[str] = []
    limits = PullLimits(progress_seconds=1)
    began = time.monotonic()
    prepare_image(engine, ImageRequest(here, "1.0"), told.append, limits=limits)
    seconds = time.monotonic() - began
    shown = [line for line in told if "layers are here" in line]
    assert 1 <= len(shown) <= seconds + 1
    assert all(f"Pulling the image {here}:1.0: " in line for line in shown)
    assert " of 1 layers are here, " in shown[0]
    assert " of 1.0 MB downloaded." in shown[0]


PULL = """
import sys
from docker_runner.engine.client import Engine
from docker_runner.engine.images import ImageRequest, prepare_image
with Engine.from_environment() as engine:
    print(prepare_image(engine, ImageRequest(sys.argv[1], "1.0"), print).pulled)
"""


@pytest.mark.rules("IG-8", "D3")
def test_an_image_is_pulled_once_when_many_processes_want_it(engine: Engine, images: Images, bad_line: BadLine) -> None:
    uri, _ = images.push(bad_line.target)
    here = uri.replace(bad_line.target, bad_line.address)
    images.names.append(here)
    bad_line.pause_seconds = 0.3
    processes = [
        subprocess.Popen([sys.executable, "-c", PULL, here], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    outputs = [process.communicate(timeout=300)[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert sorted(lines[-1] for lines in outputs) == ["False"] * 3 + ["True"]
    (pulling,) = [lines for lines in outputs if lines[-1] == "True"]
    assert pulling[0] == f"Pulling the image {here}:1.0."
    waiting = f"Another run is pulling the image {here}:1.0; waiting for it."
    assert all(lines in (["False"], [waiting, "False"]) for lines in outputs if lines is not pulling)
    assert len(bad_line.manifests) == 1


@pytest.mark.rules("IG-5")
def test_images_are_pulled_and_given_up_through_an_engine_behind_tls(
    secured: Engine, images: Images, bad_line: BadLine
) -> None:
    uri, digest = images.push(bad_line.target)
    here = uri.replace(bad_line.target, bad_line.address)
    images.names.append(here)
    bad_line.pause_seconds = 2
    with pytest.raises(ApplicationError, match=r"was not pulled within 0\.5 s"):
        prepare_image(secured, ImageRequest(here, "1.0"), print, limits=PullLimits(attempts=1, attempt_seconds=0.5))
    bad_line.pause_seconds = 0
    image = prepare_image(secured, ImageRequest(here, "1.0", digest=digest), print, limits=FAST)
    assert (image.pulled, image.digests) == (True, (f"{here}@{digest}",))
