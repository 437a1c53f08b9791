"""The folders of a run: any step can be repeated from a clean start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.builders import ProjectBuilder, write

from docker_runner.errors import ApplicationError, ConfigurationError, UserError
from docker_runner.job.workspace import RowWorkspace, Workspace, folder_name, remove_tree


@pytest.fixture
def folders(tmp_path: Path) -> RowWorkspace:
    """A row with one staged table and one staged file."""
    row = RowWorkspace(tmp_path / "row")
    row.create()
    write(row.staged("tables") / "t.csv", "id\n1\n")
    write(row.staged("files") / "deep/1_a.txt", "file")
    return row


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


STAGED = {"tables/t.csv": "id\n1\n", "files/deep/1_a.txt": "file"}


@pytest.mark.rules("RW-10", "LC-39")
def test_a_run_has_folders_that_only_its_owner_enters(built: ProjectBuilder, tmp_path: Path) -> None:
    built.configuration({}, rows={"row-1": {}, "row-2": {}})
    job = built.job()
    workspace = Workspace(tmp_path / "runs", "run/1")
    workspace.create(job)
    assert workspace.job() == job
    assert workspace.folder.stat().st_mode & 0o777 == 0o700
    write(workspace.row("row-1").staged("tables") / "left", "over")
    assert content(workspace.row("row-2").folder) == {}
    workspace.create(job)
    assert content(workspace.row("row-1").folder) == {}
    workspace.remove()
    workspace.remove()
    assert list((tmp_path / "runs").iterdir()) == []
    with pytest.raises(ApplicationError, match="clear create_workspace and all tasks after it"):
        workspace.job()


@pytest.mark.rules("DF-1", "DF-4")
def test_each_attempt_starts_from_what_was_loaded(folders: RowWorkspace) -> None:
    data = folders.make_stage(0)
    assert content(data.inputs) == STAGED
    first = folders.attempt(0)
    (data.inputs / "tables/t.csv").rename(data.outputs / "tables/moved.csv")
    (data.inputs / "files/deep/1_a.txt").unlink()
    write(data.outputs / "state.json", "{}")
    write(folders.tmp(0) / "scratch", "")
    assert content(folders.folder / "staged") == STAGED
    data = folders.make_stage(0)
    assert content(data.inputs) == STAGED
    assert content(data.outputs) == content(folders.tmp(0)) == {}
    assert folders.attempt(0) != first


@pytest.mark.parametrize("gone", [".", "staged", "stages"])
def test_a_step_that_is_still_at_work_does_not_make_removed_folders_again(folders: RowWorkspace, gone: str) -> None:
    remove_tree(folders.folder / gone)
    with pytest.raises(ApplicationError, match="stopped and cleaned up while this step was still at work"):
        folders.make_stage(0) if gone != "staged" else folders.clear_staged("tables")
    assert not (folders.folder / gone).exists()


@pytest.mark.rules("DF-2", "DF-4", "DF-5", "PR-5", "PR-6", "ST-4", "ST-5")
def test_what_an_image_left_is_the_input_of_the_next_one(folders: RowWorkspace) -> None:
    first = folders.make_stage(0)
    for name in ("tables/u.csv", "files/f", "usage.json", "state.json", "state.yml", "user/mine"):
        write(first.outputs / name, name)
    write(first.root / "elsewhere/x", "x")
    write(first.root / "artifacts/out/current/a", "a")
    write(first.root / "config.json", "secret")
    second = folders.make_stage(1)
    assert content(second.inputs) == {"tables/u.csv": "tables/u.csv", "files/f": "files/f", "usage.json": "usage.json"}
    assert (second.inputs / "user").is_dir()
    assert content(second.root / "elsewhere") == {"x": "x"}
    assert content(second.root / "artifacts/out/current") == {"a": "a"}
    assert content(second.outputs) == {}
    assert not second.config_file.exists()
    assert (first.outputs / "state.json").exists()


@pytest.mark.parametrize(("stage", "what"), [(0, "load_tables and load_files"), (1, "the container's step before")])
def test_input_changed_in_place_is_noticed_and_told_what_to_clear(folders: RowWorkspace, stage: int, what: str) -> None:
    data = folders.make_stage(0)
    if stage:
        write(data.outputs / "tables/t.csv", "x")
        data = folders.make_stage(1)
    with (data.inputs / "tables/t.csv").open("a") as file:
        file.write("spoilt")
    with pytest.raises(UserError, match=f"changed its input files in place, .*: clear {what}"):
        folders.make_stage(stage)
    if stage:
        write(folders.make_stage(0).outputs / "tables/t.csv", "x")
    else:
        write(folders.clear_staged("tables") / "t.csv", "x")
    assert content(folders.make_stage(stage).inputs)["tables/t.csv"] == "x"


def test_loading_anew_begins_with_an_empty_folder(folders: RowWorkspace) -> None:
    assert content(folders.clear_staged("tables")) == {}
    assert content(folders.staged("files")) == {"deep/1_a.txt": "file"}


def test_a_step_counts_only_while_it_is_done(folders: RowWorkspace) -> None:
    folders.finish("load_tables", {"tables": ["ě"]})
    assert folders.done("load_tables") == {"tables": ["ě"]}
    folders.begin("load_tables")
    folders.begin("never_done")
    assert folders.done("load_tables") is None


@pytest.mark.rules("OM-104")
def test_the_stage_that_was_made_last_is_known_also_when_an_earlier_one_is_repeated(folders: RowWorkspace) -> None:
    assert folders.last_made() is None
    for stage in (0, 1, 0):
        folders.make_stage(stage)
        assert folders.last_made() == stage


def test_links_stay_links_and_nothing_outside_is_touched(folders: RowWorkspace, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    for name in ("state.json", "user/f", "x"):
        write(outside / name, "keep")
    first = folders.make_stage(0)
    (first.outputs / "tables/link.csv").symlink_to(outside / "x")
    (first.outputs / "user").symlink_to(outside / "user")
    (first.outputs / "state.json").symlink_to(outside / "state.json")
    (first.outputs / "files/dangling").symlink_to(tmp_path / "nowhere")
    os.mkfifo(first.outputs / "files/pipe")
    (first.root / "foreign").symlink_to(outside)
    second = folders.make_stage(1)
    assert (second.inputs / "tables/link.csv").is_symlink()
    assert not (second.inputs / "user").is_symlink()
    assert not (second.inputs / "state.json").is_symlink()
    assert not (second.inputs / "files/pipe").exists()
    remove_tree(folders.folder)
    assert content(outside) == {"state.json": "keep", "user/f": "keep", "x": "keep"}


@pytest.mark.parametrize("name", ["out", "out/tables", "artifacts"])
def test_a_link_in_place_of_a_folder_stops_the_next_image(folders: RowWorkspace, tmp_path: Path, name: str) -> None:
    outside = write(tmp_path / "outside/state.json", "keep").parent
    first = folders.make_stage(0)
    (first.root / name).rename(tmp_path / "moved")
    (first.root / name).symlink_to(outside)
    with pytest.raises(ConfigurationError, match=f"^{name}: The component must leave this as a folder"):
        folders.make_stage(1)
    assert content(outside) == {"state.json": "keep"}


def test_names_of_folders_are_safe_and_differ() -> None:
    texts = ["a", "a/b", "a b", "a~b", "..", ".", "../x", "", "ř", "a~2fb", ".hidden"]
    names = [folder_name(text) for text in texts]
    assert len(set(names)) == len(texts)
    assert not {".", ".."} & set(names)
    assert not any("/" in name for name in names)
    assert folder_name("vendor.ex-foo_1") == "vendor.ex-foo_1"
    assert len(folder_name("ř" * 500)) <= 200


def test_runs_of_a_configuration_with_a_long_name_have_folders_of_their_own() -> None:
    dag = "vendor.ex-foo--" + "k" * 220
    runs = [f"{dag}/manual__2025-01-01T00:00:0{second}+00:00" for second in range(3)]
    assert len({folder_name(run) for run in runs}) == len(runs)


REMOVE = """
import os, sys
from pathlib import Path
if os.geteuid() == 0:
    os.setegid(65534); os.seteuid(65534)
