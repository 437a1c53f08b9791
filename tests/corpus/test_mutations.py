"""Documents that were right and are broken at random: they are taken, or refused with a user error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.builders import component_document
from tests.corpus.cases import COMPONENT, put
from tests.corpus.mutations import damaged, mutated
from tests.corpus.world import PROCESSOR, PreparedRun, SharedStorage, World

from docker_runner.errors import UserError
from docker_runner.interface.state import checked_state, read_out_state
from docker_runner.interface.usage import read_usage
from docker_runner.job.validation import check_configuration
from docker_runner.project.configuration import Project

CONFIGURATION: dict[str, Any] = {
    "parameters": {"x": "{{ a }}", "script": ["{{ code }}"], "deep": {"list": [1, {"b": None}]}},
    "runtime": {"tag": "1.0", "process_timeout": 60, "backend": {"type": "small", "context": "c"}, "parallelism": "2"},
    "storage": {
        "input": {
            "tables": [
                {
                    "source": "in.c-main.t", "destination": "t.csv", "changed_since": "-1 day", "columns": ["id", "v"],
                    "where_column": "id", "where_values": ["1"], "where_operator": "eq", "limit": 10,
                },
                {"source": "in.c-main.u", "days": 2, "column_types": [{"source": "id", "type": "VARCHAR"}]},
            ],
            "files": [
                {"tags": ["a"], "limit": 5, "processed_tags": ["done"], "changed_since": "adaptive"},
                {"source": {"tags": [{"name": "a", "match": "include"}, {"name": "b", "match": "exclude"}]}},
                {"file_ids": [1, "2"]},
            ],
        },
        "output": {
            "default_bucket": "out.c-main",
            "data_type_support": "none",
            "tables": [
                {
                    "source": "t.csv", "destination": "out.c-main.t", "primary_key": ["id"], "incremental": True,
                    "columns": ["id", "v"], "delimiter": ";", "enclosure": "'",
                    "metadata": [{"key": "a", "value": "b"}],
                    "column_metadata": {"id": [{"key": "a", "value": "b"}]},
                    "delete_where": [
                        {
                            "changed_since": "-7 days",
                            "where_filters": [{"column": "id", "operator": "ne", "values_from_set": ["1"]}],
                        }
                    ],
                },
                {"source": "u.csv", "schema": [{"name": "id", "data_type": {"base": {"type": "STRING"}}}]},
            ],
            "files": [{"source": "a.txt", "tags": ["a"], "is_permanent": True}],
        },
    },
    "processors": {"before": [{"definition": {"component": PROCESSOR, "tag": "1"}, "parameters": {"a": [1]}}]},
    "artifacts": {"runs": {"enabled": False, "filter": {"limit": 5}}, "options": {"zip": True}},
    "authorization": {"oauth_api": {"version": 2}},
    "shared_code_id": "code",
    "shared_code_row_ids": ["code"],
}  # fmt: skip
ROW = {"parameters": {"x": 1, "l": [9]}, "storage": {"input": {"tables": [{"columns": ["id"]}, {"days": 3}]}}}
VARIABLES = {"variables": [{"name": "a", "type": "string"}]}
VALUES = {"values": [{"name": "a", "value": "1"}, {"name": "b", "value": 2}]}
CODE = {"code_content": ["print({{ a }})", "2"], "variables_id": "x"}
SCHEDULE = {
    "schedule": {"cronTab": "0 6 * * *", "timezone": "Europe/Prague", "state": "enabled"},
    "target": {"mode": "run"},
}
META = {"name": "n", "isDisabled": False}
DEFINITION = component_document(
    root={
        "type": "extractor", "features": ["a"], "processorConfiguration": {"allowedProcessorPosition": "any"},
        "dataTypesConfiguration": {"dataTypesSupport": "hints"},
    },
    memory="512m", process_timeout=100, network="none", configuration_format="json", default_bucket=True,
    default_bucket_stage="in", image_parameters={"a": {"b": 1}}, staging_storage={"input": "local", "output": "local"},
    logging={"type": "standard", "verbosity": {"100": "none"}}, synchronous_actions=["test"],
)  # fmt: skip
FOLDER = f"main/extractor/{COMPONENT}/main"
MANIFEST = {
    "version": 2,
    "project": {"id": 1, "apiHost": "connection.keboola.com"},
    "naming": {"branch": "{branch_id}"},
    "branches": [{"id": 1, "path": "main", "metadata": {}}, {"id": 2, "path": "dev"}],
    "configurations": [
        {
            "branchId": 1, "componentId": COMPONENT, "id": "main", "path": f"extractor/{COMPONENT}/main",
            "rows": [{"id": "r1", "path": "rows/r1"}],
        },
        {
            "branchId": 1, "componentId": "keboola.variables", "id": "v", "path": "variables",
            "relations": [{"type": "variablesFor", "componentId": COMPONENT, "configId": "main"}],
            "rows": [{"id": "d", "path": "values/default", "relations": [{"type": "variablesValuesFor"}]}],
        },
        {
            "branchId": 1, "componentId": "keboola.scheduler", "id": "s", "path": "schedules/s",
            "relations": [{"type": "schedulerFor", "componentId": COMPONENT, "configId": "main"}],
        },
        {
            "branchId": 1, "componentId": "keboola.shared-code", "id": "code",
            "path": "_shared/keboola.shared-code/code",
            "rows": [{"id": "code", "path": "rows/code"}],
        },
    ],
}  # fmt: skip
STATE = {
    "component": {"n": 1, "m": {}},
    "storage": {
        "input": {
            "tables": [{"source": "in.c-main.t", "lastImportDate": "2026-01-01T00:00:00+0000"}],
            "files": [{"tags": [{"name": "a", "match": "include"}], "lastImportId": "5"}],
        }
    },
    "data_app": {"x": 1},
}
USAGE = [{"metric": "rows", "value": 5}, {"metric": "bytes", "value": "7"}]

DOCUMENTS: dict[str, Any] = {
    f"{FOLDER}/config.json": CONFIGURATION,
    f"{FOLDER}/rows/r1/config.json": ROW,
    f"{FOLDER}/rows/r1/meta.json": META,
    f"{FOLDER}/meta.json": META,
    f"{FOLDER}/variables/config.json": VARIABLES,
    f"{FOLDER}/variables/values/default/config.json": VALUES,
    f"{FOLDER}/schedules/s/config.json": SCHEDULE,
    "main/_shared/keboola.shared-code/code/rows/code/config.json": CODE,
    ".keboola/manifest.json": MANIFEST,
}
TABLE_MANIFEST: dict[str, Any] = {
    "manifest_type": "out", "destination": "out.c-main.t", "incremental": True, "primary_key": ["id"],
    "columns": ["id", "v"], "has_header": True, "delimiter": ",", "enclosure": '"', "write_always": False,
    "delete_where": [
        {"changed_since": "-1 day", "where_filters": [{"column": "id", "operator": "eq", "values_from_set": ["9"]}]}
    ],
    "metadata": [{"key": "a", "value": "b"}], "column_metadata": {"v": [{"key": "KBC.datatype.type", "value": "X"}]},
}  # fmt: skip
SCHEMA_MANIFEST: dict[str, Any] = {
    "manifest_type": "out", "has_header": True, "description": "d", "table_metadata": {"a": "b"},
    "schema": [
        {"name": "id", "data_type": {"base": {"type": "INTEGER"}}, "primary_key": True, "nullable": False},
        {"name": "v", "data_type": {"base": {"type": "STRING", "length": "5"}}, "metadata": {"m": "1"}},
    ],
}  # fmt: skip
FILE_MANIFEST = {"tags": ["a", "b"], "is_public": False, "is_permanent": True, "is_encrypted": True, "notify": False}
TABLE = b'id,v\n1,a\n2,"b ""c"" d"\n3,"e\nf"\n'
RESULT = {"variables": {"a": 1, "b": None}}

OFTEN = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def whole(world: World) -> World:
    """A project with a file of every kind."""
    world.component(content=DEFINITION)
    for path, content in DOCUMENTS.items():
        world.file(path, content)
    world.file("main/_shared/keboola.shared-code/code/config.json", {})
    return world


@pytest.fixture
def own_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world whose Storage may change."""
    shared = SharedStorage(lambda: tmp_path_factory.mktemp("own"))
    yield World(tmp_path_factory.mktemp("w"), shared)
    shared.close()


