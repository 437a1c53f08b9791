"""Each node of a configuration: what it may be, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import ProjectBuilder, configuration

from docker_runner.errors import ConfigurationError
from docker_runner.interface.config_file import main_config

WORKSPACE = (
    "host", "account", "warehouse", "database", "schema", "region", "user", "password", "privateKey", "container",
    "connectionString",
)  # fmt: skip
PROCESSOR = {"definition": {"component": "p", "tag": 1}, "parameters": {"any": {"thing": []}}}


def at(path: str, value: Any) -> dict[str, Any]:
    """A document with one value at a dotted path."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


@pytest.mark.rules(
    "CF-10", "CF-11", "CF-12", "CF-13", "CF-14", "CF-15", "CF-16", "CF-17", "CF-18", "CF-19", "CF-20", "CF-21",
    "CF-23", "CF-24", "CF-25", "CF-26", "CF-28", "CF-29", "CF-30", "CF-31", "CF-32", "CF-33", "LC-81",
)  # fmt: skip
@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("parameters", [{}, [], "text", 1, None, {"any": [{"thing": 1}]}]),
        ("runtime", [{}, None, {"unknown": {"key": 1}}]),
        ("runtime.safe", [True, False, None]),
        ("runtime.tag", ["1", 1, None]),
        ("runtime.image_tag", ["1", 1, None]),
        ("runtime.process_timeout", [1, 100_000, None]),
        ("runtime.backend", [{}, [], None, {"type": "small", "context": "c", "extra": {"dropped": 1}}]),
        ("runtime.backend.workspace_credentials", [{"id": 1, "type": "snowflake", "#password": "x"}]),
        ("runtime.parallelism", [None, 0, 100, "0", "42", "100", "infinity"]),
        ("runtime.use_file_storage_only", [True, False]),
        ("variables_id", ["1", 1, None]),
        ("variables_values_id", ["1", 1, None]),
        ("shared_code_id", ["1", 1, None]),
        ("shared_code_row_ids", [[], ["a", 1]]),
        ("image_parameters", [{}, [], "text", {"any": {"thing": 1}}]),
        ("storage.input.read_only_storage_access", [True, None]),
        ("storage.output.default_bucket", ["in.c-a", None]),
        ("storage.output.data_type_support", ["authoritative", "hints", "none"]),
        ("storage.output.table_modifications", ["none", "non-destructive", "all"]),
        ("storage.output.treat_values_as_null", [["", "NA"]]),
        ("storage.output.table_files", [{"tags": ["a"], "is_permanent": False}]),
        ("authorization.oauth_api", [{"id": 1, "version": 3, "credentials": {"any": {"thing": 1}}}]),
        ("authorization.workspace", [{**dict.fromkeys(WORKSPACE, "x"), "credentials": {"any": 1}}]),
        ("authorization.context", ["text"]),
        ("authorization.app_proxy", [{"any": {"thing": 1}}]),
        ("action", ["run", "other"]),
        ("processors", [{}, [], {"before": [PROCESSOR], "after": [PROCESSOR, PROCESSOR]}]),
        ("artifacts.options", [{"zip": False}]),
        ("artifacts.runs", [{"enabled": True, "filter": {"date_since": "-1 day", "limit": 5}}]),
        ("artifacts.custom", [{"filter": {"component_id": "a", "config_id": 1, "branch_id": 1, "limit": 5}}]),
        ("artifacts.shared", [{"enabled": False}]),
    ],
)  # fmt: skip
def test_what_is_allowed(path: str, values: list[Any]) -> None:
    for value in values:
        assert configuration(at(path, value))


@pytest.mark.rules(
    "CF-11", "CF-12", "CF-13", "CF-14", "CF-15", "CF-16", "CF-17", "CF-18", "CF-19", "CF-21", "CF-22", "CF-23",
    "CF-24", "CF-25", "CF-27", "CF-28", "CF-29", "CF-30", "CF-31", "CF-32", "CF-33", "CF-34", "LC-81",
)  # fmt: skip
@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("runtime", ["text", [1]]),
        ("runtime.safe", ["true", 1]),
        ("runtime.tag", [{}, []]),
        ("runtime.process_timeout", [0, -1, "60", 1.5, True]),
        ("runtime.backend", ["small", [1]]),
        (
            "runtime.backend.workspace_credentials",
            [
                {"id": 1, "type": "bigquery", "#password": "x"},
                {"id": 1, "type": "snowflake"},
                {"id": 1, "type": "snowflake", "#password": "x", "#privateKey": "y"},
                {"type": "snowflake", "#password": "x"},
            ],
        ),
        ("runtime.parallelism", [-1, 101, "101", "-1", "many", 1.5, True]),
        ("runtime.use_file_storage_only", ["true", None]),
        ("variables_id", [{}, []]),
        ("variables_values_id", [{}]),
        ("shared_code_id", [["a"]]),
        ("shared_code_row_ids", ["a", [["a"]], {"a": 1}]),
        ("storage.input.read_only_storage_access", ["true"]),
        ("storage.input.tables", [{"a": 1}, "a", ["a"]]),
        ("storage.input.files", [{"a": 1}]),
        ("storage.output.tables", [{"a": 1}]),
        ("storage.output.files", [{"a": 1}, [{}]]),
        ("storage.output.default_bucket", [{}]),
        ("storage.output.data_type_support", ["all", None]),
        ("storage.output.table_modifications", ["some"]),
        ("storage.output.table_files", [{"tags": "a"}, {"is_permanent": 1}, {"name": "x"}]),
        ("authorization", [{"oauth": {}}]),
        ("authorization.oauth_api", [{"secret": 1}]),
        ("authorization.workspace", [{"token": 1}]),
        ("action", [{}]),
        ("processors", [{"between": []}, {"before": {}}]),
        ("processors.before", [[{}], [{"definition": {}}], [{"definition": {"component": ""}}]]),
        ("processors.after", [[{**PROCESSOR, "x": 1}], [{**PROCESSOR, "parameters": "a"}]]),
        ("artifacts", [{"old": {}}]),
        ("artifacts.options", [{"zip": 1}]),
        ("artifacts.runs", [{"filter": {"orchestration": 1}}, {"enabled": 1}]),
        ("unknown", [1]),
    ],
)  # fmt: skip
def test_what_is_refused_with_its_place(path: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ConfigurationError) as error:
            configuration(at(path, value))
        assert path.startswith(error.value.key) or error.value.key.startswith(path)
        assert error.value.file == "config.json"


@pytest.mark.rules("CF-11", "CF-20", "CF-30", "CD-43", "AU-7")
def test_what_the_runner_sets_itself_is_overwritten_and_what_is_its_own_is_not_passed_on() -> None:
    content = configuration(
        {
            "image_parameters": {"mine": 1},
            "action": "delete",
            "runtime": {"safe": True},
            "authorization": {"workspace": {"host": "h"}},
        }
    )
    found = main_config(content, {"theirs": 2})
    assert (found["image_parameters"], found["action"], found["authorization"]) == ({"theirs": 2}, "run", {})
    assert "runtime" not in found


@pytest.mark.rules("CF-4")
def test_a_job_takes_the_configuration_as_it_is_when_it_starts(built: ProjectBuilder) -> None:
    for number in (1, 2):
        built.configuration({"parameters": {"number": number}})
        assert built.job().rows[0].configuration["parameters"] == {"number": number}
