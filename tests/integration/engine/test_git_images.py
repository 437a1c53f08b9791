"""Components whose image is built from a git repository, from the configuration to the running container."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from filelock import FileLock
from tests.installation import Installation
from tests.integration.engine.git_server import GitServer, Repository

from docker_runner.documents import read_json
from docker_runner.encryption import Scope
from docker_runner.encryption_keys import encryptor_of
from docker_runner.engine.attempts import PullLimits
from docker_runner.engine.built_images import mark_used, remove_unused_images
from docker_runner.engine.client import Engine
from docker_runner.engine.dockerfile import BUILT_LABELS
from docker_runner.engine.images import PreparedImage
from docker_runner.errors import ApplicationError, ComponentError, ConfigurationError, NotFoundError, UserError
from docker_runner.job.images import pull_images

pytestmark = pytest.mark.engine

COMPONENT = "vendor.science"
USER, PASSWORD = "git-user", "s3cr3t/pass@word:%41"
DECLARED = ("repository", "version", "username", "#password", "network")
# Writes what it was told and where it is into a file of the output.
MAIN = """
import json, os
from pathlib import Path
told = {"config": json.load(open("/data/config.json")), "env": dict(os.environ), "cwd": os.getcwd(),
        "stamp": Path("/home/stamp").read_text() if Path("/home/stamp").exists() else "",
        "home": sorted(os.listdir("/home")), "mine": MINE}
