"""A whole project directory as `kbc pull` writes it: everything that is needed to run its configurations is found."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from docker_runner.errors import ConfigurationError, NotFoundError, UserError
from docker_runner.job.definition import Job
from docker_runner.job.resolution import JobRequest, resolve_job
from docker_runner.project.component import ComponentRegistry
from docker_runner.project.configuration import Project
from docker_runner.project.variables import VariableValues

PROJECTS = Path(__file__).parents[2] / "projects"
PYTHON = "keboola.python-transformation-v2"


def project(branch: str = "") -> Project:
    return Project(PROJECTS / "bakery", branch=branch)


def job(component_id: str, config_id: str, request: JobRequest | None = None, branch: str = "") -> Job:
    return resolve_job(
        project(branch),
        ComponentRegistry(PROJECTS / "components"),
        component_id=component_id,
        config_id=config_id,
        request=request or JobRequest(),
        job_id="job",
        run_id="1",
    )


@pytest.mark.rules("CF-1", "CF-3")
def test_only_what_can_be_run_is_a_configuration_of_its_own() -> None:
    assert project().configurations() == [
        ("acme.ex-till", "700200"),
        (PYTHON, "700300"),
        ("acme.duckdb-transformation", "700400"),
        ("keboola.snowflake-transformation", "700500"),
        ("kds-team.app-custom-python", "700600"),
    ]
    assert (project().id, project().api_host) == ("515", "connection.eu-central-1.example.com")


@pytest.mark.rules("RW-2", "RW-3", "RW-7", "RW-12", "CF-13")
def test_rows_run_in_the_manifests_order_without_the_disabled_one() -> None:
    found = job("acme.ex-till", "700200")
    assert [row.row_id for row in found.rows] == ["10", "12"]
    counter, van = found.rows
    token = {"#token": "KBC::ProjectSecure::eJxLtDKyqi4GAApgAvY="}
    assert counter.configuration["parameters"] == {
        "till": "counter", "api": {"url": "https://till.example.com", **token, "timeout": 30},
    }  # fmt: skip
    assert [stage.image_reference for stage in van.stages] == [
        "acme/acme.ex-till:3.1.0",
        "acme/acme.processor-move-files:latest",
    ]
    assert [table["destination"] for table in van.mapping("output", "tables")] == ["in.c-van.sales"]
    assert (van.config_id, van.identity.project_id, van.identity.branch_id) == ("700200", "515", "4101")


@pytest.mark.rules("CD-40", "CD-41")
def test_parameters_of_the_projects_stack_win_and_those_of_others_are_not_seen() -> None:
    data = job("acme.ex-till", "700200").rows[0].component.data
    assert data["image_parameters"] == {"zone": "eu", "retries": 3}
    assert '"us"' not in job("acme.ex-till", "700200").to_json()


@pytest.mark.rules("SC-2", "SC-4", "SC-7", "VR-4", "VR-12", "LC-4")
def test_code_shared_code_and_variables_meet_in_a_transformation() -> None:
    (row,) = job(PYTHON, "700300").rows
    prepare, sums = row.configuration["parameters"]["blocks"]
    assert (prepare["name"], [code["name"] for code in prepare["codes"]]) == ("Prepare", ["Rounding", "Load"])
    rounding, load = (code["script"] for code in prepare["codes"])
    assert rounding == [
        "import decimal\n\n\ndef to_cents(amount):\n"
        "    return decimal.Decimal(amount).quantize(decimal.Decimal('0.01'))"
    ]
    assert load == [
        "# reads what the till wrote\nimport pandas\n\nsales = pandas.read_csv('in/tables/sales.csv')  # “corner”"
    ]
    assert sums["codes"][0]["script"] == [
        "print('Good morning')",
        "sales.groupby('day').sum().to_csv('out/tables/daily.csv')",
    ]
    assert row.configuration["parameters"]["packages"] == ["pandas"]
    assert row.configuration["shared_code_id"] == "900100"
    assert row.configuration["shared_code_row_ids"] == ["01hround", "02kgreet"]
    assert "shared_code_path" not in row.configuration
    assert row.variables == {"shop": "corner", "digits": "01"}
    (row,) = job(PYTHON, "700300", JobRequest(variables=VariableValues(row_id="32"))).rows
    assert row.mapping("output", "tables")[0]["destination"] == "out.c-sales.daily_station"


@pytest.mark.rules("OM-21")
def test_an_input_table_of_another_configurations_default_bucket_gets_its_id_back() -> None:
    (row,) = job(PYTHON, "700300").rows
    (table,) = row.mapping("input", "tables")
    assert table["source"] == "in.c-acme-ex-till-700200.sales"
    assert table["where_values"] == ["corner"]


def test_sql_is_given_to_a_component_that_works_on_files_as_a_list_of_statements() -> None:
    (row,) = job("acme.duckdb-transformation", "700400").rows
    assert row.configuration["parameters"]["blocks"][0]["codes"][0]["script"] == [
        "CREATE TABLE stock AS -- one row; not two\nSELECT 'a;b' AS \"na;me\", count(*) AS n\nFROM sales;",
        "/* the rest;\n   of it */\nINSERT INTO stock VALUES ($$x;y$$, 1);",
        "COPY stock TO 'out/tables/stock.csv'",
    ]


@pytest.mark.rules("D27", "CD-24", "CD-25")
def test_sql_for_a_database_workspace_is_refused_by_its_components_staging() -> None:
    with pytest.raises(ConfigurationError, match=r"staging_storage\.input: Staging 'workspace-snowflake' is not"):
        job("keboola.snowflake-transformation", "700500")


def test_an_application_with_one_code_file_gets_it_as_a_parameter() -> None:
    (row,) = job("kds-team.app-custom-python", "700600").rows
    assert row.configuration["parameters"] == {"source": "code", "venv": "3.13", "code": "print('label')\n"}


def test_schedules_and_descriptions_belong_to_their_configuration() -> None:
    found = project().configuration("acme.ex-till", "700200")
    assert [(item.cron, item.timezone, item.enabled) for item in found.schedules] == [
        ("30 5 * * 1-6", "Europe/Prague", True)
    ]
    assert (found.name, found.description) == ("Tills", "Sales of all tills.")
    assert [(row.name, row.is_disabled) for row in found.rows] == [
        ("Counter", False), ("Terrace", True), ("Van", False),
    ]  # fmt: skip


@pytest.mark.rules("BR-1", "BR-13", "CD-54", "CF-12")
@pytest.mark.parametrize("branch", ["4177-new-oven", "4177"])
def test_another_branch_has_its_own_configurations_and_guards(branch: str) -> None:
    assert (project(branch).branch.id, project(branch).branch.is_default) == ("4177", False)
    assert project(branch).configurations() == [("acme.ex-till", "700200")]
    content = project(branch).configuration("acme.ex-till", "700200").configuration
    assert content["parameters"]["api"]["url"] == "https://oven.example.com"
    with pytest.raises(UserError, match=r"set runtime\.safe to true"):
        job("acme.ex-till", "700200", branch=branch)


def test_a_branch_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(NotFoundError, match=r"id 'prod' in .*manifest\.json; there are: 4177-new-oven, main\."):
        project("prod")


def copied(tmp_path: Path, path: str, content: str) -> Project:
    """The project with one file changed."""
    import shutil

    shutil.copytree(PROJECTS / "bakery", tmp_path / "bakery")
    (tmp_path / "bakery" / path).write_text(content)
    return Project(tmp_path / "bakery")


CODE = f"main/transformation/{PYTHON}/700300-daily-sales/blocks/001-prepare/001-rounding/code.py"


@pytest.mark.rules("SC-2")
@pytest.mark.parametrize(
    ("path", "content", "problem"),
    [
        (CODE, "# {{:codes/nothing}}", r"has no piece 'codes/nothing'; there are: codes/01h-rounding, codes/02k-greet"),
        (
            f"main/transformation/{PYTHON}/700300-daily-sales/config.json",
            "{}",
            "names the shared code 'codes/01h-rounding', but the configuration has no shared_code_path",
        ),
        (
            f"main/transformation/{PYTHON}/700300-daily-sales/config.json",
            '{"shared_code_path": "_shared/other"}',
            "There is no shared code at '_shared/other'",
        ),
        (f"main/_shared/{PYTHON}/config.json", '{"componentId": "vendor.other"}', "is for vendor.other, not for"),
    ],
)
def test_shared_code_that_does_not_fit_is_told(tmp_path: Path, path: str, content: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as error:
        copied(tmp_path, path, content).configuration(PYTHON, "700300")
    assert error.value.file is not None
    assert error.value.file.endswith("700300-daily-sales/config.json")


def test_shared_code_between_other_code_keeps_its_place(tmp_path: Path) -> None:
    code = "a = 1\n# {{:codes/02k-greeting}}\nb = 2\n"
    found = copied(tmp_path, CODE, code).configuration(PYTHON, "700300")
    first: Any = found.configuration["parameters"]["blocks"][0]["codes"][0]
    assert first["script"] == ["a = 1", "{{02kgreet}}", "b = 2"]


@pytest.mark.rules("CF-1", "SC-2", "VR-4")
def test_the_same_directory_without_its_manifest_has_folder_names_as_ids(tmp_path: Path) -> None:
    copy = tmp_path / "bakery"
    shutil.copytree(PROJECTS / "bakery", copy)
    (copy / ".keboola" / "manifest.json").unlink()
    pulled = Project(copy)
    assert pulled.configurations() == [
        ("kds-team.app-custom-python", "700600-labels"),
        ("acme.ex-till", "700200-tills"),
        ("acme.ex-till", "old"),
        ("acme.duckdb-transformation", "700400-stock"),
        (PYTHON, "700300-daily-sales"),
        ("keboola.snowflake-transformation", "700500-margins"),
    ]
    tills = pulled.configuration("acme.ex-till", "700200-tills")
    assert [row.id for row in tills.rows] == ["10-counter", "11-terrace", "12-van"]
    assert [schedule.cron for schedule in tills.schedules] == ["30 5 * * 1-6"]
    (task,) = pulled.flow("keboola.orchestrator", "700700-night").tasks
    assert (task.component_id, task.config_id) == ("acme.ex-till", "700200-tills")
    (row,) = resolve_job(
        pulled,
        ComponentRegistry(PROJECTS / "components"),
        component_id=PYTHON,
        config_id="700300-daily-sales",
        request=JobRequest(variables=VariableValues(row_id="01-default")),
        job_id="job",
        run_id="1",
    ).rows
    assert row.variables["shop"] == "corner"
    assert "to_cents" in row.configuration["parameters"]["blocks"][0]["codes"][0]["script"][0]
    (shared,) = pulled.configurations_of("keboola.shared-code")
    children = pulled.children(shared, "keboola.variables")
    assert [child.folder.parent.name for child in children] == ["01h-rounding"]
    assert pulled.belongs(children[0].key)
