"""A lake of many machines: its catalogue in PostgreSQL, its data in object storage."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.integration.storage.lake_files import read_csv
from tests.servers import KEY, PASSWORD, SECRET, PostgresServer, S3Server

from docker_runner.errors import StorageError, UserError
from docker_runner.storage import open_storage
from docker_runner.storage.base import Commit, FileQuery, FileUpload, StateKey, TableLoad
from docker_runner.storage.lake import lock_names
from docker_runner.storage.lake.lake import Lake
from docker_runner.storage.lake.location import parse_location
from docker_runner.storage.lake.query import query

STATE = StateKey("c", "1")


@contextmanager
def opened(uri: str) -> Iterator[Lake]:
    with Lake(parse_location(uri)) as lake:
        yield lake


def load(folder: Path, name: str, key: str, content: str = "id,v\n1,a\n") -> Commit:
    source = folder / f"{name}.csv"
    source.write_text(content)
    return Commit(key, (TableLoad(f"in.c-main.{name}", source, incremental=True),), state={STATE: {"key": key}})


def test_what_one_machine_writes_another_reads_and_nothing_of_it_lies_on_either(
    shared_uri: str, s3: S3Server, tmp_path: Path
) -> None:
    with opened(shared_uri) as first, opened(shared_uri) as second:
        source = tmp_path / "file"
        source.write_bytes(b"content")
        first.commit(Commit("k", files=(FileUpload(source, "f"),)))
        first.commit(load(tmp_path, "t", "l"))
        second.export_table("in.c-main.t", tmp_path / "out.csv")
        assert read_csv(tmp_path / "out.csv") == [["id", "v"], ["1", "a"]]
        second.download_file(1, tmp_path / "got")
        assert (tmp_path / "got").read_bytes() == b"content"
    bucket = shared_uri.partition("s3://")[2].partition("/")[0]
    assert sorted(key.split("/")[1] for key in s3.keys(bucket)) == ["files", "tables"]
    assert not [path for path in (tmp_path / "lake").rglob("*") if path.is_file()]


@pytest.mark.parametrize("data", ["s3", "gs"])
def test_a_large_file_goes_to_object_storage_in_parts_and_comes_back_with_little_memory(
    data: str, postgres: PostgresServer, s3: S3Server, shared_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if data == "gs":
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", s3.url)
        monkeypatch.setenv("DOCKER_RUNNER_STORAGE_GCS_KEY_ID", KEY)
        monkeypatch.setenv("DOCKER_RUNNER_STORAGE_GCS_SECRET", SECRET)
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        shared_uri = shared_uri.replace("s3://", "gs://")
    block = os.urandom(1 << 20)
    (tmp_path / "slices").mkdir()
    with (tmp_path / "slices" / "large").open("wb") as file:
        for _ in range(120):
            file.write(block)
    (tmp_path / "slices" / "small").write_bytes(b"")
    code = """