open("/data/out/files/told.json", "w").write(json.dumps(told))
"""

SHOW_LIMITS = (
    "echo memory $(cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null); "
    "echo quota $(cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null)"
)


def main(mine: str) -> dict[str, str]:
    return {"main.py": f"MINE = {mine!r}\n{MAIN}"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    (tmp_path / "served").mkdir()
    running = GitServer(tmp_path / "served")
    yield running
    running.stop()


@pytest.fixture
def repository(server: GitServer) -> Repository:
    made = server.repository()
    made.commit(main("first"), tag="1.0")
    return made


@dataclass
class Science:
    """An installation with one component that is built, and one configuration of it."""

    engine: Engine
    installation: Installation
    repository: Repository

    def define(self, *, parameters: tuple[dict[str, Any], ...] = (), **options: Any) -> None:
        declared = [{"name": name, "type": "string", "required": False} for name in DECLARED]
        image, tag = self.parent
        self.installation.component(
            COMPONENT,
            {
                "definition": {
                    "type": "builder",
                    "uri": image,
                    "tag": tag,
                    "build_options": {
                        "parent_type": "dockerhub",
                        "repository": {"uri": self.repository.address, "type": "git"},
                        "commands": ["git clone {{repository}} /home/", "date +%s%N >/home/stamp"],
                        "parameters": [*declared, *parameters],
                        "entry_point": "python3 /home/main.py",
                        **options,
                    },
                },
                "network": "bridge",
            },
        )

    parent = ("docker-runner/base", "latest")

    def configure(self, *, parameters: dict[str, Any] | None = None, **runtime: Any) -> None:
        self.installation.configuration(
            "main",
            {
                "parameters": parameters or {},
                "runtime": runtime,
                "storage": {"output": {"files": [{"source": "told.json", "tags": ["told"]}]}},
            },
            component=COMPONENT,
        )

    def cipher(self, value: str, kind: str = "ConfigSecure") -> str:
        encryptor = encryptor_of(self.installation.settings, create=True)
        scope = Scope(component=COMPONENT, project="", configuration="main")
        return encryptor.encrypt_value(value, scope, kind=kind)

    def login(self, password: str = PASSWORD) -> dict[str, str]:
        return {"username": USER, "#password": self.cipher(password)}

    def prepare(self) -> PreparedImage:
        job = self.installation.job("main", component=COMPONENT)
        (image,) = pull_images(job, self.installation.tools())["images"].values()
        return PreparedImage.from_manifest(image)

    def layers(self) -> list[str]:
        """Prepare the image; gives its layers, one of which holds the time of the build."""
        found: list[str] = self.engine.client.inspect_image(self.prepare().id)["RootFS"]["Layers"]
        return found

    def run(self) -> dict[str, Any]:
        """Run the configuration; gives what the component told."""
        result = self.installation.run("main", component=COMPONENT)
        (file,) = result.manifests["unload_output"]["files"]
        target = self.installation.folder / "told.json"
        self.installation.tools().storage.download_file(file["id"], target)
        told: dict[str, Any] = read_json(target)
        return told

    @property
    def lines(self) -> list[str]:
        return self.installation.lines

    def built(self) -> int:
        """How often something was built."""
        return sum(line.startswith("Building an image from") for line in self.lines)


def own_images(engine: Engine, address: str) -> list[dict[str, Any]]:
    label = f"com.keboola.docker-runner.repository={address}"
    found: list[dict[str, Any]] = engine.client.images(filters={"label": [label]})
    return found


@pytest.fixture
def science(engine: Engine, repository: Repository, tmp_path: Path) -> Iterator[Science]:
    made = Science(engine, Installation(tmp_path / "installation"), repository)
    made.define()
    made.configure()
    yield made
    for image in own_images(engine, repository.address):
        engine.client.remove_image(image["Id"], force=True)


@pytest.fixture
def alone_with_images() -> Iterator[None]:
    """Removing unused images removes those of the whole engine: tests in other processes wait for their turn."""
    with FileLock(Path(tempfile.gettempdir()) / f"docker-runner-test-images-{os.getuid()}.lock", timeout=500):
        yield


@pytest.mark.rules("IG-20", "IG-26", "IG-29", "IG-31", "IG-8", "D15", "CD-9")
def test_a_repository_becomes_an_image_and_runs(science: Science, engine: Engine) -> None:
    science.configure(version="1.0", parameters={"p": 1})
    told = science.run()
    assert told["mine"] == "first"
    assert told["cwd"] == "/data"
    assert told["env"]["APP_VERSION"] == "1.0"
    assert told["home"] == ["main.py", "stamp"]
    assert told["config"]["parameters"] == {"p": 1}
    (image,) = own_images(engine, science.repository.address)
    assert {name: image["Labels"][name] for name in BUILT_LABELS} == {
        "com.keboola.docker.runner.origin": "builder",
        "com.keboola.docker-runner.owner": "docker-runner",
    }
    assert all(name.startswith("builder-") for name in image["RepoTags"])
    config = engine.client.inspect_image(image["Id"])["Config"]
    assert config["Entrypoint"] == ["/bin/sh", "-c", "python3 /home/main.py"]
    assert config["WorkingDir"] == "/data"


@pytest.mark.rules("IG-26")
def test_without_a_version_there_is_no_app_version(science: Science) -> None:
    assert "APP_VERSION" not in science.run()["env"]


@pytest.mark.rules("D15", "IG-29")
def test_a_branch_that_moved_is_built_again_and_one_that_did_not_is_not(science: Science) -> None:
    science.configure(version="main")
    first = science.prepare()
    assert science.prepare().id == first.id
    assert science.built() == 1
    assert "Using the image built before from" in science.lines[-1]
    commit = science.repository.commit(main("second"))
    moved = science.prepare()
    assert moved.id != first.id
    assert science.built() == 2
    assert any(f"main (commit {commit[:12]})" in line for line in science.lines)
    assert science.run()["mine"] == "second"
    assert science.built() == 2


@pytest.mark.rules("D15", "IG-29")
@pytest.mark.thorough
def test_another_parent_or_other_options_are_built_anew(science: Science, engine: Engine) -> None:
    first = science.prepare()
    science.define(entry_point="python3 -u /home/main.py")
    assert science.prepare().id != first.id
    engine.client.tag(
        "docker-runner/python-component:latest",
        "docker-runner-test/parent",
        science.installation.folder.parent.name.lower(),
    )
    science.parent = ("docker-runner-test/parent", science.installation.folder.parent.name.lower())
    try:
        science.define()
        assert science.prepare().id != first.id
    finally:
        engine.client.remove_image(":".join(science.parent))
    assert science.built() == 3


@pytest.mark.rules("IG-20", "D15")
@pytest.mark.thorough
def test_without_cache_every_run_builds_anew(science: Science) -> None:
    science.define(cache=False)
    first = science.layers()
    assert science.layers() != first
    assert science.built() == 2


@pytest.mark.rules("IG-24")
@pytest.mark.thorough
def test_master_of_runtime_is_built_without_the_engines_cache(science: Science) -> None:
    made = {}
    for branch in ("master", "other"):
        science.repository.commit(main(branch), branch=branch)
        science.configure(version=branch)
        first = science.layers()
        science.repository.commit(branch=branch)  # the same files
        made[branch] = (first, science.layers())
    assert science.built() == 4
    assert made["other"][0] == made["other"][1]
    assert made["master"][0] != made["master"][1]


@pytest.mark.rules("IG-23", "IG-27", "IG-28", "IG-31", "EN-11", "D15")
def test_a_login_gets_the_files_and_is_found_nowhere_afterwards(
    science: Science, server: GitServer, engine: Engine, tmp_path: Path
) -> None:
    server.login = f"{USER}:{PASSWORD}"
    science.define(
        commands=["env; cat /proc/*/environ /proc/*/cmdline || true; ls -laR /tmp /root /home; git config -l || true"]
    )
    science.configure(version="main", **science.login())
    job = science.installation.job("main", component=COMPONENT)
    assert PASSWORD not in job.to_json()
    told = science.run()
    assert told["mine"] == "first"
    assert "runtime" not in told["config"]
    forms = (PASSWORD, "s3cr3t", "pass%40word", USER)
    shown = json.dumps(told) + "\n".join(science.lines)
    assert [form for form in forms if form in shown] == []
    (image,) = own_images(engine, science.repository.address)
    description = json.dumps(engine.client.inspect_image(image["Id"]))
    history = json.dumps(engine.client.history(image["Id"]))
    assert [form for form in forms if form in description + history] == []
    assert not any(form.encode() in content for content in layers(engine, image["Id"]) for form in forms)
    left = [path for path in science.installation.folder.rglob("*") if path.is_file()]
    assert not any(form.encode() in path.read_bytes() for path in left for form in forms[:2])


FORMS = ("s3cr3t", "pass%40word", base64.b64encode(PASSWORD.encode()).decode().rstrip("="), json.dumps(PASSWORD)[1:-1])


@pytest.mark.rules("IG-30", "LG-21", "LG-22", "D15")
@pytest.mark.parametrize("ending", ["exit 3", "echo KBC::USER_ERR:No $(cat key) today.KBC::USER_ERR; exit 1"])
def test_a_build_that_shows_a_login_shows_it_to_nobody(science: Science, server: GitServer, ending: str) -> None:
    """The repository itself holds the password; the build writes it in every way, also in pieces, and fails."""
    server.login = f"{USER}:{PASSWORD}"
    quoted = json.dumps(quote(PASSWORD, safe=""))
    science.repository.commit({"key": PASSWORD, "url": quoted, "run.sh": "cat key; base64 -w0 key; cat url\n"})
    pieces = "for i in 1 2 3; do printf s3cr; sleep 0.1; printf '3t/pass@word:%%41\\n'; done"
    science.define(commands=[f"echo begun; sh run.sh; {pieces}; {ending}"])
    science.configure(version="main", **science.login())
    with pytest.raises((UserError, ApplicationError)) as caught:
        science.prepare()
    shown = "\n".join((str(caught.value), repr(caught.value.__cause__), repr(caught.value.__context__), *science.lines))
    assert [form for form in FORMS if form in shown] == []
    assert "begun" in science.lines
    assert shown.count("[hidden]") >= 5
    if "USER_ERR" in ending:
        assert str(caught.value) == "No [hidden] today."


@pytest.mark.rules("D15")
def test_a_proxy_of_this_machine_that_wants_a_password_shows_it_in_no_build(
    science: Science, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = {"httpProxy": "http://proxy-user:pr0xy%2Fpass@127.0.0.1:9"}
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "config.json").write_text(json.dumps({"proxies": {"default": proxy}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    science.define(commands=["echo proxy $http_proxy"])
    image = science.prepare()
    shown = "\n".join(science.lines)
    assert "proxy http://proxy-user:[hidden]@127.0.0.1:9" in shown
    described = json.dumps([engine.client.inspect_image(image.id), engine.client.history(image.id)])
    assert not any(form in text for text in (shown, described) for form in ("pr0xy%2Fpass", "pr0xy/pass"))


def layers(engine: Engine, image_id: str) -> Iterator[bytes]:
    """What the image's own layers hold: everything beside those of the parent."""
    inherited = set(engine.client.inspect_image("docker-runner/base:latest")["RootFS"]["Layers"])
    layer_ids = engine.client.inspect_image(image_id)["RootFS"]["Layers"]
    saved = io.BytesIO(b"".join(engine.client.get_image(image_id)))
    with tarfile.open(fileobj=saved) as archive:
        (manifest,) = json.loads(archive.extractfile("manifest.json").read())  # type: ignore[union-attr]
        own = [name for name, layer in zip(manifest["Layers"], layer_ids, strict=True) if layer not in inherited]
        assert own
        for name in [manifest["Config"], *own]:
            yield archive.extractfile(name).read()  # type: ignore[union-attr]


