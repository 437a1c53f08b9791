"""Keys: made once, from one place, never guessed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from docker_runner.encryption import Scope
from docker_runner.encryption_keys import add_key, encryptor_of, key_file, new_key
from docker_runner.errors import UserError
from docker_runner.settings import Settings

SCOPE = Scope(component="vendor.ex-foo")


@pytest.fixture(autouse=True)
def _no_keys_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_RUNNER_KEYS", raising=False)


def settings(home: Path, **variables: str) -> Settings:
    return Settings.from_environment({"DOCKER_RUNNER_HOME": str(home), **variables})


def test_a_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    here = settings(tmp_path / "home")
    assert repr(encryptor_of(here)) == "Encryptor(<0 keys>)"
    cipher = encryptor_of(here, create=True).encrypt({"#a": "x"}, SCOPE)
    assert key_file(here).stat().st_mode & 0o777 == 0o600
    assert encryptor_of(here, create=True).decrypt(cipher, SCOPE) == {"#a": "x"}
    assert [file.name for file in here.home.iterdir()] == ["keys"]


@pytest.mark.rules("D18")
def test_keys_of_the_environment_win_over_those_of_airflow_and_these_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = settings(tmp_path)
    own = encryptor_of(here, create=True).encrypt({"#a": "x"}, SCOPE)
    airflow, environment = new_key(), new_key()
    with pytest.raises(UserError, match="not made with one of this installation's keys"):
        encryptor_of(here, given=airflow).decrypt(own, SCOPE)
    of_airflow = encryptor_of(here, given=airflow).encrypt({"#a": "x"}, SCOPE)
    monkeypatch.setenv("DOCKER_RUNNER_KEYS", f"{environment} {new_key()}, {new_key()}")
    assert repr(encryptor_of(here, given=airflow)) == "Encryptor(<3 keys>)"
    with pytest.raises(UserError, match="not made with one of this installation's keys"):
        encryptor_of(here, given=airflow).decrypt(of_airflow, SCOPE)


@pytest.mark.rules("D18")
def test_where_airflow_keeps_the_keys_no_other_ones_are_made_or_taken(tmp_path: Path) -> None:
    encryptor_of(settings(tmp_path), create=True)
    here = settings(tmp_path, DOCKER_RUNNER_KEYS_VARIABLE="runner_keys")
    with pytest.raises(UserError, match="Airflow's variable runner_keys"):
        encryptor_of(here, create=True)


@pytest.mark.rules("D18")
def test_keys_that_are_added_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    encryptor_of(settings(tmp_path), create=True)
    program = (
        f"from pathlib import Path; from docker_runner.encryption_keys import add_key; {'add_key(Path(FILE)); ' * 40}"
    )
    program = program.replace("FILE", repr(str(tmp_path / "keys")))
    running = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert len(set((tmp_path / "keys").read_text().split())) == 121
    assert [file.name for file in tmp_path.iterdir()] == ["keys"]


def test_a_key_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"\xff")
    for attempt in (lambda: encryptor_of(settings(tmp_path)), lambda: add_key(tmp_path / "keys")):
        with pytest.raises(UserError, match="keys cannot be read"):
            attempt()


@pytest.mark.rules("D18")
def test_a_new_key_comes_first_and_the_old_ones_still_decrypt(tmp_path: Path) -> None:
    here = settings(tmp_path)
    old = encryptor_of(here, create=True).encrypt({"#a": "x"}, SCOPE)
    add_key(key_file(here))
    assert encryptor_of(here).decrypt(old, SCOPE) == {"#a": "x"}
    first = key_file(here).read_text().split()[0]
    assert encryptor_of(here, given=first).decrypt(encryptor_of(here).encrypt({"#a": "y"}, SCOPE), SCOPE) == {"#a": "y"}
    assert key_file(here).stat().st_mode & 0o777 == 0o600
