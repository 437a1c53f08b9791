"""The Storage token of an installation whose jobs run in Airflow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.builders import ProjectBuilder

from docker_runner.errors import TokenError, UserError
from docker_runner.job.storage_token import token_secrets
from docker_runner.job.tools import Tools
from docker_runner.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
NAMED = {"DOCKER_RUNNER_STORAGE_TOKEN_CONN_ID": "lake"}


def test_the_password_of_the_named_connection_is_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    from docker_runner_airflow.hooks import storage_token

    assert storage_token(Settings.from_environment({})) is None
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps({"conn_type": "generic", "password": "dr-1-secret"}))
    found = storage_token(Settings.from_environment(NAMED))
    assert found
    assert (found.secret, found.origin) == ("dr-1-secret", "the Airflow connection 'lake'")
    assert "dr-1-secret" not in repr(found)
    variable = storage_token(Settings.from_environment({**NAMED, "DOCKER_RUNNER_STORAGE_TOKEN": "dr-2-other"}))
    assert variable
    assert variable.secret == "dr-2-other"


def test_a_connection_without_a_token_is_not_full_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    from docker_runner_airflow.hooks import storage_token

    settings = Settings.from_environment(NAMED)
    with pytest.raises(UserError, match="'lake' of DOCKER_RUNNER_STORAGE_TOKEN_CONN_ID cannot be used"):
        storage_token(settings)
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps({"conn_type": "generic"}))
    empty = storage_token(settings)
    assert empty
    with pytest.raises(TokenError, match="the Airflow connection 'lake' is empty"):
        _ = empty.id


def test_a_token_of_a_connection_is_hidden_in_logs_also_by_the_triggerer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from docker_runner_airflow import triggers
    from docker_runner_airflow.hooks import storage_token

    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps({"conn_type": "generic", "password": "dr-1-secret"}))
    for name, value in NAMED.items():
        monkeypatch.setenv(name, value)
    built = ProjectBuilder(tmp_path)
    built.component()
    built.configuration({})
    settings = Settings.from_environment()
    tools = Tools(settings, installation_token=lambda: storage_token(settings))
    triggers._tools.cache_clear()
    try:
        for one in (tools, triggers._tools()):
            assert list(token_secrets(built.job(), one)) == ["dr-1-secret"]
    finally:
        triggers._tools.cache_clear()