@pytest.mark.rules("IG-20", "CD-9", "EN-4")
def test_the_components_own_login_is_a_cipher_for_the_component(science: Science, server: GitServer) -> None:
    server.login = f"{USER}:{PASSWORD}"
    own = {"uri": science.repository.address, "type": "git", "username": USER}
    science.define(repository={**own, "#password": science.cipher(PASSWORD, "ComponentSecure")})
    assert science.run()["mine"] == "first"
    science.define(repository={**own, "#password": science.cipher(PASSWORD, "ConfigSecure")})
    with pytest.raises(
        ConfigurationError, match=r"definition of vendor\.science: build_options\.repository\.#password"
    ):
        science.prepare()


@pytest.mark.rules("IG-28", "D15")
def test_an_image_that_is_there_is_not_given_to_who_may_not_read_the_repository(
    science: Science, server: GitServer
) -> None:
    server.login = f"{USER}:{PASSWORD}"
    science.configure(**science.login())
    science.prepare()
    science.configure(**science.login("wr0ng-pass"))
    with pytest.raises(UserError, match="refuses access") as caught:
        science.prepare()
    assert "wr0ng-pass" not in str(caught.value) + "\n".join(science.lines)
    science.configure()
    with pytest.raises(UserError, match="refuses access"):
        science.prepare()


