"""The URI of a Storage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from docker_runner.errors import UserError
from docker_runner.storage import open_storage
from docker_runner.storage.lake.location import parse_location


def test_tables_and_files_lie_beside_the_catalogue() -> None:
    location = parse_location("ducklake:sqlite:/lake/catalog.sqlite")
    assert location.catalog == Path("/lake/catalog.sqlite")
    assert location.tables == Path("/lake/tables")
    assert location.files == Path("/lake/files")


def test_the_tables_folder_can_be_elsewhere() -> None:
    assert parse_location("ducklake:sqlite:/lake/c.sqlite?data_path=/big/disk").tables == Path("/big/disk")


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("postgresql://host/db", "is not the URI of a Storage"),
        ("ducklake:sqlite:", "it names no catalogue file"),
        ("ducklake:sqlite:/a?data_pth=/b", "unknown option data_pth"),
        ("ducklake:sqlite:/a[1]/c.sqlite", "must not contain"),
        ("", "is not the URI of a Storage"),
    ],
)
def test_another_uri_is_refused_and_told_what_is_supported(uri: str, problem: str) -> None:
    with pytest.raises(UserError) as error:
        open_storage(uri)
    assert problem in str(error.value)


def test_importing_storage_does_not_import_duckdb() -> None:
    code = "import sys, docker_runner.storage, docker_runner.storage.base; sys.exit('duckdb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
