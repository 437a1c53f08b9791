"""The Storage protocol: what the runner asks of a Storage, whichever it is.

Everything that a job's row writes is described first, as one :class:`Commit`, and then handed over in one call: the
tables, the file records and the state become visible together or not at all. Times are aware datetimes in UTC, sizes
are bytes, table ids are ``stage.c-bucket.table``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from docker_runner.storage.events import Event, EventQuery
from docker_runner.storage.tokens import NewToken, Permissions, PresentedToken, Token


class Operator(StrEnum):
    """How a filter compares a column with its values."""

    EQ = "eq"
    NE = "ne"


class BaseType(StrEnum):
    """Types of columns that every Storage knows (OM-92)."""

    STRING = "STRING"
    INTEGER = "INTEGER"
    NUMERIC = "NUMERIC"
    FLOAT = "FLOAT"
    BOOLEAN = "BOOLEAN"
    DATE = "DATE"
    TIMESTAMP = "TIMESTAMP"


@dataclass(frozen=True)
class ColumnType:
    """Type of a column in a typed table.

    Attributes:
        length: as written, e.g. ``38,2`` for NUMERIC or ``255`` for STRING; empty for the type's own.
        default: text of the value that rows get which were there before the column; None for none.
    """

    base: BaseType
    length: str = ""
    default: str | None = None
    nullable: bool = True


@dataclass(frozen=True)
class Where:
    """Rows whose ``column`` is (``eq``) or is not (``ne``) one of ``values``."""

    column: str
    values: tuple[str, ...]
    operator: Operator = Operator.EQ


@dataclass(frozen=True)
class DeleteWhere:
    """Rows to delete before a load: all conditions must hold (OM-57)."""

    filters: tuple[Where, ...] = ()
    changed_since: datetime | None = None
    changed_until: datetime | None = None


@dataclass(frozen=True)
class MetadataItem:
    """One entry of metadata of a table or a column."""

    key: str
    value: str
    provider: str
    timestamp: datetime | None = None
    id: int | None = None


@dataclass(frozen=True)
class Table:
    """A table as Storage knows it. ``columns`` are in table order and do not contain the internal ``_timestamp``.

    ``types`` has an entry for each column of a typed table and is empty for a table whose columns are texts.
    """

    id: str
    columns: tuple[str, ...]
    primary_key: tuple[str, ...]
    created: datetime
    last_import_date: datetime
    last_change_date: datetime
    rows: int
    bytes: int
    metadata: tuple[MetadataItem, ...] = ()
    column_metadata: Mapping[str, tuple[MetadataItem, ...]] = field(default_factory=dict)
    types: Mapping[str, ColumnType] = field(default_factory=dict)

    @property
    def bucket(self) -> str:
        """The bucket's id, e.g. ``in.c-main``."""
        return self.id.rsplit(".", 1)[0]

    @property
    def name(self) -> str:
        """The table's own name."""
        return self.id.rsplit(".", 1)[1]


@dataclass(frozen=True)
class Bucket:
    """A bucket and what is in it."""

    id: str
    created: datetime
    tables: int
    metadata: tuple[MetadataItem, ...] = ()


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    columns: tuple[str, ...]
    rows: int
    bytes: int


@dataclass(frozen=True)
class StoredFile:
    """A file in Storage. ``id`` only grows; ``owner`` is the token that it was stored with, if it was one."""

    id: int
    name: str
    created: datetime
    tags: tuple[str, ...]
    size_bytes: int
    is_public: bool = False
    is_permanent: bool = False
    is_encrypted: bool = True
    is_sliced: bool = False
    max_age_days: int | None = None
    owner: int | None = None


@dataclass(frozen=True)
class FileQuery:
    """Which files: all ``tags`` present, none of ``without_tags``, newest first, at most ``limit``.

    ``query`` is a full-text query of the file index, e.g. ``tags:a AND NOT tags:b`` or ``name:*.zip`` (IF-3); it is
    one more condition that must hold. ``owner`` is the token that they were stored with.
    """

    tags: tuple[str, ...] = ()
    without_tags: tuple[str, ...] = ()
    ids: tuple[int, ...] = ()
    since_id: int | None = None
    created_since: datetime | None = None
    query: str = ""
    owner: int | None = None
    limit: int = 100


