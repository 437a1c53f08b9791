"""What a component finds in its input over several runs, and what the runs remember."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.installation import SCRIPT, Installation

from docker_runner.errors import ConfigurationError
from docker_runner.storage.base import BaseType, ColumnType, MetadataItem

pytestmark = pytest.mark.engine

SEE = """
import csv, glob, json, os
paths = [path for path in glob.glob('/data/in/*/*') if not path.endswith('.manifest')]
seen = {os.path.basename(path): list(csv.reader(open(path, newline=''))) for path in paths if 'parquet' not in path}
manifests = {os.path.basename(path): json.load(open(path + '.manifest')) for path in paths}
config = json.load(open('/data/config.json'))['storage']['input']
json.dump({'seen': seen, 'manifests': manifests, 'config': config}, open('/data/out/state.json', 'w'))
"""
"""Keeps what a component was given as its state."""
SOURCE = "in.c-main.t"
KEYED: dict[str, Any] = {"primary_key": ("id",), "incremental": True}


def seen(installation: Installation, name: str = "see", *, branch: str = "") -> dict[str, Any]:
    """Run the configuration and give what its component was given."""
    installation.run(name)
    document: dict[str, Any] = installation.state(name, branch=branch)["component"]
    return document


def mapped(kind: str, *items: dict[str, Any]) -> dict[str, Any]:
    return {"input": {kind: list(items)}}


@pytest.mark.rules("IM-30", "IM-31", "IM-35", "ST-6")
def test_adaptive_tables_give_exactly_what_came_since_the_last_successful_run(installation: Installation) -> None:
    items = (
        {"source": SOURCE, "destination": "all.csv", "changed_since": "adaptive"},
        {"source": SOURCE, "destination": "names.csv", "changed_since": "adaptive", "columns": ["name"]},
        {"source": SOURCE, "destination": "two.csv", "changed_since": "adaptive", "limit": 2},
        {"source": SOURCE, "destination": "full.csv"},
    )
    installation.load(SOURCE, "id,name\n1,a\n2,b\n3,c\n", **KEYED)
    installation.script("see", SEE, storage=mapped("tables", *items))

    def counts() -> list[int]:
        tables = seen(installation)["seen"]
        return [len(tables[item["destination"]]) - 1 for item in items]

    assert counts() == [3, 3, 2, 3]
    assert counts() == [0, 0, 0, 3]
    installation.load(SOURCE, "id,name\n3,changed\n4,new\n2,b\n", **KEYED)
    installation.script("see", SEE + "\nraise SystemExit('broken')", storage=mapped("tables", *items))
    with pytest.raises(Exception, match="broken"):
        installation.run("see")
    installation.script("see", SEE, storage=mapped("tables", *items))
    tables = seen(installation)["seen"]
    assert [tables["all.csv"][0], *sorted(tables["all.csv"][1:])] == [["id", "name"], ["3", "changed"], ["4", "new"]]
    assert sorted(tables["names.csv"][1:]) == [["changed"], ["new"]]
    assert (len(tables["two.csv"]), len(tables["full.csv"])) == (3, 5)
    assert counts() == [0, 0, 0, 4]
    remembered = installation.state("see")["storage"]["input"]["tables"]
    assert [entry["source"] for entry in remembered] == [SOURCE] * 4


@pytest.mark.rules("IM-31", "TV-11", "IM-26")
def test_a_table_that_changes_while_a_run_works_is_read_by_the_next_run(installation: Installation) -> None:
    installation.load(SOURCE, "id,name\n1,a\n", **KEYED)
    loaded = {"source": "t.csv", "destination": SOURCE, "primary_key": ["id"], "incremental": True}
    script = SEE + "\nopen('/data/out/tables/t.csv', 'w').write('id,name\\n2,mine\\n')"
    storage = {**mapped("tables", {"source": SOURCE, "changed_since": "adaptive"}), "output": {"tables": [loaded]}}
    installation.script("see", script, storage=storage)
    assert seen(installation)["seen"][SOURCE] == [["id", "name"], ["1", "a"]]
    assert seen(installation)["seen"][SOURCE] == [["id", "name"], ["2", "mine"]]


@pytest.mark.rules("IM-13", "IM-15", "IM-16", "IM-56", "CF-35", "DF-22")
def test_components_get_parquet_and_the_options_in_their_present_form(installation: Installation) -> None:
    types = {"id": ColumnType(BaseType.INTEGER, nullable=False), "price": ColumnType(BaseType.NUMERIC, "10,2")}
    installation.load(SOURCE, "id,price\n1,2.50\n", primary_key=("id",), types=types)
    item = {"source": SOURCE, "destination": "t.parquet", "file_type": "parquet", "use_view": True}
    check = "\nassert open('/data/in/tables/t.parquet/part-0.parquet', 'rb').read(4) == b'PAR1'"
    installation.script("see", SEE + check, storage=mapped("tables", item))
    given = seen(installation)
    (table,) = given["config"]["tables"]
    assert (table["source"], table["load_type"], "use_view" in table) == (SOURCE, "VIEW", False)
    schema = given["manifests"]["t.parquet"]["schema"]
    assert [(column["name"], column["data_type"]["base"]["type"]) for column in schema] == [
        ("id", "INTEGER"),
        ("price", "NUMERIC"),
    ]


@pytest.mark.rules("IM-27", "LC-44")
def test_a_table_beyond_the_limit_stops_the_run_before_anything_is_loaded(installation: Installation) -> None:
    installation.load(SOURCE, "id\n1\n")
    installation.script("see", SEE, storage=mapped("tables", {"source": SOURCE}))
    installation.variables["DOCKER_RUNNER_MAX_EXPORT_BYTES"] = "10"
    with pytest.raises(ConfigurationError, match=r"tables\[0\]\.source: .* no table with more than 10 bytes"):
        installation.run("see")
    assert installation.state("see") == {}


@pytest.mark.rules("IF-7", "IF-22", "IF-24", "IF-29", "IM-38")
def test_processed_files_are_marked_when_the_run_succeeds(installation: Installation, tmp_path: Path) -> None:
    def store(name: str) -> None:
        (tmp_path / name).write_text(name)
        installation.store_file(tmp_path / name, "x")

    item = {
        "source": {"tags": [{"name": "x"}, {"name": "done", "match": "exclude"}]},
        "processed_tags": ["done"],
        "changed_since": "adaptive",
    }
    store("a.txt")
    installation.script("see", SEE, storage=mapped("files", item))
    assert [name.split("_", 1)[1] for name in seen(installation)["seen"]] == ["a.txt"]
    assert [file.name for file in installation.files("done")] == ["a.txt"]
    assert seen(installation)["seen"] == {}
    store("b.txt")
    (given,) = seen(installation)["manifests"].values()
    assert (given["name"], given["tags"]) == ("b.txt", ["x"])
    assert [file.name for file in installation.files("done")] == ["a.txt", "b.txt"]
    (state,) = installation.state("see")["storage"]["input"]["files"]
    tags = [{"name": "x", "match": "include"}, {"name": "done", "match": "exclude"}]
    assert state == {"tags": tags, "lastImportId": str(given["id"])}
    assert "All files were fetched." in installation.lines


@pytest.mark.rules("BR-3", "BR-6", "BR-7", "BR-9", "BR-11", "IF-15", "DF-22", "CD-55")
def test_a_branch_reads_what_is_its_own_and_the_rest_from_production(
    installation: Installation, tmp_path: Path
) -> None:
    own = (MetadataItem("KBC.createdBy.branch.id", "dev", "system"),)
    installation.load(SOURCE, "id,name\n1,production\n", **KEYED)
    installation.load("in.c-main.other", "id\n1\n")
    installation.load("in.c-dev-main.t", "id,name\n2,own\n", created_metadata=own, **KEYED)
    for name, tag in (("p.txt", "x"), ("d.txt", "dev-x"), ("q.txt", "y")):
        (tmp_path / name).write_text(name)
        installation.store_file(tmp_path / name, tag)
    storage = {
        "input": {
            "tables": [{"source": SOURCE, "changed_since": "adaptive"}, {"source": "in.c-main.other"}],
            "files": [{"tags": ["x"], "changed_since": "adaptive"}, {"tags": ["y"]}],
        }
    }
    installation.configuration("keep", {})
    installation.configuration("see", {"parameters": {"script": SEE}, "storage": storage}, branch="dev")
    installation.variables["DOCKER_RUNNER_BRANCH"] = "dev"
    given = seen(installation, branch="dev")
    assert given["seen"][SOURCE] == [["id", "name"], ["2", "own"]]
    assert given["seen"]["in.c-main.other"] == [["id"], ["1"]]
    assert given["manifests"][SOURCE]["id"] == "in.c-dev-main.t"
    assert given["config"]["tables"][0]["source"] == SOURCE
    assert sorted(name.split("_", 1)[1] for name in given["seen"] if "_" in name) == ["d.txt", "q.txt"]
    again = seen(installation, branch="dev")
    assert again["seen"][SOURCE] == [["id", "name"]]
    assert [name.split("_", 1)[1] for name in again["seen"] if "_" in name] == ["q.txt"]

    def refused(storage: dict[str, Any], problem: str) -> None:
        installation.configuration("see", {"parameters": {"script": SEE}, "storage": storage}, branch="dev")
        with pytest.raises(ConfigurationError, match=problem):
            installation.run("see")

    refused(mapped("files", {"query": "name:a"}), r"files\[0\]\.query: .* development branch")
    outright = mapped("tables", {"source": "in.c-dev-main.t"})
    refused(outright, r"tables\[0\]\.source: .* must not be read: in\.c-dev-main\.")
    installation.component(SCRIPT, {"network": "none"}, features=["dev-mapping-allowed"])
    assert seen(installation, branch="dev")["seen"] == {"in.c-dev-main.t": [["id", "name"], ["2", "own"]]}
