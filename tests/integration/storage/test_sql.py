"""``docker-runner storage sql``: anyone's questions, which can change nothing and reach nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from docker_runner.errors import UserError
from docker_runner.storage.base import BaseType, ColumnType, LoadedTable
from docker_runner.storage.lake.lake import Lake
from docker_runner.storage_commands import app

Load = Callable[..., LoadedTable]


@pytest.fixture
def ask(lake: Lake, uri: str, load: Load, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Asks a lake with one table."""
    monkeypatch.setenv("DOCKER_RUNNER_STORAGE", uri)
    monkeypatch.setenv("COLUMNS", "120")
    types = {"id": ColumnType(BaseType.INTEGER), "name": ColumnType(BaseType.STRING)}
    load('id,name\n1,"a ""b"""\n2,[b]c[/b]\n,\n', "in.c-main.orders", types=types)

    def ask(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["sql", *arguments])
        if result.exception:
            raise result.exception
        return result.output

    return ask


def test_rows_are_shown_to_people_and_given_to_programs(ask: Callable[..., str]) -> None:
    shown = ask('select * from "in.c-main".orders order by id nulls last')
    assert "[b]c[/b]" in shown
    assert "NULL" in shown
    assert "3 rows." in shown
    assert "_timestamp" in shown
    query = 'select id, name, id > 1 as "more" from "in.c-main".orders order by id desc nulls last; '
    assert ask(query, "--csv") == '"id","name","more"\n"2","[b]c[/b]","true"\n"1","a ""b""","false"\n"","",""\n'
    assert [json.loads(line) for line in ask(query, "--json").splitlines()] == [
        {"id": 2, "name": "[b]c[/b]", "more": True},
        {"id": 1, "name": 'a "b"', "more": False},
        {"id": None, "name": "", "more": None},
    ]
    limited = ask("select * from range(1000)", "--rows", "5")
    assert "The first 5 rows; there are more." in limited
    assert ask("select * from range(2500) -- all", "--csv").count("\n") == 2501
    assert "orders" in ask("show all tables")
    assert "id" in ask('describe "in.c-main".orders')


TRICKS = [
    'delete from "in.c-main".orders',
    'drop table "in.c-main".orders',
    "create table x as select 1",
    "create temp table x as select 1",
    "select 1; select 2",
    "copy (select 1) to '{folder}/written'",
    "copy \"in.c-main\".orders to '{folder}/written'",
    "explain analyze copy (select 1) to '{folder}/written'",
    "attach '{folder}/written'",
    "export database '{folder}/written'",
    "install httpfs",
    "load httpfs",
    "set enable_external_access = true",
    "reset lock_configuration",
    "pragma enable_external_access",
    "call ducklake_expire_snapshots('lake', older_than => now())",
    "select * from ducklake_cleanup_old_files('lake', cleanup_all => true)",
    "select * from ducklake_delete_orphaned_files('lake', cleanup_all => true)",
    "with x as (from ducklake_merge_adjacent_files('lake')) select * from x",
    "select (select count(*) from read_text('{folder}/secret'))",
    "select * from '{folder}/secret'",
    "select * from read_csv('{folder}/secret')",
    "from read_blob('{folder}/*')",
    "select * from glob('{folder}/*')",
    "select * from query('select 1')",
    "select * from query_table('orders')",
    "select * from sqlite_scan('{folder}/lake/catalog.sqlite', 'ducklake_snapshot')",
    "select * from sqlite_query('__ducklake_metadata_lake', 'delete from ducklake_snapshot returning 1')",
    "select * from ducklake_add_data_files('lake', 'orders', '{folder}/secret')",
    "select * from duckdb_secrets()",
    "",
    "selec 1",
    "select * from nowhere",
]


def test_nothing_is_changed_or_reached_by_tricks(ask: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a\nsecret\n")
    before = state(tmp_path)
    for statement in TRICKS:
        with pytest.raises(UserError) as caught:
            ask(statement.format(folder=tmp_path), "--csv")
        assert "Traceback" not in str(caught.value), statement
        assert state(tmp_path) == before, statement


def test_an_error_of_duckdb_is_told_in_its_words(ask: Callable[..., str]) -> None:
    with pytest.raises(UserError, match='Referenced column "idd" not found'):
        ask('select idd from "in.c-main".orders')
    with pytest.raises(UserError, match="Could not convert string 'x' to INT32"):
        ask("select 'x'::int")


def state(folder: Path) -> dict[str, str]:
    """What lies in a folder, but for the helpers of SQLite and locks."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".sqlite-shm", ".sqlite-wal", ".lock")
    }
