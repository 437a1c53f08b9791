"""The environment that a local Airflow's processes get, and its secrets."""

from __future__ import annotations

import json
import os
import secrets
from base64 import urlsafe_b64encode
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PASSWORDS = "passwords.json"


def airflow_variables(*, home: Path, dags_folder: Path, plugins_folder: Path, port: int) -> dict[str, str]:
    """The environment of an Airflow: ``airflow.env``, then the caller's own, then what depends on the place.

    Args:
        home: Airflow's home.
        dags_folder: folder with the DAG files.
        plugins_folder: folder with Airflow plugins.
        port: the port of the UI and API.
    """
    url = f"http://127.0.0.1:{port}"
    variables = {**read_env_file(REPOSITORY / "airflow.env"), **os.environ}
    variables |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins_folder),
        "AIRFLOW__CORE__EXECUTOR": "airflow_executor.WarmLocalExecutor",
        # The executor waits for changes itself.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / PASSWORDS),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        # Half a minute of patience for a writer that finds the database locked, instead of five seconds.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}?timeout=30",
        # The server has made the database ready; no need for each component to look again.
        "AIRFLOW__DATABASE__CHECK_MIGRATIONS": "False",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(home / "logs" / "dag_processor"),
    }
    # Without bytecode every start takes three times as long.
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    return variables


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of a file with ``KEY=VALUE`` lines and ``#`` comments, as Docker Compose reads them."""
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def write_secrets(home: Path, users: str) -> None:
    """Make the keys and passwords that are not there yet, readable for the owner only.

    The keys go to ``airflow.cfg`` and not to the environment: tasks, and what they start, inherit the environment.

    Args:
        home: Airflow's home.
        users: names and roles as in ``[core] simple_auth_manager_users``, e.g. ``admin:admin,vera:viewer``.
    """
    config = home / "airflow.cfg"
    if not config.exists():
        key = urlsafe_b64encode(secrets.token_bytes(32)).decode()
        write_private(
            config,
            f"[core]\nfernet_key = {key}\n"
            f"[api]\nsecret_key = {secrets.token_urlsafe(32)}\n"
            f"[api_auth]\njwt_secret = {secrets.token_urlsafe(64)}\n",
        )
    passwords = home / PASSWORDS
    known = json.loads(passwords.read_text()) if passwords.exists() else {}
    names = [user.partition(":")[0].strip() for user in users.split(",")]
    missing = {name: secrets.token_urlsafe(12) for name in names if name not in known}
    if missing:
        write_private(passwords, json.dumps(known | missing) + "\n")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
