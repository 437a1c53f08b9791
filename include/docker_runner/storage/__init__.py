"""Storage: tables, files and state that jobs read and write."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docker_runner.storage.base import Storage


def open_storage(uri: str) -> Storage:
    """Open a Storage, and create it when it does not exist yet.

    Args:
        uri: ``ducklake:sqlite:/folder/catalog.sqlite``, optionally with ``?data_path=/other/folder`` for the tables'
            files (default: the folder ``tables`` beside the catalogue).

    Raises:
        UserError: the URI is not one of a supported Storage.
        StorageError: it cannot be opened.
    """
    # The lake's modules are loaded only when a Storage is really opened: DuckDB costs every process 0.1 s.
    from docker_runner.storage.lake.lake import Lake
    from docker_runner.storage.lake.location import parse_location

    return Lake(parse_location(uri))
