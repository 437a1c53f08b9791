"""A small installation of its own for a test: a project, components, a Storage, and components that run any code."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docker_runner.job.definition import Job
from docker_runner.job.resolution import JobRequest, resolve_job
from docker_runner.job.run import JobResult, run_job
from docker_runner.job.tools import Tools
from docker_runner.project.component import ComponentRegistry
from docker_runner.project.configuration import Project
from docker_runner.settings import Settings
from docker_runner.storage import open_storage
from docker_runner.storage.base import Commit, FileQuery, FileUpload, StateKey, StoredFile, TableLoad

SCRIPT_IMAGE = "docker-runner-test/script"
SCRIPT_DOCKERFILE = """FROM {base}
CMD ["python3", "-uc", "import json; c = json.load(open('/data/config.json')); exec(c['parameters']['script'])"]
"""
SCRIPT = "test.script"
YAML_IMAGE = "docker-runner-test/yaml"
YAML_SCRIPT = """
config = open("/data/config.yml").read()
print(config)
print(open("/data/in/state.yml").read())
secret = next(line.split(": ")[1] for line in config.splitlines() if "#p" in line)
open("/data/out/state.yml", "w").write(f"n: 1\\n'#t': {secret}\\n")
open("/data/out/usage.yml", "w").write("- metric: calls\\n  value: 2\\n")
"""
YAML = "test.yaml"


def build_script_image(base: str) -> None:
    """Build the image whose containers run the Python code in ``parameters.script``."""
    _build(SCRIPT_DOCKERFILE.format(base=base), SCRIPT_IMAGE)


def build_yaml_image(base: str) -> None:
    """Build the image whose containers show their config file and state, and leave a state and usage, as YAML."""
    _build(f"FROM {base}\nCMD {json.dumps(['python3', '-uc', YAML_SCRIPT])}\n", YAML_IMAGE)


def _build(dockerfile: str, image: str) -> None:
    import docker

    client = docker.from_env()
    try:
        client.images.build(fileobj=io.BytesIO(dockerfile.encode()), tag=f"{image}:latest", rm=True)
    finally:
        client.close()


def container_names() -> list[str]:
    """Names of all containers of the engine."""
    import docker

    client = docker.APIClient(**docker.utils.kwargs_from_env())
    try:
        return [name.lstrip("/") for item in client.containers(all=True) for name in item["Names"] or ()]
    finally:
        client.close()


@dataclass
class Installation:
    """Everything that one installation of the runner has, in one folder."""

    folder: Path
    lines: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("project/main", "components"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.component(SCRIPT, {"network": "none"})

    @property
    def name(self) -> str:
        """How its jobs and containers are called: like no other test's on this machine, which all share one engine."""
        return f"test-{os.getpid()}-{self.folder.name}"

    @property
    def environment(self) -> dict[str, str]:
        """The runner's variables."""
        return {
            "DOCKER_RUNNER_HOME": str(self.folder / "home"),
            "DOCKER_RUNNER_PROJECT": str(self.folder / "project"),
            "DOCKER_RUNNER_COMPONENTS": str(self.folder / "components"),
            **self.variables,
        }

    @property
    def settings(self) -> Settings:
        """The runner's settings."""
        return Settings.from_environment(self.environment)

    @property
    def workspaces(self) -> list[str]:
        """Names of the folders of runs that are there now."""
        root = self.settings.workspaces
        return sorted(path.name for path in root.iterdir() if path.is_dir()) if root.exists() else []

    def component(self, component_id: str, data: dict[str, Any] | None = None, **root: Any) -> None:
        """Register a component whose image runs ``parameters.script`` unless ``data`` names another one."""
        definition = {"type": "dockerhub", "uri": SCRIPT_IMAGE, "pull_policy": "never"}
        document = {"id": component_id, "data": {"definition": definition, **(data or {})}, **root}
        (self.folder / "components" / f"{component_id}.json").write_text(json.dumps(document))

    def configuration(
        self,
        name: str,
        configuration: dict[str, Any],
        *,
        component: str = SCRIPT,
        rows: dict[str, dict[str, Any]] | None = None,
        disabled_rows: tuple[str, ...] = (),
        branch: str = "main",
    ) -> Path:
        """Write a configuration; give its ``config.json``."""
        folder = self.folder / "project" / branch / "other" / component / name
        file = _write(folder / "config.json", configuration)
        for row, content in (rows or {}).items():
            _write(folder / "rows" / row / "config.json", content)
            _write(folder / "rows" / row / "meta.json", {"name": row, "isDisabled": row in disabled_rows})
        return file

    def script(self, name: str, script: str, *, component: str = SCRIPT, **nodes: Any) -> Path:
        """Write a configuration that runs some Python code."""
        return self.configuration(name, {"parameters": {"script": script}, **nodes}, component=component)

    def job(self, name: str, *, component: str = SCRIPT, run_id: str = "run-1", **params: Any) -> Job:
        """Resolve a configuration."""
        return resolve_job(
            Project(self.settings.project, branch=self.settings.branch),
            ComponentRegistry(self.settings.components),
            component_id=component,
            config_id=name,
            request=JobRequest.from_params(params),
            job_id=f"{self.name}/{name}",
            run_id=run_id,
            features=self.settings.features,
        )

    def tools(self) -> Tools:
        """Tools whose log ends up in ``lines``."""
        log = logging.Logger("docker_runner", logging.INFO)
        log.addHandler(_Lines(self.lines))
        # Children of an unregistered logger have no parent to hand their lines to.
        child = logging.Logger("docker_runner.component", logging.INFO)
        child.addHandler(_Lines(self.lines))
        log.getChild = lambda suffix: child  # type: ignore[method-assign]
        return Tools(self.settings, log=log)

    def run(self, name: str, *, component: str = SCRIPT, **params: Any) -> JobResult:
        """Run a configuration in this process."""
        return run_job(self.job(name, component=component, **params), self.tools())

    def command(self, *arguments: str, input: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Call the command line as a user would."""
        variables = {**os.environ, **self.environment, **environment}
        command = [str(Path(sys.executable).with_name("docker-runner")), *arguments]
        return subprocess.run(
            command, env=variables, input=input, capture_output=True, text=True, timeout=120, check=False
        )

    def load(self, table: str, text: str, **options: Any) -> None:
        """Load a CSV text into a table."""
        file = self.folder / f"{table}.csv"
        file.write_text(text)
        self.tools().storage.commit(Commit(key=os.urandom(8).hex(), tables=(TableLoad(table, file, **options),)))

    def rows(self, table: str) -> list[dict[str, str]]:
        """All rows of a table, sorted."""
        target = self.folder / "exported.csv"
        open_storage(self.settings.storage).export_table(table, target)
        with target.open(newline="") as file:
            return sorted(csv.DictReader(file), key=lambda row: tuple(row.values()))

    def tables(self) -> list[str]:
        """Ids of all tables."""
        return [table.id for table in open_storage(self.settings.storage).tables()]

    def state(self, name: str, *, row: str = "", component: str = SCRIPT, branch: str = "") -> dict[str, Any]:
        """The stored state document of a configuration or row."""
        return open_storage(self.settings.storage).state(StateKey(component, name, row, branch))

    def store_state(self, name: str, document: dict[str, Any], *, row: str = "") -> None:
        """Put a state document in place of the stored one."""
        commit = Commit(key=os.urandom(8).hex(), state={StateKey(SCRIPT, name, row): document})
        open_storage(self.settings.storage).commit(commit)

    def files(self, *tags: str) -> list[StoredFile]:
        """Stored files with these tags, oldest first."""
        return list(reversed(open_storage(self.settings.storage).files(FileQuery(tags=tags))))

    def store_file(self, source: Path, *tags: str) -> None:
        """Store a file with tags."""
        commit = Commit(key=os.urandom(8).hex(), files=(FileUpload(source, source.name, tags),))
        open_storage(self.settings.storage).commit(commit)

    def download(self, file: StoredFile) -> Path:
        """Fetch a stored file; give the copy."""
        target = self.folder / "downloaded" / str(file.id)
        target.parent.mkdir(exist_ok=True)
        open_storage(self.settings.storage).download_file(file.id, target)
        return target

    def cipher(self, secret: str, *, component: str = SCRIPT) -> str:
        """Encrypt a secret for a component."""
        done = self.command("encrypt", "--component", component, "--value", input=secret)
        return done.stdout.strip()


class _Lines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _write(file: Path, content: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file
