"""What an installation that has grown stands on: PostgreSQL for Airflow and for the lake, and object storage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from tests.servers import PASSWORD, PostgresServer, S3Server

DATABASE = "airflow"
# As Airflow comes; what scripts/ adds for one machine is not there.
STOCK = {
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
    "AIRFLOW__API__WORKERS": "2",
}


@dataclass(frozen=True)
class Servers:
    """The servers that an Airflow and its lake use.

    Attributes:
        lake: the Storage's URI.
        bucket: with the lake's tables and files.
    """

    postgres: PostgresServer
    objects: S3Server
    lake: str
    bucket: str

    @property
    def environment(self) -> Mapping[str, str]:
        """How Airflow runs on them."""
        url = f"postgresql+psycopg://lake:{PASSWORD}@127.0.0.1:{self.postgres.port}/{DATABASE}"
        return {
            **STOCK,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": url,
        }

    def everything(self) -> Iterator[tuple[str, bytes]]:
        """Name and content of everything that the servers keep."""
        for (name,) in self.postgres.execute("SELECT datname FROM pg_database WHERE NOT datistemplate"):
            yield f"database {name}", self.postgres.dump(str(name))
        for key in self.objects.keys(self.bucket):
            yield f"object {key}", self.objects.get(self.bucket, key)


@contextmanager
def grown_servers() -> Iterator[Servers]:
    """Start the servers, and tell this process and what it starts how they are reached."""
    postgres, objects = PostgresServer(), S3Server()
    try:
        with pytest.MonkeyPatch.context() as environment:
            objects.set_environment(environment)
            environment.setenv("DOCKER_RUNNER_STORAGE_PASSWORD", PASSWORD)
            postgres.execute(f"CREATE DATABASE {DATABASE}")
            bucket = objects.new_bucket()
            lake = f"ducklake:postgres:{postgres.new_database()}?data_path=s3://{bucket}/lake"
            yield Servers(postgres, objects, lake, bucket)
    finally:
        objects.close()
        postgres.close()
