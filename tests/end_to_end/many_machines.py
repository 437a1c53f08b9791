"""An Airflow whose parts run as on machines of their own: stock commands, Celery workers, a folder for each machine.

What they have in common is what machines of one Airflow must share (docs/growing.md): servers, the folder of runs, the
Docker engine, and keys. Project and components are copies, as a deployment makes them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from airflow_api import AirflowApi
from airflow_environment import read_env_file, write_private
from tests.end_to_end.grown import Servers
from tests.installation import Installation
from tests.servers import free_port

REPOSITORY = Path(__file__).parents[2]
CONTROL = ("api-server", "scheduler", "dag-processor", "triggerer")
USER, USERS_PASSWORD = "admin", "pa55-of-admin"


@dataclass
class Machine:
    """A machine of the Airflow: its own folder, its own processes.

    Args:
        folder: everything that only this machine sees.
        environment: of its processes.
    """

    folder: Path
    environment: Mapping[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def deploy(self, installation: Installation) -> None:
        """Copy the project and the components, as they are now."""
        for name in ("project", "components"):
            shutil.copytree(installation.folder / name, self.folder / name, dirs_exist_ok=True)

    def start(self, programs: Path, *arguments: str) -> None:
        """Start an ``airflow`` command."""
        name = arguments[0]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [programs / "airflow", *arguments],
                env={**self.environment, "PATH": f"{programs}:{os.environ['PATH']}"},
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self) -> None:
        """Stop everything that runs on it."""
        for signal_number, seconds in ((signal.SIGTERM, 20.0), (signal.SIGKILL, 5.0)):
            for process in self.processes.values():
                if process.poll() is None:
                    os.killpg(process.pid, signal_number)
            deadline = time.monotonic() + seconds
            while any(process.poll() is None for process in self.processes.values()) and time.monotonic() < deadline:
                time.sleep(0.1)

    def log(self, name: str) -> str:
        """What a command has printed."""
        return (self.folder / f"{name}.log").read_text(errors="replace")


@dataclass
class ManyMachines:
    """The machines of one Airflow.

    Args:
        folder: for all of them.
        installation: what they run.
        servers: what they share.
        programs: folder with an ``airflow`` that has the Celery provider.
        broker: URL of Celery's broker.
        more: variables that win.
    """

    folder: Path
    installation: Installation
    servers: Servers
    programs: Path
    broker: str
    more: Mapping[str, str] = field(default_factory=dict)
    machines: dict[str, Machine] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._secrets = {
            "AIRFLOW__CORE__FERNET_KEY": urlsafe_b64encode(os.urandom(32)).decode(),
            "AIRFLOW__API__SECRET_KEY": os.urandom(16).hex(),
            "AIRFLOW__API_AUTH__JWT_SECRET": os.urandom(32).hex(),
            "DOCKER_RUNNER_KEYS": urlsafe_b64encode(os.urandom(32)).decode(),
        }

    def machine(self, name: str, **variables: str) -> Machine:
        """A new machine with the deployment on it."""
        folder = self.folder / name
        (folder / "airflow").mkdir(parents=True)
        write_private(folder / "passwords.json", f'{{"{USER}": "{USERS_PASSWORD}"}}')
        database = self.servers.environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
        environment = {
            **read_env_file(REPOSITORY / "airflow.env"),
            **os.environ,
            **self.servers.environment,
            **self._secrets,
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": self.url.rpartition(":")[2],
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__CELERY__BROKER_URL": self.broker,
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database}",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": "4",
            # As with any remote store of logs: what a worker writes can be read when it is gone.
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.folder / "logs"),
            "DOCKER_RUNNER_HOME": str(folder / "runner"),
            "DOCKER_RUNNER_PROJECT": str(folder / "project"),
            "DOCKER_RUNNER_COMPONENTS": str(folder / "components"),
            "DOCKER_RUNNER_STORAGE": self.servers.lake,
            "DOCKER_RUNNER_WORKSPACES": str(self.folder / "shared" / "workspaces"),
            **self.more,
            **variables,
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self.machines[name] = machine = Machine(folder, environment)
        machine.deploy(self.installation)
        return machine

    def start(self, **workers: Mapping[str, str]) -> None:
        """Start the control plane and its workers, and wait until they are there."""
        control = self.machine("control")
        migrate = [self.programs / "airflow", "db", "migrate"]
        subprocess.run(migrate, env=dict(control.environment), check=True, capture_output=True)
        for command in CONTROL:
            control.start(self.programs, command)
        for name, variables in workers.items():
            self.add_worker(name, **variables)

    def add_worker(self, name: str, **variables: str) -> None:
        """Start a Celery worker on a machine of its own."""
        machine = self.machine(name, **variables)
        machine.start(self.programs, "celery", "worker", "--skip-serve-logs", "--celery-hostname", f"{name}@%h")

    def api(self) -> AirflowApi:
        """Airflow's own API, as administrator."""
        return AirflowApi(url=self.url, user=USER, password=USERS_PASSWORD)

    def stop(self) -> None:
        """Stop all machines."""
        for machine in reversed(self.machines.values()):
            machine.stop()
