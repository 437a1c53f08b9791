"""A local Airflow: how it is started, stopped and asked how it is.

Imports neither Airflow nor anything else that takes time: asking a running Airflow how it is takes a tenth of a second.

A server is alive as long as somebody holds the lock on ``server.lock``. Its process is started with the lock, and every
process that it forks inherits it, so no reused process id, reboot or crash can make a dead server look alive or hide a
left-over process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import airflow_processes as processes
from airflow_environment import PASSWORDS, REPOSITORY, airflow_variables, write_private, write_secrets

if TYPE_CHECKING:
    from airflow_api import AirflowApi

SERVER = Path(__file__).resolve().parent / "airflow_server.py"
DEFAULT_PORT = 8080
TASK_GRACE_SECONDS = 7.0
"""Time for running tasks to stop their containers; Airflow itself gives them five seconds."""
PROCESS_GRACE_SECONDS = 4.0
PARTS = ("scheduler", "dag-processor", "triggerer")
"""What runs beside the API server."""


class AirflowStartError(Exception):
    """Airflow cannot be started, or has not become healthy; the message says what to do."""


@dataclass(frozen=True)
class Status:
    """How a local Airflow is.

    Args:
        url: where its UI and API are; empty when it is not running.
        pid: the process that is the parent of all others; 0 when nothing runs.
        components: state of each component as the API reports it; empty when it does not answer.
        needed: the components without which it does not count as healthy.
    """

    url: str = ""
    pid: int = 0
    components: Mapping[str, str] = field(default_factory=dict)
    needed: tuple[str, ...] = ("metadatabase", "scheduler", "dag_processor")

    @property
    def running(self) -> bool:
        """Whether any process is alive."""
        return bool(self.pid)

    @property
    def healthy(self) -> bool:
        """Whether a run that is triggered now would start at once."""
        return all(self.components.get(name) == "healthy" for name in self.needed)


@dataclass(frozen=True)
class LocalAirflow:
    """An Airflow of one's own, on this machine.

    Args:
        home: Airflow's home: database, logs, passwords. Is made when needed.
        dags_folder: folder with the DAG files.
        plugins_folder: folder with Airflow plugins.
        port: port of the UI and API; 0 takes any that is free.
        fixed_port: whether a port that is taken is an error; otherwise the next free one is used.
        environment: variables that win over everything else.
        parts: what runs beside the API server; without a scheduler, runs that are started stay queued.
    """

    home: Path
    dags_folder: Path
    plugins_folder: Path
    port: int = 0
    fixed_port: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[str, ...] = PARTS

    @classmethod
    def of_repository(cls) -> LocalAirflow:
        """The one that ``make up`` starts: home ``.local/airflow``, port 8080 or ``AIRFLOW_PORT``.

        Raises:
            AirflowStartError: ``AIRFLOW_PORT`` is not a number.
        """
        port = os.environ.get("AIRFLOW_PORT", "")
        if port and not port.isdigit():
            raise AirflowStartError(f"AIRFLOW_PORT must be a number, e.g. {DEFAULT_PORT + 1}, not {port!r}.")
        home = Path(os.environ.get("DOCKER_RUNNER_HOME") or REPOSITORY / ".local").absolute()
        places = {
            "DOCKER_RUNNER_HOME": home,
            "DOCKER_RUNNER_PROJECT": REPOSITORY / "include" / "project",
            "DOCKER_RUNNER_COMPONENTS": REPOSITORY / "include" / "components",
        }
        return cls(
            home=home / "airflow",
            dags_folder=REPOSITORY / "dags",
            plugins_folder=REPOSITORY / "plugins",
            port=int(port or DEFAULT_PORT),
            fixed_port=bool(port),
            environment={name: os.environ.get(name) or str(path) for name, path in places.items()},
        )

    def status(self) -> Status:
        """How it is, without waiting for anything."""
        if not self.home.is_dir():
            return Status()
        with processes.locked(self.home / "server.lock", wait=0.0, shared=True) as lock:
            if lock is not None:
                return Status()
        pid, port = self._record()
        url = f"http://127.0.0.1:{port}"
        # Without their parent nobody starts again what dies, so what is left does not count as healthy.
        # Nothing waits for the triggerer.
        needed = ("metadatabase", *(part.replace("-", "_") for part in self.parts if part != "triggerer"))
        return Status(url=url, pid=pid, components=health(url) if processes.alive(pid) else {}, needed=needed)

    def api(self) -> AirflowApi:
        """A client of its REST API, as administrator.

        Raises:
            AirflowStartError: it is not running.
        """
        from airflow_api import AirflowApi

        status = self.status()
        if not status.running:
            raise AirflowStartError("Airflow is not running. Start it with: make up")
        return AirflowApi(url=status.url, user="admin", password=self.password("admin"))

    def password(self, user: str) -> str:
        """The password of a user."""
        return str(json.loads((self.home / PASSWORDS).read_text())[user])

    def log_file(self, component: str) -> Path:
        """Where a component (``scheduler``, ``api-server``, ..., or ``server``, their parent) writes what it prints."""
        return self.home / "logs" / f"{component}.log"

    def variables(self, port: int | None = None) -> dict[str, str]:
        """The environment of its processes.

        Args:
            port: the port of the UI and API; by default the one that it runs on or would try first.
        """
        if port is None:
            port = self._record()[1] if self.status().running else self.port
        places = airflow_variables(
            home=self.home, dags_folder=self.dags_folder, plugins_folder=self.plugins_folder, port=port
        )
        return {**places, **self.environment}

    def start(self, timeout: float = 120.0) -> Status:
        """Start what does not run and wait until it is healthy. Safe to be called by several at once.

        Args:
            timeout: seconds to wait.

        Raises:
            AirflowStartError: the port is taken, or Airflow has not become healthy in time.
        """
        status = self.status()
        if status.healthy:
            return status
        self.home.parent.mkdir(parents=True, exist_ok=True)
        self.home.mkdir(mode=0o700, exist_ok=True)
        (self.home / "logs").mkdir(exist_ok=True)
        with processes.locked(self.home / "start.lock", wait=timeout + 60.0):
            status = self.status()
            if status.running and not processes.alive(status.pid):
                self._end_session(status.pid)
            with processes.locked(self.home / "server.lock", wait=0.3) as lock:
                if lock is not None:
                    self._launch(lock)
            return self._wait_until_healthy(timeout)

    def stop(self) -> bool:
        """Stop all processes, running tasks and left-overs of a crash included.

        Returns:
            Whether anything was running.
        """
        if not self.home.is_dir():
            return False
        with processes.locked(self.home / "start.lock", wait=180.0):
            status = self.status()
            if status.running:
                self._end_session(status.pid)
            return status.running

    def _end_session(self, session: int) -> None:
        # Tasks first, while the API server still takes their reports: they stop their containers.
        processes.send(signal.SIGTERM, processes.tasks_of(session))
        processes.wait_until(lambda: not processes.tasks_of(session), seconds=TASK_GRACE_SECONDS)
        processes.send(signal.SIGTERM, processes.members_of(session))
        processes.wait_until(lambda: not processes.members_of(session), seconds=PROCESS_GRACE_SECONDS)
        # A scheduler that waits for a task does not go by itself.
        while processes.send(signal.SIGKILL, processes.members_of(session)):
            time.sleep(0.05)
        # Threads of a process that counts as dead may still be ending, and hold the lock and the port.
        with processes.locked(self.home / "server.lock", wait=10.0):
            (self.home / "server.json").unlink(missing_ok=True)

    def _launch(self, lock: int) -> None:
        port = self._choose_port()
        environment = self.variables(port)
        write_secrets(self.home, environment["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"])
        with self.log_file("server").open("ab") as log:
            server = subprocess.Popen(
                [sys.executable, str(SERVER), str(lock), *self.parts],
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[lock],
            )
        write_private(self.home / "server.json", json.dumps({"pid": server.pid, "port": port}))
        # It stays until it is told to stop; nobody waits for it, and that is meant.
        server.returncode = 0

    def _choose_port(self) -> int:
        if self.port == 0:
            return processes.free_port()
        if processes.can_listen(self.port):
            return self.port
        if self.fixed_port:
            raise AirflowStartError(
                f"Port {self.port} is used by another program. Stop that program, or choose another port: "
                f"AIRFLOW_PORT={self.port + 1} make up"
            )
        for port in range(self.port + 1, self.port + 100):
            if processes.can_listen(port):
                return port
        raise AirflowStartError(f"All ports from {self.port} to {self.port + 99} are in use; set AIRFLOW_PORT.")

    def _wait_until_healthy(self, timeout: float) -> Status:
        deadline = time.monotonic() + timeout
        while not (status := self.status()).healthy:
            if not status.running or time.monotonic() > deadline:
                what = f"is not healthy after {timeout:.0f} s" if status.running else "has ended"
                states = ", ".join(f"{name}: {state}" for name, state in status.components.items())
                log = self.log_file("server")
                raise AirflowStartError(
                    f"Airflow {what}{f' ({states})' if states else ''}. "
                    f"Its logs are {log.parent}/*.log; {log.name} ends with:\n{processes.last_lines(log, 12)}"
                )
            time.sleep(0.1)
        return status

    def _record(self) -> tuple[int, int]:
        # Written just after the lock was taken, so it may be a moment late.
        path = self.home / "server.json"
        if not processes.wait_until(path.exists, seconds=5.0):
            raise AirflowStartError(f"A process of Airflow holds {self.home / 'server.lock'}, but left no {path.name}.")
        record = json.loads(path.read_text())
        return record["pid"], record["port"]


def health(url: str) -> dict[str, str]:
    """State of each component as the API server reports it; empty when it does not answer.

    Args:
        url: of the API server.
    """
    from urllib.request import ProxyHandler, build_opener

    try:
        # A proxy of the company cannot reach this machine.
        with build_opener(ProxyHandler({})).open(f"{url}/api/v2/monitor/health", timeout=5.0) as answer:
            report = json.load(answer)
    except (OSError, ValueError):
        return {}
    return {name: part["status"] or "not running" for name, part in report.items()}
