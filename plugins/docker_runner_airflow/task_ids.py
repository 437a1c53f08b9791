"""Ids of tasks and task groups that are made of ids in the project: each its own, and none that Airflow refuses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256

LONGEST_GROUP = 200
"""Characters that Airflow takes for the id of a group."""
LONGEST_TASK = 250
"""Characters that Airflow takes for the id of a task, that of its group and a dot included."""
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_DIGEST = 16


def own_ids(kind: str, ids: Sequence[str], *, longest: int) -> dict[str, str]:
    """An id for each of the ids that stand side by side, e.g. ``row_main`` for the row ``main``.

    What Airflow does not take in an id is replaced (``row_a_20_b`` for ``a b``). Ids that would be the same or too long
    then get a digest, behind a ``-`` after the kind, where all others have a ``_``: so each is another one.

    Args:
        kind: what they begin with.
        ids: the ids, each once.
        longest: characters that each may have; at least 40.
    """
    replaced = {text: _UNSAFE.sub(lambda match: f"_{ord(match[0]):x}_", text) for text in ids}
    count = Counter(replaced.values())
    return {
        text: f"{kind}_{name}"
        if (count[name] == 1 or name == text) and len(kind) + 1 + len(name) <= longest
        else _told_apart(kind, text, name, longest)
        for text, name in replaced.items()
    }


def possible_ids(kind: str, text: str, *, longest: int) -> tuple[str, str]:
    """What :func:`own_ids` may give for an id: by itself, and beside one that would be the same."""
    alone = own_ids(kind, [text], longest=longest)[text]
    return alone, _told_apart(kind, text, alone.removeprefix(f"{kind}_"), longest)


def _told_apart(kind: str, text: str, name: str, longest: int) -> str:
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return f"{kind}-{name[: longest - len(kind) - _DIGEST - 2]}-{digest}"
