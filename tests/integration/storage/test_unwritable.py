"""A lake whose disk is full or read-only is read all the same; and no process leaves its working folder behind."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from tests.integration.storage.lake_files import read_csv

from docker_runner.errors import StorageError
from docker_runner.storage import open_storage
from docker_runner.storage.base import Commit, FileUpload, TableLoad
from docker_runner.storage.lake.location import parse_location
from docker_runner.storage.lake.query import query
from docker_runner.storage.tokens import Permissions, PresentedToken


def mount(*arguments: str | Path) -> None:
    if subprocess.run(["mount", *arguments], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as rest:
        while True:
            rest.write(bytes(4096))


@pytest.fixture
def unwritable(request: pytest.FixtureRequest, uri: str, tmp_path: Path) -> Iterator[str]:
    """A lake with a table, a file and a token, on a disk that is full or read-only."""
    with closing(open_storage(uri)) as storage:
        secret = storage.create_token("reader", Permissions(can_manage=True), creator="test").secret
        (tmp_path / "secret").write_text(secret)
        source = tmp_path / "t.csv"
        source.write_text("id\n1\n")
        storage.commit(Commit("k", (TableLoad("in.c-main.t", source),), (FileUpload(source, "t.csv"),)))
    place = tmp_path / "disk"
    place.mkdir()
    with ExitStack() as stack:
        if os.geteuid() == 0:
            stack.callback(lambda: subprocess.run(["umount", place], capture_output=True))
            if request.param == "full":
                mount("-t", "tmpfs", "-o", "size=1m", "none", place)
            else:
                mount("--bind", tmp_path / "lake", place)
                mount("-o", "remount,ro,bind", place)
        elif request.param == "full":
            pytest.skip("only root mounts a small disk")
        if request.param == "full" or os.geteuid() != 0:
            shutil.copytree(tmp_path / "lake", place, dirs_exist_ok=True)
        if request.param == "full":
            with pytest.raises(OSError, match="No space"):
                fill(place / "rest")
        elif os.geteuid() != 0:
            stack.callback(lambda: place.chmod(0o755))
            for folder in (place / "scratch", place):
                folder.chmod(0o555)
        yield f"ducklake:sqlite:{place}/catalog.sqlite"


@pytest.mark.parametrize(
    ("unwritable", "reason"),
    [("full", "No space left on device"), ("read-only", "Read-only file system|Permission denied")],
    indirect=["unwritable"],
)
def test_a_lake_is_read_where_nothing_can_be_written(unwritable: str, reason: str, tmp_path: Path) -> None:
    with closing(open_storage(unwritable)) as storage:
        assert [table.id for table in storage.tables()] == ["in.c-main.t"]
        storage.export_table("in.c-main.t", tmp_path / "out.csv")
        assert read_csv(tmp_path / "out.csv") == [["id"], ["1"]]
        storage.download_file(1, tmp_path / "file")
        assert (tmp_path / "file").read_text() == "id\n1\n"
        with pytest.raises(StorageError, match=rf"catalog\.sqlite can only be read at the moment: ({reason})"):
            storage.drop_table("in.c-main.t")
        assert storage.table("in.c-main.t").rows == 1
    token = PresentedToken((tmp_path / "secret").read_text(), origin="test")
    with closing(open_storage(unwritable, token=token)) as storage:
        assert [table.id for table in storage.tables()] == ["in.c-main.t"]
        with pytest.raises(StorageError, match=rf"catalog\.sqlite\.ledger can only be read at the moment: ({reason})"):
            storage.revoke_token(1)
    with query(parse_location(unwritable), 'SELECT count(*) FROM "in.c-main".t') as result:
        assert list(result.rows) == [("1",)]


def test_a_process_that_forgets_its_lake_leaves_nothing_in_the_working_folder(uri: str, tmp_path: Path) -> None:
    scratch = tmp_path / "lake" / "scratch"
    forgotten = open_storage(uri)
    assert list(scratch.glob("*.lock"))
    del forgotten
    gc.collect()
    assert list(scratch.iterdir()) == []
    # Airflow forgets what was to be done at the end when it forks a task, but does what comes after.
    program = (
        "import atexit, weakref; known = set(); weakref.finalize(known, print); atexit._clear()\n"
        f"from docker_runner.storage import open_storage; lake = open_storage({uri!r}); raise SystemExit(3)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 3
    assert list(scratch.iterdir()) == []
