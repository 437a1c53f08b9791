"""Configurations that come with a job instead of from the project."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import ProjectBuilder, write

from docker_runner.errors import ConfigurationError, NotFoundError, UserError
from docker_runner.job.definition import Job, JobDefinition
from docker_runner.job.resolution import JobRequest, described
from docker_runner.job.run import only_run
from docker_runner.job.tools import Tools
from docker_runner.project.variables import VariableValues
from docker_runner.settings import Settings

DATA = {"parameters": {"from": "request"}}


def only(job: Job) -> JobDefinition:
    (row,) = job.rows
    return row


@pytest.mark.rules("CF-38", "LC-22", "LC-80", "ST-10")
def test_a_component_alone_runs_with_the_configuration_of_the_request(built: ProjectBuilder) -> None:
    job = built.job(JobRequest(config_data=DATA), config_id="")
    row = only(job)
    assert row.configuration == {**DATA, "shared_code_row_ids": []}
    assert (job.title, row.config_id, row.config_version, row.row_id) == ("vendor.ex-foo", "", "", "")
    assert (row.stores_state, row.reads_state) == (False, False)
    assert Job.from_json(job.to_json()) == job


@pytest.mark.rules("CF-39", "LC-22")
def test_it_wins_over_the_stored_one_which_only_lends_its_id(built: ProjectBuilder) -> None:
    built.configuration({"parameters": {"from": "project", "more": 1}}, rows={"r": {"parameters": {"row": 1}}})
    row = only(built.job(JobRequest(config_data=DATA)))
    assert row.configuration["parameters"] == {"from": "request"}
    assert (row.config_id, row.config_version, row.row_id) == ("main", "", "")
    assert (row.stores_state, row.reads_state) == (True, False)
    stored = built.job().rows[0]
    assert (stored.stores_state, stored.reads_state) == (True, True)


@pytest.mark.rules("CF-39", "LC-22")
def test_the_configuration_whose_id_is_given_need_not_exist(built: ProjectBuilder) -> None:
    row = only(built.job(JobRequest(config_data=DATA), config_id="unborn"))
    assert (row.config_id, row.stores_state, row.reads_state) == ("unborn", False, False)


@pytest.mark.rules("CF-39")
def test_an_empty_one_counts_as_not_given(built: ProjectBuilder) -> None:
    built.configuration({"parameters": {"from": "project"}})
    for empty in ({}, [], None):
        request = JobRequest.from_params({"config_data": empty})
        assert only(built.job(request)).configuration["parameters"] == {"from": "project"}
        with pytest.raises(UserError, match=r"Name a configuration of vendor\.ex-foo, or give one"):
            built.job(request, config_id="")


def test_a_row_without_a_configuration_is_refused(built: ProjectBuilder) -> None:
    with pytest.raises(UserError, match=r"Name a configuration of vendor\.ex-foo"):
        built.job(JobRequest(rows=("r",)), config_id="")


@pytest.mark.rules("CF-38", "CF-33")
def test_it_is_checked_like_a_stored_one_and_errors_name_its_file(built: ProjectBuilder) -> None:
    with pytest.raises(ConfigurationError, match=r"^configData: Unknown key 'paramters'"):
        built.job(JobRequest(config_data={"paramters": {}}), config_id="")
    file = write(built.folder / "given.json", '{\n "storage": {\n  "inputs": {}}}')
    with pytest.raises(ConfigurationError, match=rf"^{file}:3: storage: Unknown key 'inputs'"):
        built.job(JobRequest(config_data={"storage": {"inputs": {}}}, config_file=file), config_id="")


@pytest.mark.rules("EN-10", "LC-82")
def test_plain_secrets_are_refused_in_it(built: ProjectBuilder) -> None:
    with pytest.raises(ConfigurationError, match=r"configData: parameters\.#a: The value is not encrypted"):
        built.job(JobRequest(config_data={"parameters": {"#a": "hunter2"}}), config_id="")


@pytest.mark.rules("LC-20", "RW-6")
def test_it_has_no_rows_to_choose(built: ProjectBuilder) -> None:
    built.configuration({}, rows={"r": {}})
    with pytest.raises(NotFoundError, match="None of the rows r exists"):
        built.job(JobRequest(config_data=DATA, rows=("r",)))


@pytest.mark.rules("LC-82", "CF-13")
@pytest.mark.parametrize(
    ("tag", "inline", "stored", "used"),
    [
        ("job", {"tag": "inline"}, {"tag": "stored"}, "job"),
        ("", {"tag": "inline"}, {"tag": "stored"}, "inline"),
        ("", {}, {"tag": "stored", "image_tag": "old"}, "stored"),
        ("", {}, {"image_tag": "old"}, "old"),
        ("", {"image_tag": "ignored"}, {}, "latest"),
    ],
)
def test_the_image_tag_is_that_of_the_job_then_of_the_request_then_of_the_project(
    built: ProjectBuilder, tag: str, inline: dict[str, Any], stored: dict[str, Any], used: str
) -> None:
    built.configuration({"runtime": stored})
    row = only(built.job(JobRequest(tag=tag, config_data={"runtime": inline, **DATA})))
    assert row.main.image_reference == f"vendor/foo:{used}"


@pytest.mark.rules("LC-82", "VR-5")
def test_values_of_variables_are_those_of_the_request_then_of_the_project(built: ProjectBuilder) -> None:
    built.configuration()
    built.variables(["v"], {"default": {"v": "stored"}, "other": {"v": "inline"}})
    data = {"variables_id": "vendor.ex-foo-main", "parameters": "{{v}}"}
    assert only(built.job(JobRequest(config_data=data))).configuration["parameters"] == "stored"
    data["variables_values_id"] = "other"
    assert only(built.job(JobRequest(config_data=data))).configuration["parameters"] == "inline"
    of_job = JobRequest(config_data=data, variables=VariableValues({"v": "job"}))
    assert only(built.job(of_job)).configuration["parameters"] == "job"


@pytest.mark.rules("LC-82", "LC-83", "RW-11", "CF-15")
@pytest.mark.parametrize(
    ("job", "inline", "stored", "used"),
    [
        ({"type": "large"}, {"type": "medium"}, {"type": "small"}, {"type": "large"}),
        ({"containerType": "large", "type": "medium", "other": 1}, {}, {}, {"type": "large"}),
        ({"context": "c"}, {"type": "medium"}, {"type": "small", "context": "x"}, {"type": "medium", "context": "c"}),
        ({}, {}, {"type": "small", "context": "x"}, {"type": "small", "context": "x"}),
        ({}, {"type": ""}, {"type": "small"}, {"type": "small"}),
        ({}, {"type": "medium", "extra": 1}, {}, {"type": "medium"}),
    ],
)
def test_each_key_of_the_backend_is_that_of_the_job_then_of_the_request_then_of_the_project(
    built: ProjectBuilder, job: Any, inline: Any, stored: Any, used: Any
) -> None:
    built.configuration({"runtime": {"backend": stored}})
    request = JobRequest.from_params({"backend": job, "config_data": {**DATA, "runtime": {"backend": inline}}})
    assert only(built.job(request)).configuration["runtime"]["backend"] == used


@pytest.mark.rules("RW-11", "LC-9")
def test_a_row_overrides_the_backend_of_the_job(built: ProjectBuilder) -> None:
    rows = {"a": {"runtime": {"backend": {"type": "large"}}}, "b": {}}
    built.configuration({"runtime": {"backend": {"type": "small"}}}, rows=rows)
    job = built.job(JobRequest.from_params({"backend": {"type": "medium"}}))
    assert [row.configuration["runtime"]["backend"]["type"] for row in job.rows] == ["large", "medium"]
    assert described(job, selected=[])["backend"] == {"type": "large", "context": ""}
    built.configuration({"runtime": {"backend": {"context": "wlm"}}}, config_id="plain")
    assert described(built.job(config_id="plain"), selected=[])["backend"] == {"type": "small", "context": "wlm"}


@pytest.mark.rules("LC-84", "LC-80", "LC-21")
def test_a_disabled_configuration_runs_only_by_force(built: ProjectBuilder) -> None:
    built.configuration({}, rows={"r": {}})
    built.write("main/extractor/vendor.ex-foo/main/meta.json", {"isDisabled": True})
    for refused in (JobRequest(), JobRequest(rows=("r",))):
        with pytest.raises(UserError, match=r"vendor\.ex-foo/main is disabled: enable it in its meta\.json, or run"):
            built.job(refused)
    row = only(built.job(JobRequest.from_params({"mode": "forceRun"})))
    assert row.identity.mode == "run"


def test_the_word_disabled_must_be_true_or_false(built: ProjectBuilder) -> None:
    built.configuration()
    built.write("main/extractor/vendor.ex-foo/main/meta.json", {"isDisabled": "false"})
    with pytest.raises(ConfigurationError, match=r"meta\.json:1: isDisabled: Must be true or false"):
        built.job()


@pytest.mark.rules("LC-11")
def test_runs_that_belong_to_no_configuration_never_wait_for_each_other(built: ProjectBuilder) -> None:
    built.configuration()
    tools = Tools(Settings.from_environment({"DOCKER_RUNNER_HOME": str(built.folder / "home")}))
    own, stored = built.job(JobRequest(config_data=DATA), config_id=""), built.job()
    with (
        only_run(own, tools),
        only_run(own, tools),
        only_run(stored, tools),
        pytest.raises(UserError, match=r"vendor\.ex-foo/main is running already"),
    ):
        only_run(stored, tools)
    # What belongs to no configuration leaves nothing.
    assert len(list(tools.settings.workspaces.iterdir())) == 1
