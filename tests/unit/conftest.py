"""A project, a component registry and a real lake for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.builders import ProjectBuilder, write
from tests.commands import Command, invoked

from docker_runner.storage import open_storage
from docker_runner.storage.base import Commit, FileUpload, Storage, StoredFile, TableLoad


@pytest.fixture
def built(tmp_path: Path) -> ProjectBuilder:
    """A project with one component, ``vendor.ex-foo``, and no configuration yet."""
    builder = ProjectBuilder(tmp_path)
    builder.directory.mkdir()
    builder.component()
    return builder


@pytest.fixture
def command(built: ProjectBuilder, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command in the folder of the project's files."""
    monkeypatch.setenv("DOCKER_RUNNER_PROJECT", str(built.directory))
    monkeypatch.setenv("DOCKER_RUNNER_COMPONENTS", str(built.folder / "components"))
    monkeypatch.setenv("DOCKER_RUNNER_HOME", str(built.folder / "home"))
    for name in ("KEYS", "BRANCH", "VAULT", "OAUTH", "STORAGE"):
        monkeypatch.delenv(f"DOCKER_RUNNER_{name}", raising=False)
    monkeypatch.chdir(built.folder)
    return invoked


@pytest.fixture(scope="session")
def new_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty lake to copy: faster than making one for each test."""
    folder = tmp_path_factory.mktemp("new_lake")
    open_storage(f"ducklake:sqlite:{folder}/catalog.sqlite").close()
    return folder


@pytest.fixture
def lake(new_lake: Path, tmp_path: Path) -> Iterator[Storage]:
    shutil.copytree(new_lake, tmp_path / "lake")
    storage = open_storage(f"ducklake:sqlite:{tmp_path}/lake/catalog.sqlite")
    yield storage
    storage.close()


@pytest.fixture
def load(lake: Storage, tmp_path: Path) -> Callable[..., None]:
    """Loads CSV text into a table, in a commit of its own."""
    count = iter(range(1000))

    def load_text(content: str, table_id: str = "in.c-main.t", **options: Any) -> None:
        number = next(count)
        source = write(tmp_path / f"load{number}.csv", content)
        lake.commit(Commit(f"load{number}", (TableLoad(table_id, source, **options),)))

    return load_text


@pytest.fixture
def store(lake: Storage, tmp_path: Path) -> Callable[..., StoredFile]:
    """Stores a file with tags; gives it."""
    count = iter(range(1000))

    def store_file(name: str, *tags: str) -> StoredFile:
        number = next(count)
        source = write(tmp_path / f"file{number}", f"content of {name}")
        return lake.commit(Commit(f"file{number}", files=(FileUpload(source, name, tags),))).files[0]

    return store_file
