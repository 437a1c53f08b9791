"""The usage file: what a component reports of its own consumption (US-1..US-4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docker_runner.documents import checked, read_output


def read_usage(file: Path) -> list[dict[str, Any]]:
    """Read the usage that a component reported; a missing file is no usage.

    Returns:
        ``[{"metric", "value"}, …]``.

    Raises:
        ConfigurationError: the file has another form (D26).
    """
    shown = f"out/{file.name}"
    content = read_output(file, shown=shown)
    return list(checked([] if content is None else content, "usage", file=shown))
