"""What the holder of a token sees of a real lake, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.tokens import expired_token

from docker_runner.errors import ForbiddenError, NotFoundError, TokenError, UserError
from docker_runner.storage import open_ledger, open_storage, permitted
from docker_runner.storage.base import Commit, DeleteWhere, FileQuery, FileUpload, StateKey, Storage, TableLoad, Where
from docker_runner.storage.events import EventQuery, EventSource, EventType, new_event
from docker_runner.storage.lake.lake import Lake
from docker_runner.storage.rights import StateOwner
from docker_runner.storage.tokens import (
    Access,
    FileAccess,
    Permissions,
    PresentedToken,
    bucket_permissions,
)

OWN = StateOwner("vendor.ex", "main")
Holder = Callable[..., Storage]


def presented(secret: str) -> PresentedToken:
    return PresentedToken(secret, origin="MY_TOKEN")


@pytest.fixture
def holder(lake: Storage) -> Holder:
    """The lake as the holder of a new token sees it."""

    def open_with(*buckets: str, **more: object) -> Storage:
        permissions = Permissions(bucket_permissions(buckets), **more)  # type: ignore[arg-type]
        made = lake.create_token("test", permissions, creator="tester")
        return permitted(lake, presented(made.secret), own=OWN)

    return open_with


@pytest.fixture
def tables(load: Callable[..., object]) -> None:
    load("id,v\n1,a\n2,b\n", "in.c-main.orders")
    load("id\n1\n", "in.c-secret.salaries")
    load("id\n1\n", "out.c-main.result")


def csv(folder: Path, text: str = "id\n1\n") -> Path:
    (folder / "load.csv").write_text(text)
    return folder / "load.csv"


def test_a_token_reads_only_the_buckets_that_it_names(
    lake: Storage, tables: None, holder: Holder, tmp_path: Path
) -> None:
    storage = holder("in.c-main:read")
    assert [bucket.id for bucket in storage.buckets()] == ["in.c-main"]
    assert [table.id for table in storage.tables()] == ["in.c-main.orders"]
    assert storage.export_table("in.c-main.orders", tmp_path / "t.csv").rows == 2
    needed = r"token 1 \(test\) may not read .*it needs the permission in\.c-secret:read"
    for read in (
        lambda: storage.table("in.c-secret.salaries"),
        lambda: storage.export_table("in.c-secret.salaries", tmp_path / "s.csv"),
        lambda: storage.tables("in.c-secret"),
        lambda: storage.bucket("in.c-secret"),
    ):
        with pytest.raises(ForbiddenError, match=needed):
            read()
    assert not (tmp_path / "s.csv").exists()


def test_a_table_is_kept_from_a_token_also_when_nothing_is_known_of_its_bucket(
    lake: Lake, tables: None, holder: Holder, tmp_path: Path
) -> None:
    lake._connection.run("DELETE FROM lake._docker_runner.buckets")  # as in a lake that an early version has made
    storage = holder("in.c-main:read")
    assert storage.table("in.c-main.orders").rows == 2
    for read in (
        lambda: storage.table("in.c-secret.salaries"),
        lambda: storage.export_table("in.c-secret.salaries", tmp_path / "s.csv"),
    ):
        with pytest.raises(ForbiddenError, match=r"in\.c-secret:read"):
            read()
    assert not (tmp_path / "s.csv").exists()


def test_what_does_not_exist_is_told_without_names_that_may_not_be_read(tables: None, holder: Holder) -> None:
    storage = holder("in.c-main:read")
    with pytest.raises(NotFoundError, match=r"no table in\.c-none\.salaries"):
        storage.table("in.c-none.salaries")
    assert storage.bucket("in.c-none") is None
    # One letter away from a table that the token must not know of.
    with pytest.raises(NotFoundError) as told:
        storage.table("in.c-main.salarie")
    assert "salaries" not in str(told.value)
    with pytest.raises(NotFoundError, match=r"Similar: in\.c-main\.orders"):
        storage.table("in.c-main.order")


def test_write_includes_read_and_making_the_bucket(tables: None, holder: Holder, tmp_path: Path) -> None:
    storage = holder("in.c-main:read", "out.c-new:write")
    storage.commit(Commit("k", (TableLoad("out.c-new.t", csv(tmp_path)),)))
    assert [table.id for table in storage.tables()] == ["in.c-main.orders", "out.c-new.t"]
    storage.drop_table("out.c-new.t")
    with pytest.raises(ForbiddenError, match=r"may not write the table in\.c-main\.orders.*in\.c-main:write"):
        storage.drop_table("in.c-main.orders")


@pytest.mark.locations
def test_a_commit_with_one_forbidden_table_stores_nothing_and_names_each(
    lake: Storage, tables: None, holder: Holder, tmp_path: Path
) -> None:
    storage = holder("in.c-main:read", "out.c-main:write")
    source = csv(tmp_path)
    delete = DeleteWhere((Where("id", ("1",)),))
    loads = (
        TableLoad("out.c-main.fine", source),
        TableLoad("in.c-main.orders", source, columns=("id", "v"), incremental=True, delete_where=(delete,)),
        TableLoad("out.c-other.made", source),
    )
    files = (FileUpload(source, "f", ("t",)),)
    state = {StateKey("vendor.ex", "main"): {"n": 1}}
    with pytest.raises(ForbiddenError) as refused:
        storage.commit(Commit("k", loads, files, state=state))
    assert "in.c-main:write" in str(refused.value)
    assert "out.c-other:write" in str(refused.value)
    assert "out.c-main:write" not in str(refused.value)
    assert [table.id for table in lake.tables()] == ["in.c-main.orders", "in.c-secret.salaries", "out.c-main.result"]
    assert lake.table("in.c-main.orders").rows == 2
    assert lake.files(FileQuery()) == []
    assert lake.state(StateKey("vendor.ex", "main")) == {}


@pytest.mark.locations
def test_files_are_read_and_tagged_as_the_token_says(lake: Storage, holder: Holder, tmp_path: Path) -> None:
    source = csv(tmp_path)
    (foreign,) = lake.commit(Commit("foreign", files=(FileUpload(source, "foreign", ("t",)),))).files
    own, other, none = holder(), holder(files=FileAccess.ALL), holder(files=FileAccess.NONE)
    (stored,) = own.commit(Commit("own", files=(FileUpload(source, "own", ("t",)),))).files
    assert [file.name for file in own.files(FileQuery(tags=("t",)))] == ["own"]
    # The limit counts what may be read.
    assert [file.name for file in own.files(FileQuery(ids=(foreign.id, stored.id), limit=1))] == ["own"]
    assert [file.name for file in other.files(FileQuery(tags=("t",)))] == ["own", "foreign"]
    own.download_file(stored.id, tmp_path / "got")
    with pytest.raises(NotFoundError, match=r"no file 1 in Storage that the token 1 \(test\) may read"):
        own.download_file(foreign.id, tmp_path / "not")
    assert not (tmp_path / "not").exists()
    with pytest.raises(ForbiddenError, match="may not tag the file 1: it needs the permission files:all"):
        own.commit(Commit("tags", add_file_tags={foreign.id: ("x",), stored.id: ("x",)}))
    assert lake.files(FileQuery(tags=("x",))) == []
    own.commit(Commit("tags", add_file_tags={stored.id: ("x",)}))
    other.commit(Commit("more tags", add_file_tags={foreign.id: ("x",)}))
    assert len(lake.files(FileQuery(tags=("x",)))) == 2
    for use in (
        lambda: none.files(FileQuery()),
        lambda: none.download_file(stored.id, tmp_path / "not"),
        lambda: none.commit(Commit("n", files=(FileUpload(source, "n"),))),
        lambda: none.commit(Commit("n", add_file_tags={stored.id: ("y",)})),
    ):
        with pytest.raises(ForbiddenError, match="files:own"):
            use()


def test_nobody_names_another_one_as_the_owner_of_a_file(lake: Storage, holder: Holder, tmp_path: Path) -> None:
    own, other = holder(), holder()
    own.commit(Commit("k", files=(FileUpload(csv(tmp_path), "f", owner=2),)))
    assert [file.owner for file in lake.files(FileQuery())] == [1]
    assert other.files(FileQuery(owner=1)) == []


def test_a_job_reads_and_writes_the_state_of_its_own_configuration_only(lake: Storage, holder: Holder) -> None:
    storage = holder()
    for row in ("", "row"):
        storage.commit(Commit(f"k{row}", state={StateKey("vendor.ex", "main", row): {"n": 1}}))
        assert storage.state(StateKey("vendor.ex", "main", row)) == {"n": 1}
    for key in (StateKey("vendor.ex", "other"), StateKey("vendor.wr", "main")):
        with pytest.raises(ForbiddenError, match=f"read the state of {key.component_id}/{key.config_id}"):
            storage.state(key)
        with pytest.raises(ForbiddenError, match="write the state of"):
            storage.commit(Commit("k2", state={key: {"n": 2}}))
        assert lake.state(key) == {}


def test_a_token_that_manages_may_do_everything_unless_it_only_reads(
    lake: Storage, tables: None, holder: Holder, tmp_path: Path
) -> None:
    manager = holder(can_manage=True)
    made = manager.create_token("child", Permissions(), creator="cleo", expires=None)
    assert made.token.creator == "cleo with token 1 (test)"
    assert [token.id for token in manager.tokens()] == [1, 2]
    manager.commit(Commit("k", (TableLoad("in.c-any.t", csv(tmp_path)),), state={StateKey("any", "one"): {}}))
    reader = holder(can_manage=True, read_only=True)
    assert len(reader.tables()) == 4
    assert len(reader.tokens()) == 3
    for change in (
        lambda: reader.commit(Commit("r", (TableLoad("in.c-any.t", csv(tmp_path)),))),
        lambda: reader.commit(Commit("r", state={StateKey("any", "one"): {}})),
        lambda: reader.drop_table("in.c-any.t"),
        lambda: reader.create_token("x", Permissions(), creator="c"),
        lambda: reader.revoke_token(1),
        lambda: reader.remove_events(datetime.now(UTC)),
    ):
        with pytest.raises(ForbiddenError, match="may only read"):
            change()


def test_a_token_that_does_not_manage_sees_nothing_of_tokens(holder: Holder) -> None:
    storage = holder("*:write", files=FileAccess.ALL)
    for use in (
        lambda: storage.create_token("x", Permissions(can_manage=True), creator="c"),
        storage.tokens,
        lambda: storage.revoke_token(1),
        lambda: storage.remove_events(datetime.now(UTC)),
    ):
        with pytest.raises(ForbiddenError, match="needs the permission manage"):
            use()


def test_every_bucket_can_be_named_at_once(lake: Storage, tables: None, holder: Holder, tmp_path: Path) -> None:
    storage = holder("*:read", "out.c-main:write")
    assert len(storage.tables()) == 3
    storage.commit(Commit("k", (TableLoad("out.c-main.t", csv(tmp_path)),)))
    with pytest.raises(ForbiddenError, match=r"in\.c-main:write"):
        storage.commit(Commit("k2", (TableLoad("in.c-main.t", csv(tmp_path)),)))


@pytest.mark.locations
def test_a_token_that_is_not_good_is_refused_with_its_name_and_never_its_secret(lake: Storage, uri: str) -> None:
    expired = expired_token(lake, "old one", Permissions())
    revoked = lake.create_token("gone one", Permissions(), creator="c")
    lake.revoke_token(revoked.token.id)
    changed = revoked.secret[:-1] + ("A" if revoked.secret[-1] != "A" else "B")
    cases = {
        expired.secret: r"token 1 \(old one\) expired on",
        revoked.secret: r"token 2 \(gone one\) was revoked on",
        changed: "token in MY_TOKEN is unknown here",
        "dr-99-" + "x" * 43: "token in MY_TOKEN is unknown here",
        "1234-567-abcdefghijklmnop": "in MY_TOKEN has not the form of one",
        "": "in MY_TOKEN is empty",
    }
    for secret, message in cases.items():
        with pytest.raises(TokenError, match=message) as refused:
            open_storage(uri, token=presented(secret))
        assert not secret or secret not in str(refused.value)


def test_a_token_that_is_revoked_while_a_job_works_stores_nothing_more(
    lake: Storage, holder: Holder, tmp_path: Path
) -> None:
    storage = holder("out.c-main:write")
    lake.revoke_token(1)
    with pytest.raises(TokenError, match="was revoked"):
        storage.commit(Commit("k", (TableLoad("out.c-main.t", csv(tmp_path)),)))
    assert lake.tables() == []
    assert lake.revoke_token(1).revoked == lake.tokens()[0].revoked


def test_the_secret_is_nowhere_in_the_storage(lake: Storage, uri: str, tmp_path: Path) -> None:
    made = lake.create_token("hidden", Permissions(), creator="c")
    assert made.secret not in repr(made)
    assert made.secret not in repr(presented(made.secret))
    random = made.secret.split("-", 2)[2]
    stored = [path for path in (tmp_path / "lake").rglob("*") if path.is_file()]
    assert any(path.name.endswith(".ledger") for path in stored)
    assert not [path for path in stored if random.encode() in path.read_bytes()]
    assert made.secret != lake.create_token("hidden", Permissions(), creator="c").secret


@pytest.mark.locations
def test_ids_of_tokens_only_grow_and_descriptions_are_one_line(lake: Storage) -> None:
    first = lake.create_token("one", Permissions(), creator="c").token
    lake.revoke_token(first.id)
    assert lake.create_token("two", Permissions(), creator="c").token.id == first.id + 1
    for description in ("", "  ", "a\nb", "x" * 201):
        with pytest.raises(UserError, match="description of one line"):
            lake.create_token(description, Permissions(), creator="c")
    with pytest.raises(UserError, match="must not have expired"):
        lake.create_token("late", Permissions(), creator="c", expires=datetime.now(UTC))
    with pytest.raises(NotFoundError, match="no token 77"):
        lake.revoke_token(77)


@pytest.mark.parametrize(
    "text", ["in.c-main", "in.c-main:delete", "c-main:read", "in.c main:read", ":read", "in.a.b:read"]
)
def test_what_is_no_permission_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UserError, match=r"is not a permission.*in\.c-main:read"):
        bucket_permissions([text])


def test_a_bucket_is_named_once() -> None:
    assert bucket_permissions(["in.c-a:read", "in.c-a:read"]) == {"in.c-a": Access.READ}
    with pytest.raises(UserError, match=r"in\.c-a is named twice"):
        bucket_permissions(["in.c-a:read", "in.c-a:write"])


@pytest.mark.locations
def test_events_are_stored_once_and_found_again(lake: Storage, uri: str) -> None:
    source = EventSource("dag/run-1", "run-1", "vendor.ex", "main", "row", token_id=3)
    first = new_event(source, EventType.INFO, "one \0 \ud83d", seconds=1.5, params={"a": 1}, results={"b": ["ä"]})
    second = new_event(EventSource("dag/run-2", "run-2", "vendor.wr"), EventType.ERROR, "two")
    lake.add_events([second, first])
    lake.add_events([first])
    lake.add_events([])
    found = open_ledger(uri).events(EventQuery())
    assert [event.message for event in found] == ["one \N{REPLACEMENT CHARACTER} ?", "two"]
    assert (found[0].source, found[0].seconds, found[0].params) == (source, 1.5, {"a": 1})
    assert (found[0].results, found[0].created) == ({"b": ["ä"]}, first.created)
    queries = [
        (EventQuery(run="run-1"), ["run-1"]),
        (EventQuery(run="dag/run-2"), ["run-2"]),
        (EventQuery(component_id="vendor.wr"), ["run-2"]),
        (EventQuery(component_id="vendor.ex", config_id="other"), []),
        (EventQuery(types=(EventType.ERROR, EventType.WARN)), ["run-2"]),
        (EventQuery(since=second.created), ["run-2"]),
        (EventQuery(limit=1), ["run-2"]),
        (EventQuery(token_id=3), ["run-1"]),
    ]
    for query, runs in queries:
        assert [event.source.run_id for event in lake.events(query)] == runs
    assert lake.remove_events(second.created) == 1
    assert [event.message for event in lake.events(EventQuery())] == ["two"]


def test_details_that_are_too_long_are_left_out() -> None:
    event = new_event(EventSource("j", "r"), EventType.INFO, "m", params={"a": 1}, results={"b": "x" * 20_000})
    assert event.params == {}
    assert event.results == {"left_out": "20042 bytes of details"}


def test_a_token_sees_the_events_of_its_own_jobs(lake: Storage, holder: Holder) -> None:
    own, other, manager = holder(), holder(), holder(can_manage=True)
    own.add_events([new_event(EventSource("j", "r", token_id=1), EventType.INFO, "mine")])
    lake.add_events([new_event(EventSource("j", "r"), EventType.INFO, "nobody's")])
    assert [event.message for event in own.events(EventQuery())] == ["mine"]
    assert other.events(EventQuery(token_id=1)) == []
    assert len(manager.events(EventQuery())) == 2


def test_events_wait_for_no_writer_of_the_lake_and_stop_none(lake: Storage, uri: str, tmp_path: Path) -> None:
    from docker_runner.storage.lake.connection import Connection
    from docker_runner.storage.lake.location import parse_location

    connection = Connection(parse_location(uri))
    with connection.writing():
        begin = datetime.now(UTC)
        open_ledger(uri).add_events([new_event(EventSource("j", "r"), EventType.INFO, "meanwhile")])
        assert datetime.now(UTC) - begin < timedelta(seconds=25)
        connection.run('CREATE SCHEMA lake."in.c-x"')
    connection.close()
    assert len(lake.events(EventQuery())) == 1


def test_a_ledger_moves_with_its_lake(uri: str, tmp_path: Path) -> None:
    secret = open_ledger(uri).create_token("moved", Permissions(can_manage=True), creator="c").secret
    (tmp_path / "lake").rename(tmp_path / "elsewhere")
    moved = f"ducklake:sqlite:{tmp_path}/elsewhere/catalog.sqlite"
    with closing(open_storage(moved, token=presented(secret))) as storage:
        assert storage.tables() == []


def test_a_ledger_that_is_no_database_is_told_as_trouble_of_the_storage(uri: str, tmp_path: Path) -> None:
    from docker_runner.errors import StorageError

    (tmp_path / "lake/catalog.sqlite.ledger").write_text("this is no database at all, but long enough to look like one")
    with pytest.raises(StorageError, match="ledger"):
        open_ledger(uri).tokens()
