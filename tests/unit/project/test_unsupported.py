"""Settings that change nothing here are accepted."""

from __future__ import annotations

from tests.builders import ProjectBuilder


def test_what_changes_nothing_here_is_accepted(built: ProjectBuilder) -> None:
    built.configuration(
        {
            "storage": {
                "input": {"tables": [{"source": "in.c-b.a", "keep_internal_timestamp_column": False}]},
                "output": {"table_modifications": "all"},
            },
            "artifacts": {"options": {"zip": True}, "runs": {"enabled": False}},
        }
    )
    assert len(built.job().rows) == 1
