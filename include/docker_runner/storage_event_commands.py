"""``docker-runner storage events``: what jobs have told of themselves."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from docker_runner.errors import UserError
from docker_runner.mapping.moments import moment
from docker_runner.settings import Settings
from docker_runner.storage import open_ledger, permitted_ledger
from docker_runner.storage.events import Event, EventQuery, EventType
from docker_runner.terminal_text import printable


def list_events(
    run: Annotated[str, typer.Option(help="id of a run, or <DAG>/<run>")] = "",
    configuration: Annotated[str, typer.Option(help="<component>/<configuration>, or <component>")] = "",
    since: Annotated[str, typer.Option(help="only since, e.g. '-2 days' or 2026-01-31")] = "",
    kind: Annotated[
        list[str] | None, typer.Option("--type", help="info, warn, error or success; may be repeated")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="at most so many, the newest")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="print a JSON document per line, for programs")] = False,
) -> None:
    """Show the event log of jobs, oldest first."""
    unknown = [name for name in kind or () if name not in list(EventType)]
    if unknown:
        raise UserError(f"--type must be {', '.join(EventType)}, not {unknown[0]!r}.")
    component, _, config = configuration.partition("/")
    query = EventQuery(
        run=run,
        component_id=component,
        config_id=config,
        types=tuple(EventType(name) for name in kind or ()),
        since=moment(since, now=datetime.now(UTC), key="--since") if since else None,
        limit=limit,
    )
    settings = Settings.from_environment()
    events = permitted_ledger(open_ledger(settings.storage), settings.storage_token).events(query)
    if as_json:
        for event in events:
            print(json.dumps(event.document()))
        return
    if not events:
        print("There are no such events." if query != EventQuery(limit=limit) else "There are no events yet.")
    for event in events:
        print(_line(event))


def _line(event: Event) -> str:
    source = event.source
    where = "/".join(part for part in (source.component_id, source.config_id, source.row_id) if part)
    took = f" ({event.seconds:.1f} s)" if event.seconds is not None else ""
    text = printable(event.message).replace("\n", "\n    ")
    return f"{event.created:%Y-%m-%d %H:%M:%S}  {event.type.value:<7}  {where}  {text}{took}"
