"""Settings that would silently do something else are refused."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import ProjectBuilder, configuration

from docker_runner.errors import ConfigurationError
from docker_runner.project.unsupported import refuse_unsupported_configuration


def output(**options: Any) -> dict[str, Any]:
    return {"storage": {"output": {"tables": [{"source": "a", "destination": "out.c-b.a", **options}]}}}


@pytest.mark.rules("OM-17", "OM-18", "OM-53", "IM-15", "AR-2", "OF-20")
@pytest.mark.parametrize(
    ("content", "key"),
    [
        (output(write_always=True), "storage.output.tables[0].write_always"),
        (output(deduplication_strategy="insert"), "storage.output.tables[0].deduplication_strategy"),
        ({"storage": {"output": {"treat_values_as_null": ["NA"]}}}, "storage.output.treat_values_as_null"),
        (
            {"storage": {"input": {"tables": [{"source": "in.c-b.a", "file_type": "parquet"}]}}},
            "storage.input.tables[0].file_type",
        ),
        ({"artifacts": {"runs": {"enabled": True, "filter": {"limit": 1}}}}, "artifacts.runs.enabled"),
        ({"artifacts": {"shared": {"enabled": True}}}, "artifacts.shared.enabled"),
        ({"runtime": {"use_file_storage_only": True}}, "runtime.use_file_storage_only"),
    ],
)
def test_what_is_not_offered_is_refused_before_anything_runs(
    built: ProjectBuilder, content: dict[str, Any], key: str
) -> None:
    built.component(root={"features": ["allow-use-file-storage-only"]})
    file = built.configuration(content)
    with pytest.raises(ConfigurationError) as error:
        built.job()
    assert (error.value.file, error.value.key) == (str(file), key)


def test_what_changes_nothing_here_is_accepted() -> None:
    content = {
        "storage": {
            "input": {"tables": [{"source": "in.c-b.a", "file_type": "csv", "keep_internal_timestamp_column": False}]},
            "output": {
                "treat_values_as_null": [""],
                "data_type_support": "hints",
                "tables": [{"source": "a", "destination": "out.c-b.a", "write_always": False}],
            },
        },
        "artifacts": {"options": {"zip": True}, "runs": {"enabled": False}},
        "runtime": {"use_file_storage_only": True},
    }
    refuse_unsupported_configuration(configuration(content))