import resource, sys
from pathlib import Path
from docker_runner.storage import open_storage
from docker_runner.storage.base import Commit, FileUpload
storage = open_storage(sys.argv[1])
storage.commit(Commit("0", files=(FileUpload(Path(sys.argv[2], "slices", "small"), "warm"),)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
storage.commit(Commit("1", files=(FileUpload(Path(sys.argv[2], "slices"), "f"),)))
storage.download_file(2, Path(sys.argv[2], "got"))
storage.close()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, shared_uri, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "got" / "large").read_bytes() == (tmp_path / "slices" / "large").read_bytes()
    assert (tmp_path / "got" / "small").read_bytes() == b""
    assert "partNumber=12" in s3.requests
    assert int(done.stdout) < 100


def test_sqlite_and_object_storage_go_together(s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    s3.set_environment(monkeypatch)
    bucket = s3.new_bucket()
    uri = f"ducklake:sqlite:{tmp_path}/lake/catalog.sqlite?data_path=s3://{bucket}"
    with opened(uri) as lake:
        lake.commit(load(tmp_path, "t", "k"))
        assert lake.table("in.c-main.t").rows == 1
    assert [key.split("/")[0] for key in s3.keys(bucket)] == ["tables"]


def test_credentials_come_from_a_profile_when_no_key_is_given(
    s3: S3Server, shared_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "credentials").write_text(f"[lake]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "lake")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with opened(shared_uri) as lake:
        lake.commit(load(tmp_path, "t", "k"))
        assert lake.table("in.c-main.t").rows == 1


@pytest.fixture
def broken(
    request: pytest.FixtureRequest, shared_uri: str, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, str]:
    """The URI of a lake that cannot be opened, and what is to be told of it."""
    database, _, data = shared_uri.partition("?")
    match request.param:
        case "host":
            return f"ducklake:postgres:host=127.0.0.1 port=1 dbname=x?{data}", "port 1 failed: Connection refused"
        case "name":
            return f"ducklake:postgres:host=no.such.host.invalid dbname=x?{data}", "no.such.host.invalid"
        case "password":
            monkeypatch.setenv("DOCKER_RUNNER_STORAGE_PASSWORD", "a-wrong-one")
            return shared_uri, "password authentication failed"
        case "database":
            return f"{database}nothing?{data}", "does not exist"
        case "bucket":
            return f"{database}?data_path=s3://no-such-bucket/x", "s3://no-such-bucket/x cannot be used: NoSuchBucket"
        case "endpoint":
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
            return shared_uri, "127.0.0.1:1"
    raise AssertionError


@pytest.mark.parametrize("broken", ["host", "name", "password", "database", "bucket", "endpoint"], indirect=True)
def test_what_cannot_be_reached_is_told_may_be_tried_again_and_shows_no_secret(broken: tuple[str, str]) -> None:
    uri, problem = broken
    with pytest.raises(StorageError) as error:
        open_storage(uri)
    shown = "".join(str(part) for part in (error.value, error.value.__cause__ or ""))
    assert problem in shown
    assert not [secret for secret in (PASSWORD, "a-wrong-one", SECRET) if secret in shown]


def test_libpq_finds_the_password_in_its_own_places(
    shared_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DOCKER_RUNNER_STORAGE_PASSWORD")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with opened(shared_uri) as lake:
        assert lake.tables() == []
    monkeypatch.delenv("PGPASSWORD")
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"*:*:*:*:{PASSWORD}\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    with opened(shared_uri) as lake:
        assert lake.tables() == []


def test_what_maintenance_gives_up_is_removed_from_object_storage(
    shared_uri: str, s3: S3Server, tmp_path: Path
) -> None:
    with opened(shared_uri) as lake:
        for number in range(3):
            lake.commit(load(tmp_path, "t", f"k{number}"))
        for _ in range(2):  # what the first gives up is not removed before the next
            lake.maintain(timedelta(0), grace=timedelta(0))
        assert lake.table("in.c-main.t").rows == 3
    bucket = shared_uri.partition("s3://")[2].partition("/")[0]
    assert len(s3.keys(bucket)) == 1


def test_files_are_merged_states_come_back_and_anyone_can_ask_as_on_one_machine(
    shared_uri: str, s3: S3Server, tmp_path: Path
) -> None:
    bucket = shared_uri.partition("s3://")[2].partition("/")[0]
    with opened(shared_uri) as lake:
        for number, content in enumerate(("id,v\n1,a\n2,b\n", "id,v\n2,B\n3,c\n", "id,v\n3,d\n4,e\n")):
            source = tmp_path / "t.csv"
            source.write_text(content)
            rows = TableLoad("in.c-main.t", source, primary_key=("id",), incremental=True)
            lake.commit(Commit(f"k{number}", (rows,)))
        good = lake.history("in.c-main.t")[1]
        before = len(s3.keys(bucket))
        maintained = lake.maintain(timedelta(days=7), grace=timedelta(0))
        assert maintained.merged > 1
        assert maintained.problems == ()
        assert len(s3.keys(bucket)) == before + 1  # earlier states need the others
        lake.export_table("in.c-main.t", tmp_path / "now.csv")
        assert sorted(read_csv(tmp_path / "now.csv")) == [["1", "a"], ["2", "B"], ["3", "d"], ["4", "e"], ["id", "v"]]
        for at in (good.snapshot, good.time):
            lake.export_table("in.c-main.t", tmp_path / "then.csv", at=at)
            assert sorted(read_csv(tmp_path / "then.csv")) == [["1", "a"], ["2", "B"], ["3", "c"], ["id", "v"]]
        with opened(shared_uri) as other, ThreadPoolExecutor(1) as pool:
            with other._connection.writing(lock_names.table("in.c-main.t")):
                restoring = pool.submit(lake.restore, "in.c-main.t", good.snapshot)
                with pytest.raises(TimeoutError):
                    restoring.result(timeout=1.5)
            assert restoring.result(timeout=60).rows == 3
        assert lake.table("in.c-main.t").primary_key == ("id",)
        assert lake.history("in.c-main.t")[0].what == (f"restored from snapshot {good.snapshot}",)
    location = parse_location(shared_uri)
    with query(location, 'select id, v from "in.c-main".t order by id') as result:
        assert (result.columns, list(result.rows)) == (("id", "v"), [("1", "a"), ("2", "B"), ("3", "c")])
    for key in ("secret.csv", "lake/files/secret.csv"):
        s3.put(bucket, key, b"a\nb\n")
        for trick in (f"select * from 's3://{bucket}/{key}'", f"select * from read_csv('s3://{bucket}/{key}')"):
            with pytest.raises(UserError), query(location, trick):
                pass
    for trick in (
        "select * from postgres_query('__ducklake_metadata_lake', 'select 1')",
        f"select * from postgres_scan('{shared_uri.split(':')[2].split('?')[0]}', 'public', 'ducklake_snapshot')",
        'delete from "in.c-main".t',
    ):
        with pytest.raises(UserError), query(location, trick):
            pass


def test_contents_that_belong_to_nothing_are_found_by_their_age(shared_uri: str, tmp_path: Path) -> None:
    source = tmp_path / "slices"
    source.mkdir()
    for name in ("a", "b"):
        (source / name).write_text(name)
    with opened(shared_uri) as lake:
        lake.commit(Commit("k", files=(FileUpload(source, "f"), FileUpload(source / "a", "g"))))
        contents = parse_location(shared_uri).files
        assert list(contents.older_than(datetime.now(UTC) - timedelta(hours=1))) == []
        paths = list(contents.older_than(datetime.now(UTC) + timedelta(hours=1)))
        assert len(paths) == 2
        for path in paths:
            contents.remove(path)
            contents.remove(path)  # one that is not there is no error
        assert list(contents.older_than(datetime.now(UTC) + timedelta(hours=1))) == []
        with pytest.raises(StorageError, match="NoSuchKey"):
            lake.download_file(2, tmp_path / "got")


def test_another_data_path_than_the_lakes_is_refused(shared_uri: str, tmp_path: Path) -> None:
    open_storage(shared_uri).close()
    with pytest.raises(UserError, match=r"lies in s3://bucket\d+/lake, not in /other: correct data_path"):
        open_storage(shared_uri.partition("?")[0] + "?data_path=/other")


def within_a_minute(work: Callable[[], object]) -> None:
    """Do something in a thread; fails when it does not end."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.locations
def test_readers_do_not_wait_for_a_writer_that_holds_every_lock(uri: str, tmp_path: Path) -> None:
    with opened(uri) as writer, opened(uri) as reader:
        writer.commit(load(tmp_path, "t", "k"))

        def read() -> None:
            reader.export_table("in.c-main.t", tmp_path / "out.csv")
            assert reader.state(STATE) == {"key": "k"}
            with opened(uri) as another:
                assert another.table("in.c-main.t").rows == 1
            (tmp_path / "read").touch()

        with writer._connection.writing():
            writer._connection.run("""DELETE FROM lake."in.c-main"."t" """)
            within_a_minute(read)
        assert (tmp_path / "read").exists()
        assert read_csv(tmp_path / "out.csv") == [["id", "v"], ["1", "a"]]
        reader.export_table("in.c-main.t", tmp_path / "out.csv")
        assert read_csv(tmp_path / "out.csv") == [["id", "v"]]


def test_writers_wait_for_those_of_the_same_table_only(shared_uri: str, tmp_path: Path) -> None:
    with opened(shared_uri) as first, opened(shared_uri) as second, ThreadPoolExecutor(1) as pool:
        first.commit(load(tmp_path, "a", "k1"))
        first.commit(load(tmp_path, "b", "k2"))
        with first._connection.writing(lock_names.table("in.c-main.a")):
            within_a_minute(lambda: second.commit(load(tmp_path, "b", "k3")))
            waiting = pool.submit(second.commit, load(tmp_path, "a", "k4"))
            with pytest.raises(TimeoutError):
                waiting.result(timeout=1.5)
        waiting.result(timeout=60)
        assert [first.table(f"in.c-main.{name}").rows for name in "ab"] == [2, 2]


def test_a_commit_is_undone_when_its_lock_is_lost(shared_uri: str, postgres: PostgresServer, tmp_path: Path) -> None:
    with opened(shared_uri) as lake:
        lake.commit(load(tmp_path, "t", "k"))

        def lose_the_lock() -> None:
            with lake._connection.writing(lock_names.table("in.c-main.t")):
                lake._connection.run("""DELETE FROM lake."in.c-main"."t" """)
                lost = postgres.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks "
                    "WHERE locktype = 'advisory' AND mode = 'ExclusiveLock'"
                )
                assert lost == [(True,)]

        with pytest.raises(StorageError):
            lose_the_lock()
        assert lake.table("in.c-main.t").rows == 1
        assert lake._connection.count("""SELECT count(*) FROM lake."in.c-main"."t" """) == 1


def test_an_open_lake_goes_on_when_postgresql_was_restarted(
    shared_uri: str, postgres: PostgresServer, tmp_path: Path
) -> None:
    with opened(shared_uri) as lake:
        lake.commit(load(tmp_path, "t", "k1"))
        postgres.stop()
        with pytest.raises(StorageError):
            lake.commit(load(tmp_path, "t", "k2"))
        postgres.start()
        lake.commit(load(tmp_path, "t", "k2"))
        assert lake.table("in.c-main.t").rows == 2
        assert lake.files(FileQuery()) == []
