"""Where a case happens: a small installation with a project, components, keys and a Storage that must not change."""

from __future__ import annotations

import json
import logging
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.builders import component_document
from tests.corpus.cases import COMPONENT, CONFIG, KEY, SECRET, Case, as_json, put

from docker_runner.errors import UserError
from docker_runner.job.definition import Job
from docker_runner.job.plan import Step, row_steps
from docker_runner.job.resolution import JobRequest, resolve_job
from docker_runner.job.steps import create_workspace, perform
from docker_runner.job.tools import Tools
from docker_runner.job.workspace import RowWorkspace, Workspace
from docker_runner.project.component import ComponentRegistry
from docker_runner.project.configuration import Project
from docker_runner.settings import Settings
from docker_runner.storage import open_storage
from docker_runner.storage.base import (
    BaseType,
    ColumnType,
    Commit,
    FileQuery,
    FileUpload,
    StateKey,
    Storage,
    TableLoad,
)

PROCESSOR = "vendor.processor"


@dataclass
class World:
    """One installation in a folder, with a Storage that many cases share."""

    folder: Path
    shared: SharedStorage

    def __post_init__(self) -> None:
        put(self.folder / "home" / "keys", KEY)
        self.component()
        self.component(PROCESSOR)
        self.config({})

    @property
    def environment(self) -> dict[str, str]:
        """The runner's variables."""
        return {
            "DOCKER_RUNNER_HOME": str(self.folder / "home"),
            "DOCKER_RUNNER_PROJECT": str(self.folder / "project"),
            "DOCKER_RUNNER_COMPONENTS": str(self.folder / "components"),
            "DOCKER_RUNNER_STORAGE": self.shared.uri,
        }

    @property
    def settings(self) -> Settings:
        """The runner's settings."""
        return Settings.from_environment(self.environment)

    @property
    def registry(self) -> ComponentRegistry:
        """The registered components."""
        return ComponentRegistry(self.settings.components)

    def tools(self) -> Tools:
        """Tools with the shared Storage and no engine."""
        tools = Tools(self.settings, log=logging.Logger("corpus"))
        tools.__dict__["_whole_storage"] = self.shared.storage
        return tools

    def component(self, component_id: str = COMPONENT, content: Any = None, **data: Any) -> None:
        """Register a component, broken or not."""
        document = component_document(component_id, **data) if content is None else content
        put(self.folder / "components" / f"{component_id}.json", document)

    def file(self, path: str, content: Any) -> None:
        """Write a file of the project directory."""
        put(self.folder / "project" / path, content)

    def config(self, content: Any, path: str = "config.json") -> None:
        """Write ``config.json`` of the configuration, or another of its files."""
        self.file(f"main/extractor/{COMPONENT}/{CONFIG}/{path}", content)

    def job(self, *, branch: str = "", **request: Any) -> Job:
        """Resolve the configuration as every run does."""
        return resolve_job(
            Project(self.settings.project, branch=branch),
            self.registry,
            component_id=COMPONENT,
            config_id=CONFIG,
            request=JobRequest.from_params(request),
            job_id=f"corpus.{self.folder.name}",
            run_id="run-1",
            vault=self.settings.vault,
        )

    def expect(self, case: Case, action: Callable[[], object]) -> UserError:
        """What :func:`check_told` asks for, and that Storage is as it was, whatever came of it."""
        try:
            return check_told(case, action)
        finally:
            self.shared.check_unchanged()


class PreparedRun:
    """A run whose containers have ended: what is left to do can be done by the real steps."""

    def __init__(self, world: World, job: Job) -> None:
        self.job, self.tools = job, world.tools()
        self.workspace = Workspace(world.settings.workspaces, job.id)
        create_workspace(job, self.workspace, self.tools)
        self.steps: dict[str, Step] = {
            step.name: step for step in row_steps(job.rows[0].configuration, job.rows[0].component)
        }

    @property
    def row(self) -> RowWorkspace:
        """The folders of the only row."""
        return self.workspace.row("")

    def do(self, name: str) -> Any:
        """Do a step."""
        return perform(self.steps[name], workspace=self.workspace, row_id="", tools=self.tools, manifests={})

    def ended(self, out: dict[str, Any]) -> None:
        """Let the component's container have ended and left ``out``."""
        self.do("write_config")
        data = self.row.make_stage(0)
        for path, content in out.items():
            put(data.outputs / path, content)
        self.row.finish("run_component", {})


