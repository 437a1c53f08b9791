"""``docker-runner storage token …``: who may do what with the Storage."""

from __future__ import annotations

import getpass
import json
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from docker_runner.errors import UserError
from docker_runner.settings import Settings
from docker_runner.storage import open_ledger, permitted_ledger
from docker_runner.storage.base import Ledger
from docker_runner.storage.names import split_table_id
from docker_runner.storage.rights import refuse_bucket
from docker_runner.storage.tokens import Access, FileAccess, Permissions, Token, bucket_permissions

app = typer.Typer(help="Tokens: who may do what with the Storage.", no_args_is_help=True)


@app.command("create")
def create_token(
    description: Annotated[str, typer.Argument(help="what the token is for, e.g. 'nightly orders'")],
    bucket: Annotated[
        list[str] | None,
        typer.Option(help="in.c-main:read or out.c-main:write (reads too); *:read is every bucket; may be repeated"),
    ] = None,
    files: Annotated[
        str, typer.Option(help="files that may be read: none, own (stored with this token) or all")
    ] = FileAccess.OWN.value,
    manage: Annotated[bool, typer.Option("--manage", help="everything, tokens included")] = False,
    read_only: Annotated[bool, typer.Option("--read-only", help="nothing may be changed; runs no jobs")] = False,
    expires: Annotated[str, typer.Option(help="when it ends, e.g. 30d, 12h; never by default")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document, for programs")] = False,
) -> None:
    """Make a token. Its secret is printed once, alone on standard output; nobody can find it out later."""
    from docker_runner.job.housekeeping import period

    if files not in list(FileAccess):
        raise UserError(f"--files must be {', '.join(FileAccess)}, not {files!r}.")
    permissions = Permissions(bucket_permissions(bucket or ()), FileAccess(files), manage, read_only)
    end = datetime.now(UTC) + period(expires, option="--expires") if expires else None
    made = _ledger().create_token(description, permissions, creator=getpass.getuser(), expires=end)
    if as_json:
        print(json.dumps({**made.token.document(), "token": made.secret}, indent=2))
        return
    print(f"Made the {made.token.title}: {_allowed(made.token)}. Its secret is shown only now:", file=sys.stderr)
    print(made.secret)


@app.command("list")
def list_tokens(
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document, for programs")] = False,
) -> None:
    """List tokens with what they allow, also those that are not good any more."""
    tokens = _ledger().tokens()
    if as_json:
        print(json.dumps([token.document() for token in tokens], indent=2))
        return
    if not tokens:
        print("There are no tokens yet.")
        return
    from docker_runner.storage_commands import print_table

    print_table(
        ("id", "description", "allows", "state", "created", "by"),
        ((str(t.id), t.description, _allowed(t), _state(t), _moment(t.created), t.creator) for t in tokens),
    )


@app.command("revoke")
def revoke_token(token_id: Annotated[int, typer.Argument(metavar="ID", help="see 'storage token list'")]) -> None:
    """Make a token useless for good: the next step of any job that works with it fails."""
    token = _ledger().revoke_token(token_id)
    print(f"Revoked the {token.title}.")


def refuse_unless_manager(what: str) -> None:
    """Refuse a command that concerns the whole Storage when the token in the environment may not manage.

    Args:
        what: what the command does, e.g. ``maintain the Storage``.

    Raises:
        TokenError, ForbiddenError: the token is not good, or not good enough; without one everything is allowed.
    """
    settings = Settings.from_environment()
    if settings.storage_token:
        token = open_ledger(settings.storage).verify_token(settings.storage_token)
        token.refuse_unless_manager(what, writing=True)


def refuse_unless_reader(table: str) -> None:
    """Refuse a command that shows earlier states of a table when the token in the environment may not read the table.

    Args:
        table: id of the table; it may have been dropped.

    Raises:
        TokenError, ForbiddenError: the token is not good, or not good enough; without one everything is allowed.
        UserError: this is no id of a table.
    """
    settings = Settings.from_environment()
    if settings.storage_token:
        token = open_ledger(settings.storage).verify_token(settings.storage_token)
        refuse_bucket(token, split_table_id(table)[0], Access.READ, what=table)


def _ledger() -> Ledger:
    settings = Settings.from_environment()
    return permitted_ledger(open_ledger(settings.storage), settings.storage_token)


def _allowed(token: Token) -> str:
    permissions = token.permissions
    if permissions.can_manage:
        allowed = "everything"
    else:
        buckets = [f"{bucket}:{access.value}" for bucket, access in sorted(permissions.buckets.items())]
        allowed = ", ".join([*buckets, f"files:{permissions.files.value}"])
    return f"{allowed} (read only)" if permissions.read_only else allowed


def _state(token: Token) -> str:
    if token.revoked:
        return f"revoked {_moment(token.revoked)}"
    if token.expires:
        return f"{'expired' if token.expires <= datetime.now(UTC) else 'until'} {_moment(token.expires)}"
    return "good"


def _moment(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC")
