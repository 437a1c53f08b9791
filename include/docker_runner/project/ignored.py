"""What a project directory holds and ``kbc`` is told to leave alone: it is not run either.

::

    .keboola/.kbcignore         vendor.ex-foo/123          a configuration
                                vendor.ex-foo/123/45       a row
                                branch/<name>              a branch
                                vendor.ex-foo/123:key      a key that is not synchronised; has no effect here
    .keboola/manifest.json      {"ignoredComponents": ["vendor.ex-foo"]}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker_runner.documents import read_text
from docker_runner.errors import ConfigurationError

_FILE = Path(".keboola") / ".kbcignore"
_BRANCH = "branch/"


@dataclass(frozen=True)
class Ignored:
    """What is left alone.

    Attributes:
        components: ids of components.
        configurations: component and configuration ids.
        rows: component, configuration and row ids.
        branches: names or folders of branches.
    """

    components: frozenset[str] = frozenset()
    configurations: frozenset[tuple[str, str]] = frozenset()
    rows: frozenset[tuple[str, str, str]] = frozenset()
    branches: frozenset[str] = frozenset()

    @classmethod
    def read(cls, folder: Path, manifest: Mapping[str, Any] | None) -> Ignored:
        """Read what a project leaves alone.

        Args:
            folder: the project directory.
            manifest: content of its manifest, if it has one.

        Raises:
            ConfigurationError: a line of the file means nothing.
        """
        file = folder / _FILE
        components = frozenset(str(name) for name in (manifest or {}).get("ignoredComponents") or ())
        if not file.is_file():
            return cls(components)
        configurations, rows, branches = set(), set(), set()
        for number, raw in enumerate(read_text(file).splitlines(), start=1):
            line = raw.strip()
            parts = tuple(line.split("/"))
            if not line or line.startswith("#"):
                continue
            if line.startswith(_BRANCH) and line != _BRANCH:
                branches.add(line.removeprefix(_BRANCH))
            elif not all(parts) or not 2 <= len(parts) <= 3 or (":" in line and len(parts) == 3):
                problem = (
                    f"{line!r} means nothing: write <component>/<configuration>, <component>/<configuration>/<row> "
                    "or branch/<name>."
                )
                raise ConfigurationError(problem, file=file, line=number)
            elif ":" in line:
                continue
            elif len(parts) == 2:
                configurations.add((parts[0], parts[1]))
            else:
                rows.add((parts[0], parts[1], parts[2]))
        return cls(components, frozenset(configurations), frozenset(rows), frozenset(branches))

    def has(self, key: tuple[str, str]) -> bool:
        """Whether a configuration is left alone."""
        return key in self.configurations or key[0] in self.components
