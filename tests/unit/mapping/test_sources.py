"""What counts in an output folder."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from tests.builders import write

from docker_runner.errors import ConfigurationError
from docker_runner.mapping.sources import output_sources


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    folder = tmp_path / "out/tables"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.rules("OM-1", "OM-7", "OF-1")
def test_files_and_folders_count_in_name_order_and_manifests_and_dot_files_do_not(tables: Path) -> None:
    assert output_sources(tables) == {}
    for name in ("b.csv", "a.csv", "a.csv.manifest", ".hidden", ".a.csv.manifest", "sliced/part.manifest"):
        write(tables / name, "")
    assert list(output_sources(tables)) == ["a.csv", "b.csv", "sliced"]
    assert list(output_sources(tables, files_only=True)) == ["a.csv", "b.csv"]
    assert output_sources(tables.parent / "missing") == {}


@pytest.mark.rules("OM-2", "OF-4")
def test_manifests_without_data_are_all_named(tables: Path) -> None:
    for name in ("a.manifest", "b.csv.manifest", "c", "c.manifest"):
        write(tables / name, "")
    with pytest.raises(ConfigurationError, match=r"out/tables: These manifests .*: a\.manifest, b\.csv\.manifest\."):
        output_sources(tables)


@pytest.mark.rules("OM-1", "OF-1")
@pytest.mark.parametrize("kind", ["link", "dangling link", "link to a folder", "pipe", "socket", "device"])
def test_links_pipes_and_devices_are_refused(
    tables: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = tables / "t.csv"
    if kind.endswith("link"):
        entry.symlink_to(write(tmp_path / "secret", "") if kind == "link" else tmp_path / "nowhere")
    elif kind == "link to a folder":
        entry.symlink_to(tmp_path)
    elif kind == "pipe":
        os.mkfifo(entry)
    elif kind == "socket":
        monkeypatch.chdir(tables)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("t.csv")
    else:
        if os.geteuid() != 0:
            pytest.skip("only root makes devices")
        os.mknod(entry, 0o600 | 0o020000, os.makedev(1, 3))
    with pytest.raises(ConfigurationError, match=r"out/tables/t\.csv: Only regular files and folders"):
        output_sources(tables)


@pytest.mark.rules("OM-1", "OF-1")
def test_a_name_that_leaves_no_room_for_a_manifest_is_the_users_error(tables: Path) -> None:
    longest = "é" * 123
    write(tables / longest, "")
    write(tables / f"{longest}.manifest", "")
    assert list(output_sources(tables)) == [longest]
    for size in (247, 255):
        long = write(tables / ("x" * size), "")
        with pytest.raises(ConfigurationError, match=rf"out/tables/x{{{size}}}: The name is longer than 246 bytes"):
            output_sources(tables)
        told: list[str] = []
        assert list(output_sources(tables, left_out=told.append)) == [longest]
        assert len(told) == 1
        long.unlink()


@pytest.mark.parametrize("name", ["out", "out/tables"])
def test_a_link_in_place_of_the_folder_itself_is_not_followed(tables: Path, tmp_path: Path, name: str) -> None:
    write(tables / "t.csv", "")
    (tmp_path / name).rename(tmp_path / "moved")
    (tmp_path / name).symlink_to(tmp_path / "moved")
    with pytest.raises(ConfigurationError, match=f"^{name}: The component must leave this as a folder"):
        output_sources(tables)


def test_a_file_in_place_of_the_folder_is_refused(tables: Path) -> None:
    tables.rmdir()
    write(tables, "")
    with pytest.raises(ConfigurationError, match=r"^out/tables: The component must leave this as a folder"):
        output_sources(tables)