@pytest.mark.rules("IG-23")
def test_a_configuration_may_name_its_own_repository(science: Science, server: GitServer) -> None:
    other = server.repository("other.git")
    other.commit(main("other"))
    science.configure(repository=other.address)
    try:
        assert science.run()["mine"] == "other"
    finally:
        for image in own_images(science.engine, other.address):
            science.engine.client.remove_image(image["Id"], force=True)


@pytest.mark.rules("IG-23")
@pytest.mark.thorough
def test_a_configuration_may_name_its_own_network(science: Science) -> None:
    script = "import socket\nnames = [name for _, name in socket.if_nameindex()]\nprint('interfaces:', *names)\n"
    science.repository.commit({"main.py": script})
    for network, expected in (("none", "interfaces: lo"), ("bridge", "interfaces: lo eth0")):
        science.installation.configuration("main", {"runtime": {"network": network}}, component=COMPONENT)
        science.installation.run("main", component=COMPONENT)
        assert expected in science.lines
    assert science.lines.count("The configuration's network none replaces the component's bridge.") == 1


@pytest.mark.rules("IG-29")
def test_an_unknown_version_is_a_user_error(science: Science) -> None:
    science.configure(version="2.0")
    with pytest.raises(NotFoundError, match=r"has no branch or tag '2\.0'. It has main, 1\.0\."):
        science.prepare()


