"""Settings from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from docker_runner.errors import UserError
from docker_runner.settings import Settings


def test_without_variables_everything_lies_in_the_current_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_environment({})
    assert settings.home == tmp_path / ".local"
    assert settings.project == tmp_path / "include/project"
    assert settings.components == tmp_path / "include/components"
    assert settings.storage == f"ducklake:sqlite:{tmp_path}/.local/storage/catalog.sqlite"
    assert settings.workspaces == tmp_path / ".local/workspaces"
    assert settings.container_uid == 1000


def test_variables_win_and_the_rest_follows_the_home() -> None:
    settings = Settings.from_environment(
        {"DOCKER_RUNNER_HOME": "/srv/runner", "DOCKER_RUNNER_WORKSPACES": "/scratch", "DOCKER_RUNNER_UID": "2000"}
    )
    assert settings.storage == "ducklake:sqlite:/srv/runner/storage/catalog.sqlite"
    assert (settings.workspaces, settings.container_uid) == (Path("/scratch"), 2000)


@pytest.mark.rules("D11")
@pytest.mark.parametrize("uid", ["0", "root", "-1", "²"])
def test_a_privileged_or_senseless_user_is_refused(uid: str) -> None:
    with pytest.raises(UserError, match=r"DOCKER_RUNNER_UID must be .* e\.g\. 1000"):
        Settings.from_environment({"DOCKER_RUNNER_UID": uid})


@pytest.mark.rules("IM-27")
def test_the_largest_table_has_a_hundred_gigabytes_unless_said_otherwise() -> None:
    assert Settings.from_environment({}).max_export_bytes == 100_000_000_000
    assert Settings.from_environment({"DOCKER_RUNNER_MAX_EXPORT_BYTES": "5"}).max_export_bytes == 5
    for wrong in ("5 GB", "-1", "1e9"):
        with pytest.raises(UserError, match="DOCKER_RUNNER_MAX_EXPORT_BYTES must be a number of bytes"):
            Settings.from_environment({"DOCKER_RUNNER_MAX_EXPORT_BYTES": wrong})


def test_earlier_states_of_tables_are_kept_for_a_week_unless_said_otherwise() -> None:
    assert Settings.from_environment({}).storage_keep_days == 7
    assert Settings.from_environment({"DOCKER_RUNNER_STORAGE_KEEP_DAYS": "30"}).storage_keep_days == 30
    for wrong in ("a week", "-1", "1.5", "0"):
        with pytest.raises(UserError, match="DOCKER_RUNNER_STORAGE_KEEP_DAYS must be a number of days"):
            Settings.from_environment({"DOCKER_RUNNER_STORAGE_KEEP_DAYS": wrong})


@pytest.mark.parametrize(
    "variable",
    [
        "DOCKER_RUNNER_UID",
        "DOCKER_RUNNER_STORAGE_KEEP_DAYS",
        "DOCKER_RUNNER_MAX_EXPORT_BYTES",
        "DOCKER_RUNNER_DEFER_AFTER",
        "DOCKER_RUNNER_API_MAX_BODY_BYTES",
        "DOCKER_RUNNER_API_ACTIONS",
    ],
)
def test_a_number_that_nothing_could_work_with_is_refused_at_once(variable: str) -> None:
    for wrong in ("9" * 5000, "9" * 20, "1" + "0" * 300):
        with pytest.raises(UserError, match=f"{variable} must be .* e\\.g\\. ") as error:
            Settings.from_environment({variable: wrong})
        assert len(str(error.value)) < 300


def test_limits_of_numbers_are_told() -> None:
    with pytest.raises(UserError, match=r"a number of days, 1 to 36500, e\.g\. 7, not '36501'"):
        Settings.from_environment({"DOCKER_RUNNER_STORAGE_KEEP_DAYS": "36501"})
    with pytest.raises(UserError, match=r"1 to 2147483647, e\.g\. 1000, not '2147483648'"):
        Settings.from_environment({"DOCKER_RUNNER_UID": "2147483648"})
