"""URLs of object storage, and where credentials come from."""

from __future__ import annotations

import pytest

from docker_runner.errors import UserError
from docker_runner.storage.lake.location import parse_location
from docker_runner.storage.lake.object_storage import ObjectStorage, hide_secrets


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AZURE_STORAGE_CONNECTION_STRING",
        "AZURE_STORAGE_ACCOUNT",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("s3://", "is not the URL of object storage"),
        ("s3://key:sesame@bucket/x", "Credentials come from the environment"),
        ("https://host/bucket", "expected is s3://bucket/prefix"),
        ("gs://bucket", "set DOCKER_RUNNER_STORAGE_GCS_KEY_ID and DOCKER_RUNNER_STORAGE_GCS_SECRET"),
        ("az://container", "AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_ACCOUNT"),
    ],
)
def test_what_cannot_be_used_is_told_without_secrets(url: str, problem: str) -> None:
    with pytest.raises(UserError) as error:
        ObjectStorage.parse(url)
    assert problem in str(error.value)
    assert "sesame" not in str(error.value)


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"AWS_ACCESS_KEY_ID": "a"}, "AWS_SECRET_ACCESS_KEY is not set"),
        ({"AWS_ENDPOINT_URL_S3": "minio:9000"}, "must be https://host or http://host:port"),
        ({"DOCKER_RUNNER_STORAGE_S3_URL_STYLE": "virtual"}, "must be path or vhost"),
    ],
)
def test_a_wrong_variable_is_told(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], problem: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=problem):
        ObjectStorage.parse("s3://bucket/x")


@pytest.mark.parametrize(
    ("uri", "extensions"),
    [
        ("ducklake:sqlite:/lake/c.sqlite", ("ducklake", "sqlite_scanner")),
        ("ducklake:postgres:dbname=x?data_path=/shared", ("ducklake", "postgres_scanner")),
        ("ducklake:sqlite:/lake/c.sqlite?data_path=s3://b", ("ducklake", "sqlite_scanner", "httpfs", "aws")),
        ("ducklake:postgres:dbname=x?data_path=az://c", ("ducklake", "postgres_scanner", "httpfs", "azure")),
    ],
)
def test_only_the_extensions_that_a_uri_needs_are_loaded(
    monkeypatch: pytest.MonkeyPatch, uri: str, extensions: tuple[str, ...]
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "account")
    assert parse_location(uri).extensions == extensions


def test_the_chain_is_not_needed_with_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    assert ObjectStorage.parse("s3://bucket").extensions == ("httpfs",)


def test_passwords_are_hidden_in_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sesame")
    monkeypatch.setenv("DOCKER_RUNNER_STORAGE_PASSWORD", "open")
    assert hide_secrets("failed: open sesame") == "failed: ***** *****"


def test_a_password_in_the_uri_is_refused_and_not_shown() -> None:
    with pytest.raises(UserError, match="a password does not belong there") as error:
        parse_location("ducklake:postgres:host=x password=sesame?data_path=/shared")
    assert "sesame" not in str(error.value)
    assert "sesame" not in str(error.value.__cause__)
