"""What the tasks of a job have reported: the result of the job, what it used, and how much it moved (LC-8, US-4)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from docker_runner.engine.registries import without_registry
from docker_runner.job.plan import CREATE_WORKSPACE, PULL_IMAGES, Kind
from docker_runner.secret_keys import HIDDEN
from docker_runner.storage.events import Event, EventType
from docker_runner_airflow.merged_operator import DONE, RUN_JOB
from docker_runner_airflow.task_ids import LONGEST_GROUP, possible_ids

USAGE = "usage"
RETURNED = "return_value"
KEYS = (RETURNED, USAGE, DONE)
"""The XComs that matter."""
_VAULT = "vault."
_PROCESSOR = re.compile(r"(before|after)_(\d+)")

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Failure:
    """Why a job failed.

    Attributes:
        message: for people: the component's own where it has told one.
        kind: ``user`` or ``application`` (LC-6).
        event_id: of the event that tells it.
    """

    message: str
    kind: str
    event_id: str


@dataclass
class Reports:
    """What the steps of a job have returned, and why it failed.

    Attributes:
        steps: what each step returned, by the group of its row (empty without rows) and its name.
        used: what components that failed have used.
        failure: None when no step told one.
    """

    steps: dict[tuple[str, str], Report] = field(default_factory=dict)
    used: list[Any] = field(default_factory=list)
    failure: Failure | None = None

    @classmethod
    def of(cls, xcoms: Iterable[tuple[str, str, Any]], events: Sequence[Event]) -> Reports:
        """Gather them.

        Args:
            xcoms: id of the task, key and value of each of :data:`KEYS`.
            events: of the job, oldest first; what tasks returned counts for more, for it is whole.
        """
        reports = cls()
        for task_id, key, value in xcoms:
            group, _, name = task_id.rpartition(".")
            if key == USAGE:
                reports.used += value if isinstance(value, list) else []
            elif name != RUN_JOB:
                reports._add(group, name, value)
            elif isinstance(value, Mapping):
                for step, report in value.items():
                    row_id, _, step_name = str(step).rpartition(".")
                    reports._add(reports._group(row_id), step_name, report)
        returned = frozenset(reports.steps)
        for event in events:
            reports._hear(event, returned)
        return reports

    def _hear(self, event: Event, returned: Collection[tuple[str, str]]) -> None:
        """What an event tells; what a task has returned is whole, and counts for more."""
        results = event.results
        if event.type is EventType.SUCCESS and isinstance(results.get("step"), str):
            group = self._group(event.source.row_id)
            if (group, results["step"]) not in returned:
                self._add(group, results["step"], results)
        elif event.type is EventType.ERROR and results.get("error"):
            self.failure = Failure(event.message, str(results["error"]), event.id)

    def _group(self, row_id: str) -> str:
        """The group of the tasks of a row; the other rows decide which of two ids it has."""
        if not row_id:
            return ""
        alone, told_apart = possible_ids("row", row_id, longest=LONGEST_GROUP)
        return told_apart if any(group == told_apart for group, _ in self.steps) else alone

    def _add(self, group: str, step: str, report: Any) -> None:
        if isinstance(report, Mapping):
            self.steps[group, step] = report

    def _returned(self, step: str) -> list[Report]:
        """What all rows returned of a step, in their order."""
        return [self.steps[group, step] for group in self._groups() if (group, step) in self.steps]

    def _groups(self) -> list[str]:
        """The rows, in the order in which they run."""
        planned = [self._group(str(row)) for row in self._created.get("rows") or ()]
        return list(dict.fromkeys((*planned, *(group for group, _ in self.steps))))

    @property
    def _created(self) -> Report:
        return self.steps.get(("", CREATE_WORKSPACE.name), {})

    @property
    def ran_nothing(self) -> bool:
        """Whether there was nothing to run: all rows are disabled (LC-7)."""
        return self._created.get("rows") == []

    @property
    def backend(self) -> Report:
        """Size and context of the backend of the first row (LC-9); empty as long as they are not known."""
        return self._created.get("backend") or {}

    @property
    def config_version(self) -> str | None:
        """The version of the configuration that ran."""
        return self._created.get("version") or None

    @property
    def variables(self) -> dict[str, Any]:
        """Names and values of the variables that were replaced (VR-12); the vault's are given to components only."""
        values: Report = self._created.get("variables") or {}
        return {name: HIDDEN if name.startswith(_VAULT) else value for name, value in values.items()}

    def images(self) -> list[list[dict[str, Any]]]:
        """The images that ran, in their order: a list for each row; of a job that got to none, all that it prepared."""
        prepared = self.steps.get(("", PULL_IMAGES.name), {}).get("images") or {}
        digests = {image["reference"]: image["digests"] for image in prepared.values()}
        rows = [
            [_image(self.steps[group, step]["image"], digests) for step in self._stages(group)]
            for group in self._groups()
        ]
        ran = [row for row in rows if row]
        if ran or not digests:
            return ran
        return [[_image(reference, digests) for reference in digests]]

    def _stages(self, group: str) -> list[str]:
        """Names of the containers of a row that ended well, in the order of their run."""
        names = [step for of, step in self.steps if of == group and "image" in self.steps[of, step]]
        return sorted(names, key=_place)

    def input_tables(self) -> list[dict[str, Any]]:
        """The tables that were read."""
        names = {"id": "source", "destination": "destination", "rows": "rows", "bytes": "bytes"}
        return [
            {
                **_picked(table, names),
                "name": _last(table.get("source"), "."),
                "lastImportDate": table.get("last_import_date"),
            }
            for table in self._items(Kind.LOAD_TABLES, "tables")
        ]

    def input_files(self) -> list[dict[str, Any]]:
        """The files that were read."""
        return [
            {**_picked(file, {"id": "id", "bytes": "bytes"}), "name": _last(file.get("destination"), "/")}
            for file in self._items(Kind.LOAD_FILES, "files")
        ]

    def output_tables(self) -> list[dict[str, Any]]:
        """The tables that were written, with the rows that came in and those that they have now."""
        names = {"id": "id", "rows": "rows", "tableRows": "table_rows", "bytes": "bytes"}
        return [
            {**_picked(table, names), "name": _last(table.get("id"), ".")}
            for kind in (Kind.UNLOAD_OUTPUT, Kind.UNLOAD_ALWAYS)
            for table in self._items(kind, "tables")
        ]

    def output_files(self) -> list[dict[str, Any]]:
        """The files that were written."""
        names = {"id": "id", "name": "name", "bytes": "bytes"}
        return [_picked(file, names) for file in self._items(Kind.UNLOAD_OUTPUT, "files")]

    def _items(self, kind: Kind, what: str) -> list[Report]:
        return [item for report in self._returned(kind.value) for item in report.get(what) or ()]

    def artifacts(self) -> dict[str, list[dict[str, Any]]]:
        """Ids of the artifacts that were stored and fetched."""
        steps = {"uploaded": Kind.UNLOAD_OUTPUT, "downloaded": Kind.RUN_COMPONENT}
        return {
            way: [
                {"storageFileId": number}
                for report in self._returned(kind.value)
                for number in (report.get("artifacts") or {}).get(way) or ()
            ]
            for way, kind in steps.items()
        }

    def output_variables(self) -> dict[str, Any]:
        """What components told later jobs (OM-78)."""
        found: dict[str, Any] = {}
        for report in self._returned(Kind.UNLOAD_OUTPUT.value):
            found |= report.get("variables") or {}
        return found

    def usage(self) -> list[Any]:
        """What components told of their consumption, those that failed too (US-2)."""
        told = [item for report in self._returned(Kind.RUN_COMPONENT.value) for item in report.get(USAGE) or ()]
        return [*told, *self.used]

    def moved_bytes(self) -> dict[str, int]:
        """How much was read and written."""
        moved = {
            "inputTablesBytesSum": self.input_tables(),
            "inputFilesBytesSum": self.input_files(),
            "outputTablesBytesSum": self.output_tables(),
            "outputFilesBytesSum": self.output_files(),
        }
        return {name: sum(item["bytes"] or 0 for item in items) for name, items in moved.items()}


def _image(reference: str, digests: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """An image as the result names it: without its registry (LC-8)."""
    return {
        "id": without_registry(reference),
        "digests": [without_registry(digest) for digest in digests.get(reference, ())],
    }


def _place(step: str) -> tuple[int, int]:
    """Where a container stands in its row: processors before, the component, processors after."""
    found = _PROCESSOR.fullmatch(step)
    if not found:
        return (1, 0)
    return (0 if found[1] == "before" else 2, int(found[2]))


def _picked(item: Report, names: Mapping[str, str]) -> dict[str, Any]:
    """Some keys of a report under the names that callers know."""
    return {name: item.get(key) for name, key in names.items()}


def _last(text: Any, separator: str) -> str:
    return str(text or "").rpartition(separator)[2]
