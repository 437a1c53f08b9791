"""Debug mode: snapshots of the data folder."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest
from tests.builders import ProjectBuilder, write

from docker_runner.engine.redaction import Redactor
from docker_runner.job.definition import JobDefinition, Mode
from docker_runner.job.resolution import JobRequest
from docker_runner.job.snapshots import snapshot_commit
from docker_runner.job.workspace import RowWorkspace, Workspace
from docker_runner.storage.base import FileQuery, Storage


@pytest.fixture
def row(built: ProjectBuilder) -> JobDefinition:
    built.component("b")
    built.component("c")
    built.configuration(
        {
            "processors": {
                "before": [{"definition": {"component": "b"}}],
                "after": [{"definition": {"component": "c"}}],
            }
        },
        rows={"r": {}},
    )
    return built.job(JobRequest(mode=Mode.DEBUG)).rows[0]


@pytest.fixture
def folders(built: ProjectBuilder, row: JobDefinition, tmp_path: Path) -> RowWorkspace:
    workspace = Workspace(tmp_path / "runs", "run")
    workspace.create(built.job())
    return workspace.row("r")


def entries(archive: Path) -> dict[str, str]:
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name).decode() for name in opened.namelist()}


@pytest.mark.rules("LC-60", "LC-63", "PR-16", "TV-10")
def test_a_snapshot_is_stored_before_each_image_and_after_the_last(
    row: JobDefinition, folders: RowWorkspace, lake: Storage
) -> None:
    for stage in range(3):
        folders.make_stage(stage)
        lake.commit(snapshot_commit(row, folders, stage=stage, config={}, redactor=Redactor()))
    lake.commit(snapshot_commit(row, folders, stage=None, config=None, redactor=Redactor()))
    stored = [(file.name, set(file.tags)) for file in reversed(lake.files(FileQuery(tags=("debug",))))]
    same = {"debug", "jobId:42", "rowId:r"}
    assert stored == [
        ("stage_0.zip", {"b", *same}),
        ("stage_1.zip", {"vendor.ex-foo", *same}),
        ("stage_2.zip", {"c", *same}),
        ("stage_output.zip", {"vendor.ex-foo", *same}),
    ]


@pytest.mark.rules("LC-61", "LC-62", "D16")
@pytest.mark.parametrize("extension", ["json", "yml"])
@pytest.mark.parametrize("known", [True, False])
def test_a_snapshot_holds_no_secret(row: JobDefinition, folders: RowWorkspace, extension: str, known: bool) -> None:
    data = folders.make_stage(0, extension=extension)
    state = json.dumps({"#token": "hunter2", "plain": 1, "copy": "hunter2" if known else ""})
    write(data.in_state, state)
    write(data.out_state, state)
    redactor = Redactor(["hunter2"] if known else [])
    config = {"parameters": {"#password": "hunter2", "user": "me"}, "list": [{"#k": "hunter2"}]}
    commit = snapshot_commit(row, folders, stage=0, config=config, redactor=redactor)
    found = entries(commit.files[0].source)
    assert not [name for name, text in found.items() if "hunter2" in text]
    assert json.loads(found["config.json"]) == {
        "parameters": {"#password": "[hidden]", "user": "me"},
        "list": [{"#k": "[hidden]"}],
    }
    for name in (f"in/state.{extension}", f"out/state.{extension}"):
        assert json.loads(found[name])["#token"] == "[hidden]"
        assert json.loads(found[name])["plain"] == 1


@pytest.mark.rules("LC-62")
def test_a_state_that_is_not_valid_is_not_shown_at_all(row: JobDefinition, folders: RowWorkspace) -> None:
    data = folders.make_stage(0)
    write(data.out_state, '{"#token": "hunter2"')
    found = entries(snapshot_commit(row, folders, stage=0, config=None, redactor=Redactor()).files[0].source)
    assert found["out/state.json"] == ""


@pytest.mark.rules("LC-61")
def test_dot_files_links_and_pipes_are_left_out_and_empty_folders_kept(
    row: JobDefinition, folders: RowWorkspace, tmp_path: Path
) -> None:
    data = folders.make_stage(0)
    for name in ("in/tables/t.csv", "in/.hidden", ".folder/x", "extra/file"):
        write(data.root / name, name)
    os.utime(data.root / "extra/file", (0, 0))
    (data.outputs / "tables/link").symlink_to(write(tmp_path / "secret", "of the machine"))
    (data.outputs / "tables/folder").symlink_to(tmp_path)
    os.mkfifo(data.outputs / "pipe")
    (data.outputs / "state.json").mkdir()
    found = entries(snapshot_commit(row, folders, stage=0, config=None, redactor=Redactor()).files[0].source)
    assert {name: text for name, text in found.items() if text} == {
        "in/tables/t.csv": "in/tables/t.csv",
        "extra/file": "extra/file",
    }
    assert {name for name in found if not found[name]} == {
        "in/", "in/tables/", "in/files/", "in/user/", "out/", "out/tables/", "out/files/", "out/state.json/", "extra/",
        "artifacts/", "artifacts/out/", "artifacts/out/current/", "artifacts/out/shared/",
    }  # fmt: skip
