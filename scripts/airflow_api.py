"""A client of a running Airflow's REST API, with the few calls that scripts, benchmarks and tests need."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import requests

POLL_SECONDS = 0.2
FINAL_RUN_STATES = frozenset({"success", "failed"})
FINAL_TASK_STATES = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


class ApiError(Exception):
    """Airflow refused a call; the message is Airflow's own.

    Args:
        message: what Airflow said.
        status: the HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class AirflowApi:
    """Calls a running Airflow as one user.

    Args:
        url: where Airflow is, e.g. ``http://127.0.0.1:8080``.
        user: name of the user.
        password: the user's password.
    """

    def __init__(self, *, url: str, user: str, password: str) -> None:
        self.url = url
        self._session = requests.Session()
        # A proxy of the company cannot reach this machine.
        self._session.trust_env = False
        answer = self._session.post(f"{url}/auth/token", json={"username": user, "password": password}, timeout=30)
        _check(answer)
        self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def __enter__(self) -> AirflowApi:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """Make a call.

        Args:
            method: e.g. ``GET``.
            path: path and query below ``/api/v2``.
            **arguments: as of :meth:`requests.Session.request`, e.g. ``json``.

        Returns:
            The answer's JSON; None when it has none.

        Raises:
            ApiError: Airflow refused.
        """
        answer = self._session.request(method, f"{self.url}/api/v2{path}", timeout=60, **arguments)
        _check(answer)
        return answer.json() if answer.content else None

    # ---------------------------------------------------------------- DAGs

    def dag(self, dag_id: str) -> dict[str, Any] | None:
        """What Airflow knows about a DAG; None when it does not know it."""
        try:
            return dict(self.call("GET", f"/dags/{quote(dag_id, safe='')}"))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def dag_ids(self, pattern: str = "", limit: int = 100) -> list[str]:
        """Names of the DAGs that contain a text."""
        query = f"&dag_id_pattern={quote(pattern, safe='')}" if pattern else ""
        return [dag["dag_id"] for dag in self.call("GET", f"/dags?limit={limit}{query}")["dags"]]

    def last_parsed(self) -> str:
        """When a DAG was parsed last (ISO 8601), as the first hundred tell; empty when none ever was."""
        return max((dag["last_parsed_time"] or "" for dag in self.call("GET", "/dags?limit=100")["dags"]), default="")

    def import_errors(self) -> list[dict[str, str]]:
        """DAG files that could not be read: ``filename`` and ``stack_trace``."""
        return list(self.call("GET", "/importErrors?limit=20")["import_errors"])

    def set_paused(self, dag_id: str, paused: bool) -> None:
        """Switch a DAG's schedule, and everything else that is not running yet, off or on."""
        self.call("PATCH", f"/dags/{quote(dag_id, safe='')}?update_mask=is_paused", json={"is_paused": paused})

    # ---------------------------------------------------------------- runs

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run of a DAG; return its id.

        Args:
            dag_id: the DAG.
            conf: values for its params.
        """
        # A run is due when the database's clock has passed this time, and SQLite's clock ticks in full seconds: a run
        # that is due "now" waits up to one second, one that was due before starts at once.
        due = (datetime.now(UTC) - timedelta(seconds=2)).isoformat()
        body = {"logical_date": None, "run_after": due, "conf": dict(conf or {})}
        return str(self.call("POST", f"/dags/{quote(dag_id, safe='')}/dagRuns", json=body)["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """State and times of a run."""
        return dict(self.call("GET", _run_path(dag_id, run_id)))

    def running(self) -> list[tuple[str, str]]:
        """DAG and id of the runs that are under way, a hundred at most."""
        runs = self.call("GET", "/dags/~/dagRuns?state=running&limit=100")["dag_runs"]
        return [(run["dag_id"], run["dag_run_id"]) for run in runs]

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """State and times of each task of a run."""
        return list(self.call("GET", f"{_run_path(dag_id, run_id)}/taskInstances?limit=1000")["task_instances"])

    def wait(
        self,
        dag_id: str,
        run_id: str,
        *,
        timeout: float = 600.0,
        look: Callable[[list[dict[str, Any]]], None] | None = None,
    ) -> str:
        """Wait for the end of a run; return its state.

        Args:
            dag_id: the DAG.
            run_id: the run.
            timeout: seconds to wait.
            look: called with the tasks of the run five times a second, the last time when it has ended.

        Raises:
            TimeoutError: the run has not ended in time.
        """
        deadline, looks = time.monotonic() + timeout, 0
        while True:
            # One call each time: they compete with the tasks for the API server. That for tasks costs it more the more
            # DAGs there are, all of which it compares with what the caller may see.
            state, is_due = "running", True
            if look is not None:
                tasks = self.tasks(dag_id, run_id)
                look(tasks)
                looks += 1
                is_due = looks % 20 == 0 or all(task["state"] in FINAL_TASK_STATES for task in tasks)
            if is_due:
                state = str(self.run(dag_id, run_id)["state"])
            if state in FINAL_RUN_STATES:
                return state
            if time.monotonic() > deadline:
                raise TimeoutError(f"Run {run_id} of {dag_id} is still {state} after {timeout:.0f} s.")
            time.sleep(POLL_SECONDS)

    def clear(self, dag_id: str, run_id: str, task_ids: list[str], *, only_failed: bool = False) -> None:
        """Let tasks of a run, and what comes after them, run again."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": task_ids,
            "include_downstream": True,
            "only_failed": only_failed,
            "reset_dag_runs": True,
        }
        self.call("POST", f"/dags/{quote(dag_id, safe='')}/clearTaskInstances", json=body)

    # ---------------------------------------------------------------- what tasks leave behind

    def log(
        self, dag_id: str, run_id: str, task_id: str, *, attempt: int = 1, map_index: int = -1
    ) -> Iterator[dict[str, Any]]:
        """The log of a task, entry by entry: ``timestamp``, ``level``, ``event``, ``logger``, ..."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{quote(task_id, safe='')}/logs/{attempt}"
        with self._session.get(
            f"{self.url}/api/v2{path}",
            params={"full_content": "true", "map_index": str(map_index)},
            headers={"Accept": "application/x-ndjson"},
            stream=True,
            timeout=60,
        ) as answer:
            _check(answer)
            for line in answer.iter_lines(chunk_size=65536):
                if line:
                    yield json.loads(line)

    def xcom(self, dag_id: str, run_id: str, task_id: str, *, key: str = "return_value") -> Any:
        """A value that a task has left for others."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{quote(task_id, safe='')}/xcomEntries/{quote(key, safe='')}"
        return self.call("GET", f"{path}?deserialize=false")["value"]


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/dags/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}"


def _check(answer: requests.Response) -> None:
    if answer.ok:
        return
    try:
        detail = answer.json().get("detail", answer.text)
    except ValueError:
        detail = answer.text
    text = detail if isinstance(detail, str) else json.dumps(detail)
    # A first paragraph, as of jsonschema, says it all.
    text = text.partition("\n\n")[0]
    call = f"{answer.request.method} {answer.request.path_url}"
    raise ApiError(f"{call}: {answer.status_code} {text}", answer.status_code)
