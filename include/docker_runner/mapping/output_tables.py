"""Output mapping of tables: from ``out/tables`` to Storage (section 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from docker_runner.errors import ConfigurationError, UserError
from docker_runner.interface.manifests import read_manifest
from docker_runner.mapping.branches import branch_table
from docker_runner.mapping.output_checks import checked_table_id, mapped_destination
from docker_runner.mapping.output_columns import table_columns, types_by_metadata
from docker_runner.mapping.output_deletes import delete_rules
from docker_runner.mapping.output_metadata import Owner, column_metadata, system_metadata, table_metadata
from docker_runner.mapping.output_options import TableOptions, Warn, merged_options
from docker_runner.mapping.sources import output_sources
from docker_runner.storage.base import TableLoad


@dataclass(frozen=True)
class TableOutput:
    """What is in ``out/tables``, and what the configuration says of it.

    Attributes:
        items: ``storage.output.tables`` with defaults filled in.
        folder: ``out/tables``.
        owner: who writes.
        extension: format of the manifests.
        data_types: ``authoritative``, ``hints`` or ``none`` (OM-90).
        becomes_typed: tells of a table's id whether the load makes it and types its columns by their metadata (OM-97).
        null_values: texts that are stored as null.
        warn: gets what a person should know though nothing fails.
    """

    items: Sequence[Mapping[str, Any]]
    folder: Path
    owner: Owner
    extension: str = "json"
    data_types: str = "none"
    becomes_typed: Callable[[str], bool] = field(default=lambda _: False, repr=False)
    null_values: tuple[str, ...] = ()
    warn: Warn = field(default=lambda _: None, repr=False)

    def loads(self) -> list[TableLoad]:
        """Describe the loads of everything in the folder, mapped or not (OM-1..OM-8).

        Raises:
            UserError: a mapped table is missing, a manifest is alone or wrong, a destination is not a table id.
        """
        sources = output_sources(self.folder)
        self._refuse_missing(sources)
        now = datetime.now(UTC)
        return [self._load(options, path, now=now) for path, options in self._described(sources)]

    def loads_after_failure(self) -> list[TableLoad]:
        """Describe the loads of the tables that are stored also when the job failed (OM-100, OM-101).

        Tables that were not written do not matter (OM-3), and what is wrong with one table leaves out that table only.

        Raises:
            UserError: a manifest stands alone or cannot be read.
        """
        now = datetime.now(UTC)
        loads = []
        for path, options in self._described(output_sources(self.folder, left_out=self.warn), failed=True):
            try:
                if options.get("write_always"):
                    loads.append(self._load(options, path, now=now, failed=True))
            except UserError as error:
                self.warn(f"{path.name} is not stored: {error}")
        return loads

    def _refuse_missing(self, sources: Mapping[str, Path]) -> None:
        missing = [(index, item["source"]) for index, item in enumerate(self.items) if item["source"] not in sources]
        if missing:
            raise ConfigurationError(
                f"The component did not write {', '.join(f'out/tables/{name}' for _, name in missing)}; "
                f"it wrote: {', '.join(sources) or 'nothing'}.",
                key=f"storage.output.tables[{missing[0][0]}].source",
            )

    def _described(self, sources: Mapping[str, Path], *, failed: bool = False) -> Iterator[tuple[Path, TableOptions]]:
        """Each table with its merged options, once per mapping (OM-5); tables in name order (OM-8)."""
        for name, path in sources.items():
            manifest = read_manifest(path, "output-table-manifest", extension=self.extension) or {}
            mapped = {
                f"storage.output.tables[{index}]": item
                for index, item in enumerate(self.items)
                if item["source"] == name
            }
            for key, item in (mapped or {"": {}}).items():
                try:
                    yield path, merged_options(item, manifest, source=name, key=key, warn=self.warn)
                except UserError as error:
                    if not failed:
                        raise
                    self.warn(f"{name} is not stored: {error}")

    def _load(self, options: TableOptions, path: Path, *, now: datetime, failed: bool = False) -> TableLoad:
        owner = self.owner
        destination = table_destination(options, bucket=owner.default_bucket, warn=self.warn)
        table_id = branch_table(destination, owner.branch)
        columns = table_columns(options, data_types=self.data_types, required=not failed)
        if path.is_dir() and not columns.names:
            raise ConfigurationError(
                f"A sliced table has no header: name its columns in {options.manifest_file} or in the mapping.",
                key=options.title,
            )
        if path.is_dir() and options.get("has_header"):
            self.warn(f"{options.title}: has_header has no effect: slices have no header, all their lines are data.")
        return TableLoad(
            table_id=table_id,
            source=path,
            columns=columns.names,
            has_header=bool(options.get("has_header", False)),
            primary_key=columns.key,
            incremental=bool(options.get("incremental", False)),
            delimiter=str(options.get("delimiter") or ","),
            enclosure=str(options.get("enclosure", '"')),
            delete_where=tuple(delete_rules(options, now=now)),
            metadata=(
                *system_metadata("lastUpdatedBy", owner),
                *table_metadata(options, provider=owner.component_id),
            ),
            created_metadata=tuple(system_metadata("createdBy", owner)),
            column_metadata=column_metadata(options, columns.hints, provider=owner.component_id),
            types=types_by_metadata(options, columns.names) if self.becomes_typed(table_id) else columns.types,
            from_schema=columns.from_schema,
            null_values=self.null_values,
            deduplicate=options.get("deduplication_strategy") != "insert",
        )


def table_destination(options: TableOptions, *, bucket: str, warn: Warn) -> str:
    """Where a table goes (OM-22..OM-24, D24).

    Args:
        options: of mapping and manifest.
        bucket: that of tables which name none; may be empty.
        warn: told of a way to name tables that is deprecated.

    Raises:
        ConfigurationError: no bucket is known, or it is no table id.
    """
    mapped = mapped_destination(options.mapping, source=options.source, key=options.key)
    if mapped:
        return mapped
    manifest = str(options.manifest.get("destination") or "")
    wanted = manifest or options.source.removesuffix(".csv")
    file, key = (options.manifest_file, "destination") if manifest else (None, options.title)
    if wanted.count(".") == 2:
        if not manifest:
            warn(
                f"{options.title}: the table goes to {wanted} because of its name, which is deprecated: map it, or "
                f"write the destination into {options.manifest_file}."
            )
        return checked_table_id(wanted, file=file, key=key)
    if not bucket:
        raise ConfigurationError(
            f"It is not known which bucket the table {wanted!r} belongs to: map it in storage.output.tables "
            "with a destination such as out.c-main.table, or set storage.output.default_bucket.",
            file=file,
            key=key,
        )
    return checked_table_id(f"{bucket}.{wanted}", file=file, key=key)