@dataclass(frozen=True)
class TableLoad:
    """One CSV load of one table.

    Attributes:
        table_id: destination.
        source: a CSV file (plain or gzip), or a folder of headless slices.
        columns: names of the CSV's columns in file order; empty means that the first line is the header.
        has_header: the first line is to be skipped although ``columns`` are given (OM-70).
        primary_key: wanted key; None leaves the key of an existing table alone (and means none for a new one).
        incremental: add and update rows instead of replacing all of them (OM-54).
        delete_where: rows of the existing table to delete first (OM-55).
        metadata, column_metadata: set after the load, replacing entries of the same key and provider.
        created_metadata: set as well when the load creates the table (OM-81), and on the bucket when it creates that
            (OM-80).
        types: type of each column when the table is to be typed, by name (OM-90); empty for a table of texts. Loads
            into a typed table convert texts; ``''`` is NULL in columns that are no texts.
        from_schema: the columns come from a schema: what does not fit the table is an error where it would be a
            warning without one (OM-62, OM-95).
        null_values: texts that are stored as NULL, outside of the primary key; not, with a warning, when the load makes
            the table from the header of its CSV (OM-53).
        deduplicate: rows with the same primary key are reduced to one and update the table's; otherwise all are
            added, and the key no longer tells rows apart (OM-18).
    """

    table_id: str
    source: Path
    columns: tuple[str, ...] = ()
    has_header: bool = False
    primary_key: tuple[str, ...] | None = None
    incremental: bool = False
    delimiter: str = ","
    enclosure: str = '"'
    delete_where: tuple[DeleteWhere, ...] = ()
    metadata: tuple[MetadataItem, ...] = ()
    column_metadata: Mapping[str, tuple[MetadataItem, ...]] = field(default_factory=dict)
    created_metadata: tuple[MetadataItem, ...] = ()
    types: Mapping[str, ColumnType] = field(default_factory=dict)
    from_schema: bool = False
    null_values: tuple[str, ...] = ()
    deduplicate: bool = True


@dataclass(frozen=True)
class FileUpload:
    """One file to store. ``name`` is the name that Storage shows, ``owner`` the token that stores it."""

    source: Path
    name: str
    tags: tuple[str, ...] = ()
    is_public: bool = False
    is_permanent: bool = False
    is_encrypted: bool = True
    owner: int | None = None


@dataclass(frozen=True)
class StateKey:
    """Whose state: a configuration, or one of its rows."""

    component_id: str
    config_id: str
    row_id: str = ""
    branch_id: str = ""


@dataclass(frozen=True)
class StateUpdate:
    """A state that was made from an earlier one, and must not be stored over what another run has stored since.

    Attributes:
        document: the root keys that it sets; others of the stored document stay as they are by then.
        follows: whether it was made from this stored document; an empty one when there is none.
    """

    document: Mapping[str, Any]
    follows: Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Commit:
    """All that one row of a job writes, visible at once or not at all (D6).

    Attributes:
        key: identity of the attempt that produced the data. A commit whose key was committed before changes nothing
            and gives the first one's result again, so that a retry after a lost answer never loads twice.
        add_file_tags: tags to add to existing files, by file id.
        state: new states by owner: documents, or updates, which the commit is refused with unless they follow what is
            stored when it is made.
        run: the run that people know it by, if it is one's.
    """

    key: str
    tables: tuple[TableLoad, ...] = ()
    files: tuple[FileUpload, ...] = ()
    add_file_tags: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    state: Mapping[StateKey, Mapping[str, Any] | StateUpdate] = field(default_factory=dict)
    run: str = ""


