"""Where this installation keeps things, read once from the environment.

| variable | meaning | default |
| --- | --- | --- |
| ``DOCKER_RUNNER_HOME`` | folder for everything the runner keeps | ``.local`` in the current folder |
| ``DOCKER_RUNNER_PROJECT`` | project directory with the configurations | ``include/project`` |
| ``DOCKER_RUNNER_COMPONENTS`` | folder with one ``<id>.json`` per component | ``include/components`` |
| ``DOCKER_RUNNER_STORAGE`` | URI of the Storage | ``ducklake:sqlite:<home>/storage/catalog.sqlite`` |
| ``DOCKER_RUNNER_WORKSPACES`` | folder for the folders of runs | ``<home>/workspaces`` |
| ``DOCKER_RUNNER_UID`` | user and group id of containers when the runner is root | ``1000`` |
| ``DOCKER_RUNNER_KEYS`` | encryption keys, comma separated, the first one encrypts | the file ``<home>/keys`` |
| ``DOCKER_RUNNER_DOCKER_CONN_ID`` | Airflow connection of the engine | ``DOCKER_HOST`` or the local socket |
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from docker_runner.errors import UserError


@dataclass(frozen=True)
class Settings:
    """Where this installation keeps things; see the module's table."""

    home: Path
    project: Path
    components: Path
    storage: str
    workspaces: Path
    container_uid: int
    docker_conn_id: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings.

        Args:
            environment: variables to read; the process's own by default.

        Raises:
            UserError: a variable has a value that cannot be used.
        """
        env = os.environ if environment is None else environment
        home = Path(env.get("DOCKER_RUNNER_HOME") or ".local").absolute()
        uid = env.get("DOCKER_RUNNER_UID") or "1000"
        if not uid.isdecimal() or int(uid) == 0:
            raise UserError(f"DOCKER_RUNNER_UID must be the number of an unprivileged user, e.g. 1000, not {uid!r}.")
        return cls(
            home=home,
            project=Path(env.get("DOCKER_RUNNER_PROJECT") or "include/project").absolute(),
            components=Path(env.get("DOCKER_RUNNER_COMPONENTS") or "include/components").absolute(),
            storage=env.get("DOCKER_RUNNER_STORAGE") or f"ducklake:sqlite:{home}/storage/catalog.sqlite",
            workspaces=Path(env.get("DOCKER_RUNNER_WORKSPACES") or home / "workspaces").absolute(),
            container_uid=int(uid),
            docker_conn_id=env.get("DOCKER_RUNNER_DOCKER_CONN_ID", ""),
        )
