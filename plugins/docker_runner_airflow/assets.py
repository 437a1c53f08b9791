"""Tables as Airflow's assets: what a task reads and writes, and which tables start a configuration.

A table's asset has the table's id as its name and ``docker-runner://storage/<id>`` as its URI, so other people's DAGs
can follow it too: ``DAG(schedule=Asset("out.c-main.t", "docker-runner://storage/out.c-main.t"))``. What a configuration
writes that only its runs know is told through an alias that is called like its DAG.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from docker_runner.project.named_tables import input_tables
from docker_runner.project.starts import is_table_id, written_tables

if TYPE_CHECKING:
    from airflow.sdk import Asset, AssetAlias, BaseOperator

_TOLD = ("rows", "table_rows", "bytes", "created", "commit", "snapshot")


@lru_cache(maxsize=10_000)
def table_asset(table_id: str) -> Asset:
    """The asset of a table."""
    from airflow.sdk import Asset

    return Asset(table_id, f"docker-runner://storage/{table_id}")


def input_assets(content: Mapping[str, Any]) -> list[Asset]:
    """Assets of the tables that a row reads, each once.

    Args:
        content: effective configuration, not checked yet; a table whose id holds a placeholder is known at run time
            only and left out.
    """
    return [table_asset(table) for table in input_tables(content) if is_table_id(table)]


def output_assets(content: Mapping[str, Any], *, branch: str) -> list[Asset]:
    """Assets of the tables that a row names as destinations, each once.

    Args:
        content: effective configuration, not checked yet.
        branch: id of the development branch that is written to (BR-4); empty for the default one.
    """
    return [table_asset(table) for table in written_tables(content, branch=branch)]


def tables_at_run_time(dag_id: str) -> AssetAlias:
    """What stands for the tables that a configuration writes and does not name."""
    from airflow.sdk import AssetAlias

    return AssetAlias(dag_id)


def tell_written(tables: Sequence[Mapping[str, Any]], task: BaseOperator, context: Mapping[str, Any]) -> None:
    """Tell Airflow which tables a task has written, and what of them; those that it has not are not told.

    Args:
        tables: ``id`` of each, and what the event's extra shows.
        task: what it may write are its outlets; the alias among them takes the tables that are not.
        context: of the task.
    """
    from airflow.sdk import Asset, AssetAlias

    declared = {outlet.name: outlet for outlet in task.outlets if isinstance(outlet, Asset)}
    alias = next((outlet for outlet in task.outlets if isinstance(outlet, AssetAlias)), None)
    events = context["outlet_events"]
    written: list[Asset | AssetAlias] = [alias] if alias else []
    for table in tables:
        extra = {name: table[name] for name in _TOLD if table.get(name) is not None}
        if asset := declared.get(table["id"]):
            events[asset].extra = {**events[asset].extra, **extra}
            written.append(asset)
        elif alias:
            events[alias].add(table_asset(table["id"]), extra=extra)
    # Airflow makes an event of each outlet of a task that succeeds, written or not.
    task.outlets = list(dict.fromkeys(written))
