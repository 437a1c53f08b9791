"""A commit that the catalogue has made, and whose files are gone: it is taken back, as if it had never been.

When the connection to the catalogue breaks between the commit and its answer, DuckLake takes the commit for failed and
removes the files that it wrote. What the catalogue knows then is not there.
"""

# ruff: noqa: S608 - names are constants, or DuckLake's own
from __future__ import annotations

from pathlib import Path

from docker_runner.errors import StorageError
from docker_runner.storage.lake import sql
from docker_runner.storage.lake.location import Location
from docker_runner.storage.lake.object_storage import ObjectStorage
from docker_runner.storage.lake.records import SCHEMA_NAME, Kind, Run

_VERSIONED = ("table", "column", "data_file", "delete_file")
"""DuckLake's tables whose rows hold from one snapshot to another. Of schemas only the bucket stays, empty: others may
have put tables there."""


class LostCommitError(StorageError):
    """The catalogue knows a commit whose files are gone.

    Attributes:
        snapshot: what it made.
    """

    def __init__(self, snapshot: int) -> None:
        super().__init__(f"Files of snapshot {snapshot} are gone: the connection broke while it was stored.")
        self.snapshot = snapshot


def remark(run: Run, mark: str) -> None:
    """Have the commit of the transaction at hand carry a mark, by which :func:`marked` finds it."""
    run(f"CALL {sql.LAKE}.set_commit_message('docker-runner', {sql.text(mark)})")


def marked(run: Run, mark: str) -> int | None:
    """The snapshot of the commit with a mark; None when it was not made."""
    rows = run(
        f"SELECT snapshot_id FROM {sql.CATALOG}.ducklake_snapshot_changes WHERE commit_message = {sql.text(mark)}"
    )
    return int(str(rows[0][0])) if rows else None


def lacks_files(run: Run, location: Location, snapshot: int) -> bool:
    """Whether a file is gone that a commit wrote, and that the present state of its table needs."""
    paths = run(
        " UNION ALL ".join(
            "SELECT DISTINCT CASE WHEN NOT f.path_is_relative THEN f.path WHEN NOT t.path_is_relative "
            "THEN t.path || f.path ELSE s.path || t.path || f.path END, "
            "f.path_is_relative AND t.path_is_relative AND s.path_is_relative "
            f"FROM {sql.CATALOG}.ducklake_{kind} AS f JOIN {sql.CATALOG}.ducklake_table AS t USING (table_id) "
            f"JOIN {sql.CATALOG}.ducklake_schema AS s USING (schema_id) "
            f"WHERE f.begin_snapshot = {snapshot} AND f.end_snapshot IS NULL"
            for kind in ("data_file", "delete_file")
        )
    )
    full = (f"{location.tables}/{path}" if relative else str(path) for path, relative in paths)
    return any(not _exists(location, path) for path in full)


def refuse_if_lost(run: Run, location: Location, snapshot: int) -> None:
    """Raise when a commit lacks files.

    Raises:
        LostCommitError: it does.
    """
    if lacks_files(run, location, snapshot):
        raise LostCommitError(snapshot)


def take_back(run: Run, snapshot: int) -> None:
    """Make a commit undone in the catalogue, in the transaction at hand; commits after it stay.

    The ids of its stored files are not given to others, and the buckets that it made stay.

    Raises:
        StorageError: later commits stand on a table that it made or changed the columns of.
    """
    catalog = sql.CATALOG
    ((version,),) = run(f"SELECT schema_version FROM {catalog}.ducklake_snapshot WHERE snapshot_id = {snapshot}")
    ((before,),) = run(f"SELECT max(schema_version) FROM {catalog}.ducklake_snapshot WHERE snapshot_id < {snapshot}")
    if version != before:
        _refuse_if_built_upon(run, snapshot)
        # Other processes keep the structures of tables by this number: the ones that they have must not count again.
        ((latest,),) = run(f"SELECT max(schema_version) FROM {catalog}.ducklake_snapshot")
        shift = int(str(latest)) - int(str(version)) + 1
        run(
            f"UPDATE {catalog}.ducklake_snapshot SET schema_version = schema_version + {shift} "
            f"WHERE snapshot_id >= {snapshot}"
        )
        run(
            f"UPDATE {catalog}.ducklake_schema_versions SET schema_version = schema_version + {shift} "
            f"WHERE begin_snapshot > {snapshot}"
        )
        run(f"DELETE FROM {catalog}.ducklake_schema_versions WHERE begin_snapshot = {snapshot}")
    _keep_file_ids(run, snapshot)
    records = _record_tables(run, *(kind for kind in Kind if kind is not Kind.BUCKETS))
    for table in (*(f"ducklake_{name}" for name in _VERSIONED), *records):
        run(f"DELETE FROM {catalog}.{table} WHERE begin_snapshot = {snapshot}")
        run(f"UPDATE {catalog}.{table} SET end_snapshot = NULL WHERE end_snapshot = {snapshot}")


def _refuse_if_built_upon(run: Run, snapshot: int) -> None:
    changed = f"SELECT table_id FROM {sql.CATALOG}.ducklake_column WHERE {snapshot} IN (begin_snapshot, end_snapshot)"
    ((later,),) = run(
        " + ".join(
            f"(SELECT count(*) FROM {sql.CATALOG}.ducklake_{kind} "
            f"WHERE table_id IN ({changed}) AND (begin_snapshot > {snapshot} OR end_snapshot > {snapshot}))"
            for kind in ("table", "column", "data_file", "delete_file")
        ).join(("SELECT ", ""))
    )
    if later:
        raise StorageError(
            f"Files of snapshot {snapshot} are gone, since the connection broke while it was stored, and later commits "
            f"stand on it. Put its tables back to snapshot {snapshot - 1} with `docker-runner storage restore`."
        )


def _keep_file_ids(run: Run, snapshot: int) -> None:
    """Let stored files of the commit be removed ones, so that their ids are not given again."""
    for table in _record_tables(run, Kind.FILES):
        run(
            f"UPDATE {sql.CATALOG}.{table} SET document = '', begin_snapshot = {snapshot - 1} "
            f"WHERE begin_snapshot = {snapshot} AND id > "
            f"(SELECT coalesce(max(id), 0) FROM {sql.CATALOG}.{table} WHERE begin_snapshot < {snapshot})"
        )


def _record_tables(run: Run, *kinds: Kind) -> list[str]:
    """DuckLake's tables with the rows of our records."""
    names = sql.texts(kind.value for kind in kinds)
    rows = run(
        f"SELECT DISTINCT i.table_name FROM {sql.CATALOG}.ducklake_inlined_data_tables AS i "
        f"JOIN {sql.CATALOG}.ducklake_table AS t USING (table_id) "
        f"JOIN {sql.CATALOG}.ducklake_schema AS s USING (schema_id) "
        f"WHERE s.schema_name = '{SCHEMA_NAME}' AND t.table_name IN ({names})"
    )
    return [sql.name(str(table)) for (table,) in rows]


def _exists(location: Location, path: str) -> bool:
    if isinstance(location.data, ObjectStorage):
        return location.data.has(path.removeprefix(f"{location.data}/"))
    return Path(path).exists()
