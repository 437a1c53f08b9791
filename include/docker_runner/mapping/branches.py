"""Names in Storage that belong to a development branch: buckets and tags carry its id (section 18, prefix style)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from docker_runner.errors import UserError
from docker_runner.storage.base import Storage

BRANCH_KEYS = ("KBC.createdBy.branch.id", "KBC.lastUpdatedBy.branch.id")
"""Metadata that marks what belongs to a development branch (BR-5, BR-9, BR-14)."""


def branch_table(table_id: str, branch: str) -> str:
    """The id of a table in a branch: ``in.c-main.t`` is ``in.c-123-main.t`` there (BR-3, BR-4).

    Args:
        table_id: three parts, as in the default branch.
        branch: id of the development branch; empty for the default branch, which changes nothing.
    """
    if not branch:
        return table_id
    stage, bucket, table = table_id.split(".")
    mark, name = ("c-", bucket[2:]) if bucket.startswith("c-") else ("", bucket)
    return f"{stage}.{mark}{branch}-{name}.{table}"


def branch_tags(tags: Sequence[str], branch: str) -> tuple[str, ...]:
    """Tags as a branch writes them: ``123-tag`` (BR-8, OF-7); unchanged in the default branch."""
    return tuple(f"{branch}-{tag}" if branch else tag for tag in tags)


def refuse_foreign_buckets(buckets: Iterable[str], *, branch: str, storage: Storage) -> None:
    """Refuse to write into buckets that are not marked as this branch's (BR-5).

    Args:
        buckets: ids of the buckets to write into; those that do not exist yet will be marked when they are created.
        branch: id of the development branch; in the default branch nothing is refused.
        storage: where the buckets are.

    Raises:
        UserError: names the bucket and whom it belongs to.
    """
    if not branch:
        return
    for bucket_id in dict.fromkeys(buckets):
        bucket = storage.bucket(bucket_id)
        if bucket is None:
            continue
        owners = sorted({item.value for item in bucket.metadata if item.key in BRANCH_KEYS})
        if owners != [branch]:
            whose = (
                f"the branch{'es' if owners[1:] else ''} {' and '.join(owners)}" if owners else "no development branch"
            )
            raise UserError(
                f"The bucket {bucket_id} belongs to {whose}, so a run in the branch {branch} must not write into it: "
                "write into another bucket, or remove that one."
            )
