"""What a run would read, run and write, without running it: what ``docker-runner plan`` shows.

Everything is asked of the code that a run uses, so a plan cannot tell something else. It holds no secret.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from docker_runner.documents import Files, scalar_text
from docker_runner.errors import EngineError, NotFoundError, RunnerError
from docker_runner.interface.environment import refuse_missing_token
from docker_runner.job.archive import NAME, archive_tags
from docker_runner.job.checks import errors_of
from docker_runner.job.config import sealed_config, secrets_of
from docker_runner.job.definition import Job, JobDefinition, Stage
from docker_runner.job.images import outlook_of
from docker_runner.job.origins import Document, Origins
from docker_runner.job.plan import steps_of
from docker_runner.job.readers import file_reader, table_reader
from docker_runner.job.request import JobRequest
from docker_runner.job.state import state_in_storage
from docker_runner.job.storage_token import refuse_forbidden, token_of
from docker_runner.job.tools import Tools
from docker_runner.mapping.branches import branch_table, branch_tags, refuse_foreign_buckets
from docker_runner.mapping.input_files import file_name
from docker_runner.mapping.input_tables import FoundTable
from docker_runner.mapping.output_columns import table_columns
from docker_runner.mapping.output_options import merged_options
from docker_runner.mapping.output_tables import table_destination
from docker_runner.project.configuration import Configuration
from docker_runner.storage.rights import StateOwner

_NO_TABLES: Document = {"tables": [], "default_bucket": None, "tables_stored": False}


def preview(job: Job, configuration: Configuration, request: JobRequest, tools: Tools) -> Document:
    """Describe a run.

    Args:
        job: what would run, resolved.
        configuration: as written.
        request: what was asked for.
        tools: Storage, engine, keys; nothing is changed.

    Returns:
        ``{configuration, component, version, mode, rows: […]}``; a row's ``problems`` are what would let it fail.
    """
    names = {row.id: row for row in configuration.rows}
    rows = []
    machine = _machine_cpus(tools)
    for row in job.rows:
        own = [names[row.row_id].file] if row.row_id else []
        files = [Path(file) for file in (*own, configuration.file)]
        origins = Origins(row, request, files, tools.settings.components, tools.settings, machine)
        # Storage is seen as the row will see it: with its token's permissions.
        with tools.acting(partial(token_of, job, row, tools), StateOwner(row.component.id, row.config_id)):
            rows.append(_RowPreview(job, row, origins, tools, files).document())
    first = job.rows[0] if job.rows else None
    return {
        "configuration": job.title,
        "version": configuration.version,
        "mode": first.mode.value if first else "run",
        "branch": first.branch_prefix or None if first else None,
        "rows": rows,
        "left_out": [row.id for row in configuration.rows if row.id not in {done.row_id for done in job.rows}],
    }


def _machine_cpus(tools: Tools) -> int | None:
    """CPUs of the engine's machine; that an engine does not answer is told where its images are looked up."""
    try:
        return tools.engine.cpus
    except EngineError:
        return None


