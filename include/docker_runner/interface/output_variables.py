"""Output variables: what a component tells the caller of its run, in ``out/result.json`` (OM-78)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from docker_runner.documents import checked, read_output
from docker_runner.errors import ConfigurationError

Scalar = str | int | float | bool | None


def read_output_variables(folder: Path, *, warn: Callable[[str], None]) -> dict[str, Scalar]:
    """Read the variables that the component left; none when there is no file.

    Args:
        folder: ``/data/out``; the file is JSON whatever the component's format is.
        warn: is told when the file cannot be used, which fails nothing.

    Returns:
        Names and values; values that are maps or lists are left out.
    """
    file = folder / "result.json"
    if not file.exists() and not file.is_symlink():
        return {}
    try:
        document: dict[str, Any] = checked(read_output(file, shown="out/result.json"), "result", file="out/result.json")
    except ConfigurationError as error:
        warn(f"There are no output variables: {error}")
        return {}
    variables = dict(document["variables"])
    return {name: value for name, value in variables.items() if not isinstance(value, dict | list)}
