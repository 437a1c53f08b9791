"""The files of which Airflow makes DAGs, however many configurations there are."""

from __future__ import annotations

import json
import os
import runpy
import time
from pathlib import Path
from typing import Any

import pytest
from tests.installation import SCRIPT, Installation

from docker_runner.project.shards import SIZE, shard_count, shard_of
from docker_runner_airflow.shard_files import ShardFiles

# Time stamps of files move in steps of some milliseconds.
TICK = 0.05
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def many(installation: Installation, count: int) -> list[str]:
    names = [f"c{number}" for number in range(count)]
    for name in names:
        installation.configuration(name, {})
    return [f"{SCRIPT}--{name}" for name in names]


def dags_of(file: Path) -> dict[str, Any]:
    from airflow.sdk import DAG

    return {name: value for name, value in runpy.run_path(str(file)).items() if isinstance(value, DAG)}


def test_each_configuration_has_one_file_and_a_file_has_about_a_hundred(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in installation.environment.items():
        monkeypatch.setenv(name, value)
    names = many(installation, 2 * SIZE + 1)
    files = ShardFiles(installation.settings)
    files.write()
    written = sorted(files.folder.glob("*.py"))
    assert [path.name for path in written] == [f"configurations_{shard:03d}.py" for shard in range(3)]
    found = [dags_of(path) for path in written]
    assert sorted(name for dags in found for name in dags) == sorted(names)
    assert all(40 < len(dags) < 100 for dags in found)


def test_when_a_project_grows_by_a_file_only_what_moves_into_it_moves() -> None:
    keys = [("vendor.component", str(number)) for number in range(2000)]
    for count in (1, 2, 7, 19):
        before, after = ({key: shard_of(key, number) for key in keys} for number in (count, count + 1))
        moved = [key for key in keys if before[key] != after[key]]
        assert {after[key] for key in moved} == {count}
        assert len(moved) < 1.25 * len(keys) / (count + 1)
    sizes = [list(after.values()).count(shard) for shard in range(20)]
    assert all(60 < size < 140 for size in sizes)
    assert [shard_count(number) for number in (0, 1, 100, 101, 2000)] == [1, 1, 1, 2, 20]


def test_a_task_finds_its_dag_in_any_file(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    from docker_runner_airflow.dag_factory import build_dags

    names = many(installation, SIZE + 1)
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", names[0])
    for shard in (0, 1, 5):
        assert list(build_dags(installation.settings, shard=shard)) == [names[0]]


def test_files_come_and_go_with_the_project_and_its_changes_have_them_parsed_again(installation: Installation) -> None:
    many(installation, SIZE)
    own = installation.folder / "dags-folder" / "own.py"
    own.parent.mkdir()
    own.write_text("")
    files = ShardFiles(installation.settings, beside=own.parent)
    assert not files.all_there()

    def touched() -> bool:
        for path in (*files.folder.glob("*.py"), own):
            os.utime(path, (1, 1))
        files._next_look = 0
        files.refresh()
        return all(path.stat().st_mtime > 1 for path in (*files.folder.glob("*.py"), own))

    files.refresh()
    assert files.all_there()
    assert not touched()
    time.sleep(TICK)
    file = installation.configuration("one-more", {})
    assert not files.all_there()
    assert touched()
    assert len(list(files.folder.glob("*.py"))) == 2
    time.sleep(TICK)
    file.write_text(json.dumps({"parameters": {"changed": True}}))
    assert touched()
    assert not touched()
    file.unlink()
    assert touched()
    assert len(list(files.folder.glob("*.py"))) == 1
    assert files.all_there()
    (installation.folder / "components" / "other.json").write_text("{}")
    assert touched()


def test_a_project_that_cannot_be_read_is_told_as_an_error_of_the_first_file(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in installation.environment.items():
        monkeypatch.setenv(name, value)
    manifest = installation.folder / "project" / ".keboola" / "manifest.json"
    manifest.parent.mkdir()
    manifest.write_text("{")
    files = ShardFiles(installation.settings)
    files.write()
    with pytest.raises(Exception, match=r"manifest\.json"):
        dags_of(files.file(0))


def test_while_a_project_cannot_be_read_its_files_stay(installation: Installation) -> None:
    many(installation, 2 * SIZE + 1)
    files = ShardFiles(installation.settings)
    files.write()
    written = sorted(files.folder.glob("*.py"))
    manifest = installation.settings.project / ".keboola" / "manifest.json"
    manifest.parent.mkdir()
    manifest.write_text("<<<<<<< HEAD")
    files.write()
    assert sorted(files.folder.glob("*.py")) == written
