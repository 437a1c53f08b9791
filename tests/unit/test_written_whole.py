"""Files and folders that commands write where people say."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from docker_runner.errors import UserError
from docker_runner.written_whole import written_file, written_folder


def put(target: Path, text: str = "new") -> None:
    with written_file(target) as part:
        part.write_text(text)


def put_folder(target: Path) -> None:
    with written_folder(target) as part:
        (part / "a").write_text("new")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_there_whole_or_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "t.csv"
    put(target, "first")
    with pytest.raises(ZeroDivisionError), written_file(target) as part:
        part.write_text(f"half {part.write_text('half') / 0}")
    assert (target.read_text(), names(tmp_path)) == ("first", ["t.csv"])


def test_a_link_stays_one_and_what_it_leads_to_keeps_mode_and_owner(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    real = tmp_path / "far" / "real.csv"
    real.write_text("old")
    real.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(real, 1234, 4321)
    before = real.stat()
    link = tmp_path / "link.csv"
    link.symlink_to("far/real.csv")
    with written_file(link) as part:
        assert part.stat().st_mode & 0o777 == 0o600  # nobody reads in it meanwhile who may not read the file
        part.write_text("new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    after = real.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert names(real.parent) == ["real.csv"]


def test_a_link_to_nothing_makes_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("t.csv")
    put(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "t.csv").read_text() == "new"


def test_a_named_pipe_gets_a_stream_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()), daemon=True)
    reader.start()
    put(pipe)
    reader.join(30)
    assert got == ["new"]
    assert pipe.is_fifo()
    assert names(tmp_path) == ["pipe"]


@pytest.mark.parametrize("redirected", [">", ">>"])
def test_what_a_process_has_open_is_written_to_as_that(tmp_path: Path, redirected: str) -> None:
    (tmp_path / "log").write_text("")
    inode = (tmp_path / "log").stat().st_ino
    program = (
        "import sys, pathlib; from docker_runner.written_whole import written_file\n"
        "print('before', file=sys.stderr, flush=True)\n"
        "with written_file(pathlib.Path('/dev/stderr')) as part: part.write_text('new\\n')\n"
    )
    command = f'"{sys.executable}" -c "$PROGRAM" 2{redirected} log'
    subprocess.run(command, shell=True, check=True, cwd=tmp_path, env={**os.environ, "PROGRAM": program})
    assert (tmp_path / "log").read_text() == "before\nnew\n"
    assert (tmp_path / "log").stat().st_ino == inode


def test_folders_and_missing_folders_are_told_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("old")
    (tmp_path / "round").symlink_to("round")
    for target, problem in (
        ("folder", "is a folder: name a file"),
        ("nowhere/t.csv", f"there is no folder {tmp_path}/nowhere"),
        ("file/t.csv", "Not a directory"),
        ("round", "symbolic links"),
        ("x" * 256, "File name too long"),
    ):
        with pytest.raises(UserError, match=problem):
            put(tmp_path / target)
    assert names(tmp_path) == ["file", "folder", "round"]


def test_a_folder_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    put_folder(tmp_path / "new")
    assert (tmp_path / "new" / "a").read_text() == "new"
    (tmp_path / "empty").mkdir()
    inode = (tmp_path / "empty").stat().st_ino
    with pytest.raises(ZeroDivisionError), written_folder(tmp_path / "empty") as part:
        (part / "a").write_text(f"half {(part / 'b').write_text('half') / 0}")
    assert names(tmp_path / "empty") == []
    put_folder(tmp_path / "empty")
    assert names(tmp_path / "empty") == ["a"]
    assert (tmp_path / "empty").stat().st_ino == inode  # somebody may stand in it
    assert names(tmp_path) == ["empty", "new"]


def test_a_folder_that_holds_something_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("old")
    (tmp_path / "link").symlink_to("full")
    for target, problem in (("full", "is not empty"), ("link", "is not empty"), ("full/mine", "is no folder")):
        with pytest.raises(UserError, match=problem):
            put_folder(tmp_path / target)
    assert names(tmp_path / "full") == ["mine"]
    assert names(tmp_path) == ["full", "link"]
