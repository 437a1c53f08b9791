"""What an input mapping may not say, found when a configuration is checked, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from docker_runner.errors import ConfigurationError
from docker_runner.mapping.input_file_options import input_files
from docker_runner.mapping.input_table_options import input_table


def input_problems(configuration: Mapping[str, Any]) -> Iterator[ConfigurationError]:
    """Options of input tables and files that contradict each other or have no meaning (IM-16..IM-19, IF-13).

    Args:
        configuration: effective configuration, checked, with defaults.

    Returns:
        The first problem of each item, with its key.
    """
    now = datetime.now(UTC)
    mapping = (configuration.get("storage") or {}).get("input") or {}
    readers: Mapping[str, Callable[..., object]] = {"tables": input_table, "files": input_files}
    for kind, read in readers.items():
        for index, item in enumerate(mapping.get(kind) or []):
            try:
                read(item, key=f"storage.input.{kind}[{index}]", now=now)
            except ConfigurationError as error:
                yield error
