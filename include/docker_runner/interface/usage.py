"""The usage file: what a component reports of its own consumption (US-1..US-4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docker_runner.documents import checked, read_output


def read_usage(file: Path) -> list[dict[str, Any]] | None:
    """Read the usage that a component reported.

    Returns:
        ``[{"metric", "value"}, …]``, which may be empty; None without a file (US-2).

    Raises:
        ConfigurationError: the file has another form (D26).
    """
    shown = f"out/{file.name}"
    content = read_output(file, shown=shown)
    if content is None and not file.exists():
        return None
    usage: list[dict[str, Any]] = checked(content, "usage", file=shown)
    return usage
