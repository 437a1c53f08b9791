"""`docker-runner list`: what is in a project, and what of it is broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.builders import ProjectBuilder
from typer.testing import CliRunner, Result

from docker_runner.cli import app
from docker_runner.errors import NotFoundError

FOLDER = "main/extractor/vendor.ex-foo"
List = Callable[..., Result]


@pytest.fixture
def listed(built: ProjectBuilder, monkeypatch: pytest.MonkeyPatch) -> List:
    """Runs the command in the folder of the project's files."""
    monkeypatch.setenv("DOCKER_RUNNER_PROJECT", str(built.directory))
    monkeypatch.setenv("DOCKER_RUNNER_COMPONENTS", str(built.folder / "components"))
    monkeypatch.delenv("DOCKER_RUNNER_BRANCH", raising=False)
    monkeypatch.chdir(built.folder)
    return lambda *arguments: CliRunner().invoke(app, ["list", *arguments], catch_exceptions=False)


@pytest.fixture
def project(built: ProjectBuilder) -> ProjectBuilder:
    tables = {"storage": {"input": {"tables": [{"source": "in.c-main.t"}]}}, "runtime": {"trigger": "any_input"}}
    built.configuration(tables, rows={"a": {}, "b": {}}, disabled=("b",))
    built.write(f"{FOLDER}/main/meta.json", {"name": "Shops", "isDisabled": True})
    built.configuration({}, config_id="at-six")
    schedule = {"cronTab": "0 6 * * *", "timezone": "Europe/Prague", "state": "disabled"}
    built.write(f"{FOLDER}/at-six/schedules/s/config.json", {"schedule": schedule})
    built.configuration('{"parameters":\\n}', config_id="broken")
    built.configuration({}, component_id="vendor.nothing", config_id="x")
    job = {"componentId": "vendor.ex-foo", "configId": "main"}
    tasks = [
        {"id": 1, "name": "One", "phase": "p", "task": job},
        {"id": 2, "name": "Two", "phase": "q", "enabled": False, "task": job},
    ]
    phases = [{"id": "q", "name": "Q", "dependsOn": ["p"]}, {"id": "p", "name": "P"}]
    built.write("main/other/keboola.orchestrator/night/config.json", {"phases": phases, "tasks": tasks})
    built.write("main/other/keboola.flow/bad/config.json", {"phases": [], "tasks": tasks})
    return built


def test_configurations_are_shown_by_component_with_rows_schedules_and_errors(
    project: ProjectBuilder, listed: List
) -> None:
    result = listed()
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    expected = [
        "project, branch main (the default branch)",
        "",
        "vendor.ex-foo",
        "  at-six",
        "      schedule: 0 6 * * * Europe/Prague [disabled]",
        "  broken    [broken]",
        "      project/main/extractor/vendor.ex-foo/broken/config.json: This is not valid JSON",
        "  main    Shops  [disabled]",
        "      rows: a, b [disabled]",
        "      runs when any of its input tables changed",
        "",
        "vendor.nothing",
        "  x    [broken]",
        "      The component 'vendor.nothing' is not registered",
        "",
        "keboola.orchestrator",
        "  night",
        "      phase p: vendor.ex-foo/main",
        "      phase q after p: vendor.ex-foo/main [disabled]",
        "",
        "keboola.flow",
        "  bad    [broken]",
        "      project/main/other/keboola.flow/bad/config.json:1: tasks[0].phase: There is no phase 'p'",
        "",
        "4 configurations and 2 flows, 3 of them broken.",
    ]
    assert len(lines) == len(expected)
    assert [line[: len(start)] for line, start in zip(lines, expected, strict=True)] == expected


def test_programs_get_one_document(project: ProjectBuilder, listed: List) -> None:
    found: dict[str, Any] = json.loads(listed("--json").stdout)
    assert found["branch"] == {"id": "", "path": "main", "is_default": True}
    configurations = {item["id"]: item for item in found["configurations"]}
    assert configurations["main"] == {
        "component": "vendor.ex-foo", "id": "main", "dag_id": "vendor.ex-foo--main", "name": "Shops",
        "path": f"project/{FOLDER}/main/config.json", "is_disabled": True, "schedules": [],
        "rows": [{"id": "a", "name": "a", "is_disabled": False}, {"id": "b", "name": "b", "is_disabled": True}],
        "granularity": "steps", "trigger": "any_input",
    }  # fmt: skip
    assert configurations["at-six"]["schedules"] == [
        {"cron": "0 6 * * *", "timezone": "Europe/Prague", "enabled": False}
    ]
    assert configurations["broken"]["problem"]["file"] == f"project/{FOLDER}/broken/config.json"
    night, bad = found["flows"]
    assert [(phase["id"], phase["depends_on"]) for phase in night["phases"]] == [("p", []), ("q", ["p"])]
    assert night["phases"][1]["tasks"] == [
        {
            "id": "2", "name": "Two", "component": "vendor.ex-foo", "configuration": "main", "enabled": False,
            "continue_on_failure": False,
        }
    ]  # fmt: skip
    assert bad["problem"]["key"] == "tasks[0].phase"


def test_another_branch_is_listed_by_its_name(project: ProjectBuilder, listed: List) -> None:
    project.write("dev/extractor/vendor.ex-foo/new/config.json", {})
    result = listed("--branch", "dev")
    assert result.stdout.splitlines()[0] == "project, branch dev (a development branch)"
    assert json.loads(listed("--branch", "dev", "--json").stdout)["configurations"][0]["dag_id"] == (
        "dev--vendor.ex-foo--new"
    )
    with pytest.raises(NotFoundError, match="There is no branch 'gone'"):
        listed("--branch", "gone")


def test_what_the_manifest_does_not_name_is_told_and_what_is_in_no_branch_is_broken(
    built: ProjectBuilder, listed: List
) -> None:
    for name in ("a", "mine"):
        built.configuration({}, config_id=name)
    item = {"branchId": 3, "componentId": "vendor.ex-foo", "id": "a", "path": "extractor/vendor.ex-foo/a"}
    built.write(".keboola/manifest.json", {"branches": [{"id": 1, "path": "main"}], "configurations": [item]})
    lines = listed().stdout.splitlines()
    assert lines[2:] == [
        "vendor.ex-foo",
        "  a    [broken]",
        "      project/.keboola/manifest.json:1: configurations[0].branchId: "
        "The manifest has no branch 3; its branches are: 1 (main).",
        "",
        f"project/{FOLDER}/mine  [not in the manifest, so it is left alone]",
        "",
        "1 configurations and 0 flows, 1 of them broken.",
    ]
    assert json.loads(listed("--json").stdout)["not_in_manifest"] == [f"project/{FOLDER}/mine"]


def test_configurations_whose_dags_would_have_one_id_are_shown_as_broken(built: ProjectBuilder, listed: List) -> None:
    for name in ("x y", "x_20_y", "z"):
        built.configuration({}, config_id=name)
    found = json.loads(listed("--json").stdout)["configurations"]
    assert {item["id"]: "problem" in item for item in found} == {"x y": True, "x_20_y": True, "z": False}
