"""Project directories in the format of the kbc CLI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.builders import ProjectBuilder

from docker_runner.errors import ConfigurationError, NotFoundError
from docker_runner.project.configuration import Project

FOLDER = "main/extractor/vendor.ex-foo/main"
SHOP = "main/extractor/vendor.ex-foo/my-shop"


def manifest(*configurations: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "version": 2,
        "project": {"id": 7, "apiHost": "connection.example.com"},
        "branches": [{"id": 1, "path": "main"}, {"id": 2, "path": "dev"}],
        "configurations": list(configurations),
        **more,
    }


def entry(component_id: str, config_id: Any, path: str, **more: Any) -> dict[str, Any]:
    return {"branchId": 1, "componentId": component_id, "id": config_id, "path": path, **more}


@pytest.fixture
def pulled(built: ProjectBuilder) -> ProjectBuilder:
    """A project as `kbc pull` writes it: ids only in the manifest, variables and schedules as relations."""
    to_main = {"componentId": "vendor.ex-foo", "configId": "101"}
    folder = SHOP.removeprefix("main/")
    built.write(
        ".keboola/manifest.json",
        manifest(
            entry("vendor.ex-foo", 101, folder, rows=[{"id": "9", "path": "rows/z"}, {"id": 8, "path": "rows/a"}]),
            entry(
                "keboola.variables", "201", "variables",
                relations=[{**to_main, "type": "variablesFor"}],
                rows=[
                    {"id": "301", "path": "values/test"},
                    {"id": "302", "path": "values/default", "relations": [{"type": "variablesValuesFor"}]},
                ],
            ),
            entry("keboola.scheduler", "401", "schedules/daily", relations=[{**to_main, "type": "schedulerFor"}]),
            entry("keboola.orchestrator", "501", "other/keboola.orchestrator/flow"),
            {**entry("vendor.ex-foo", "999", "extractor/vendor.ex-foo/elsewhere"), "branchId": 2},
        ),
    )  # fmt: skip
    built.write(f"main/{folder}/config.json", {"parameters": {"a": "{{v}}"}})
    built.write(f"main/{folder}/meta.json", {"name": "My shop", "isDisabled": False})
    built.write(f"main/{folder}/description.md", "What it does.\n")
    built.write(f"main/{folder}/rows/z/config.json", {"parameters": {"row": "z"}})
    built.write(f"main/{folder}/rows/z/meta.json", {"name": "Last", "isDisabled": True})
    built.write(f"main/{folder}/rows/a/config.json", [])
    built.write(f"main/{folder}/variables/config.json", {"variables": [{"name": "v", "type": "string"}]})
    built.write(f"main/{folder}/variables/values/default/config.json", {"values": [{"name": "v", "value": "x"}]})
    built.write(
        f"main/{folder}/schedules/daily/config.json",
        {"schedule": {"cronTab": "0 6 * * *", "timezone": "Europe/Prague", "state": "enabled"}, "target": {}},
    )
    return built


@pytest.mark.rules("CF-1")
def test_a_description_that_is_no_file_is_none(built: ProjectBuilder) -> None:
    built.configuration()
    built.write(f"{FOLDER}/description.md/text.md", "Elsewhere.")
    assert built.project.configuration("vendor.ex-foo", "main").description == ""


@pytest.mark.rules("CF-1", "RW-2", "RW-12")
def test_a_pulled_project_is_read_by_its_manifest(pulled: ProjectBuilder) -> None:
    project = pulled.project
    assert (project.id, project.api_host) == ("7", "connection.example.com")
    assert project.configurations() == [("vendor.ex-foo", "101")]
    found = project.configuration("vendor.ex-foo", "101")
    assert (found.name, found.description, found.is_disabled) == ("My shop", "What it does.", False)
    pulled.write(f"{SHOP}/meta.json", {"name": "My shop", "isDisabled": True})
    assert project.configuration("vendor.ex-foo", "101").is_disabled
    assert [(row.id, row.name, row.is_disabled) for row in found.rows] == [("9", "Last", True), ("8", "8", False)]
    assert found.rows[1].configuration == {}
    assert [(item.cron, item.timezone, item.enabled) for item in found.schedules] == [
        ("0 6 * * *", "Europe/Prague", True)
    ]


@pytest.mark.rules("CF-18", "VR-4")
def test_relations_of_variables_become_their_ids_again(pulled: ProjectBuilder) -> None:
    found = pulled.project.configuration("vendor.ex-foo", "101")
    assert (found.configuration["variables_id"], found.configuration["variables_values_id"]) == ("201", "302")


def test_a_manifest_that_was_read_before_is_read_in_the_same_way_but_for_keys_that_stand_in_it_twice(
    pulled: ProjectBuilder,
) -> None:
    file = pulled.directory / ".keboola" / "manifest.json"

    def entries(*, was_read: bool) -> list[Any]:
        project = Project(pulled.directory, was_read=was_read)
        return [project.id, *(project.entry(*key) for key in project.runnable())]

    whole = entries(was_read=False)
    assert entries(was_read=True) == whole
    text = file.read_text()
    file.write_text("\N{ZERO WIDTH NO-BREAK SPACE}" + text)
    assert entries(was_read=True) == whole
    file.write_text(text.replace('"version":', '"version": 1, "version":', 1))
    assert entries(was_read=True) == whole
    with pytest.raises(ConfigurationError, match="for a second time"):
        entries(was_read=False)
    for broken in (text[:-3], '{"branches": []}', "[]", text.replace("other", "oth\x01er")):
        file.write_text(broken)
        with pytest.raises(ConfigurationError) as known:
            Project(pulled.directory)
        with pytest.raises(ConfigurationError) as again:
            Project(pulled.directory, was_read=True)
        assert str(again.value) == str(known.value)


def test_without_a_manifest_folder_names_are_the_ids(built: ProjectBuilder) -> None:
    built.configuration({"parameters": {"a": 1}}, rows={"b": {}, "a": {}})
    built.variables(["v"], {"default": {"v": "x"}, "other": {"v": "y"}})
    built.write(f"{FOLDER}/schedules/daily/config.json", {"schedule": {"cronTab": "@daily", "state": "disabled"}})
    project = built.project
    assert (project.id, project.configurations()) == ("", [("vendor.ex-foo", "main")])
    found = project.configuration("vendor.ex-foo", "main")
    assert [row.id for row in found.rows] == ["a", "b"]
    assert found.configuration["variables_values_id"] == "default"
    assert [(item.cron, item.timezone, item.enabled) for item in found.schedules] == [("@daily", "UTC", False)]


def test_opening_a_project_reads_no_configuration(built: ProjectBuilder) -> None:
    built.configuration("{ broken")
    built.configuration({}, config_id="sound")
    project = built.project
    assert len(project.configurations()) == 2
    assert project.configuration("vendor.ex-foo", "sound").configuration == {}


def test_a_missing_project_names_the_variable_that_says_where_it_is(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="DOCKER_RUNNER_PROJECT"):
        Project(tmp_path / "nowhere")


def test_an_unknown_configuration_is_named_with_similar_ones(built: ProjectBuilder) -> None:
    built.configuration()
    with pytest.raises(NotFoundError, match=r"no configuration vendor\.ex-foo/mian .* mean vendor\.ex-foo/main\?"):
        built.project.configuration("vendor.ex-foo", "mian")


def test_an_item_of_the_manifest_without_ids_shows_itself_and_hides_no_other(built: ProjectBuilder) -> None:
    sound = {"branchId": 1, "componentId": "vendor.ex-foo", "id": "1", "path": "other/vendor.ex-foo/sound"}
    built.write(".keboola/manifest.json", manifest({"id": 1}, sound, 7))
    built.write("main/other/vendor.ex-foo/sound/config.json", {})
    project = built.project
    assert project.configurations() == [("configurations[0]", ""), ("vendor.ex-foo", "1"), ("configurations[2]", "")]
    assert project.configuration("vendor.ex-foo", "1").configuration == {}
    with pytest.raises(
        ConfigurationError, match=r"manifest\.json:1: configurations\[0\]: The key 'branchId' is missing"
    ):
        project.configuration("configurations[0]", "")
    with pytest.raises(ConfigurationError, match=r"configurations\[2\]: Must be a map"):
        project.configuration("configurations[2]", "")


def test_a_configuration_of_a_branch_that_the_manifest_does_not_have_shows_itself_and_hides_no_other(
    built: ProjectBuilder,
) -> None:
    nowhere = [
        {**entry("vendor.ex-foo", 7, "extractor/vendor.ex-foo/a"), "branchId": 9},
        {**entry("vendor.ex-foo", "1", "extractor/vendor.ex-foo/b"), "branchId": None},
        {**entry("keboola.flow", "f", "flow/keboola.flow/f"), "branchId": "main"},
    ]
    schedule = entry("keboola.scheduler", "s", "schedules/s")
    of_sound = {"componentId": "vendor.ex-foo", "configId": "1", "type": "schedulerFor"}
    sound = entry("vendor.ex-foo", "1", "extractor/vendor.ex-foo/sound")
    lost = {**schedule, "branchId": 9, "relations": [of_sound]}
    built.write(".keboola/manifest.json", manifest(*nowhere, lost, sound))
    built.write("main/extractor/vendor.ex-foo/sound/config.json", {})
    for branch in ("main", "dev"):
        project = Project(built.directory, branch=branch)
        own = [("vendor.ex-foo", "1")] if branch == "main" else []
        others = [("vendor.ex-foo", "7"), ("configurations[1]", "") if own else ("vendor.ex-foo", "1")]
        assert project.configurations() == [*own, *others]
        assert project.flows() == [("keboola.flow", "f")]
        problem = (
            r"manifest\.json:1: configurations\[0\]\.branchId: The manifest has no branch 9; .* 1 \(main\), 2 \(dev\)"
        )
        with pytest.raises(ConfigurationError, match=problem):
            project.configuration("vendor.ex-foo", "7")
        with pytest.raises(ConfigurationError, match=r"configurations\[1\]\.branchId: Must be"):
            project.entry(*others[1])
        with pytest.raises(ConfigurationError, match="The manifest has no branch main"):
            project.flow("keboola.flow", "f")
    assert built.project.configuration("vendor.ex-foo", "1").schedules == ()


@pytest.mark.parametrize(
    ("path", "content", "problem"),
    [
        (".keboola/manifest.json", {"branches": []}, r"manifest\.json:1: The key 'configurations' is missing"),
        (
            ".keboola/manifest.json",
            manifest(branches=[{"id": 1, "path": "a"}, {"id": 2, "path": "b"}]),
            "None of the project's branches is the default one",
        ),
        (f"{FOLDER}/config.json", "{", r"main/config\.json: This is not valid JSON \(line 1, column 2\)"),
        (f"{FOLDER}/config.json", [1], r"main/config\.json: The file must hold a map"),
        (f"{FOLDER}/meta.json", b"\xff", r"main/meta\.json: The file is not UTF-8"),
        (f"{FOLDER}/rows/r/config.json", "{]", r"rows/r/config\.json: This is not valid JSON"),
        (
            f"{FOLDER}/schedules/s/config.json",
            {"schedule": {}},
            r"s/config\.json:1: schedule: The key 'cronTab' is missing",
        ),
        (
            f"{FOLDER}/schedules/s/config.json",
            {"schedule": {"cronTab": "0 6 * * *", "timezone": "Europe/Prag"}},
            r"s/config\.json:1: schedule\.timezone: There is no time zone 'Europe/Prag'",
        ),
        (
            f"{FOLDER}/schedules/s/config.json",
            {"schedule": {"cronTab": "99 * * * *"}},
            r"s/config\.json:1: schedule\.cronTab: '99 \* \* \* \*' is not a cron expression",
        ),
        *(
            (f"{FOLDER}/schedules/s/config.json", {"schedule": {"cronTab": cron}}, rf"schedule\.cronTab: .*{says}")
            for cron, says in (
                ("*/10 0 6 * * *", "is not a cron expression; write five fields"),
                ("0 6 * * * * 2030", "is not a cron expression; write five fields"),
                ("R R * * *", "is not a cron expression"),
                ("0 H(1-5) * * *", "is not a cron expression"),
                ("0 6 31 2 *", "never comes"),
            )
        ),
        *(
            (
                f"{FOLDER}/schedules/s/config.json",
                {"schedule": {"cronTab": "0 6 * * *"}, "target": target},
                rf"target\.{key}.*: Must be ",
            )
            for key, target in (
                ("mode", {"mode": "forceRun"}),
                ("configurationRowIds", {"configurationRowIds": ["a"]}),
                ("tag", {"tag": "2"}),
            )
        ),
    ],
)
def test_a_broken_file_is_named(built: ProjectBuilder, path: str, content: Any, problem: str) -> None:
    built.configuration()
    built.write(path, content)
    with pytest.raises(ConfigurationError, match=problem):
        built.project.configuration("vendor.ex-foo", "main")


def test_a_configuration_whose_folder_is_gone_names_the_file(built: ProjectBuilder) -> None:
    built.write(".keboola/manifest.json", manifest(entry("vendor.ex-foo", "1", "extractor/gone")))
    with pytest.raises(ConfigurationError, match=r"main/extractor/gone/config\.json: The file does not exist"):
        built.project.configuration("vendor.ex-foo", "1")


@pytest.mark.rules("CF-2")
def test_the_version_changes_with_the_content_and_only_with_it(built: ProjectBuilder) -> None:
    def version() -> str:
        return built.project.configuration("vendor.ex-foo", "main").version

    built.configuration({"parameters": {"a": 1, "b": 2}}, rows={"r": {}})
    first = version()
    built.configuration({"parameters": {"b": 2, "a": 1}}, rows={"r": {}})
    built.write(f"{FOLDER}/description.md", "Described.")
    built.write(f"{FOLDER}/meta.json", {"name": "Another name"})
    assert version() == first
    built.configuration({"parameters": {"a": 1, "b": 2}}, rows={"r": {"parameters": 1}})
    second = version()
    built.configuration({"parameters": {"a": 1, "b": 2}}, rows={"r": {"parameters": 1}}, disabled=("r",))
    assert len({first, second, version()}) == 3


def test_code_files_of_a_transformation_return_into_its_parameters(built: ProjectBuilder) -> None:
    built.configuration({"parameters": {"packages": ["x"]}})
    built.write(f"{FOLDER}/blocks/001-first/meta.json", {"name": "First"})
    built.write(f"{FOLDER}/blocks/001-first/001-load/meta.json", {"name": "Load"})
    built.write(f"{FOLDER}/blocks/001-first/001-load/code.py", "print('ě')\n")
    built.write(f"{FOLDER}/blocks/002-second/x/code.py", "pass")
    assert built.project.configuration("vendor.ex-foo", "main").configuration["parameters"] == {
        "packages": ["x"],
        "blocks": [
            {"name": "First", "codes": [{"name": "Load", "script": ["print('ě')"]}]},
            {"name": "002-second", "codes": [{"name": "x", "script": ["pass"]}]},
        ],
    }


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"note.txt": b""}, "exactly one code file"),
        ({"code.py": b"", "code.r": b""}, "exactly one code file"),
        ({"code.py": b"\xff"}, r"code\.py: The file is not UTF-8"),
    ],
)
def test_wrong_code_folders_are_named(built: ProjectBuilder, files: dict[str, bytes], problem: str) -> None:
    built.configuration()
    for name, content in files.items():
        built.write(f"{FOLDER}/blocks/b/c/{name}", content)
    with pytest.raises(ConfigurationError, match=problem):
        built.project.configuration("vendor.ex-foo", "main")


def test_code_files_beside_parameters_that_are_no_map_are_refused(built: ProjectBuilder) -> None:
    built.configuration({"parameters": [1]})
    built.write(f"{FOLDER}/blocks/b/c/code.py", "")
    with pytest.raises(ConfigurationError, match=r"config\.json:1: parameters: Must be a map"):
        built.project.configuration("vendor.ex-foo", "main")


@pytest.mark.parametrize("cron", ["0 6 * MAR FRI", "@hourly", "0 0 29 2 *", "*/5 6-18 * * 1-5", "0 6 L * *"])
def test_every_cron_expression_of_five_fields_counts(built: ProjectBuilder, cron: str) -> None:
    built.configuration()
    target = {"mode": "run", "componentId": "vendor.ex-foo", "configurationRowIds": [], "tag": None}
    built.write(f"{FOLDER}/schedules/s/config.json", {"schedule": {"cronTab": cron}, "target": target})
    assert [item.cron for item in built.project.configuration("vendor.ex-foo", "main").schedules] == [cron]


@pytest.mark.parametrize("path", ["../other", "rows/../../other", "/etc", ".."])
def test_no_row_of_a_manifest_lies_outside_of_its_configuration(built: ProjectBuilder, path: str) -> None:
    built.configuration()
    item = {"branchId": 1, "componentId": "vendor.ex-foo", "id": "main", "path": "extractor/vendor.ex-foo/main"}
    rows = [{"id": "r", "path": path}]
    content = {"branches": [{"id": 1, "path": "main"}], "configurations": [{**item, "rows": rows}]}
    built.write(".keboola/manifest.json", content)
    with pytest.raises(ConfigurationError, match=r"rows\[0\]\.path: Must be a path inside the folder around it"):
        built.project.configuration("vendor.ex-foo", "main")
