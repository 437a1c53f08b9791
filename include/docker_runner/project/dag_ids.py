"""Ids of the DAGs that configurations and flows become: told by their own ids, the same at every reading."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from hashlib import sha256

from docker_runner.project.branches import Branch
from docker_runner.project.entries import Key

# Airflow takes 250 characters, for a task with its group too.
_LONGEST = 200
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
_REPLACED = re.compile("_[0-9a-f]+_")


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


def by_dag_id(keys: Iterable[Key], branch: Branch) -> dict[str, list[Key]]:
    """Configurations by the ids of their DAGs; where an id has several, none of them can be run."""
    found: dict[str, list[Key]] = {}
    for key in keys:
        found.setdefault(dag_id(*key, branch), []).append(key)
    return found


def collision(keys: Sequence[Key]) -> str:
    """What is wrong with configurations whose DAGs would have one id."""
    names = " and ".join("/".join(key) for key in keys)
    return f"{names} would be DAGs of one id: give {'one' if len(keys) == 2 else 'all but one'} of them another id."


def only_key(name: str, branch: Branch) -> Key | None:
    """The only configuration whose DAG can have an id; None when the id does not tell which one it is."""
    prefix = "" if branch.is_default else f"{branch.id}--"
    own = name.removeprefix(prefix)
    component_id, _, config_id = own.partition("--")
    key = component_id, config_id
    is_one = own.count("--") == 1 and "---" not in own and not _REPLACED.search(own)
    return key if is_one and dag_id(*key, branch) == name else None
