"""What components may ask for and this runner does not offer: refused, instead of silently ignored.

Only settings without which a run would do something else than its author expects are refused; those that change
nothing here (workspace options) are accepted and have no effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from docker_runner.errors import ConfigurationError

_STAGING = ("local", "none")


def refuse_unsupported_component(definition: Mapping[str, Any], *, file: Path | str | None = None) -> None:
    """Refuse a component that needs what is not offered (D27).

    Args:
        definition: the checked definition, with defaults.
        file: where it stands, for the error.

    Raises:
        ConfigurationError: names the key.
    """
    _refuse(_wishes_of_component(definition["data"]), file)


def _refuse(wishes: Iterator[tuple[str, str]], file: Path | str | None) -> None:
    for key, problem in wishes:
        raise ConfigurationError(problem, file=file, key=key)


def _wishes_of_component(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for direction in ("input", "output"):
        staging = data["staging_storage"][direction]
        if staging not in _STAGING:
            yield (
                f"data.staging_storage.{direction}",
                f"Staging {staging!r} is not supported here: components get and give their data as files "
                f"({' or '.join(repr(name) for name in _STAGING)}).",
            )
