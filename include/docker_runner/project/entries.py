"""Where the configurations of a project lie by its manifest; :mod:`docker_runner.project.folder_entries` without one.

A manifest may name thousands of configurations, and every task reads it to find the one it needs: what is not asked
for is neither checked nor built.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from docker_runner.documents import checked
from docker_runner.errors import ConfigurationError
from docker_runner.positions import line_of
from docker_runner.project.branches import Branch
from docker_runner.project.ignored import Ignored
from docker_runner.project.manifest_items import UndecodedItems
from docker_runner.project.unnamed import unnamed_folders

VARIABLES_COMPONENT = "keboola.variables"
SHARED_CODE_COMPONENT = "keboola.shared-code"
SCHEDULER_COMPONENT = "keboola.scheduler"
_OF_SHARED_CODE = "sharedCodeVariablesFor"
FLOW_COMPONENTS = ("keboola.orchestrator", "keboola.flow")
"""Components whose configurations are flows: they run other configurations."""
NOT_RUN = frozenset({VARIABLES_COMPONENT, SHARED_CODE_COMPONENT, SCHEDULER_COMPONENT, *FLOW_COMPONENTS})
"""Components whose configurations are no runs of their own."""
_BELONGS_TO = frozenset({"variablesFor", "schedulerFor", _OF_SHARED_CODE})

Key = tuple[str, str]
"""Component and configuration id."""


@dataclass(frozen=True)
class Entry:
    """Where one configuration lies; nothing of it is read yet.

    ``parent`` is the configuration that this one belongs to (variables, schedules); ``default_row`` the id of the row
    that is meant when none is named (values of variables).
    """

    key: Key
    folder: Path
    rows: tuple[tuple[str, Path], ...] = ()
    parent: Key | None = None
    default_row: str = ""


class Entries(Protocol):
    """The configurations of a project."""

    def keys(self) -> Iterator[Key]:
        """Those that can be run, in order."""

    def has(self, key: Key) -> bool:
        """Whether there is such a configuration that can be run."""

    def get(self, key: Key) -> Entry | None:
        """One of them, or one that belongs to another one; None when there is none."""

    def of(self, component_id: str) -> Iterator[Key]:
        """All configurations of a component, those that belong to others too."""

    def at(self, path: str) -> Key | None:
        """The configuration that lies at a path of the branch, e.g. ``_shared/vendor.python-transformation``."""

    def children(self, key: Key, component_id: str) -> list[Entry]:
        """The configurations of a component that belong to a configuration: its variables or schedules."""

    def unnamed(self) -> list[Path]:
        """Folders that look like configurations or rows and are none, because nothing names them."""


class ManifestEntries:
    """The configurations that a manifest of the ``kbc`` CLI names.

    Args:
        file: the manifest, for errors.
        manifest: its content, checked except for the list of configurations; a task's has :class:`UndecodedItems`
            there, of which those are decoded that something is asked about.
        folder: the project directory.
        branch: the branch that is read.
        ignored: what counts as not there.
    """

    def __init__(
        self, file: Path, manifest: Mapping[str, Any], *, folder: Path, branch: Branch, ignored: Ignored
    ) -> None:
        self._file = file
        self._folder = folder / branch.path
        self._ignored = ignored
        self._repeated: dict[Key, tuple[int, Any]] = {}
        self._items: dict[Key, tuple[int, Any]] = {}
        self._known: dict[Key, Entry] = {}
        self._children: dict[Key, list[Key]] = {}
        self._branches = {str(item["id"]): str(item["path"]) for item in manifest["branches"]}
        self._nowhere: set[Key] = set()
        self._of_no_branch: list[tuple[int, Any]] = []
        self._own = {item["id"] for item in manifest["branches"] if str(item["id"]) == branch.id} | {branch.id}
        self._left_alone: list[Any] = []
        self._undecoded: UndecodedItems | None = None
        self._looked_for: set[str] = set()
        items = manifest["configurations"] or []
        if isinstance(items, UndecodedItems):
            self._undecoded = items
            if ignored.configurations or ignored.components:
                # What belongs to something that is left alone does not tell that by itself.
                self._look_for("")
        else:
            self._add(enumerate(items))
            self._complete()

    def _look_for(self, value: str) -> None:
        """Have the items at hand in which a value stands; for an empty one all of them."""
        if self._undecoded is None or value in self._looked_for:
            return
        self._looked_for.add(value)
        self._add(self._undecoded.take(value))
        if self._of_no_branch:
            # Whether one of these hides another item is told only by all.
            self._add(self._undecoded.take(""))
        # Whoever asks for several of them gets them in the manifest's order, however they were found.
        self._items = dict(sorted(self._items.items(), key=lambda found: found[1][0]))
        if not self._undecoded:
            self._undecoded = None
            self._complete()

    def _add(self, items: Iterable[tuple[int, Any]]) -> None:
        own = self._own
        # Whoever reads a whole project goes through this loop once for each of its configurations.
        for index, item in items:
            try:
                component_id, config_id, branch_id = item["componentId"], item["id"], item["branchId"]
                ours = branch_id in own or str(branch_id) in own
                if type(component_id) is not str:
                    raise TypeError
            except (TypeError, KeyError):
                # Kept under a name of its own, so that it shows itself and hides no other.
                component_id, config_id, ours = f"configurations[{index}]", "", True
            if not ours and str(branch_id) not in self._branches:
                self._of_no_branch.append((index, item))
            elif ours:
                key = component_id, config_id if type(config_id) is str else str(config_id)
                if key in self._items:
                    self._repeated[key] = index, item
                    continue
                self._items[key] = index, item
                if type(item) is dict and "relations" in item and (parent := _parent(item)):
                    self._children.setdefault(parent, []).append(key)

    def _complete(self) -> None:
        """Finish what can be told only when all items are known.

        Configurations of branches that the manifest does not have would show themselves nowhere: they are kept, and
        hide none of the branch that is read. What is left alone goes.
        """
        for index, item in sorted(self._of_no_branch, key=lambda found: found[0]):
            key = str(item["componentId"]), str(item["id"])
            key = key if key not in self._items else (f"configurations[{index}]", "")
            self._items[key] = index, item
            self._nowhere.add(key)
        for key in [key for key in self._items if self._ignored.has(key)]:
            for gone in (key, *self._children.pop(key, [])):
                self._left_alone.append(self._items.pop(gone, (0, {}))[1])

    def keys(self) -> Iterator[Key]:
        """Those that can be run, in the manifest's order."""
        self._look_for("")
        children = {child for children in self._children.values() for child in children}
        return (key for key in self._items if key[0] not in NOT_RUN and key not in children)

    def has(self, key: Key) -> bool:
        """Whether there is such a configuration that can be run."""
        self._look_for(key[1])
        return key in self._items and key[0] not in NOT_RUN

    def get(self, key: Key) -> Entry | None:
        """The entry of a configuration, checked now.

        Raises:
            ConfigurationError: its item in the manifest is wrong.
        """
        if key not in self._known:
            self._look_for(key[1])
        if key not in self._known and key in self._items:
            # Variables and schedules ask for the entry that they belong to.
            self._known[key] = self._read(key)
        return self._known.get(key)

    def _read(self, key: Key) -> Entry:
        index, raw = self._items[key]
        item = checked(raw, "project-manifest-configuration", file=self._file, key=f"configurations[{index}]")
        if key in self._nowhere:
            known = ", ".join(f"{branch} ({path})" for branch, path in self._branches.items())
            problem = f"The manifest has no branch {item['branchId']}; its branches are: {known}."
            self._refuse(f"configurations[{index}].branchId", problem)
        if key in self._repeated:
            problem = f"This is {'/'.join(key)} for a second time. Remove one of the two."
            self._refuse(f"configurations[{self._repeated[key][0]}]", problem)
        parent = _parent(item)
        folder = self._folder_around(parent, item) / item["path"]
        rows = item.get("rows") or []
        seen: set[str] = set()
        for number, row in enumerate(rows):
            if str(row["id"]) in seen:
                place = f"configurations[{index}].rows[{number}]"
                problem = f"This is the row {row['id']} of {'/'.join(key)} for a second time. Remove one of the two."
                self._refuse(place, problem)
            seen.add(str(row["id"]))
        rows = [row for row in rows if (*key, str(row["id"])) not in self._ignored.rows]
        defaults = [str(row["id"]) for row in rows if "variablesValuesFor" in _relation_types(row)]
        return Entry(
            key,
            folder=folder,
            rows=tuple((str(row["id"]), folder / row["path"]) for row in rows),
            parent=parent,
            default_row=defaults[0] if defaults else "",
        )

    def _folders(self, items: Iterable[Any]) -> Iterator[Path]:
        """Where items of the manifest lie that are not sound, as far as they tell."""
        for item in items:
            path = item.get("path") if isinstance(item, dict) else None
            with suppress(ConfigurationError):
                if isinstance(path, str):
                    yield self._folder_around(_parent(item), item) / path

    def _refuse(self, place: str, problem: str) -> None:
        raise ConfigurationError(problem, file=self._file, key=place, line=line_of(self._file, place))

    def _folder_around(self, parent: Key | None, item: Mapping[str, Any]) -> Path:
        """The folder that the path of an item counts from: that of what it belongs to, else the branch's."""
        around = self.get(parent) if parent else None
        if not around:
            return self._folder
        row_id = str(_relation(item).get("rowId", ""))
        return dict(around.rows).get(row_id, around.folder)

    def of(self, component_id: str) -> Iterator[Key]:
        """All configurations of a component, in the manifest's order."""
        self._look_for(component_id)
        return (key for key in self._items if key[0] == component_id)

    def at(self, path: str) -> Key | None:
        """The configuration that lies at a path of the branch."""
        wanted = path.strip("/")
        self._look_for(wanted)
        items = ((key, item) for key, (_, item) in self._items.items() if isinstance(item, dict))
        return next((key for key, item in items if item.get("path") == wanted and not _parent(item)), None)

    def children(self, key: Key, component_id: str) -> list[Entry]:
        """The configurations of a component that belong to a configuration."""
        self._look_for(key[1])
        children = [child for child in self._children.get(key, []) if child[0] == component_id]
        found = map(self.get, sorted(children, key=lambda child: self._items[child][0]))
        return [entry for entry in found if entry]

    def unnamed(self) -> list[Path]:
        """Folders in the branch that look like configurations or rows, and that the manifest does not name."""
        self._look_for("")
        named: set[Path] = set()
        # What shows itself as broken, or is to be left alone, is not told once more.
        closed = set(self._folders(self._left_alone))
        for key, (_, item) in self._items.items():
            try:
                folder = (self._known.get(key) or self._read(key)).folder
            except ConfigurationError:
                closed.update(self._folders([item, *self._repeated.get(key, ())[1:]]))
            else:
                named.update([folder, *(folder / row["path"] for row in item.get("rows") or ())])
        return unnamed_folders(self._folder, named=named, closed=closed, ignored=self._ignored)


def _parent(item: Any) -> Key | None:
    """What an item of the manifest belongs to, by its relations."""
    if not isinstance(item, dict) or "relations" not in item:
        return None
    relation = _relation(item)
    if not relation:
        return None
    component_id = SHARED_CODE_COMPONENT if relation["type"] == _OF_SHARED_CODE else relation.get("componentId", "")
    return str(component_id), str(relation.get("configId", ""))


def _relation(item: Mapping[str, Any]) -> Mapping[str, Any]:
    # In plain steps: this is asked of each of thousands of items.
    given = item.get("relations")
    if isinstance(given, list):
        for relation in given:
            if isinstance(relation, dict) and str(relation.get("type")) in _BELONGS_TO:
                return relation
    return {}


def _relation_types(row: Mapping[str, Any]) -> list[str]:
    return [str(relation.get("type")) for relation in row.get("relations") or []]
