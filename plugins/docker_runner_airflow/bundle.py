"""The DAGs of a project as a DAG bundle: Airflow finds a file for each hundred configurations, however many there are.

Named in ``[dag_processor] dag_bundle_config_list`` (airflow.env). See :mod:`docker_runner_airflow.shard_files`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow import settings
from airflow.dag_processing.bundles.base import BaseDagBundle

from docker_runner.settings import Settings
from docker_runner_airflow.shard_files import ShardFiles


class ProjectBundle(BaseDagBundle):
    """The configurations and flows of the project that the environment names."""

    supports_versioning = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._files = ShardFiles(Settings.from_environment(), beside=Path(settings.DAGS_FOLDER))

    @property
    def path(self) -> Path:
        """Where the files of the shards are."""
        return self._files.folder

    def initialize(self) -> None:
        """Have a file for each shard; a task needs one only when it is the first on its machine."""
        if not self._files.all_there():
            self._files.write()
        super().initialize()

    def refresh(self) -> None:
        """Have as many files as there are shards, and those parsed again whose configurations have changed."""
        self._files.refresh()

    def get_current_version(self) -> None:
        """Configurations are read as they are now: there is no version."""