@pytest.mark.rules("IG-30")
def test_a_build_that_fails_with_a_message_is_a_user_error_with_that_text(science: Science) -> None:
    science.define(
        parameters=({"name": "package", "type": "argument"},),
        commands=["true || echo 'KBC::USER_ERR:Not this.KBC::USER_ERR'",
                  "echo some output; (echo KBC::USER_ERR:There is no {{package}}.KBC::USER_ERR && exit 1)"],
    )  # fmt: skip
    science.configure(parameters={"package": "foo; bar"})
    with pytest.raises(UserError) as caught:
        science.prepare()
    assert str(caught.value) == "There is no foo; bar."
    assert "some output" in science.lines
    assert own_images(science.engine, science.repository.address) == []


@pytest.mark.rules("IG-30")
def test_any_other_failure_of_a_build_is_an_application_error_with_its_output(science: Science) -> None:
    mark = uuid.uuid4().hex
    science.define(commands=[f"echo compiling {mark}; exit 3"])
    with pytest.raises(ApplicationError, match=r"(?s)cannot be built: .*returned a non-zero code: 3.*compiling"):
        science.prepare()
    assert not [command for command in commands_of_builds(science.engine) if mark in command]


@pytest.mark.rules("IG-30")
def test_a_parent_image_that_cannot_be_had_is_an_application_error(science: Science) -> None:
    science.parent = ("127.0.0.1:1/absent", "1")
    image = {"type": "builder", "uri": "docker-runner-test/absent", "pull_policy": "never"}
    science.define()
    document = read_json(science.installation.folder / "components" / f"{COMPONENT}.json")
    document["data"]["definition"] |= image
    science.installation.component(COMPONENT, document["data"])
    with pytest.raises(ApplicationError, match=r"The image that vendor\.science is built on cannot be had.*absent:1"):
        science.prepare()
    assert science.built() == 0


