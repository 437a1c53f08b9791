"""What reads a row's input from Storage: the same for a run, and for a plan that only tells what it would read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docker_runner.job.definition import JobDefinition, Mode
from docker_runner.job.tools import Tools
from docker_runner.mapping.input_files import FileReader
from docker_runner.mapping.input_tables import TableReader
from docker_runner.project.sandbox import ROWS


def table_reader(row: JobDefinition, tools: Tools, *, folder: Path, state: Mapping[str, Any]) -> TableReader:
    """The reader of a row's tables.

    Args:
        row: the row.
        tools: Storage, settings, log.
        folder: where tables are written to.
        state: the stored state document.
    """
    return TableReader(
        storage=tools.storage,
        folder=folder,
        state=state,
        max_bytes=tools.settings.max_export_bytes,
        log=tools.log,
        extension=row.extension,
        branch=row.branch_prefix,
        branch_buckets_allowed="dev-mapping-allowed" in row.component.features,
        most_rows=ROWS if row.mode is Mode.SANDBOX else None,
        schema_told="input-manifests-without-schema" not in row.component.features,
    )


def file_reader(row: JobDefinition, tools: Tools, *, folder: Path, state: Mapping[str, Any]) -> FileReader:
    """The reader of a row's files; arguments as of :func:`table_reader`."""
    return FileReader(
        storage=tools.storage,
        folder=folder,
        state=state,
        log=tools.log,
        extension=row.extension,
        branch=row.branch_prefix,
    )
