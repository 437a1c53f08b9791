"""Runs a configuration's DAG and shows what came of it: steps, the component's log, the tables that were written."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import closing

from airflow_api import ApiError
from airflow_follow import RunError, RunResult, run_and_follow
from airflow_home import AirflowStartError, LocalAirflow
from airflow_local import interrupted
from rich.console import Console

PREVIEW_ROWS = 5


def main() -> int:
    """Do what the module says; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dag_id", metavar="DAG_ID")
    options = parser.parse_args()
    airflow = LocalAirflow.of_repository()
    console = Console(highlight=False, soft_wrap=True)
    try:
        if not airflow.status().healthy:
            console.print("Starting Airflow ...", style="dim")
        result = run_and_follow(airflow, options.dag_id, console=console, timeout=600)
        if result.succeeded:
            _show_tables(airflow, result, console)
    except (AirflowStartError, ApiError, RunError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        return interrupted(interrupt)
    _show_next(result, console)
    return 0 if result.succeeded else 1


def _show_tables(airflow: LocalAirflow, result: RunResult, console: Console) -> None:
    """A small preview of each table that the run has written."""
    from docker_runner.settings import Settings
    from docker_runner.storage import open_storage
    from docker_runner.storage_commands import print_preview

    environment = airflow.variables()
    os.environ.update({name: value for name, value in environment.items() if name.startswith("DOCKER_RUNNER_")})
    with airflow.api() as api:
        written = api.xcom(result.dag_id, result.run_id, "unload_output") or {}
    with closing(open_storage(Settings.from_environment().storage)) as storage:
        for table in written.get("tables", []):
            console.print(f"\n[bold]{table['id']}[/]: {table['rows']} rows loaded, {table['table_rows']} in the table")
            print_preview(storage, table["id"], rows=PREVIEW_ROWS)


def _show_next(result: RunResult, console: Console) -> None:
    console.print(
        "\nAirflow goes on running in the background; `make down` stops it.\n"
        "See it for yourself: [bold]make up[/] prints the UI's address, user and password. Look at\n"
        f"  - Dags > {result.dag_id}: each step is a task with its own log, retries and result (XCom);\n"
        "  - Trigger: the form where a run gets its mode, image tag, rows and variables."
    )


if __name__ == "__main__":
    sys.exit(main())