@pytest.mark.rules("IG-29")
def test_a_build_that_takes_too_long_is_ended(science: Science, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = f"began {uuid.uuid4().hex}"
    # Long enough for the build to begin; on a busy machine that takes longer.
    for seconds in (3, 15, 60):
        limits = PullLimits(attempt_seconds=seconds)
        monkeypatch.setattr("docker_runner.engine.git_images.PullLimits", lambda limits=limits: limits)
        science.define(commands=[f"echo {mark}; sleep 500"])
        with pytest.raises(ApplicationError, match=f"was not built within {seconds} s"):
            science.prepare()
        if mark in science.lines:
            break
    assert mark in science.lines
    wait = threading.Event()
    for _ in range(300):
        if not any(mark in command for command in commands_of_builds(science.engine)):
            break
        wait.wait(0.1)
    assert not [command for command in commands_of_builds(science.engine) if mark in command]


@pytest.mark.parametrize(("own", "limit"), [("256m", 2_000_000_000), ("3g", 3_000_000_000)])
def test_a_build_has_limits_of_memory_and_cpus(science: Science, own: str, limit: int) -> None:
    science.define(commands=[f"echo for {own}; {SHOW_LIMITS}"])
    definition = science.installation.folder / "components" / f"{COMPONENT}.json"
    document = read_json(definition)
    document["data"]["memory"] = own
    definition.write_text(json.dumps(document))
    science.prepare()
    (memory,) = (int(line.split()[1]) for line in science.lines if line.startswith("memory "))
    (quota,) = (int(line.split()[1]) for line in science.lines if line.startswith("quota "))
    assert limit - 4096 <= memory <= limit
    assert quota == min(2, os.cpu_count() or 1) * 100_000


@pytest.mark.rules("IG-29")
def test_a_build_may_take_an_hour() -> None:
    assert PullLimits().attempt_seconds == 3600


def commands_of_builds(engine: Engine) -> Iterator[str]:
    """What containers of builds run now, those of other tests too."""
    for container in engine.client.containers(filters={"label": "com.keboola.docker.runner.origin=builder"}):
        yield container["Command"]


@pytest.mark.rules("IG-26", "D15")
def test_values_cannot_add_instructions_to_the_dockerfile(science: Science, engine: Engine) -> None:
    value = 'x"; echo hacked\nENV EVIL=1\nUSER nobody\n'
    science.define(
        parameters=({"name": "p", "type": "argument"},), commands=["printf %s {{p}} >/home/stamp"],
        entry_point="echo {{p}} >/dev/null; python3 /home/main.py",
    )  # fmt: skip
    science.configure(parameters={"p": value})
    told = science.run()
    assert told["stamp"] == value
    assert "EVIL" not in told["env"]


@pytest.mark.rules("IG-26")
def test_files_belong_to_the_user_of_the_parent_image(science: Science, engine: Engine, build: Any) -> None:
    tag = build("RUN useradd -m builder", "USER builder", 'SHELL ["/bin/bash", "-c"]')
    science.parent = tuple(tag.split(":"))  # type: ignore[assignment]
    science.define(commands=["set -o pipefail; touch /home/main.py; id -un >/tmp/who; cat /tmp/who | tee /tmp/who2"])
    assert "builder" in run_lines(science)


def run_lines(science: Science) -> list[str]:
    science.prepare()
    return science.lines


@pytest.mark.rules("LC-32", "IG-8")
def test_a_component_that_is_built_reports_its_errors_as_any_other(science: Science) -> None:
    science.repository.commit({"main.py": "import sys; sys.exit('Wrong parameters.')"})
    with pytest.raises(ComponentError, match=r"^Wrong parameters\.$"):
        science.run()


def test_a_server_that_fails_once_is_asked_again(science: Science, server: GitServer) -> None:
    server.status = 503

    over = threading.Event()

    def recover() -> None:
        while not (said := any("Trying again in" in line for line in science.lines)) and not over.wait(0.05):
            pass
        server.status = 0 if said else server.status

    recovering = threading.Thread(target=recover)
    recovering.start()
    try:
        assert science.prepare().id
    finally:
        over.set()
        recovering.join()
    assert any("Trying again in" in line for line in science.lines)


def test_a_worker_without_git_says_what_is_missing_and_is_not_asked_again(science: Science, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = science.installation.command("run", f"{COMPONENT}/main", PATH=str(tmp_path / "empty"))
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error:")]
    assert errors == [
        "Error: An image from a git repository needs the command git, which this worker does not have: "
        "install it there (apt-get install git, or scripts/ensure_git.sh)."
    ]
    assert "Trying again" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.rules("IG-22")
def test_rows_with_the_same_values_share_an_image_and_others_do_not(science: Science) -> None:
    science.installation.configuration(
        "main", {"runtime": {"version": "1.0"}}, component=COMPONENT,
        rows={"a": {}, "b": {"parameters": {"x": 1}}, "c": {"runtime": {"version": "main"}}},
    )  # fmt: skip
    job = science.installation.job("main", component=COMPONENT)
    images = pull_images(job, science.installation.tools())["images"]
    assert len(images) == 2
    assert all(stage.image_reference in images for row in job.rows for stage in row.stages)


PREPARE = """
import logging, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.installation import Installation
from docker_runner.job.images import pull_images
installation = Installation(Path(sys.argv[1]))
pull_images(installation.job("main", component="vendor.science"), installation.tools())
print(*installation.lines, sep="\\n")
"""


@pytest.mark.rules("D15", "IG-29")
def test_an_image_is_built_once_when_many_processes_want_it(science: Science) -> None:
    science.define(commands=["sleep 2"])
    root = str(Path(__file__).parents[3])
    command = [sys.executable, "-c", PREPARE, str(science.installation.folder), root]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 3
    assert sum("Building an image from" in output for output in outputs) == 1
    assert sum("Using the image built before from" in output for output in outputs) == 2


@pytest.mark.rules("IG-32")
@pytest.mark.thorough
@pytest.mark.usefixtures("alone_with_images")
def test_images_that_no_run_used_for_some_days_are_removed_and_others_stay(
    science: Science, engine: Engine, build: Any
) -> None:
    own = {}
    for version in ("main", "1.0"):
        science.repository.commit(main("moved"))
        science.configure(version=version)
        own[version] = science.prepare().id
    others = build("LABEL made=elsewhere")
    build_of = {image["Id"]: image["Labels"]["com.keboola.docker-runner.build"] for image in
                own_images(engine, science.repository.address)}  # fmt: skip
    today = datetime.now(UTC).date()
    mark_used(engine, own["main"], build_of[own["main"]], today=today - timedelta(days=500))
    mark_used(engine, own["1.0"], build_of[own["1.0"]], today=today - timedelta(days=300))
    assert own["main"] not in remove_unused_images(engine, timedelta(days=500))
    removed = remove_unused_images(engine, timedelta(days=300))
    assert own["main"] in removed
    assert own["1.0"] not in removed
    assert engine.client.inspect_image(others)
    assert [image["Id"] for image in own_images(engine, science.repository.address)] == [own["1.0"]]
    # A run uses it again today, so it stays for longer.
    science.prepare()
    assert own["1.0"] not in remove_unused_images(engine, timedelta(days=200))


@pytest.mark.rules("IG-32")
@pytest.mark.usefixtures("alone_with_images")
def test_an_image_that_a_container_uses_is_not_removed(science: Science, engine: Engine) -> None:
    image = science.prepare()
    (found,) = own_images(engine, science.repository.address)
    day = datetime.now(UTC).date() - timedelta(days=3000)
    mark_used(engine, image.id, found["Labels"]["com.keboola.docker-runner.build"], today=day)
    container = engine.client.create_container(image.id)["Id"]
    try:
        assert image.id not in remove_unused_images(engine, timedelta(days=2000))
        (still,) = own_images(engine, science.repository.address)
        assert len(still["RepoTags"]) == 2
    finally:
        engine.client.remove_container(container)
    assert image.id in remove_unused_images(engine, timedelta(days=2000))


@pytest.mark.rules("IG-32")
@pytest.mark.usefixtures("alone_with_images")
def test_an_image_that_a_run_takes_while_housekeeping_is_at_it_stays(
    science: Science, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import contextmanager

    from docker_runner.engine import built_images
    from docker_runner.engine.locks import one_at_a_time

    image = science.prepare()
    (found,) = own_images(engine, science.repository.address)
    build = found["Labels"]["com.keboola.docker-runner.build"]
    mark_used(engine, image.id, build, today=datetime.now(UTC).date() - timedelta(days=3000))
    with one_at_a_time(built_images.image_lock(build), seconds=5, waiting=lambda: None):
        assert image.id not in remove_unused_images(engine, timedelta(days=2000))

    @contextmanager
    def a_moment_too_late(*arguments: Any, **options: Any) -> Iterator[None]:
        mark_used(engine, image.id, build)
        with one_at_a_time(*arguments, **options):
            yield

    monkeypatch.setattr(built_images, "one_at_a_time", a_moment_too_late)
    assert image.id not in remove_unused_images(engine, timedelta(days=2000))
    assert engine.client.inspect_image(image.reference)["Id"] == image.id


@pytest.mark.rules("IG-29", "IG-32")
@pytest.mark.usefixtures("alone_with_images")
def test_what_somebody_made_of_a_built_image_or_named_is_neither_run_nor_removed(
    science: Science, engine: Engine
) -> None:
    image = science.prepare()
    own_build = engine.client.inspect_image(image.id)["Config"]["Labels"]["com.keboola.docker-runner.build"]
    container = engine.client.create_container(image.id)["Id"]
    derived = engine.client.commit(container, "docker-runner-test/derived", "by-hand")["Id"]
    engine.client.remove_container(container)
    try:
        labels = engine.client.inspect_image(derived)["Config"]["Labels"]
        assert labels["com.keboola.docker-runner.build"] == own_build
        assert science.prepare().id == image.id
        # Everything that is not of today is older than this; nothing is removed.
        assert derived not in remove_unused_images(engine, timedelta(days=-2), dry_run=True)
        mark_used(engine, image.id, own_build, today=date(2001, 1, 1))
        engine.client.tag(image.id, "docker-runner-test/kept", "by-hand")
        assert image.id not in remove_unused_images(engine, timedelta(days=2000))
        assert engine.client.inspect_image("docker-runner-test/kept:by-hand")["Id"] == image.id
    finally:
        # An image that others were made from cannot be removed before them.
        engine.client.remove_image(derived, force=True)
        engine.client.remove_image("docker-runner-test/kept:by-hand")