@dataclass(frozen=True)
class LoadedTable:
    """What a load did. ``rows`` is the number of rows in the loaded file after removing duplicates of the key."""

    table_id: str
    rows: int
    table_rows: int
    columns: tuple[str, ...]
    created: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Committed:
    """What a commit did.

    Attributes:
        repeated: it had been done before.
        snapshot: number of the state of the Storage that it made, also when it is repeated; None where there are none.
    """

    tables: tuple[LoadedTable, ...]
    files: tuple[StoredFile, ...]
    repeated: bool = False
    snapshot: int | None = None


class Ledger(Protocol):
    """Tokens and events: what a Storage keeps of who may use it and of what was done with it."""

    def create_token(
        self, description: str, permissions: Permissions, *, creator: str, expires: datetime | None = None
    ) -> NewToken:
        """Make a token; its secret is in the answer and nowhere else."""

    def tokens(self) -> Sequence[Token]:
        """All tokens by id, also those that have expired or were revoked."""

    def revoke_token(self, token_id: int) -> Token:
        """Make a token useless for good; NotFoundError when there is none."""

    def verify_token(self, presented: PresentedToken) -> Token:
        """The token that somebody presents; TokenError when it is unknown, has expired or was revoked."""

    def add_events(self, events: Sequence[Event]) -> None:
        """Store events; those that are there already stay as they are."""

    def events(self, query: EventQuery) -> Sequence[Event]:
        """The newest events that match, oldest first."""

    def remove_events(self, before: datetime) -> int:
        """Forget events from before a time; gives their number."""


class Turns(Protocol):
    """Who works with what at the moment, for all processes and machines that use a Storage."""

    def take(self, what: str, holder: str, *, over: str = "") -> str:
        """Take a turn, or find who has it; a turn is never given back, but taken over.

        Args:
            what: is to be worked with by one at a time.
            holder: wants to.
            over: a holder who has ended, and whose turn it may still be.

        Returns:
            Whose turn it is: the one who wants it, unless somebody else was there before.

        Raises:
            StorageError: it cannot be told.
        """


class Storage(Ledger, Protocol):
    """A Storage. Every method may raise ``StorageError``; unknown tables and files raise ``NotFoundError``."""

    def buckets(self) -> Sequence[Bucket]:
        """All buckets, by id."""

    def bucket(self, bucket_id: str) -> Bucket | None:
        """One bucket with its metadata; None when there is none."""

    def tables(self, bucket: str | None = None) -> Sequence[Table]:
        """All tables, or those of one bucket, by id."""

    def table(self, table_id: str) -> Table:
        """One table with its metadata; NotFoundError names tables with similar ids."""

    def export_table(
        self,
        table_id: str,
        target: Path,
        *,
        columns: Sequence[str] = (),
        where: Where | None = None,
        changed_since: datetime | None = None,
        limit: int | None = None,
        file_type: str = "csv",
    ) -> Exported:
        """Write a table as CSV (IM-36): header, every field quoted, newline line ends, NULL as empty text.

        The target is a file in a folder that is there; it has the table when it is complete.

        ``where`` compares with texts as they are exported; any text that reads as the same value of the column's type
        will do, and the empty text is NULL.

        With ``file_type`` ``parquet`` it becomes a Parquet file instead (IM-15), typed columns with their types.

        ``changed_since`` gives the rows changed after, not at, that time: with a table's ``last_import_date``, kept to
        the microsecond, exactly what later loads changed (IM-30).
        """

    def files(self, query: FileQuery) -> Sequence[StoredFile]:
        """Files that match, newest id first."""

    def download_file(self, file_id: int, target: Path) -> StoredFile:
        """Write a stored file's content to ``target``; a sliced file becomes a folder, which must be new or empty."""

    def state(self, key: StateKey) -> dict[str, Any]:
        """The stored state document; an empty one when there is none."""

    def commit(self, commit: Commit) -> Committed:
        """Store everything that ``commit`` describes in one visible step.

        Raises:
            OvertakenError: a state is not the one any more that its update was made from; nothing is stored.
        """

    def drop_table(self, table_id: str) -> None:
        """Remove a table and its rows."""

    def close(self) -> None:
        """Give back what the Storage holds open; it is not usable after that."""