folder = Path(sys.argv[1]) / "mine"
(folder / "closed/inner").mkdir(parents=True)
(folder / "closed/inner/file").write_text("")
(folder / "read-only").mkdir()
(folder / "read-only/file").write_text("")
(folder / "link").symlink_to("/")
for name, mode in (("closed/inner", 0o000), ("closed", 0o000), ("read-only", 0o500), ("", 0o500)):
    (folder / name).chmod(mode)
sys.path.insert(0, sys.argv[2])
from docker_runner.job.workspace import remove_tree
remove_tree(folder)
remove_tree(folder)
print(os.listdir(sys.argv[1]))
"""


def test_folders_that_their_owner_may_not_enter_are_removed(tmp_path: Path) -> None:
    import docker_runner

    # Not as root, who may enter everything.
    tmp_path.chmod(0o777)
    for parent in (tmp_path.parent, tmp_path.parent.parent, tmp_path.parent.parent.parent):
        if parent != Path("/") and parent.owner() == tmp_path.owner() and parent != Path("/tmp"):
            parent.chmod(0o711)
    source = str(Path(docker_runner.__file__).parent.parent)
    code = "import docker_runner.job.workspace\n" + REMOVE
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), source], capture_output=True, text=True, check=False
    )
    assert run.stderr == ""
    assert run.stdout == "[]\n"
