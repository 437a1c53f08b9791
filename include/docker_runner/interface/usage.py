"""The usage file: what a component reports of its own consumption (US-1..US-4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docker_runner.documents import checked, parse_document
from docker_runner.errors import ConfigurationError


def read_usage(file: Path) -> list[dict[str, Any]]:
    """Read the usage that a component reported; a missing file is no usage.

    Returns:
        ``[{"metric", "value"}, …]``.

    Raises:
        ConfigurationError: the file has another form (D26).
    """
    shown = f"out/{file.name}"
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise ConfigurationError("The usage must be a regular file.", file=shown)
    if not file.exists():
        return []
    content = parse_document(file.read_text(encoding="utf-8", errors="replace"), extension=file.suffix[1:], file=shown)
    return list(checked(content or [], "usage", file=shown))