@dataclass
class _RowPreview:
    job: Job
    row: JobDefinition
    origins: Origins
    tools: Tools
    files: Files
    problems: list[str] = field(default_factory=list)

    def document(self) -> Document:
        row = self.row
        state: Document = {}
        with self._telling():
            state = state_in_storage(row, self.tools)
        shown = {
            "row": row.row_id or None,
            "steps": ["create_workspace", *(["pull_images"] if row.images else []), *self._steps(), "clean_up"],
            "variables": dict(row.variables),
            "input": {
                "tables": self._input_tables(state),
                "files": self._input_files(state),
                "state": "stored" if state.get("component") else "empty" if row.reads_state else "none",
            },
            "run": [self._stage(stage) for stage in row.images],
            "output": self._output(),
        }
        self._check_secrets()
        return {**shown, "problems": list(dict.fromkeys(self.problems))}

    def _steps(self) -> list[str]:
        return [step.name for step in steps_of(self.row)]

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """What would let a run fail is told; the plan goes on."""
        try:
            with errors_of(self.files):
                yield
        except RunnerError as error:
            self.problems.append(str(error))

    def _check_secrets(self) -> None:
        for stage in self.row.images:
            with self._telling():
                refuse_missing_token(stage.component, self.tools.settings.forwarded_token)
        with self._telling():
            if not self.row.images:
                sealed_config(self.row.main, self.row)
        alone = replace(self.job, rows=(self.row,))
        with self._telling():
            for _ in secrets_of(alone, self.tools):
                pass
        with self._telling():
            refuse_forbidden(alone, self.tools)

    def _input_tables(self, state: Document) -> list[Document]:
        items = self.row.mapping("input", "tables")
        found: list[FoundTable] = []
        with self._telling():
            if items:
                found = table_reader(self.row, self.tools, folder=Path(), state=state).find(items)
        if not found:
            return [{"source": scalar_text(item["source"]), "destination": item.get("destination")} for item in items]
        return [_input_table(one) for one in found]

    def _input_files(self, state: Document) -> list[Document]:
        items = self.row.mapping("input", "files")
        shown: list[Document] = []
        with self._telling():
            if items:
                for item, files in file_reader(self.row, self.tools, folder=Path(), state=state).find(items):
                    shown.append(
                        {
                            "tags": [tag["name"] for tag in item.identifier],
                            "query": item.query.query or None,
                            "adaptive": item.adaptive,
                            "processed_tags": list(item.processed_tags),
                            "files": [
                                {
                                    "id": file.id,
                                    "name": file.name,
                                    "destination": f"in/files/{file_name(file)}",
                                    "bytes": file.size_bytes,
                                }
                                for file in files
                            ],
                        }
                    )
        return shown

    def _stage(self, stage: Stage) -> Document:
        image: Document = {"reference": stage.component.image(stage.tag).reference, "tag_from": self.origins.tag(stage)}
        try:
            outlook = outlook_of(stage, self.tools)
            image |= {"digest": outlook.digest or None, "id": outlook.id or None, "pulled": outlook.pulled}
            if outlook.problem:
                image["problem"] = outlook.problem
        except RunnerError as error:
            image |= {"digest": None, "id": None, "pulled": None, "problem": str(error)}
        return {
            "step": stage.name,
            "component": stage.component.id,
            "image": image,
            "built_from_git": stage.component.build_options is not None,
            "pull_policy": self.origins.pull_policy(stage),
            "limits": self.origins.limits(stage),
        }

    def _output(self) -> Document:
        row = self.row
        if row.mode.stores_archive:
            archive = {"source": NAME, "tags": list(archive_tags(row)), "is_permanent": False}
            return {**_NO_TABLES, "files": [archive], "state_stored": False}
        if not row.component.writes_storage:
            return {**_NO_TABLES, "files": [], "state_stored": row.stores_state}
        bucket = row.default_bucket()
        tables: list[Document] = []
        if not row.stores_files_only:
            for index, item in enumerate(row.mapping("output", "tables")):
                with self._telling():
                    tables.append(self._output_table(item, f"storage.output.tables[{index}]", bucket))
        files = [
            {
                "source": f"out/files/{item['source']}",
                "tags": list(branch_tags([scalar_text(tag) for tag in item.get("tags") or []], row.branch_prefix)),
                "is_permanent": bool(item.get("is_permanent")),
            }
            for item in row.mapping("output", "files")
        ]
        with self._telling():
            buckets = [table["destination"].rpartition(".")[0] for table in tables if table["destination"]]
            refuse_foreign_buckets(buckets, branch=row.branch_prefix, storage=self.tools.storage)
        return {
            "tables": tables,
            "files": files,
            "default_bucket": (bucket and branch_table(f"{bucket}.t", row.branch_prefix).rpartition(".")[0]) or None,
            "tables_stored": True,
            "tables_as_files": row.stores_files_only,
            "state_stored": row.stores_state,
        }

    def _output_table(self, item: Document, key: str, bucket: str) -> Document:
        """A mapped table as it is stored if the component writes no manifest beside it."""
        options = merged_options(item, {}, source=str(item["source"]), key=key, warn=self._warn)
        destination = ""
        # Without a bucket only a manifest can say where the table goes.
        if bucket or item.get("destination"):
            destination = branch_table(
                table_destination(options, bucket=bucket, warn=self._warn), self.row.branch_prefix
            )
        columns = table_columns(options, data_types=self.row.data_type_support, required=False)
        return {
            "source": f"out/tables/{item['source']}",
            "destination": destination or None,
            "incremental": bool(options.get("incremental", False)),
            "primary_key": list(columns.key or ()),
            "deletes_rows_first": bool(options.get("delete_where_column") or options.get("delete_where")),
            "write_always": bool(options.get("write_always")),
            "rows_now": self._rows_of(destination),
        }

    def _rows_of(self, table_id: str) -> int | None:
        try:
            return self.tools.storage.table(table_id).rows if table_id else None
        except NotFoundError:
            return None

    def _warn(self, message: str) -> None:
        self.tools.log.warning("%s", message)


def _input_table(found: FoundTable) -> Document:
    item, table = found.item, found.table
    where = item.where
    return {
        "source": table.id,
        "destination": f"in/tables/{item.destination}",
        "rows": table.rows,
        "bytes": table.bytes,
        "columns": list(item.columns) or list(table.columns),
        "where": f"{where.column} {where.operator.value} {', '.join(where.values)}" if where else None,
        "changed_since": found.changed_since.isoformat() if found.changed_since else None,
        "adaptive": item.adaptive,
        "limit": item.limit,
        "file_type": item.file_type,
    }
