"""`docker-runner plan`: exactly what a run would do, and nothing of it done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.installation import SCRIPT, Installation

pytestmark = pytest.mark.engine

COPY = """
import json, shutil
open('/data/out/state.json', 'w').write('{"n": 1}')
shutil.copy('/data/in/tables/people.csv', '/data/out/tables/result.csv')
shutil.copy('/data/in/tables/people.csv', '/data/out/tables/more.csv')
"""
CONFIGURATION = {
    "parameters": {"script": COPY},
    "storage": {
        "input": {
            "tables": [
                {
                    "source": "in.c-main.people", "destination": "people.csv", "columns": ["id"],
                    "where_column": "id", "where_values": ["1", "2"], "changed_since": "adaptive",
                }
            ],
            "files": [{"tags": ["picture"]}],
        },
        "output": {
            "default_bucket": "out.c-mine",
            "tables": [
                {
                    "source": "result.csv", "destination": "out.c-main.result", "primary_key": ["id"],
                    "incremental": True,
                }
            ],
        },
    },
    "runtime": {"process_timeout": 50, "backend": {"type": "xsmall"}},
}  # fmt: skip


def plan(installation: Installation, *arguments: str, code: int = 0) -> dict[str, Any]:
    done = installation.command("plan", *arguments, "--json")
    assert done.returncode == code, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def contents(folder: Path) -> dict[str, bytes]:
    """Files that a run makes or changes; the catalogue of the lake is one of them."""
    return {
        str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.parent.name != "scratch"
    }


def test_a_plan_tells_what_the_run_then_does(installation: Installation) -> None:
    installation.load("in.c-main.people", "id,name\n1,Ada\n2,Grace\n3,Edsger\n", primary_key=("id",))
    file = installation.configuration("main", CONFIGURATION)
    installation.component(SCRIPT, {"network": "none", "memory": "200m"})
    before = contents(installation.folder)
    told = plan(installation, f"{SCRIPT}/main")
    assert contents(installation.folder) == before
    (row,) = told["rows"]
    assert (told["configuration"], row["row"], row["problems"]) == (f"{SCRIPT}/main", None, [])
    done = installation.run("main")
    manifests = done.manifests
    assert row["steps"] == [*list(manifests)[:-1], "unload_always", "clean_up"]

    (read,), (loaded,) = row["input"]["tables"], manifests["load_tables"]["tables"]
    assert (read["source"], read["destination"]) == (loaded["source"], loaded["destination"])
    assert (read["rows"], read["columns"], read["where"]) == (3, ["id"], "id eq 1, 2")
    assert (read["adaptive"], read["changed_since"]) == (True, None)
    assert row["input"]["files"] == [
        {"tags": ["picture"], "query": None, "adaptive": False, "processed_tags": [], "files": []}
    ]

    (stage,), ran = row["run"], manifests["run_component"]
    assert (stage["image"]["reference"], stage["image"]["id"]) == (ran["image"], ran["image_id"])
    assert (stage["image"]["pulled"], stage["pull_policy"]["value"]) == (False, "never")
    limits = stage["limits"]
    definition = installation.folder / "components" / f"{SCRIPT}.json"
    assert limits["memory_bytes"] == {
        "value": 100_000_000,
        "from": f"200m of {definition}:1, times 0.5 by size xsmall of {file}:1",
    }
    assert limits["timeout_seconds"] == {"value": 50, "from": f"{file}:1"}
    assert limits["network"] == {"value": "none", "from": f"{definition}:1"}
    assert limits["cpus"]["value"] == 1

    stored = {table["id"] for table in manifests["unload_output"]["tables"]}
    (written,) = row["output"]["tables"]
    assert stored == {written["destination"], f"{row['output']['default_bucket']}.more"}
    assert (written["incremental"], written["primary_key"], written["rows_now"]) == (True, ["id"], None)

    (again,) = plan(installation, f"{SCRIPT}/main")["rows"]
    assert again["input"]["state"] == "stored"
    assert again["input"]["tables"][0]["changed_since"] == loaded["last_import_date"]
    assert again["output"]["tables"][0]["rows_now"] == 2


def test_what_would_let_a_run_fail_is_told_row_by_row_with_code_1(installation: Installation) -> None:
    missing = {"storage": {"input": {"tables": [{"source": "in.c-main.gone", "destination": "t.csv"}]}}}
    installation.configuration("main", {"parameters": {}}, rows={"a": missing, "b": {}, "c": {}}, disabled_rows=("c",))
    told = plan(installation, f"{SCRIPT}/main", code=1)
    gone, sound = told["rows"]
    assert told["left_out"] == ["c"]
    assert (gone["row"], sound["row"], sound["problems"]) == ("a", "b", [])
    (problem,) = gone["problems"]
    assert problem.startswith(f"{installation.folder}/project/main/other/{SCRIPT}/main/rows/a/config.json:1: storage.")
    assert "There is no table in.c-main.gone in Storage" in problem
    assert gone["input"]["tables"] == [{"source": "in.c-main.gone", "destination": "t.csv"}]


def test_a_plan_for_people_shows_where_limits_come_from_and_no_secret(installation: Installation) -> None:
    done = installation.command("encrypt", "--component", SCRIPT, "--value", input="hunter2-s3cret")
    installation.configuration("main", {"parameters": {"script": "", "#password": done.stdout.strip()}})
    shown = installation.command("plan", f"{SCRIPT}/main", "--backend", "huge", "--tag", "absent").stdout
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "cpus 1.0 (there is no size 'huge')" in lines
    assert any(line.startswith("image docker-runner-test/script:absent; tag from the run") for line in lines)
    assert "digest not known (it is not there)" in lines
    assert any("docker-runner-test/script:absent is not on the Docker engine" in line for line in lines)
    assert "hunter2" not in shown
    assert "KBC::" not in shown
    installation.configuration("main", {"parameters": {"script": "", "#password": "KBC::ProjectSecure::wrong"}})
    assert "It would fail" in installation.command("plan", f"{SCRIPT}/main").stdout


def test_without_an_engine_everything_else_is_told(installation: Installation) -> None:
    installation.configuration("main", {"parameters": {}})
    done = installation.command("plan", f"{SCRIPT}/main", "--json", DOCKER_HOST="unix:///nowhere.sock")
    (stage,) = json.loads(done.stdout)["rows"][0]["run"]
    assert (stage["image"]["digest"], stage["image"]["pulled"]) == (None, None)
    assert "/nowhere.sock" in stage["image"]["problem"]


def test_a_new_component_is_built_and_runs_at_once(installation: Installation) -> None:
    name = f"my.{installation.name[-20:].strip('-_').replace('_', '-').lower()}"
    image = f"docker-runner/{name.replace('.', '-')}:latest"
    done = installation.command("new", "component", name)
    try:
        assert f"Built the image {image}." in done.stdout, done.stderr
        example = installation.folder / "images" / name.replace(".", "-") / "example.json"
        ran = installation.command("run", name, "--config", str(example))
        assert ran.stdout == f"out.c-{name.replace('.', '-')}.greetings: 2 rows loaded, 2 in all\n", ran.stderr
        (row,) = plan(installation, *new_configuration(installation, name, example))["rows"]
        assert row["output"]["tables"][0]["rows_now"] == 2
    finally:
        client = docker.from_env()
        client.images.remove(image, force=True)
        client.close()


def new_configuration(installation: Installation, component: str, content: Path) -> list[str]:
    done = installation.command("new", "configuration", f"{component}/main", "--from", str(content))
    assert done.returncode == 0, done.stderr
    return [f"{component}/main"]
