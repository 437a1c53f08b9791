"""A new configuration in a project directory: its folder, and its item in the manifest when there is one."""

from __future__ import annotations

import json
import re
import shutil
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docker_runner.documents import read_json
from docker_runner.errors import UserError
from docker_runner.project.configuration import Project
from docker_runner.project.entries import FLOW_COMPONENTS
from docker_runner.replacing import replace_text
from docker_runner.written_whole import written_folder

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_MANIFEST = Path(".keboola") / "manifest.json"
_CONFIG_PATH = "{component_type}/{component_id}/{config_id}"
_ROW_PATH = "rows/{config_row_id}"
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class NewConfiguration:
    """A configuration that is to be written.

    Attributes:
        project: the project directory with its branch.
        component_id: its component.
        component_type: type of the component, which its path names.
        id: its id.
        name: its name for people.
        content: what ``config.json`` is to hold.
        rows: ids of its rows.
    """

    project: Project
    component_id: str
    component_type: str
    id: str
    name: str
    content: Mapping[str, Any] = field(repr=False)
    rows: tuple[str, ...] = ()

    def write(self) -> Path:
        """Write the configuration.

        Returns:
            Its folder.

        Raises:
            UserError: an id cannot be used, or there is such a configuration or folder already.
        """
        self._check()
        naming = self.project.naming
        names = {
            "component_type": self.component_type,
            "component_id": self.component_id,
            "config_id": self.id,
            "config_name": path_name(self.name),
        }
        path = _filled(naming.get("config", _CONFIG_PATH), names)
        folder = self.project.branch_folder / path
        if folder.exists():
            raise UserError(f"{folder} is there already: give the configuration another name.")
        row_paths = {
            row: _filled(naming.get("configRow", _ROW_PATH), {"config_row_id": row, "config_row_name": path_name(row)})
            for row in self.rows
        }
        folder.parent.mkdir(parents=True, exist_ok=True)
        with written_folder(folder) as part:
            _write_files(part, self.content, name=self.name)
            for row, row_path in row_paths.items():
                (part / row_path).mkdir(parents=True)
                _write_files(part / row_path, {}, name=row)
        try:
            self._add_to_manifest(path, row_paths)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return folder

    def _check(self) -> None:
        for what, text in (("configuration", self.id), *(("row", row) for row in self.rows)):
            if not _ID.fullmatch(text) or len(text) > 100:
                raise UserError(
                    f"The id {text!r} of the {what} cannot be used: letters, digits, - _ and . are allowed, and it "
                    "begins with a letter, a digit or _."
                )
        if len(set(self.rows)) < len(self.rows):
            raise UserError("Two rows have the same id.")
        if not self.name.strip() or "\n" in self.name:
            raise UserError("The name must be one line.")
        if self.component_type == "processor":
            raise UserError(
                f"{self.component_id} is a processor: it has no configurations, but stands in the processors of others."
            )
        is_flow = self.component_id in FLOW_COMPONENTS
        if is_flow and self.rows:
            raise UserError("A flow has no rows: write its phases and tasks into config.json.")
        if self.project.has((self.component_id, self.id)) or (
            is_flow and (self.component_id, self.id) in self.project.flows()
        ):
            raise UserError(f"There is a configuration {self.component_id}/{self.id} already.")

    def _add_to_manifest(self, path: str, rows: Mapping[str, str]) -> None:
        file = self.project.folder / _MANIFEST
        if not file.exists():
            return
        manifest = read_json(file)
        branch = next(item["id"] for item in manifest["branches"] if str(item["id"]) == self.project.branch.id)
        item = {
            "branchId": branch,
            "componentId": self.component_id,
            "id": self.id,
            "path": path,
            "rows": [{"id": row, "path": row_path} for row, row_path in rows.items()],
        }
        manifest["configurations"] = [*(manifest["configurations"] or []), item]
        # As kbc writes it.
        replace_text(file, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")


def path_name(name: str) -> str:
    """A name as ``kbc`` writes it in paths: small letters without accents, words with ``-`` between them."""
    words = re.sub(r"([A-Z]+)", r"-\1", name)
    plain = "".join(char for char in unicodedata.normalize("NFD", words) if not unicodedata.combining(char))
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-") or "unnamed"


def _filled(template: str, names: Mapping[str, str]) -> str:
    """A path by a naming template of the manifest; a placeholder that is not known stays away."""
    return _PLACEHOLDER.sub(lambda match: names.get(match[1], ""), template)


def _write_files(folder: Path, content: Mapping[str, Any], *, name: str) -> None:
    for file, document in (("config.json", content), ("meta.json", {"name": name, "isDisabled": False})):
        (folder / file).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "description.md").write_text("", encoding="utf-8")
