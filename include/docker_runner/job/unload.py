"""The end of a row: what its last container left goes to Storage, all of it or, after a failure, what was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from docker_runner.errors import NotFoundError, UserError
from docker_runner.interface.output_variables import Scalar, read_output_variables
from docker_runner.interface.state import new_state
from docker_runner.job.archive import store_archive
from docker_runner.job.artifacts import kept_uploads
from docker_runner.job.definition import Job, JobDefinition, Mode
from docker_runner.job.stages import redactor_of, store_last_snapshot
from docker_runner.job.state import is_state_that_began, kept_new_state, may_be_stored, stored_state
from docker_runner.job.tools import Tools
from docker_runner.job.workspace import RowWorkspace
from docker_runner.mapping.branches import refuse_foreign_buckets
from docker_runner.mapping.input_files import file_states, tags_to_add
from docker_runner.mapping.input_tables import table_states
from docker_runner.mapping.output_files import file_uploads, system_tags, table_file_uploads
from docker_runner.mapping.output_metadata import Owner
from docker_runner.mapping.output_tables import TableOutput
from docker_runner.storage.base import Commit, Committed, FileUpload, StateKey, StateUpdate, StoredFile, TableLoad

Manifest = dict[str, Any]
Loaded = list[dict[str, Any]]


@dataclass(frozen=True)
class Unloading:
    """The end of one row of a job."""

    job: Job
    row: JobDefinition
    folders: RowWorkspace
    tools: Tools

    def unload(self, *, tables: Loaded, files: Loaded) -> Manifest:
        """Store tables, files and state in one commit (D6, LC-34).

        In debug mode the last snapshot is stored instead (LC-60, LC-64), in others the data folder (LC-65).

        Args:
            tables: what the input mapping of tables fetched.
            files: what the input mapping of files fetched.

        Raises:
            UserError: mapping, manifests or data are wrong; nothing is stored.
            OvertakenError: another run of the configuration has stored its state since this one began (LC-11).
        """
        row, folders, tools = self.row, self.folders, self.tools
        if row.mode.stores_archive:
            archive = store_archive(self.job, row, folders, tools)
            return {"tables": [], "files": [_shown_file(archive)], "state": False}
        artifacts = kept_uploads(folders)
        if row.mode is Mode.DEBUG:
            snapshot, *more = store_last_snapshot(self.job, row, folders, tools, more=artifacts)
            return {"tables": [], "files": [_shown_file(snapshot)], "state": False, **_shown_artifacts(more)}
        last = len(row.stages) - 1
        output = folders.data(last).outputs
        files_of_row = self._file_uploads(output)
        commit = Commit(
            key=folders.attempt(last),
            tables=self._table_loads(output),
            files=(*files_of_row, *artifacts),
            add_file_tags=self._tags_to_add(files),
            state=self._state(tables, files),
            run=row.identity.run_id,
        )
        done = tools.storage.commit(commit)
        _tell(done, tools)
        own, stored = done.files[: len(files_of_row)], done.files[len(files_of_row) :]
        return {
            **_described(replace(done, files=own), commit.key, tools),
            "state": bool(commit.state),
            "variables": self._variables(output),
            **_shown_artifacts(stored),
        }

    def unload_after_failure(self, *, files: Loaded) -> Manifest:
        """Store the tables with ``write_always`` after the row failed (LC-36, OM-100..OM-104).

        They come from the last folder that was made, whichever image failed in it. Each table is stored by itself, so
        that one that is broken does not keep the others out. Whatever goes wrong here is only told: the error that
        made the row fail stays the run's error.

        Args:
            files: what the input mapping of files fetched.
        """
        stage = self.folders.last_made()
        if stage is None or not self.row.stores_results:
            self.tools.log.info("There is nothing to store of this row.")
            return {"tables": []}
        stored: Loaded = []
        try:
            for commit in self._commits_after_failure(stage, files):
                stored.extend(self._store(commit))
        except Exception as error:
            self.tools.log.warning("What is to be stored in every outcome could not be stored: %s", error)
        if not stored:
            self.tools.log.info("No table with write_always was stored.")
        return {"tables": stored}

    def _commits_after_failure(self, stage: int, files: Loaded) -> Iterator[Commit]:
        """A commit for each table; what is stored already is not stored again when the step is repeated."""
        key = f"{self.folders.attempt(stage)}-always"
        if self.row.stores_files_only:
            # There are no tables; input files are marked as processed in every outcome (IF-30).
            yield Commit(key, add_file_tags=self._tags_to_add(files), run=self.row.identity.run_id)
            return
        for number, load in enumerate(self._table_output(self.folders.data(stage).outputs).loads_after_failure()):
            yield Commit(f"{key}-{number}-{load.table_id}", tables=(load,), run=self.row.identity.run_id)

    def _store(self, commit: Commit) -> Loaded:
        try:
            self._refuse_foreign_buckets(commit.tables)
            done = self.tools.storage.commit(commit)
        except UserError as error:
            self.tools.log.warning("%s", error)
            return []
        _tell(done, self.tools)
        tables: Loaded = _described(done, commit.key, self.tools)["tables"]
        return tables

    def _table_loads(self, output: Path) -> tuple[TableLoad, ...]:
        if not self.row.component.writes_storage or self.row.stores_files_only:
            return ()
        loads = self._table_output(output).loads()
        self._refuse_foreign_buckets(loads)
        return tuple(loads)

    def _table_output(self, output: Path) -> TableOutput:
        return TableOutput(
            items=self.row.mapping("output", "tables"),
            folder=output / "tables",
            owner=_owner(self.row),
            extension=self.row.extension,
            data_types=self.row.data_type_support,
            becomes_typed=self._becomes_typed,
            null_values=self.row.null_values,
            warn=self.tools.log.warning,
        )

    def _becomes_typed(self, table_id: str) -> bool:
        if not self.row.types_by_metadata:
            return False
        try:
            self.tools.storage.table(table_id)
        except NotFoundError:
            return True
        return False

    def _refuse_foreign_buckets(self, loads: Sequence[TableLoad]) -> None:
        buckets = (load.table_id.rpartition(".")[0] for load in loads)
        refuse_foreign_buckets(buckets, branch=self.row.branch_prefix, storage=self.tools.storage)

    def _file_uploads(self, output: Path) -> tuple[FileUpload, ...]:
        row = self.row
        if not row.component.writes_storage:
            return ()
        tags = system_tags(row.component.id, row.config_id, row.row_id, row.identity.run_id)
        uploads = file_uploads(
            row.mapping("output", "files"),
            folder=output / "files",
            system_tags=tags,
            branch=row.branch_prefix,
            extension=row.extension,
        )
        if row.stores_files_only:
            options = row.output.get("table_files") or {}
            uploads += table_file_uploads(options, folder=output / "tables", system_tags=tags, branch=row.branch_prefix)
        return tuple(uploads)

    def _state(self, tables: Loaded, files: Loaded) -> dict[StateKey, StateUpdate]:
        """The row's new state, when it has one that is kept (ST-6, ST-10)."""
        if not may_be_stored(self.row, self.tools):
            return {}
        began = stored_state(self.row, self.folders, self.tools)
        new = new_state(kept_new_state(self.folders), tables=table_states(tables), files=file_states(files, began))
        follows = partial(is_state_that_began, self.row, self.folders, self.tools)
        return {self.row.state_key: StateUpdate(new, follows)}

    def _tags_to_add(self, files: Loaded) -> dict[int, tuple[str, ...]]:
        """Marks of processed input files (IF-29)."""
        return tags_to_add(
            self.row.mapping("input", "files"),
            files,
            storage=self.tools.storage,
            branch=self.row.branch_prefix,
            log=self.tools.log,
        )

    def _variables(self, output: Path) -> dict[str, Scalar]:
        """The output variables (OM-78); secrets in them are hidden, because whoever sees the run sees them."""
        if not self.row.component.writes_storage:
            return {}
        variables = read_output_variables(output, warn=self.tools.log.warning)
        if not variables:
            return {}
        redactor = redactor_of(self.job, self.row, self.folders, self.tools)
        return {name: redactor.redact(value) if isinstance(value, str) else value for name, value in variables.items()}


