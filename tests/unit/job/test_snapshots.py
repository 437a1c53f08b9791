"""Debug mode: snapshots of the data folder."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.builders import ProjectBuilder, write

from docker_runner.engine.redaction import Redactor
from docker_runner.job.definition import JobDefinition, Mode
from docker_runner.job.resolution import JobRequest
from docker_runner.job.snapshots import store_snapshot
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


@pytest.fixture
def snapshot(row: JobDefinition, folders: RowWorkspace, lake: Storage, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Stores a snapshot; gives its entries as they come back from Storage."""

    def store(
        stage: int | None = 0, secret_files: dict[str, Any] | None = None, redactor: Redactor | None = None
    ) -> dict[str, str]:
        stored, *_ = store_snapshot(
            row, folders, lake, stage=stage, secret_files=secret_files or {}, redactor=redactor or Redactor()
        )
        lake.download_file(stored.id, tmp_path / "snapshot.zip")
        with zipfile.ZipFile(tmp_path / "snapshot.zip") as opened:
            assert len(opened.namelist()) == len(set(opened.namelist()))
            return {name: opened.read(name).decode() for name in opened.namelist()}

    return store


@pytest.mark.rules("LC-60", "LC-63", "PR-16", "TV-10")
def test_a_snapshot_is_stored_before_each_image_and_after_the_last(
    folders: RowWorkspace, lake: Storage, snapshot: Callable[..., dict[str, str]]
) -> None:
    for stage in range(3):
        folders.make_stage(stage)
        snapshot(stage)
    snapshot(None)
    assert list(folders.folder.glob("*.zip")) == []
    assert {(file.is_permanent, file.is_public) for file in lake.files(FileQuery(tags=("debug",)))} == {(False, False)}
    stored = [(file.name, set(file.tags)) for file in reversed(lake.files(FileQuery(tags=("debug",))))]
    same = {"debug", "jobId:42", "rowId:r"}
    assert stored == [
        ("stage_0.zip", {"b", *same}),
        ("stage_1.zip", {"vendor.ex-foo", *same}),
        ("stage_2.zip", {"c", *same}),
        ("stage_output.zip", {"vendor.ex-foo", *same}),
    ]


@pytest.mark.rules("LC-61", "LC-62", "D16", "LG-22")
@pytest.mark.parametrize("extension", ["json", "yml"])
@pytest.mark.parametrize("known", [True, False])
def test_a_snapshot_holds_no_secret(
    folders: RowWorkspace, snapshot: Callable[..., dict[str, str]], extension: str, known: bool
) -> None:
    data = folders.make_stage(0, extension=extension)
    state = json.dumps({"#token": "hunter2", "plain": 1, "copy": "hunter2" if known else ""})
    write(data.in_state, state)
    write(data.out_state, state)
    config = {"parameters": {"#password": "hunter2", "user": "me"}, "list": [{"#k": "hunter2"}]}
    name = f"config.{extension}"
    found = snapshot(0, {name: config}, Redactor(["hunter2"] if known else []))
    assert not [name for name, text in found.items() if "hunter2" in text]
    assert yaml.safe_load(found[name]) == {
        "parameters": {"#password": "[hidden]", "user": "me"},
        "list": [{"#k": "[hidden]"}],
    }
    assert found[name].startswith("{" if extension == "json" else "parameters:")
    for name in (f"in/state.{extension}", f"out/state.{extension}"):
        assert yaml.safe_load(found[name])["#token"] == "[hidden]"
        assert yaml.safe_load(found[name])["plain"] == 1


@pytest.mark.rules("LC-62")
def test_a_state_that_is_not_valid_is_not_shown_at_all(
    folders: RowWorkspace, snapshot: Callable[..., dict[str, str]]
) -> None:
    data = folders.make_stage(0)
    write(data.out_state, '{"#token": "hunter2"')
    assert snapshot()["out/state.json"] == ""


@pytest.mark.rules("LC-61")
def test_dot_files_links_and_pipes_are_left_out_and_empty_folders_kept(
    folders: RowWorkspace, snapshot: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    data = folders.make_stage(0)
    for name in ("in/tables/t.csv", "in/.hidden", ".folder/x", "extra/file"):
        write(data.root / name, name)
    os.utime(data.root / "extra/file", (0, 0))
    (data.outputs / "tables/link").symlink_to(write(tmp_path / "secret", "of the machine"))
    (data.outputs / "tables/folder").symlink_to(tmp_path)
    os.mkfifo(data.outputs / "pipe")
    (data.outputs / "state.json").mkdir()
    found = snapshot()
    assert {name: text for name, text in found.items() if text} == {
        "in/tables/t.csv": "in/tables/t.csv",
        "extra/file": "extra/file",
    }
    assert {name for name in found if not found[name]} == {
        "in/", "in/tables/", "in/files/", "in/user/", "out/", "out/tables/", "out/files/", "out/state.json/", "extra/",
        "artifacts/", "artifacts/out/", "artifacts/out/current/", "artifacts/out/shared/",
    }  # fmt: skip
