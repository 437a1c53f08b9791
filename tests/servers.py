"""Servers that tests start for themselves: PostgreSQL, and object storage that speaks S3."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

PASSWORD = "pa55-of-postgres"
KEY = "AKIATESTKEY"
SECRET = "s3cr3t-of-objects"
_NOBODY = 65534


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class PostgresServer:
    """A PostgreSQL of its own in a new folder, run by an unprivileged user, that wants a password."""

    def __init__(self) -> None:
        root = Path(__file__).parents[1]
        found = subprocess.run([root / "scripts/ensure_postgres.sh"], capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stderr
        self._programs = Path(found.stdout.split()[-1])
        self._folder = Path(tempfile.mkdtemp(prefix="docker-runner-postgres-"))
        self._user = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
        if self._user:
            os.chown(self._folder, _NOBODY, _NOBODY)
        self._databases = 0
        password = self._folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._run("initdb", "-D", "data", "-U", "lake", "--pwfile=password", "-A", "scram-sha-256", "-N", "-E", "UTF8")
        self.port = free_port()
        self.start()

    def start(self) -> None:
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", "data", "-w", "-m", "immediate", "stop")

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def new_database(self) -> str:
        """The keywords and values of a new, empty database."""
        self._databases += 1
        name = f"lake{self._databases}"
        self.execute(f"CREATE DATABASE {name}")
        return f"host=127.0.0.1 port={self.port} user=lake dbname={name}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        import psycopg

        address = f"host=127.0.0.1 port={self.port} user=lake dbname={database}"
        with psycopg.connect(address, password=PASSWORD, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def dump(self, database: str) -> bytes:
        """Everything in a database, as SQL."""
        address = f"host=127.0.0.1 port={self.port} user=lake dbname={database}"
        done = subprocess.run(
            [self._programs / "pg_dump", address], env={"PGPASSWORD": PASSWORD}, capture_output=True, check=True
        )
        return done.stdout

    def _run(self, program: str, *arguments: str) -> None:
        # To a file, not a pipe: the server keeps what it inherits open.
        log = self._folder / "commands"
        with log.open("wb") as output:
            done = subprocess.run(
                [self._programs / program, *arguments],
                cwd=self._folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                **self._user,  # type: ignore[call-overload]
            )
        assert done.returncode == 0, log.read_text()


class S3Server:
    """Object storage that speaks S3, kept in the memory of a process."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = Path(tempfile.mkstemp(prefix="docker-runner-s3-")[1])
        with self._log.open("wb") as output:
            command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
            self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 240
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                break
            except OSError:
                assert self._process.poll() is None, self._log.read_text()
                assert time.monotonic() < deadline, "the S3 server does not start"
                time.sleep(0.1)
        self._buckets = 0

    @property
    def requests(self) -> str:
        """All requests so far, one a line."""
        return self._log.read_text(errors="replace")

    def new_bucket(self) -> str:
        self._buckets += 1
        name = f"bucket{self._buckets}"
        self._client().create_bucket(Bucket=name)
        return name

    def keys(self, bucket: str) -> list[str]:
        pages = self._client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def get(self, bucket: str, key: str) -> bytes:
        return bytes(self._client().get_object(Bucket=bucket, Key=key)["Body"].read())

    def put(self, bucket: str, key: str, content: bytes) -> None:
        self._client().put_object(Bucket=bucket, Key=key, Body=content)

    def set_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        monkeypatch.setenv("AWS_REGION", "eu-central-1")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", self.url)

    def close(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._log.unlink()

    def _client(self) -> object:
        import boto3

        return boto3.client(
            "s3", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET
        )