def validated(world: World) -> object:
    """What ``docker-runner validate`` does."""
    settings = world.settings
    project, key = Project(settings.project), (COMPONENT, "main")
    return check_configuration(project, world.registry, key, settings=settings)


def taken_or_refused(action: Callable[[], object]) -> None:
    """Anything but a user error escapes and fails the test."""
    with suppress(UserError):
        action()


def test_the_documents_are_right_before_they_are_broken(whole: World) -> None:
    (row,) = whole.job().rows
    assert row.row_id == "r1"
    assert row.variables["a"] == "1"
    checked_state(STATE, owner="x")


@pytest.mark.parametrize("path", DOCUMENTS)
@pytest.mark.parametrize("break_it", [mutated, damaged])
def test_a_project_with_a_broken_file_is_taken_or_refused(
    whole: World, path: str, break_it: Callable[[Any], st.SearchStrategy[Any]]
) -> None:
    @OFTEN
    @given(break_it(DOCUMENTS[path]))
    def check(broken: Any) -> None:
        whole.file(path, broken)
        taken_or_refused(lambda: whole.job().to_json())
        taken_or_refused(lambda: validated(whole))

    check()


@pytest.mark.parametrize("break_it", [mutated, damaged])
def test_a_broken_component_definition_is_taken_or_refused(
    whole: World, break_it: Callable[[Any], st.SearchStrategy[Any]]
) -> None:
    @OFTEN
    @given(break_it(DEFINITION))
    def check(broken: Any) -> None:
        put(whole.folder / "components" / f"{COMPONENT}.json", broken)
        taken_or_refused(lambda: whole.job().to_json())

    check()


