"""Has Airflow parse DAG files again: it looks at their time stamps."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def touch_dag_files(*folders: Path) -> None:
    """Make Airflow parse all DAG files of some folders again, within a second or two."""
    for path in dag_files(*folders):
        # A file that somebody has just removed, or that may not be touched, is parsed at the next interval.
        with contextlib.suppress(OSError):
            os.utime(path)


def dag_files(*folders: Path) -> list[Path]:
    """The Python files below folders with DAG files."""
    return [path for folder in folders for path in folder.rglob("*.py") if "__pycache__" not in path.parts]
