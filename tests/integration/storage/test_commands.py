"""``docker-runner storage …``"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from docker_runner.errors import NotFoundError, UserError
from docker_runner.storage import open_storage
from docker_runner.storage.base import BaseType, ColumnType, Commit, TableLoad
from docker_runner.storage_commands import app


@pytest.fixture
def orders(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CSV, and a Storage for the commands to use."""
    monkeypatch.setenv("DOCKER_RUNNER_STORAGE", uri)
    monkeypatch.setenv("COLUMNS", "120")
    (tmp_path / "orders.csv").write_text("id,unit price\n1,[b]5[/b]\n2,7\n1,6\n")
    return tmp_path / "orders.csv"


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception:
        raise result.exception
    return result.output


def test_a_table_is_imported_listed_shown_and_exported(orders: Path, tmp_path: Path) -> None:
    imported = run("import", "in.c-main.orders", orders, "--primary-key", "id")
    assert "Warning: Column 'unit price' is stored as 'unit_price'." in imported
    assert "in.c-main.orders: 2 rows loaded, 2 rows in the table." in imported
    assert "in.c-main.orders" in run("list")
    shown = run("show", "in.c-main.orders", "--rows", "1")
    assert "unit_price" in shown
    assert "UTC" in shown
    assert run("export", "in.c-main.orders", "--where", "id=2,3", "--columns", "unit_price") == '"unit_price"\n"7"\n'
    assert run("export", "in.c-main.orders", "--changed-since", "-1 hour", "--limit", "0") == '"id","unit_price"\n'
    assert "2 rows written" in run("export", "in.c-main.orders", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines()[0] == '"id","unit_price"'
    maintained = run("maintain")
    assert "Tables have 0 files less. Removed 0 earlier states, 0 files of tables" in maintained


def test_values_are_shown_as_they_are(orders: Path) -> None:
    run("import", "in.c-main.t", orders)
    assert "[b]5[/b]" in run("show", "in.c-main.t")


def test_what_stands_in_tables_and_names_does_nothing_to_the_terminal(orders: Path) -> None:
    orders.write_text("id,v\n1,\x1b]0;mine\x07\n")
    run("import", "in.c-main.t", orders)
    uploaded = run("upload", orders, "--name", "a\x1b[2Jb", "--tag", "\x1b]0;tag\x07")
    shown = [run("show", "in.c-main.t"), run("sql", 'select * from "in.c-main".t'), run("files"), uploaded]
    assert all(r"\x1b" in text and "\x1b" not in text for text in shown)


def test_json_has_null_for_what_it_has_no_number_for(orders: Path) -> None:
    numbers = (
        "'nan'::double a, '-inf'::float b, ['inf'::double, 1.10] c, 'NaN, \"-Infinity\" \\' d, {'inf': 'nan'::double} e"
    )
    line = run("sql", f"select {numbers}", "--json")
    assert json.loads(line, parse_constant=pytest.fail) == {
        "a": None,
        "b": None,
        "c": [None, 1.1],
        "d": 'NaN, "-Infinity" \\',
        "e": {"inf": None},
    }


def test_names_that_are_too_long_and_empty_tags_are_refused(orders: Path) -> None:
    with pytest.raises(UserError, match="at most 500 bytes"):
        run("upload", orders, "--name", "é" * 251)
    with pytest.raises(UserError, match="A tag must not be empty"):
        run("upload", orders, "--tag", "")
    assert "as file 1," in run("upload", orders, "--name", "é" * 250)


def test_an_incremental_import_adds_rows(orders: Path) -> None:
    run("import", "in.c-main.orders", orders)
    assert "3 rows loaded, 6 rows in the table" in run("import", "in.c-main.orders", orders, "--incremental")


def test_the_dialect_can_be_chosen(orders: Path) -> None:
    orders.write_text("id\tname\n1\t'a\tb'\n")
    run("import", "in.c-main.t", orders, "--delimiter", r"\t", "--enclosure", "'")
    assert run("export", "in.c-main.t") == '"id","name"\n"1","a\tb"\n'


def test_an_empty_storage_says_so(orders: Path) -> None:
    assert "There are no tables yet." in run("list")
    assert "There are no files yet." in run("files")


@pytest.mark.rules("IF-3", "IF-26", "OF-5")
def test_files_are_uploaded_listed_and_downloaded(orders: Path, tmp_path: Path) -> None:
    uploaded = run("upload", orders, "--tag", "in", "--tag", "from [b]me[/b]")
    assert uploaded == "Stored orders.csv as file 1, 33 bytes, kept for 15 days.\n"
    (tmp_path / "slices").mkdir()
    (tmp_path / "slices" / "a").write_text("1")
    run("upload", tmp_path / "slices", "--name", "all.csv", "--permanent")
    listed = run("files")
    assert listed.index("all.csv") < listed.index("orders.csv")
    assert "in, from [b]me[/b]" in listed
    assert "kept for 15 days" in listed
    assert "all.csv" not in run("files", "--tag", "in", "--tag", "from [b]me[/b]")
    assert "orders.csv" not in run("files", "--query", "NOT tags:in")
    assert "all.csv" in run("files", "--limit", "1")
    assert "There are no such files." in run("files", "--query", "name:*.zip")
    with pytest.raises(UserError, match="at character 1: there is no field nam"):
        run("files", "--query", "nam:x")
    assert "33 bytes written" in run("download", "1", tmp_path / "got.csv")
    assert (tmp_path / "got.csv").read_bytes() == orders.read_bytes()
    run("download", "2", tmp_path / "got")
    assert [(path.name, path.read_text()) for path in (tmp_path / "got").iterdir()] == [("a", "1")]
    with pytest.raises(NotFoundError, match="There is no file 9 in Storage"):
        run("download", "9", tmp_path / "x")


def test_a_download_never_removes_what_is_there(orders: Path, tmp_path: Path) -> None:
    run("upload", orders)
    (tmp_path / "slices").mkdir()
    (tmp_path / "slices" / "a").write_text("1")
    run("upload", tmp_path / "slices")
    place = tmp_path / "place"
    (place / "sub").mkdir(parents=True)
    (place / "sub" / "mine").write_text("old")
    assert run("download", "1", place) == f"orders.csv: 33 bytes written to {place}/orders.csv.\n"
    assert (place / "orders.csv").read_bytes() == orders.read_bytes()
    with pytest.raises(UserError, match=r"place is not empty: name a new one"):
        run("download", "2", place)
    with pytest.raises(UserError, match="is no folder"):
        run("download", "2", place / "orders.csv")
    with pytest.raises(UserError, match="there is no folder"):
        run("download", "1", place / "nowhere" / "x")
    assert (place / "sub" / "mine").read_text() == "old"
    assert sorted(path.name for path in place.iterdir()) == ["orders.csv", "sub"]


def test_an_export_replaces_neither_links_nor_folders_and_makes_none(orders: Path, tmp_path: Path) -> None:
    run("import", "in.c-main.orders", orders)
    place = tmp_path / "place"
    place.mkdir()
    (place / "real.csv").write_text("old")
    (place / "link.csv").symlink_to("real.csv")
    run("export", "in.c-main.orders", place / "link.csv")
    assert (place / "link.csv").is_symlink()
    assert (place / "real.csv").read_text().startswith('"id"')
    with pytest.raises(UserError, match="there is no folder"):
        run("export", "in.c-main.orders", place / "nowhere" / "x.csv")
    for folder in (place, ""):
        with pytest.raises(UserError, match="is a folder: name a file"):
            run("export", "in.c-main.orders", folder)
    assert sorted(path.name for path in place.iterdir()) == ["link.csv", "real.csv"]


@pytest.mark.rules("OM-90", "IM-15")
def test_types_of_a_table_are_shown_and_it_can_be_exported_with_them(orders: Path, uri: str, tmp_path: Path) -> None:
    types = {"id": ColumnType(BaseType.INTEGER, nullable=False), "price": ColumnType(BaseType.NUMERIC, "10,2")}
    load = TableLoad("in.c-main.t", orders, columns=("id", "price"), has_header=True, types=types)
    orders.write_text("id,price\n1,2\n")
    with closing(open_storage(uri)) as storage:
        storage.commit(Commit("k", (load,)))
    assert "id INTEGER NOT NULL, price NUMERIC(10,2)" in run("show", "in.c-main.t")
    run("export", "in.c-main.t", tmp_path / "t.parquet", "--file-type", "parquet")
    assert (tmp_path / "t.parquet").read_bytes()[:4] == b"PAR1"


def test_any_limit_may_be_larger_than_what_is_there(orders: Path) -> None:
    run("import", "in.c-main.orders", orders)
    run("upload", orders)
    large = "9" * 30
    assert run("export", "in.c-main.orders", "--limit", large).count("\n") == 4
    assert "unit_price" in run("show", "in.c-main.orders", "--rows", large)
    assert "orders.csv" in run("files", "--limit", large)
    assert "created" in run("history", "in.c-main.orders", "--limit", large)
    assert "There are no events yet." in run("events", "--limit", large)
    assert "3 rows." in run("sql", 'select * from "in.c-main".orders', "--rows", large)
    for command in (("token", "revoke", large), ("download", large, "x"), ("delete-file", large)):
        with pytest.raises(NotFoundError, match=f"There is no (token|file) {large}"):
            run(*command)


def test_wrong_options_are_the_users_error(orders: Path) -> None:
    program = "import sys; from docker_runner.cli import main; main()"
    for options in (("maintain", "--keep-days", "9" * 8), ("export", "t", "--limit", "-1")):
        done = subprocess.run([sys.executable, "-c", program, "storage", *options], capture_output=True, text=True)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
        assert "Invalid value" in done.stderr


def test_what_does_not_exist_is_told(orders: Path) -> None:
    run("import", "in.c-main.orders", orders)
    with pytest.raises(NotFoundError, match=r"Similar: in\.c-main\.orders"):
        run("show", "in.c-main.order")
    with pytest.raises(UserError, match=r"There is no bucket in\.c-x in Storage\. There are: in\.c-main\."):
        run("list", "in.c-x")
    with pytest.raises(UserError, match="does not exist"):
        run("import", "in.c-main.orders", "nowhere.csv")
    with pytest.raises(UserError, match="--where must be"):
        run("export", "in.c-main.orders", "--where", "id")


def test_a_table_is_dropped_and_restored_and_a_file_deleted_for_good(orders: Path) -> None:
    run("import", "in.c-main.orders", orders)
    run("upload", orders)
    assert run("drop", "in.c-main.orders") == "Dropped in.c-main.orders.\n"
    assert "dropped" in run("history", "in.c-main.orders")
    snapshot = re.findall(r"(\d+) .*created", run("history", "in.c-main.orders"))[0]
    restored = run("restore", "in.c-main.orders", "--snapshot", snapshot)
    assert restored == "in.c-main.orders: 3 rows as in.c-main.orders had them then.\n"
    assert run("export", "in.c-main.orders").count("\n") == 4
    with pytest.raises(UserError, match="Say either --at"):
        run("restore", "in.c-main.orders")
    with pytest.raises(UserError, match="is not kept any more"):
        run("export", "in.c-main.orders", "--at", "-2 days")
    assert run("delete-file", "1") == "Deleted orders.csv, file 1.\n"
    assert "There are no files yet." in run("files")
    with pytest.raises(NotFoundError, match="There is no file 1"):
        run("delete-file", "1")
    assert "as file 2," in run("upload", orders)  # ids only grow
