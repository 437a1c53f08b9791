"""A real lake for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.storage.lake_files import read_csv
from tests.servers import PASSWORD, PostgresServer, S3Server

from docker_runner.storage import open_storage
from docker_runner.storage.base import Commit, LoadedTable, Storage, TableLoad


@pytest.fixture(scope="session")
def new_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty lake to copy: faster than making one for each test."""
    folder = tmp_path_factory.mktemp("new_lake")
    open_storage(f"ducklake:sqlite:{folder}/catalog.sqlite").close()
    return folder


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests marked ``locations`` run on one machine's lake and on one of many machines."""
    if metafunc.definition.get_closest_marker("locations"):
        metafunc.parametrize("uri", ["sqlite", "postgres-s3"], indirect=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.close()


@pytest.fixture
def uri(request: pytest.FixtureRequest, new_lake: Path, tmp_path: Path) -> str:
    if getattr(request, "param", "sqlite") == "postgres-s3":
        return str(request.getfixturevalue("shared_uri"))
    shutil.copytree(new_lake, tmp_path / "lake")
    return f"ducklake:sqlite:{tmp_path}/lake/catalog.sqlite"


@pytest.fixture
def shared_uri(
    postgres: PostgresServer, s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: None
) -> str:
    """A lake of many machines that does not exist yet."""
    s3.set_environment(monkeypatch)
    return f"ducklake:postgres:{postgres.new_database()}?data_path=s3://{s3.new_bucket()}/lake"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """How a process reaches PostgreSQL, and where it works."""
    monkeypatch.setenv("DOCKER_RUNNER_STORAGE_PASSWORD", PASSWORD)
    monkeypatch.setenv("DOCKER_RUNNER_STORAGE_SCRATCH", str(tmp_path / "lake" / "scratch"))


@pytest.fixture
def lake(uri: str) -> Iterator[Storage]:
    storage = open_storage(uri)
    yield storage
    storage.close()


@pytest.fixture
def load(lake: Storage, tmp_path: Path) -> Callable[..., LoadedTable]:
    """Loads CSV text into ``in.c-main.t`` in a commit of its own."""
    count = iter(range(1000))

    def load_text(content: str | bytes, table_id: str = "in.c-main.t", **options: Any) -> LoadedTable:
        number = next(count)
        source = tmp_path / f"load{number}.csv"
        source.write_bytes(content.encode() if isinstance(content, str) else content)
        (loaded,) = lake.commit(Commit(f"load{number}", (TableLoad(table_id, source, **options),))).tables
        return loaded

    return load_text


@pytest.fixture
def rows(lake: Storage, tmp_path: Path) -> Callable[..., list[list[str]]]:
    """Exports a table and reads it: data rows sorted, without the header."""

    def read(table_id: str = "in.c-main.t", **options: Any) -> list[list[str]]:
        target = tmp_path / "export.csv"
        lake.export_table(table_id, target, **options)
        return sorted(read_csv(target)[1:])

    return read
