"""Builds small projects, component registries and checked pieces of configurations for tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker_runner.job.definition import Job
from docker_runner.job.resolution import JobRequest, resolve_job
from docker_runner.project.component import Component, ComponentRegistry
from docker_runner.project.configuration import Project
from docker_runner.project.parsing import parsed_configuration


def component(component_id: str = "vendor.ex-foo", *, uri: str = "vendor/foo", **more: Any) -> Component:
    """A component with the given keys of ``data``; keys of its root may be given as ``root={…}``."""
    return Component.from_document(component_document(component_id, uri=uri, **more))


def component_document(
    component_id: str = "vendor.ex-foo", *, uri: str = "vendor/foo", root: dict[str, Any] | None = None, **data: Any
) -> dict[str, Any]:
    """The definition of :func:`component`, as written."""
    return {"id": component_id, **(root or {}), "data": {"definition": {"type": "dockerhub", "uri": uri}, **data}}


def configuration(content: dict[str, Any]) -> dict[str, Any]:
    """A configuration, checked and with defaults."""
    return parsed_configuration(content, file="config.json")


def mapping(direction: str, kind: str, *items: dict[str, Any]) -> list[dict[str, Any]]:
    """Items of ``storage.<direction>.<kind>``, checked and with defaults."""
    content = configuration({"storage": {direction: {kind: list(items)}}})
    found: list[dict[str, Any]] = content["storage"][direction][kind]
    return found


@dataclass(frozen=True)
class ProjectBuilder:
    """A project directory and a component registry below one folder, written piece by piece."""

    folder: Path

    @property
    def directory(self) -> Path:
        """The project directory."""
        return self.folder / "project"

    @property
    def project(self) -> Project:
        """The project as it is now."""
        return Project(self.directory)

    @property
    def registry(self) -> ComponentRegistry:
        """The registry as it is now."""
        return ComponentRegistry(self.folder / "components")

    def write(self, path: str, content: Any) -> Path:
        """Write a file of the project: text and bytes as they are, anything else as JSON."""
        return write(self.directory / path, content)

    def component(self, component_id: str = "vendor.ex-foo", **more: Any) -> Path:
        """Register a component; see :func:`component`."""
        return write(self.folder / "components" / f"{component_id}.json", component_document(component_id, **more))

    def configuration(
        self,
        content: Any = None,
        *,
        rows: dict[str, Any] | None = None,
        component_id: str = "vendor.ex-foo",
        config_id: str = "main",
        disabled: tuple[str, ...] = (),
    ) -> Path:
        """Write a configuration with its rows; ids in ``disabled`` are disabled rows. Gives its file."""
        folder = f"main/extractor/{component_id}/{config_id}"
        for row_id, row in (rows or {}).items():
            self.write(f"{folder}/rows/{row_id}/config.json", row)
            self.write(f"{folder}/rows/{row_id}/meta.json", {"name": row_id, "isDisabled": row_id in disabled})
        return self.write(f"{folder}/config.json", {} if content is None else content)

    def variables(self, declared: list[str], values: dict[str, dict[str, Any]], *, config_id: str = "main") -> None:
        """Write the variables of a configuration of ``vendor.ex-foo`` and their stored values."""
        folder = f"main/extractor/vendor.ex-foo/{config_id}/variables"
        self.write(f"{folder}/config.json", {"variables": [{"name": name, "type": "string"} for name in declared]})
        for row_id, pairs in values.items():
            items = [{"name": name, "value": value} for name, value in pairs.items()]
            self.write(f"{folder}/values/{row_id}/config.json", {"values": items})

    def job(
        self,
        request: JobRequest | None = None,
        *,
        component_id: str = "vendor.ex-foo",
        config_id: str = "main",
        vault: Path | None = None,
        branch: str = "",
    ) -> Job:
        """Resolve a job of a configuration."""
        return resolve_job(
            Project(self.directory, branch=branch),
            self.registry,
            component_id=component_id,
            config_id=config_id,
            request=request or JobRequest(),
            job_id=f"{component_id}.{config_id}",
            run_id="42",
            vault=vault,
        )


def write(path: Path, content: Any) -> Path:
    """Write a file and the folders above it: text and bytes as they are, anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path
