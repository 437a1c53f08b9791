"""The folders that a component sees under /data."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.builders import write

from docker_runner.errors import ConfigurationError
from docker_runner.interface.data_folder import DataFolder


@pytest.mark.rules("DF-1", "DF-2", "DF-3")
def test_all_folders_of_the_contract_are_made(tmp_path: Path) -> None:
    DataFolder(tmp_path).make()
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert made == {
        "in", "in/tables", "in/files", "in/user", "out", "out/tables", "out/files",
        "artifacts", "artifacts/out", "artifacts/out/current", "artifacts/out/shared",
    }  # fmt: skip


@pytest.mark.rules("CD-11", "DF-10")
def test_files_are_named_by_the_components_format(tmp_path: Path) -> None:
    json, yaml = DataFolder(tmp_path), DataFolder(tmp_path, "yml")
    assert [file.name for file in (json.config_file, json.in_state, json.out_state, json.usage_file)] == [
        "config.json", "state.json", "state.json", "usage.json",
    ]  # fmt: skip
    assert (yaml.config_file.name, yaml.out_state.name, yaml.usage_file.name) == (
        "config.yml",
        "state.yml",
        "usage.yml",
    )


@pytest.mark.parametrize("name", ["out", "out/tables", "out/files", "artifacts", "artifacts/out/current"])
@pytest.mark.parametrize("kind", ["link", "dangling", "file"])
def test_a_link_or_file_in_place_of_a_folder_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    data = DataFolder(tmp_path / "data")
    data.make()
    data.refuse_replaced()
    (data.root / name).rename(tmp_path / "moved")
    if kind == "file":
        write(data.root / name, "")
    else:
        (data.root / name).symlink_to(tmp_path / ("moved" if kind == "link" else "nowhere"))
    with pytest.raises(ConfigurationError, match=f"^{name}: The component must leave this as a folder"):
        data.refuse_replaced()


def test_secrets_are_removed_but_never_through_a_link(tmp_path: Path) -> None:
    data = DataFolder(tmp_path / "data")
    data.make()
    write(data.config_file, "{}")
    write(data.in_state, "{}")
    data.remove_secrets()
    assert not data.config_file.exists()
    assert not data.in_state.exists()
    elsewhere = write(tmp_path / "elsewhere/state.json", "keep")
    data.inputs.rename(tmp_path / "moved")
    data.inputs.symlink_to(elsewhere.parent)
    data.config_file.mkdir()
    data.remove_secrets()
    assert elsewhere.read_text() == "keep"
