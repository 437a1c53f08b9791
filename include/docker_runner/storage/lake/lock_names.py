"""Names of what commits lock: writers of the same names wait for each other."""

from __future__ import annotations

from collections.abc import Collection

from docker_runner.storage.base import Commit
from docker_runner.storage.lake.documents import state_id
from docker_runner.storage.lake.records import Kind, Run, find
from docker_runner.storage.names import split_table_id


def table(table_id: str) -> list[str]:
    """Names of one table; ids that differ only in case are one table."""
    return [f"table {table_id.lower()}"]


def bucket(bucket_id: str) -> str:
    """Name of what is known of one bucket."""
    return f"bucket {bucket_id.lower()}"


def commit(run: Run, wanted: Commit, present: Collection[str]) -> list[str]:
    """Names of all that a commit writes.

    Args:
        run: runs one statement, outside of the commit's transaction.
        wanted: the commit, whose table ids are right.
        present: ids of its tables that were there a moment ago.
    """
    names = [f"commit {wanted.key}"]  # two attempts at the same commit
    names += [f"state {state_id(key)}" for key in wanted.state]  # no update of a state is lost
    for load in wanted.tables:
        names += table(load.table_id)
    # A bucket is made by one only. One that is seen here is not made, and one that is not may be there by then.
    buckets = {split_table_id(load.table_id)[0] for load in wanted.tables if load.table_id not in present}
    names += [bucket(made) for made in buckets - find(run, Kind.BUCKETS, buckets).keys()]
    if wanted.files or wanted.add_file_tags:
        names.append("files")  # ids grow in the order of commits, so that no reader passes one by
    return names
