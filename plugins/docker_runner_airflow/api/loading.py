"""Loads what calls need while the API server starts, so that the first caller waits no longer than the others."""

from __future__ import annotations

from importlib import import_module

# What stands inside functions elsewhere, because other processes can do without it.
_MODULES = (
    "cryptography.fernet",
    "docker",
    "jsonschema",
    "pystache",
    "yaml",
    "docker_runner.job.action",
    "docker_runner.job.effective",
    "docker_runner_airflow.hooks",
)


def load_what_calls_need() -> None:
    """Import it, and compile the schemas; takes a part of a second, once."""
    from docker_runner.schemas import compile_schemas

    for name in _MODULES:
        import_module(name)
    compile_schemas()
