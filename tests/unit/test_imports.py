"""What the core costs those who import it."""

from __future__ import annotations

import subprocess
import sys

HEAVY = (
    "airflow", "docker", "duckdb", "requests", "jsonschema", "pendulum", "pystache", "tenacity",
    "cryptography", "yaml", "filelock", "luqum",
)  # fmt: skip

CODE = f"""
import importlib, pkgutil, sys, docker_runner
for module in pkgutil.walk_packages(docker_runner.__path__, "docker_runner."):
    if module.name != "docker_runner.cli" and not module.name.endswith("_commands"):
        importlib.import_module(module.name)
print(len([name for name in sys.modules if name.startswith("docker_runner.")]))
print(*[name for name in {(*HEAVY, "typer", "rich")} if name in sys.modules])
for module in pkgutil.walk_packages(docker_runner.__path__, "docker_runner."):
    importlib.import_module(module.name)
print(*[name for name in {HEAVY} if name in sys.modules])
"""


def test_importing_the_core_imports_neither_airflow_nor_other_heavy_packages() -> None:
    run = subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True, text=True)
    modules, with_core, with_commands = run.stdout.split("\n")[:3]
    assert int(modules) > 40
    assert with_core == ""
    assert with_commands == ""


PLUGIN = """
import sys
from airflow.plugins_manager import AirflowPlugin
before = set(sys.modules)
import docker_runner_airflow.plugin
new = set(sys.modules) - before
print("docker_runner_airflow.api" in new, "fastapi_apps" in vars(docker_runner_airflow.plugin.DockerRunnerPlugin))
print(*[name for name in ("fastapi", "pydantic", "starlette", "limits", "docker", "duckdb") if name in new])
"""


def test_loading_the_plugin_imports_nothing_that_only_the_api_server_needs() -> None:
    run = subprocess.run([sys.executable, "-c", PLUGIN], check=True, capture_output=True, text=True)
    assert run.stdout.splitlines()[-2:] == ["False True", ""]
