"""Settings that would silently do something else are refused."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import ProjectBuilder, configuration

from docker_runner.errors import ConfigurationError
from docker_runner.project.unsupported import refuse_unsupported_configuration


@pytest.mark.rules("IM-15")
@pytest.mark.parametrize(
    ("content", "key"),
    [
        (
            {"storage": {"input": {"tables": [{"source": "in.c-b.a", "file_type": "parquet"}]}}},
            "storage.input.tables[0].file_type",
        ),
    ],
)
def test_what_is_not_offered_is_refused_before_anything_runs(
    built: ProjectBuilder, content: dict[str, Any], key: str
) -> None:
    file = built.configuration(content)
    with pytest.raises(ConfigurationError) as error:
        built.job()
    assert (error.value.file, error.value.key) == (str(file), key)


def test_what_changes_nothing_here_is_accepted() -> None:
    content = {
        "storage": {
            "input": {"tables": [{"source": "in.c-b.a", "file_type": "csv", "keep_internal_timestamp_column": False}]},
            "output": {"table_modifications": "all"},
        },
        "artifacts": {"options": {"zip": True}, "runs": {"enabled": False}},
    }
    refuse_unsupported_configuration(configuration(content))
