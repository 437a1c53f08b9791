"""Runs Airflow on this machine: ``up``, ``down``, ``status``, ``run``, ``env``.

::

    .venv/bin/python scripts/airflow_local.py up
    .venv/bin/python scripts/airflow_local.py run DAG_ID --param NAME=VALUE
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import sys
import time
from typing import Any

from airflow_home import AirflowStartError, LocalAirflow, Status
from airflow_processes import can_listen


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(LocalAirflow.of_repository(), options))
    except AirflowStartError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        return interrupted(interrupt)


def interrupted(interrupt: KeyboardInterrupt) -> int:
    """Say what goes on after Ctrl-C; return the exit code."""
    what = str(interrupt) or "Interrupted. What has been started goes on; stop it with: make down"
    print(f"\n{what}", file=sys.stderr)
    return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="airflow_local.py", description="Run Airflow on this machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: object, words: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=words, description=words)
        sub.set_defaults(command=command)
        return sub

    add("up", up, "start Airflow unless it runs, and say where it is")
    down_parser = add("down", down, "stop Airflow and everything that it has started; say which runs were under way")
    down_parser.add_argument("--for-good", action="store_true", help="its runs are given up: say nothing of them")
    add("status", status, "say whether Airflow runs and how its parts are; exit code 3 when it does not run")
    add("env", env, "print the environment for `airflow` commands, as KEY=VALUE lines for a shell")
    run_parser = add("run", run, "run a DAG, follow it, and show its component's log; exit code 1 when it fails")
    run_parser.add_argument("dag_id", metavar="DAG_ID")
    run_parser.add_argument("--conf", metavar="JSON", default="{}", help="values for the DAG's params, a JSON object")
    run_parser.add_argument(
        "--param",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="one value, JSON or plain text; wins over --conf; can be repeated",
    )
    run_parser.add_argument("--timeout", metavar="SECONDS", type=float, default=86400.0, help="give up waiting after")
    return parser


def up(airflow: LocalAirflow, _options: argparse.Namespace) -> int:
    """Start Airflow unless it runs."""
    started = time.monotonic()
    was_healthy = airflow.status().healthy
    now = airflow.start()
    if was_healthy:
        print("Airflow is running.")
    else:
        print(f"Airflow has started in {time.monotonic() - started:.1f} s.")
    show(airflow, now)
    return 0


def down(airflow: LocalAirflow, options: argparse.Namespace) -> int:
    """Stop Airflow, and tell what was under way."""
    runs = [] if options.for_good else _under_way(airflow)
    print("Airflow has stopped." if airflow.stop() else "Airflow was not running.")
    if runs:
        print("These runs were under way. They go on with the next `make up`, where their tasks have another try:")
        print("\n".join(f"  {dag_id}  {run_id}" for dag_id, run_id in runs))
    return 0


def _under_way(airflow: LocalAirflow) -> list[tuple[str, str]]:
    """DAG and id of each run that is under way; none when Airflow does not answer: it can be stopped all the same."""
    from airflow_api import ApiError

    if not airflow.status().healthy:
        return []
    with contextlib.suppress(OSError, ApiError, AirflowStartError), airflow.api() as api:
        return api.running()
    return []


def status(airflow: LocalAirflow, _options: argparse.Namespace) -> int:
    """Say how Airflow is."""
    now = airflow.status()
    if not now.running:
        print("Airflow is not running. Start it with: make up")
        return 3
    show(airflow, now)
    for name, state in now.components.items():
        print(f"  {name.replace('_', ' '):<14} {state}")
    if not now.healthy:
        print(f"Not healthy (yet). Logs: {airflow.log_file('server').parent}/*.log")
    return 0 if now.healthy else 1


def env(airflow: LocalAirflow, _options: argparse.Namespace) -> int:
    """Print the environment, for ``set -a; eval "$(... env)"``."""
    names = ("AIRFLOW_HOME", "AIRFLOW__", "DOCKER_RUNNER_")
    for name, value in sorted(airflow.variables().items()):
        if name.startswith(names):
            print(f"{name}={shlex.quote(value)}")
    # The executor of the local server is found next to this file only.
    print("AIRFLOW__CORE__EXECUTOR=LocalExecutor")
    return 0


def run(airflow: LocalAirflow, options: argparse.Namespace) -> int:
    """Run a DAG and follow it."""
    # These take time to import, and the other commands do without them.
    from airflow_api import ApiError
    from airflow_follow import RunError, run_and_follow
    from rich.console import Console

    try:
        conf = parse_conf(options.conf, options.param)
        console = Console(highlight=False, soft_wrap=True)
        if not airflow.status().healthy:
            console.print("Starting Airflow ...", style="dim")
        result = run_and_follow(airflow, options.dag_id, conf=conf, console=console, timeout=options.timeout)
    except (RunError, ApiError, TimeoutError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0 if result.succeeded else 1


def parse_conf(conf: str, params: list[str]) -> dict[str, Any]:
    """Put together the values for a DAG's params.

    Args:
        conf: a JSON object.
        params: ``NAME=VALUE`` each; a value that is not JSON is text.

    Raises:
        ValueError: one of them is not what it should be.
    """
    try:
        values = json.loads(conf)
    except ValueError as error:
        raise ValueError(f"--conf is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f'--conf must be a JSON object like {{"name": "value"}}, not {conf}')
    for param in params:
        name, equals, text = param.partition("=")
        if not equals or not name:
            raise ValueError(f"--param must be NAME=VALUE, not {param!r}")
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return values


def show(airflow: LocalAirflow, now: Status) -> None:
    """Say where a running Airflow is and who may log in."""
    port = now.url.rpartition(":")[2]
    # Whoever talks to the usual port would talk to somebody else.
    if airflow.port and str(airflow.port) != port and not can_listen(airflow.port):
        print(f"  Port {airflow.port} is in use by another program; Airflow is at {port}.")
    print(f"  URL       {now.url}")
    print("  user      admin")
    print(f"  password  {airflow.password('admin')}")


if __name__ == "__main__":
    sys.exit(main())
