"""Which Storage token a row works with, and what is known of its permissions before anything runs.

The one that came with the job counts, else ``runtime.#storage_token`` of the configuration, else the installation's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from docker_runner.errors import ConfigurationError, ForbiddenError
from docker_runner.job.definition import Job, JobDefinition
from docker_runner.mapping.branches import branch_table
from docker_runner.storage.names import split_table_id
from docker_runner.storage.rights import refuse_bucket
from docker_runner.storage.tokens import Access, FileAccess, PresentedToken, Token

if TYPE_CHECKING:
    from docker_runner.job.tools import Tools

_KEY = "#storage_token"


def token_of(job: Job, row: JobDefinition, tools: Tools) -> PresentedToken | None:
    """The token that a row works with; None for full rights.

    Raises:
        ConfigurationError: it cannot be decrypted.
    """
    return _own_token(job, row, tools) or tools.installation_token()


def token_secrets(job: Job, tools: Tools) -> Iterator[str]:
    """The secrets of all tokens that a job's log must not show."""
    own = [_own_token(job, row, tools) for row in job.rows]
    # Who works with tokens of its own alone needs no connection of Airflow's.
    installation = tools.installation_token() if None in own else tools.settings.storage_token
    yield from (token.secret for token in (*own, installation) if token)


def _own_token(job: Job, row: JobDefinition, tools: Tools) -> PresentedToken | None:
    if job.storage_token:
        return PresentedToken(_decrypted(job.storage_token, row, tools, file="request"), origin="the job's request")
    runtime = row.configuration.get("runtime") or {}
    if _KEY not in runtime:
        return None
    secret = _decrypted(runtime[_KEY], row, tools, file=f"configuration {row.title}")
    return PresentedToken(secret, origin=f"runtime.{_KEY} of {row.title}")


def _decrypted(cipher: Any, row: JobDefinition, tools: Tools, *, file: str) -> str:
    return str(tools.encryptor.decrypt({_KEY: cipher}, row.scope, file=file)[_KEY])


def refuse_forbidden(job: Job, tools: Tools) -> dict[str, Token | None]:
    """Verify the tokens of all rows, and refuse mappings that they do not allow, before anything runs.

    What is refused here would be refused later too; a component need not work for hours first.

    Returns:
        The token of each row, None where it works with full rights.

    Raises:
        TokenError: a token is unknown, has expired or was revoked.
        ConfigurationError: a mapping is not allowed; names its key and the permission that is needed.
    """
    tokens: dict[str, Token | None] = {}
    for row in job.rows:
        presented = token_of(job, row, tools)
        token = tools.ledger.verify_token(presented) if presented else None
        tokens[row.row_id] = token
        if token:
            _refuse_forbidden(row, token)
    return tokens


def _refuse_forbidden(row: JobDefinition, token: Token) -> None:
    if token.permissions.read_only:
        raise ForbiddenError(f"The Storage {token.title} may only read: no job can run with it.")
    if not row.stores_results and token.permissions.file_access is FileAccess.NONE:
        raise ForbiddenError(
            f"The Storage {token.title} may not use files, and a run in mode {row.mode} stores its data folder as one: "
            "it needs the permission files:own or files:all."
        )
    for key, mapped, wanted in _mapped_tables(row):
        # In a branch the branch's own table is read if there is one, else the other (BR-3): either may do.
        ids = [branch_table(mapped, row.branch_prefix), *([mapped] if wanted is Access.READ else [])]
        refused = [error for table_id in ids if (error := _refusal(token, table_id, wanted))]
        if len(refused) == len(ids):
            raise ConfigurationError(str(refused[-1]), key=key)
    for direction in ("input", "output") if row.stores_results else ("input",):
        if row.mapping(direction, "files") and token.permissions.file_access is FileAccess.NONE:
            raise ConfigurationError(
                f"The Storage {token.title} may not use files: it needs the permission files:own or files:all.",
                key=f"storage.{direction}.files",
            )


def _refusal(token: Token, table_id: str, wanted: Access) -> ForbiddenError | None:
    bucket, _ = split_table_id(table_id)
    try:
        refuse_bucket(token, bucket, wanted, what=f"the table {table_id}")
    except ForbiddenError as error:
        return error
    return None


def _mapped_tables(row: JobDefinition) -> Iterator[tuple[str, str, Access]]:
    """The tables that the mapping names: key, id and what is done with them."""
    places: Mapping[str, tuple[str, Access]] = {
        "input": ("source", Access.READ),
        "output": ("destination", Access.WRITE),
    }
    for direction, (name, wanted) in places.items():
        if direction == "output" and not (
            row.stores_results and row.component.writes_storage and not row.stores_files_only
        ):
            continue
        for index, item in enumerate(row.mapping(direction, "tables")):
            table_id = str(item.get(name) or "")
            # Whatever is no table id is refused where it is used, or goes to the default bucket.
            if table_id.count(".") == 2:
                yield f"storage.{direction}.tables[{index}].{name}", table_id, wanted
