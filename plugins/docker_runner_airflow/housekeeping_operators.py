"""The two tasks of the housekeeping DAG."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseOperator

from docker_runner_airflow.housekeeping import clean_up_runs

LOG = logging.getLogger("docker_runner")


class CleanOperator(BaseOperator):
    """Removes what runs left that have ended."""

    def execute(self, context: Mapping[str, Any]) -> str:
        """Clean; gives what was removed."""
        text = clean_up_runs(context)
        LOG.info("%s", text)
        return text


class TidyStorageOperator(BaseOperator):
    """Merges small files of the Storage, and forgets what is not needed any more."""

    def execute(self, context: Mapping[str, Any]) -> None:
        """Tidy, unless nothing is to be removed."""
        from docker_runner.storage_commands import tidy_lake

        if not context["params"]["dry_run"]:
            LOG.info("%s", tidy_lake(keep_days=context["params"]["keep_days"]))