def _tell(done: Committed, tools: Tools) -> None:
    if done.repeated:
        tools.log.info(
            "These results had been stored before, and whoever did it was not told. Nothing is stored twice."
        )
        _tell_gone(done, tools)
    for table in done.tables:
        for warning in table.warnings:
            tools.log.warning("%s: %s", table.table_id, warning)
        tools.log.info("Stored %s rows in %s, which now has %s.", table.rows, table.table_id, table.table_rows)
    for file in done.files:
        tools.log.info("Stored file %s as %s.", file.name, file.id)


def _tell_gone(done: Committed, tools: Tools) -> None:
    """Say which tables somebody has dropped since they were stored: they stay away."""
    for table in done.tables:
        try:
            tools.storage.table(table.table_id)
        except NotFoundError:
            tools.log.warning(
                "%s was dropped since. To have it again, run the configuration again from its beginning.",
                table.table_id,
            )
        except UserError:
            continue  # this run may write it and not look at it


def _described(done: Committed, key: str, tools: Tools) -> Manifest:
    return {
        "tables": [
            {
                "id": table.table_id,
                "rows": table.rows,
                "table_rows": table.table_rows,
                "bytes": _bytes(table.table_id, tools),
                "created": table.created,
                "commit": key,
                "snapshot": done.snapshot,
            }
            for table in done.tables
        ],
        "files": [_shown_file(file) for file in done.files],
    }


def _bytes(table_id: str, tools: Tools) -> int | None:
    """The size of a table in Storage; None when this run may write it and not look at it."""
    try:
        return tools.storage.table(table_id).bytes
    except UserError:
        return None


def _shown_artifacts(files: Sequence[StoredFile]) -> Manifest:
    return {"artifacts": {"uploaded": [file.id for file in files]}} if files else {}


def _shown_file(file: StoredFile) -> Manifest:
    return {"id": file.id, "name": file.name, "bytes": file.size_bytes}


def _owner(row: JobDefinition) -> Owner:
    return Owner(
        component_id=row.component.id,
        config_id=row.config_id,
        row_id=row.row_id,
        default_bucket=row.default_bucket(),
        branch=row.branch_prefix,
    )
