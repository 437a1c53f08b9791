"""Reading and writing what tests give to a lake and get from it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def read_csv(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def write_csv(path: Path, records: Sequence[Sequence[str]], **options: Any) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n", **options).writerows(records)
    return path


def leftovers(lake_folder: Path) -> list[Path]:
    """Files in the working folder of the lake."""
    return [path for path in (lake_folder / "scratch").rglob("*") if path.is_file() and path.suffix != ".lock"]