@pytest.mark.parametrize("break_it", [mutated, damaged])
def test_a_broken_state_and_a_broken_usage_file_are_taken_or_refused(
    whole: World, break_it: Callable[[Any], st.SearchStrategy[Any]]
) -> None:
    @OFTEN
    @given(break_it(STATE), break_it(USAGE))
    def check(state: Any, usage: Any) -> None:
        for extension in ("json", "yml"):
            out_state = put(whole.folder / "out" / f"state.{extension}", state)
            out_usage = put(whole.folder / "out" / f"usage.{extension}", usage)
            taken_or_refused(lambda file=out_state: checked_state(read_out_state(file), owner="x"))
            taken_or_refused(lambda file=out_usage: read_usage(file))

    check()


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("tables/t.csv.manifest", TABLE_MANIFEST),
        ("tables/t.csv.manifest", SCHEMA_MANIFEST),
        ("tables/t.csv", TABLE),
        ("files/a.txt.manifest", FILE_MANIFEST),
        ("result.json", RESULT),
    ],
    ids=["table", "schema", "csv", "file", "result"],
)
@pytest.mark.parametrize("break_it", [mutated, damaged])
def test_broken_output_is_taken_or_refused(
    own_world: World, path: str, right: Any, break_it: Callable[[Any], st.SearchStrategy[Any]]
) -> None:
    own_world.config({"storage": {"output": {"default_bucket": "out.c-main"}}})

    @OFTEN
    @given(break_it(right))
    def check(broken: Any) -> None:
        run = PreparedRun(own_world, own_world.job())
        run.ended({"tables/t.csv": TABLE, "files/a.txt": "x", path: broken})
        taken_or_refused(lambda: run.do("unload_output"))

    if not (break_it is mutated and isinstance(right, bytes)):
        check()
