"""All processes of a local Airflow, forked from one process that has imported Airflow once.

Four ``airflow ...`` commands would import the same two seconds of Python four times. Here one process imports what they
share, then forks them; what runs in each fork is the ordinary Airflow command. The process stays as their parent and
starts again what has died.

Started by :mod:`airflow_home` with the environment set, its standard output going to a log file, and what is to run
beside the API server as arguments; not meant to be called by hand.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import NoReturn

RESTART_SECONDS = 2.0
"""Pause before a component that has died is started again."""

DATABASE_MARK = "database-ready"
"""File that records for which Airflow and which schema the database was made ready."""


@dataclass
class Server:
    """The parent of all processes.

    Args:
        home: Airflow's home.
        port: where the API server listens.
        parts: what runs beside the API server.
        children: component of each process id.
        due: components to be started, with the earliest time (monotonic seconds).
    """

    home: Path
    port: int
    parts: tuple[str, ...]
    children: dict[int, str] = field(default_factory=dict)
    due: dict[str, float] = field(default_factory=dict)

    def run(self) -> None:
        """Start everything, then watch over it until a signal comes."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        import_shared()
        # The API server has most to do before it answers, so it begins while the database is made.
        self.start("api-server")
        prepare_database(self.home)
        for part in self.parts:
            if part != "triggerer":
                self.start(part)
        triggerer_started = "triggerer" not in self.parts
        while True:
            self._bury()
            self._start_due()
            if not triggerer_started and answers(self.port):
                # Nothing waits for the triggerer, so it does not compete with what people wait for.
                self.start("triggerer")
                triggerer_started = True
            time.sleep(1.0 if triggerer_started else 0.2)

    def start(self, component: str) -> None:
        """Fork a component."""
        pid = os.fork()
        if pid == 0:
            become(component, self.home / "logs" / f"{component}.log")
        self.children[pid] = component
        say(f"{component} started as process {pid}")

    def _bury(self) -> None:
        while self.children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            component = self.children.pop(pid, None)
            if component is not None:
                say(f"{component} (process {pid}) ended with {os.waitstatus_to_exitcode(status)}; starting it again")
                self.due[component] = time.monotonic() + RESTART_SECONDS

    def _start_due(self) -> None:
        for component in [name for name, due in self.due.items() if due <= time.monotonic()]:
            del self.due[component]
            self.start(component)

    def _stop(self, number: int, _frame: FrameType | None) -> NoReturn:
        say(f"stopping on {signal.Signals(number).name}")
        for pid in self.children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        os._exit(0)


def import_shared() -> None:
    """Import what every component needs, without any of it opening a connection or starting a thread."""
    import airflow.cli.cli_parser
    import airflow.cli.commands.scheduler_command
    import airflow.executors.local_executor
    import airflow.jobs.scheduler_job_runner
    import airflow.sdk.execution_time.supervisor
    import airflow.sdk.execution_time.task_runner  # noqa: F401


def prepare_database(home: Path) -> None:
    """Create the database, or bring it to this Airflow's schema, unless that has been done.

    Runs in a process of its own, because a parent with open connections must not be forked.
    """
    from airflow import __version__

    mark = home / DATABASE_MARK
    expected = f"{__version__} {schema_version(home / 'airflow.db')}"
    if "None" not in expected and mark.is_file() and mark.read_text() == expected:
        return
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        in_child(create_database)
    _, status = os.waitpid(pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        say("the database could not be made ready; the error stands above")
        os._exit(1)
    mark.write_text(f"{__version__} {schema_version(home / 'airflow.db')}")
    say(f"database made ready in {time.monotonic() - started:.1f} s")


def create_database() -> None:
    """Create or migrate Airflow's database."""
    from airflow.utils import db

    db.initdb()


def schema_version(database: Path) -> str | None:
    """The revision of the schema in Airflow's SQLite database; None when there is none."""
    if not database.is_file():
        return None
    with contextlib.closing(sqlite3.connect(database)) as connection, contextlib.suppress(sqlite3.Error):
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else None
    return None


def become(component: str, log: Path) -> NoReturn:
    """Turn this fork into a component; what it prints goes to its own log file."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    in_child(lambda: run_command(component))


def run_command(component: str) -> None:
    """Run ``airflow <component>`` in this process."""
    from airflow.cli.cli_parser import get_parser

    if component == "api-server" and api_processes() == 1:
        build_api()
    # The collector was off while modules were loaded (see the end of this file). What was loaded stays for good.
    gc.freeze()
    gc.enable()
    arguments = [component, "--skip-serve-logs"] if component == "triggerer" else [component]
    sys.argv = ["airflow", *arguments]
    parsed = get_parser().parse_args(arguments)
    parsed.func(parsed)


def api_processes() -> int:
    """How many processes the API server has; several of them load everything anew, each for itself."""
    from airflow.configuration import conf

    return int(conf.getint("api", "workers"))


def build_api() -> None:
    """Build all routes before the port is opened, so that the first task does not wait for them."""
    import asyncio

    import httpx
    from airflow.api_fastapi.main import app

    async def first_request() -> None:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://airflow.invalid") as client:
            (await client.get("/execution/health")).raise_for_status()

    asyncio.run(first_request())


def in_child(work: Callable[[], None]) -> NoReturn:
    """Do the work of a fork and end the process, whatever happens."""
    code = 1
    try:
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def answers(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def say(message: str) -> None:
    """Write a line to the server's own log."""
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {message}", flush=True)


if __name__ == "__main__":
    # Loading a few thousand modules makes no garbage but makes the collector look for it: a quarter of the time.
    gc.disable()
    # The lock says that this server lives. Forks keep it, programs that tasks start do not.
    os.set_inheritable(int(sys.argv[1]), False)
    Server(
        home=Path(os.environ["AIRFLOW_HOME"]), port=int(os.environ["AIRFLOW__API__PORT"]), parts=tuple(sys.argv[2:])
    ).run()
