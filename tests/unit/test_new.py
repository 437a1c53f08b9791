"""`docker-runner new`: what is written is valid at once, and nothing that is there is touched."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.builders import ProjectBuilder, write
from typer.testing import CliRunner, Result

from docker_runner.cli import app
from docker_runner.errors import ConfigurationError, EngineError, UserError
from docker_runner.project.component import ComponentRegistry
from docker_runner.project.configuration import Project
from docker_runner.scaffold.configurations import path_name

Command = Callable[..., Result]
PROCESSOR_PACKAGES = Path(__file__).parents[2] / "include" / "images" / "python-processor"


@pytest.fixture
def command(built: ProjectBuilder, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("DOCKER_RUNNER_PROJECT", str(built.directory))
    monkeypatch.setenv("DOCKER_RUNNER_COMPONENTS", str(built.folder / "components"))
    monkeypatch.setenv("DOCKER_RUNNER_HOME", str(built.folder / "home"))
    monkeypatch.delenv("DOCKER_RUNNER_BRANCH", raising=False)
    monkeypatch.chdir(built.folder)
    return lambda *arguments: CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def manifest(built: ProjectBuilder, **more: object) -> None:
    branches = [{"id": 7, "path": "main"}, {"id": 8, "path": "dev"}]
    built.write("dev/meta.json", {"isDefault": False})
    built.write(".keboola/manifest.json", {"version": 2, "branches": branches, "configurations": [], **more})


def test_without_a_manifest_the_folder_is_named_by_the_id(built: ProjectBuilder, command: Command) -> None:
    built.component(root={"type": "extractor"})
    result = command("new", "configuration", "vendor.ex-foo/my-shops", "--name", "My shops", "--row", "a")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "Wrote project/main/extractor/vendor.ex-foo/my-shops. Edit config.json in it, then:",
        "  docker-runner validate vendor.ex-foo/my-shops",
        "  docker-runner run vendor.ex-foo/my-shops",
    ]
    parts = ["config.json", "description.md", "meta.json"]
    folder = built.directory / "main/extractor/vendor.ex-foo/my-shops"
    assert files(folder) == sorted([*parts, *(f"rows/a/{part}" for part in parts)])
    found = built.project.configuration("vendor.ex-foo", "my-shops")
    assert (found.name, [row.id for row in found.rows]) == ("My shops", ["a"])
    assert command("validate", "vendor.ex-foo/my-shops").exit_code == 0


def test_a_flow_begins_like_a_configuration(built: ProjectBuilder, command: Command) -> None:
    manifest(built)
    result = command("new", "configuration", "keboola.flow/night", "--name", "Night")
    assert result.stdout.splitlines() == [
        "Wrote project/main/flow/keboola.flow/night. Edit config.json in it, then:",
        "  docker-runner validate keboola.flow/night",
    ]
    assert built.project.flow("keboola.flow", "night").name == "Night"
    assert command("validate", "keboola.flow/night").exit_code == 0
    with pytest.raises(UserError, match=r"There is a configuration keboola\.flow/night already"):
        command("new", "configuration", "keboola.flow/night", "--name", "Other")
    with pytest.raises(UserError, match="A flow has no rows"):
        command("new", "configuration", "keboola.flow/day", "--row", "a")
    with pytest.raises(UserError, match=r"its configurations are flows, which are DAGs in Airflow"):
        command("plan", "keboola.flow/night")


def test_with_a_manifest_paths_follow_its_templates_and_the_rest_of_it_stays(
    built: ProjectBuilder, command: Command
) -> None:
    naming = {
        "config": "{component_type}/{component_id}/{config_id}-{config_name}",
        "configRow": "rows/{config_row_id}-{config_row_name}",
    }
    manifest(built, naming=naming, sortBy="id", templates={"repositories": []}, configurations=None)
    before = json.loads((built.directory / ".keboola/manifest.json").read_text())
    command("new", "configuration", "vendor.ex-foo/12", "--name", "Můj FirstShop!", "--row", "1")
    after = json.loads((built.directory / ".keboola/manifest.json").read_text())
    path = "other/vendor.ex-foo/12-muj-first-shop"
    assert after == {
        **before,
        "configurations": [
            {
                "branchId": 7, "componentId": "vendor.ex-foo", "id": "12", "path": path,
                "rows": [{"id": "1", "path": "rows/1-1"}],
            }
        ],
    }  # fmt: skip
    assert list(after) == list(before)
    assert built.project.configurations() == [("vendor.ex-foo", "12")]
    assert command("validate").exit_code == 0


def test_a_configuration_may_begin_with_what_stands_in_a_file(built: ProjectBuilder, command: Command) -> None:
    content = {"parameters": {"a": 1}}
    write(built.folder / "content.json", content)
    manifest(built)
    command("new", "configuration", "vendor.ex-foo/x", "--from", "content.json", "--branch", "dev")
    assert Project(built.directory, branch="8").configuration("vendor.ex-foo", "x").configuration == content
    assert built.project.configurations() == []
    write(built.folder / "content.json", "[1]")
    with pytest.raises(ConfigurationError, match="must hold a map"):
        command("new", "configuration", "vendor.ex-foo/y", "--from", "content.json")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["vendor.ex-foo"], "Name a configuration as <component>/<configuration>"),
        (["vendor.ex-foo/main"], "There is a configuration vendor.ex-foo/main already"),
        (["vendor.ex-fo/new"], "'vendor.ex-fo' is not registered.*Did you mean vendor.ex-foo"),
        (["vendor.ex-foo/.."], r"The id '\.\.' of the configuration cannot be used"),
        (["vendor.ex-foo/a/b"], "The id 'a/b' of the configuration cannot be used"),
        (["vendor.ex-foo/new", "--row", "../x"], r"The id '\.\./x' of the row cannot be used"),
        (["vendor.ex-foo/new", "--row", "a", "--row", "a"], "Two rows have the same id"),
        (["vendor.ex-foo/new", "--name", "a\nb"], "The name must be one line"),
        (["vendor.processor-x/new"], "is a processor: it has no configurations"),
        (["vendor.ex-foo/folder"], "is there already: give the configuration another name"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    built: ProjectBuilder, command: Command, arguments: list[str], problem: str
) -> None:
    built.configuration({})
    built.component("vendor.processor-x", root={"type": "processor"})
    built.component(root={"type": "extractor"})
    built.write("main/extractor/vendor.ex-foo/folder/notes.txt", "mine")
    before = files(built.folder)
    with pytest.raises(UserError, match=problem):
        command("new", "configuration", *arguments)
    assert files(built.folder) == before


def test_two_configurations_of_one_name_are_told_apart_or_refused(built: ProjectBuilder, command: Command) -> None:
    manifest(built, naming={"config": "{component_type}/{component_id}/{config_name}"})
    command("new", "configuration", "vendor.ex-foo/a", "--name", "Shops")
    with pytest.raises(UserError, match=r"other/vendor\.ex-foo/shops is there already"):
        command("new", "configuration", "vendor.ex-foo/b", "--name", "Shops")
    assert built.project.configurations() == [("vendor.ex-foo", "a")]


@pytest.mark.parametrize(
    ("name", "path"),
    [("My shop", "my-shop"), ("CamelCase", "camel-case"), ("Žluťoučký kůň", "zlutoucky-kun"), ("№", "unnamed")],
)  # fmt: skip
def test_names_become_paths_as_kbc_makes_them(name: str, path: str) -> None:
    assert path_name(name) == path


@pytest.mark.parametrize("kind", ["application", "extractor", "processor"])
def test_a_new_component_passes_its_own_test(built: ProjectBuilder, command: Command, kind: str) -> None:
    if kind == "processor":
        (built.folder / "images").mkdir()
        (built.folder / "images" / "python-processor").symlink_to(PROCESSOR_PACKAGES)
    result = command("new", "component", "my.first_one", "--type", kind, "--title", "My first", "--no-build")
    assert result.exit_code == 0
    found = ComponentRegistry(built.folder / "components").get("my.first_one")
    assert (found.type, found.definition["name"]) == (kind, "My first")
    assert found.image().reference == "docker-runner/my-first-one:latest"
    assert found.network == ("bridge" if kind == "extractor" else "none")
    folder = built.folder / "images" / "my-first-one"
    assert files(folder) == [
        "Dockerfile", "example.json", "example/config.json", "example/in/tables/people.csv",
        "example/in/tables/people.csv.manifest", "src/component.py", "tests/test_component.py",
    ]  # fmt: skip
    test = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder / "tests")]
    done = subprocess.run(test, capture_output=True, text=True, cwd=built.folder, timeout=100, check=False)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_the_example_of_a_new_component_is_a_valid_configuration(built: ProjectBuilder, command: Command) -> None:
    command("new", "component", "my.first", "--no-build")
    command("new", "configuration", "my.first/main", "--from", "images/my-first/example.json")
    result = command("validate")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (
        0,
        "1 configurations and 2 components checked: 0 broken, 0 problems.",
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["My.First"], "The id 'My.First' cannot be that of a component"),
        (["../x"], "cannot be that of a component"),
        (["my.first", "--type", "reader"], "The type must be one of extractor, writer"),
        (["my.first", "--title", 'a"b'], "The title must be one line without quotes"),
        (["vendor.ex-foo"], r"components/vendor\.ex-foo\.json is there already"),
    ],
)
def test_a_component_that_cannot_be_is_refused(
    built: ProjectBuilder, command: Command, arguments: list[str], problem: str
) -> None:
    before = files(built.folder)
    with pytest.raises(UserError, match=problem):
        command("new", "component", *arguments)
    assert files(built.folder) == before


def test_a_component_or_configuration_that_cannot_be_written_whole_is_not_there_at_all(
    built: ProjectBuilder, command: Command
) -> None:
    """The system refuses to let a file grow, as a full disk does; then to let the process live."""
    manifest(built)
    before = files(built.folder)
    program = (
        "import resource, signal, sys; from docker_runner.cli import main; import docker_runner.scaffold.components\n"
        "import docker_runner.scaffold.configurations, docker_runner.project.configuration\n"
        "sys.dont_write_bytecode = True\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN if sys.argv.pop(1) == 'full' else signal.SIG_DFL)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2); main()"
    )
    component = ["component", "my.first", "--no-build"]
    for how, size, new in (
        ("full", "300", component),
        ("full", "1", ["configuration", "vendor.ex-foo/main"]),
        ("killed", "600", component),
    ):
        done = subprocess.run(
            [sys.executable, "-c", program, how, size, "new", *new], capture_output=True, text=True, check=False
        )
        if how == "full":
            assert (done.returncode, "File too large" in done.stderr) == (2, True), done.stderr
            assert files(built.folder) == before
        else:
            assert done.returncode < 0
    assert command("new", "component", "my.first", "--no-build").exit_code == 0
    assert command("new", "configuration", "vendor.ex-foo/main").exit_code == 0


def test_without_an_engine_the_files_are_written_and_the_way_on_is_told(
    built: ProjectBuilder, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{built.folder}/none.sock")
    with pytest.raises(EngineError, match="build the image with: docker build --tag docker-runner/my-first:latest"):
        command("new", "component", "my.first")
    assert (built.folder / "images/my-first/src/component.py").exists()
