"""What an input mapping may not say, found when a configuration is checked, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from docker_runner.mapping.input_file_options import input_files
from docker_runner.mapping.input_table_options import input_table


def refuse_wrong_input(configuration: Mapping[str, Any]) -> None:
    """Refuse options of input tables and files that contradict each other or have no meaning (IM-16..IM-19, IF-13).

    Args:
        configuration: effective configuration, checked, with defaults.

    Raises:
        ConfigurationError: names the key.
    """
    now = datetime.now(UTC)
    mapping = (configuration.get("storage") or {}).get("input") or {}
    for index, item in enumerate(mapping.get("tables") or []):
        input_table(item, key=f"storage.input.tables[{index}]", now=now)
    for index, item in enumerate(mapping.get("files") or []):
        input_files(item, key=f"storage.input.files[{index}]", now=now)
