"""The URI of a Storage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from docker_runner.errors import UserError
from docker_runner.storage import open_storage
from docker_runner.storage.lake.blobs import FolderContents
from docker_runner.storage.lake.location import parse_location


def test_tables_and_files_lie_beside_the_catalogue() -> None:
    location = parse_location("ducklake:sqlite:/lake/catalog.sqlite")
    assert str(location.catalog) == "/lake/catalog.sqlite"
    assert location.tables == "/lake/tables"
    assert location.files == FolderContents(Path("/lake/files"))


def test_the_data_can_be_elsewhere() -> None:
    location = parse_location("ducklake:sqlite:/lake/c.sqlite?data_path=/big/disk")
    assert (location.tables, location.files) == ("/big/disk/tables", FolderContents(Path("/big/disk/files")))


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("postgresql://host/db", "is not the URI of a Storage"),
        ("ducklake:sqlite:", "names no catalogue file"),
        ("ducklake:sqlite:/a?data_pth=/b", "unknown option: data_pth"),
        ("ducklake:sqlite:/a?data_path=ftp://host/b", "expected is s3://bucket/prefix"),
        ("ducklake:postgres:dbname=lake", "needs a data_path that all machines can reach"),
        ("ducklake:postgres:dbnam=lake?data_path=/shared", "libpq's keywords and values"),
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
