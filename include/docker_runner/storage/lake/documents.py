"""The records of Storage as JSON documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from docker_runner.storage.base import (
    BaseType,
    Bucket,
    ColumnType,
    Committed,
    LoadedTable,
    MetadataItem,
    StateKey,
    StoredFile,
    Table,
)
from docker_runner.storage.lake.records import Document


def bucket_document(created: datetime, metadata: Sequence[MetadataItem]) -> Document:
    """A bucket without its id and what is in it."""
    return {"created": created.isoformat(), "metadata": _metadata_documents(metadata)}


def read_bucket(bucket_id: str, document: Document, tables: int) -> Bucket:
    """A bucket from its document; earlier documents have no metadata."""
    metadata = _read_metadata(document.get("metadata", []))
    return Bucket(bucket_id, datetime.fromisoformat(document["created"]), tables, metadata)


def table_document(table: Table) -> Document:
    """A table without its id and its size in bytes."""
    return {
        "columns": table.columns,
        "primary_key": table.primary_key,
        "created": table.created.isoformat(),
        "last_import_date": table.last_import_date.isoformat(),
        "last_change_date": table.last_change_date.isoformat(),
        "rows": table.rows,
        "metadata": _metadata_documents(table.metadata),
        "column_metadata": {name: _metadata_documents(items) for name, items in table.column_metadata.items()},
        "types": {name: vars(kind) for name, kind in table.types.items()},
    }


def read_table(table_id: str, document: Document, size_bytes: int = 0) -> Table:
    """A table from its document; earlier documents have no types."""
    return Table(
        id=table_id,
        columns=tuple(document["columns"]),
        primary_key=tuple(document["primary_key"]),
        created=datetime.fromisoformat(document["created"]),
        last_import_date=datetime.fromisoformat(document["last_import_date"]),
        last_change_date=datetime.fromisoformat(document["last_change_date"]),
        rows=document["rows"],
        bytes=size_bytes,
        metadata=_read_metadata(document["metadata"]),
        column_metadata={name: _read_metadata(items) for name, items in document["column_metadata"].items()},
        types={name: _read_type(kind) for name, kind in document.get("types", {}).items()},
    )


def merge_metadata(
    present: Sequence[MetadataItem], wanted: Sequence[MetadataItem], *, now: datetime, last_id: int
) -> tuple[MetadataItem, ...]:
    """Set entries: one of the same key and provider gets the new value and time and keeps its id (OM-82).

    Args:
        present: the entries so far.
        wanted: the entries to set.
        now: time of entries that bring none.
        last_id: highest id that is in use; new entries get the ids after it.
    """
    merged = {(item.provider, item.key): item for item in present}
    for item in wanted:
        before = merged.get((item.provider, item.key))
        if before is None:
            last_id += 1
        merged[item.provider, item.key] = MetadataItem(
            key=item.key,
            value=item.value,
            provider=item.provider,
            timestamp=item.timestamp or now,
            id=before.id if before else last_id,
        )
    return tuple(merged.values())


def file_document(file: StoredFile, content: str) -> Document:
    """A stored file without its id; ``content`` is where its content lies in the folder of files."""
    return {
        "name": file.name,
        "created": file.created.isoformat(),
        "tags": file.tags,
        "size_bytes": file.size_bytes,
        "is_public": file.is_public,
        "is_permanent": file.is_permanent,
        "is_encrypted": file.is_encrypted,
        "is_sliced": file.is_sliced,
        "max_age_days": file.max_age_days,
        "owner": file.owner,
        "content": content,
    }


def read_file(file_id: int, document: Document) -> StoredFile:
    """A stored file from its document."""
    fields = {key: value for key, value in document.items() if key not in ("content", "created", "tags")}
    created = datetime.fromisoformat(document["created"])
    return StoredFile(id=file_id, created=created, tags=tuple(document["tags"]), **fields)


def committed_document(committed: Committed) -> Document:
    """The result of a commit."""
    return {
        "tables": [vars(table) for table in committed.tables],
        "files": [{"id": file.id, **file_document(file, "")} for file in committed.files],
    }


def read_committed(document: Document, snapshot: int) -> Committed:
    """The result of a commit that was done before, and made a snapshot."""
    tables = (
        {**table, "columns": tuple(table["columns"]), "warnings": tuple(table["warnings"])}
        for table in document["tables"]
    )
    return Committed(
        tables=tuple(LoadedTable(**table) for table in tables),
        files=tuple(
            read_file(file["id"], {key: value for key, value in file.items() if key != "id"})
            for file in document["files"]
        ),
        repeated=True,
        snapshot=snapshot,
    )


def state_id(key: StateKey) -> str:
    """The id of a state's record; ids of components and configurations contain no newline."""
    return "\n".join((key.component_id, key.config_id, key.row_id, key.branch_id))


def _read_type(document: Document) -> ColumnType:
    return ColumnType(**{**document, "base": BaseType(document["base"])})


def _metadata_documents(items: Sequence[MetadataItem]) -> list[Mapping[str, object]]:
    return [{**vars(item), "timestamp": item.timestamp.isoformat() if item.timestamp else None} for item in items]


def _read_metadata(documents: Sequence[Document]) -> tuple[MetadataItem, ...]:
    times = (document["timestamp"] and datetime.fromisoformat(document["timestamp"]) for document in documents)
    return tuple(
        MetadataItem(**{**document, "timestamp": time}) for document, time in zip(documents, times, strict=True)
    )
