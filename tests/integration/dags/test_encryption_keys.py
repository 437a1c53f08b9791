"""Encryption keys that Airflow's secrets backends keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from docker_runner.encryption import Scope
from docker_runner.encryption_keys import encryptor_of, new_key
from docker_runner.errors import UserError
from docker_runner.job.tools import Tools
from docker_runner.settings import Settings
from docker_runner_airflow.hooks import encryption_keys

SCOPE = Scope("vendor.ex-foo")


@pytest.mark.rules("D18")
def test_tasks_take_their_keys_from_the_variable_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_RUNNER_KEYS", raising=False)
    key, older = new_key(), new_key()
    monkeypatch.setenv("AIRFLOW_VAR_RUNNER_KEYS", f"{key},{older}")
    settings = Settings.from_environment(
        {"DOCKER_RUNNER_HOME": str(tmp_path), "DOCKER_RUNNER_KEYS_VARIABLE": "runner_keys"}
    )
    tools = Tools(settings, keys=lambda: encryption_keys(settings))
    cipher = tools.encryptor.encrypt({"#a": "x"}, SCOPE)
    plain = Settings.from_environment({"DOCKER_RUNNER_HOME": str(tmp_path)})
    assert encryptor_of(plain, given=key).decrypt(cipher, SCOPE) == {"#a": "x"}
    assert not (tmp_path / "keys").exists()


@pytest.mark.rules("D18")
def test_a_variable_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_RUNNER_KEYS", raising=False)
    settings = Settings.from_environment(
        {"DOCKER_RUNNER_HOME": str(tmp_path), "DOCKER_RUNNER_KEYS_VARIABLE": "nowhere"}
    )
    with pytest.raises(UserError, match="The Airflow variable 'nowhere' of DOCKER_RUNNER_KEYS_VARIABLE cannot be read"):
        encryption_keys(settings)
    assert encryption_keys(Settings.from_environment({"DOCKER_RUNNER_HOME": str(tmp_path)})) == ""