class SharedStorage:
    """A Storage with tables, a file and states, made anew only when a case did change it."""

    def __init__(self, new_folder: Callable[[], Path]) -> None:
        self._new_folder = new_folder
        self._make()

    def _make(self) -> None:
        self.folder = self._new_folder()
        self.uri = f"ducklake:sqlite:{self.folder}/catalog.sqlite"
        self.storage = open_storage(self.uri)
        _seed(self.storage)
        self._before = self._picture()

    def close(self) -> None:
        """Close it."""
        self.storage.close()

    @contextmanager
    def with_state(self, state: Any) -> Iterator[None]:
        """Let the configuration have another stored state for a while."""
        key, before = StateKey(COMPONENT, CONFIG), self._before
        self.storage.commit(Commit(uuid4().hex, state={key: json.loads(as_json(state))}))
        self._before = self._picture()
        try:
            yield
        finally:
            self.storage.commit(Commit(uuid4().hex, state={key: before["state"]}))
            self._before = before

    def check_unchanged(self) -> None:
        """Everything is as it was: tables, rows, buckets, files, states, and the files beside the catalogue."""
        now = self._picture()
        changed = sorted(part for part in now if now[part] != self._before[part])
        if changed:
            # The cases after this one must not fail for it.
            self.close()
            self._make()
        assert not changed, f"Storage was changed: {', '.join(changed)}"

    def _picture(self) -> dict[str, Any]:
        storage = self.storage
        with tempfile.TemporaryDirectory() as target:
            rows = {}
            for table in storage.tables():
                storage.export_table(table.id, Path(target, table.id))
                rows[table.id] = sorted(Path(target, table.id).read_bytes().split(b"\n"))
        kept = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return {
            "tables": list(storage.tables()),
            "rows": rows,
            "buckets": list(storage.buckets()),
            "files": list(storage.files(FileQuery(limit=1000))),
            "state": storage.state(StateKey(COMPONENT, CONFIG)),
            # The catalogue's own files change with every transaction, also with one that is given up.
            "folder": {
                str(path.relative_to(self.folder)): path.read_bytes()
                for path in kept
                if not path.name.startswith("catalog")
            },
        }


def _seed(storage: Storage) -> None:
    with tempfile.TemporaryDirectory() as sources:
        csv = put(Path(sources, "t.csv"), 'id,v\n1,a\n2,"b ""c""\nd"\n')
        file = put(Path(sources, "a.txt"), "content")
        tables = [TableLoad(f"{stage}.c-main.t", csv, primary_key=("id",)) for stage in ("in", "out")]
        typed = put(Path(sources, "k.csv"), "id,v,d\n1,abc,2026-01-01\n2,abc,\n")
        types = {
            "id": ColumnType(BaseType.INTEGER, nullable=False),
            "v": ColumnType(BaseType.STRING, length="3"),
            "d": ColumnType(BaseType.DATE),
        }
        tables.append(TableLoad("out.c-main.k", typed, primary_key=("id",), types=types))
        files = (FileUpload(file, "a.txt", ("a",)),)
        state = {StateKey(COMPONENT, CONFIG): {"component": {"n": 1}}}
        storage.commit(Commit("seed", tuple(tables), files, state=state))


def check_told(case: Case, action: Callable[[], object]) -> UserError:
    """Do something that must fail with one user error that tells all that the case asks for; give the error."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the kind of error is what is checked below
        action()
    error = caught.value
    assert isinstance(error, UserError), f"{type(error).__name__} instead of a user error: {error}"
    check_message(case, str(error))
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    return error


def check_message(case: Case, message: str) -> None:
    """The message names file and place, says what would be right, and shows no secret and no code."""
    default_file = "config.json" if case.kind in ("configurations", "rows") else ""
    for words in (case.get("file", default_file), case["place"], *case["says"]):
        assert words in message, f"{words!r} is missing in: {message}"
    for words in (SECRET, case.get("secret", SECRET), "Traceback", " object at 0x", KEY):
        assert words not in message
    assert 0 < len(message) < 1500, message
