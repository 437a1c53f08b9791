"""Processes that make DAGs of a generated project in three ways, a file's worth at a time, and tell what it cost."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.setting import REPOSITORY

WAYS = ("ours", "plain", "yaml")


class Parser:
    """A process that makes the DAGs of one file after the other.

    Args:
        way: one of :data:`WAYS`.
        python: the Python of its environment.
        environment: its variables.
    """

    def __init__(self, way: str, python: Path | str, environment: dict[str, str]) -> None:
        code = f"from tests.benchmarks.parsers import serve; serve({way!r})"
        self.process = subprocess.Popen(
            [str(python), "-c", code],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def parse(self, order: dict[str, Any]) -> tuple[int, float, float]:
        """Make the DAGs of one file; number of tasks, and CPU seconds of making and of serialising them."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        while not (line := self.process.stdout.readline()).startswith("parsed "):
            if not line:
                raise RuntimeError("a process that makes DAGs has ended")
        tasks, made, stored = json.loads(line.removeprefix("parsed "))
        return int(tasks), float(made), float(stored)

    def stop(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def serve(way: str) -> None:
    """Answer orders on the standard input until it ends."""
    make = _maker(way)
    for line in sys.stdin:
        order = json.loads(line)
        gc.collect()
        begin = time.process_time()
        dags = make(order)
        made = time.process_time()
        _store(dags)
        stored = time.process_time()
        tasks = sum(len(dag.tasks) for dag in dags)
        print("parsed", json.dumps([tasks, made - begin, stored - made]), flush=True)


def _maker(way: str) -> Callable[[dict[str, Any]], list[Any]]:
    import airflow.serialization.serialized_objects  # noqa: F401

    if way == "ours":
        import docker_runner_airflow.preload  # noqa: F401
        from docker_runner_airflow.dag_factory import build_dags

        return lambda order: list(build_dags(shard=order["shard"]).values())
    if way == "plain":
        from tests.benchmarks.plain_dags import plain_dags

        return lambda order: list(plain_dags(order["numbers"]).values())
    import dagfactory  # type: ignore[import-not-found,unused-ignore]
    from airflow.providers.standard.operators.empty import EmptyOperator  # noqa: F401
    from airflow.sdk import DAG

    def from_yaml(order: dict[str, Any]) -> list[Any]:
        found: dict[str, Any] = {}
        dagfactory.load_yaml_dags(globals_dict=found, config_filepath=order["file"])
        return [dag for dag in found.values() if isinstance(dag, DAG)]

    return from_yaml


def _store(dags: list[Any]) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    for dag in dags:
        DagSerialization.to_dict(dag)
