"""Ids of the DAGs that configurations and flows become: told by their own ids, the same at every reading."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256

from docker_runner.project.branches import Branch
from docker_runner.project.entries import Key

# Airflow takes 250 characters, for a task with its group too.
_LONGEST = 200
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")


def dag_id(component_id: str, config_id: str, branch: Branch | None = None) -> str:
    """The stable id of a configuration's DAG, e.g. ``sample.daily-delays--new-york``.

    Args:
        component_id: its component.
        config_id: its id.
        branch: a development branch's id stands in front, so that branches may be run side by side; None is the
            default branch.
    """
    prefix = "" if branch is None or branch.is_default else f"{branch.id}--"
    name = f"{prefix}{component_id}--{config_id}"
    if _UNSAFE.search(name):
        name = _UNSAFE.sub(lambda match: f"_{ord(match[0]):x}_", name)
    return name if len(name) <= _LONGEST else f"{name[:180]}--{sha256(name.encode()).hexdigest()[:16]}"


def colliding(keys: Iterable[Key], branch: Branch) -> dict[Key, Key]:
    """Configurations whose DAG would have the id of an earlier one's, with that one."""
    first: dict[str, Key] = {}
    return {key: other for key in keys if (other := first.setdefault(dag_id(*key, branch), key)) != key}
