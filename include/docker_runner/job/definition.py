"""What to run: everything a run needs to know, resolved, checked and serialisable. Secrets are still ciphers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any

from docker_runner.documents import scalar_text
from docker_runner.encryption import Scope
from docker_runner.interface.environment import RunIdentity
from docker_runner.project.build_options import build_plan
from docker_runner.project.component import Component
from docker_runner.storage.base import StateKey


class Mode(StrEnum):
    """How a job runs.

    All but ``run`` store no results. ``debug`` stores a snapshot of the data folder before each image and at the end
    (LC-60); the others store the folder once (LC-65): ``dry-run`` when all images have run, ``input`` instead of
    running them, ``sandbox`` for a configuration that is not yet any component's.
    """

    RUN = "run"
    DEBUG = "debug"
    SANDBOX = "sandbox"
    INPUT = "input"
    DRY_RUN = "dry-run"

    @property
    def runs_images(self) -> bool:
        """Whether containers run; without them nothing needs a secret in plain text, nor an engine."""
        return self not in (Mode.SANDBOX, Mode.INPUT)

    @property
    def stores_archive(self) -> bool:
        """Whether the data folder is stored as one file (LC-65)."""
        return self not in (Mode.RUN, Mode.DEBUG)


@dataclass(frozen=True)
class Stage:
    """One image of a row, in order: before-processors, the component itself, after-processors.

    ``parameters`` are a processor's own; the component itself gets the row's whole configuration. ``build_values`` are
    what of it matters for an image that is built (IG-22).
    """

    name: str
    component: Component
    tag: str = ""
    is_main: bool = False
    parameters: Any = field(default_factory=dict, repr=False)
    build_values: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def image_reference(self) -> str:
        """The image as named, e.g. ``docker-runner/daily-delays:latest``; one that is built is named by its values."""
        if self.component.build_options is None:
            return self.component.image(self.tag).reference
        values = json.dumps([self.tag, self.build_values], sort_keys=True)
        return f"builder/{self.component.id}:{sha256(values.encode()).hexdigest()[:12]}"

    @property
    def network(self) -> str:
        """The container's network; a configuration may name one for a component whose image is built (IG-23)."""
        options = self.component.build_options
        wanted = build_plan(options, self.build_values).network if options is not None else ""
        return wanted or self.component.network


@dataclass(frozen=True)
class JobDefinition:
    """One row of a job (or a configuration without rows): what one pass through the steps runs.

    Attributes:
        row_id: empty for a configuration without rows.
        configuration: effective configuration: merged, variables replaced, checked, defaults filled in.
        stages: the images to run, in order.
        variables: names and values that were replaced (VR-12).
        is_inline: the configuration came with the job, not from the project (CF-39).
        config_exists: the project has a configuration with this id.
    """

    component: Component
    config_id: str
    config_version: str
    row_id: str
    configuration: Mapping[str, Any] = field(repr=False)
    stages: tuple[Stage, ...]
    identity: RunIdentity
    variables: Mapping[str, str] = field(default_factory=dict)
    is_inline: bool = False
    config_exists: bool = True

    @property
    def title(self) -> str:
        """What errors name it by: its component, configuration and row."""
        row = f" row {self.row_id}" if self.row_id else ""
        return f"{self.component.id}/{self.config_id}".rstrip("/") + row

    @property
    def stores_state(self) -> bool:
        """Whether state is kept after a run: only of a configuration that exists (LC-22)."""
        return bool(self.config_id) and self.config_exists

    @property
    def reads_state(self) -> bool:
        """Whether a run begins with the stored state; one that brings its own configuration begins empty (CF-39)."""
        return self.stores_state and not self.is_inline

    @property
    def mode(self) -> Mode:
        """Whether results are stored."""
        return Mode(self.identity.mode)

    @property
    def images(self) -> tuple[Stage, ...]:
        """The stages whose images run, in this mode."""
        return self.stages if self.mode.runs_images else ()

    @property
    def main(self) -> Stage:
        """The stage of the component itself."""
        return next(stage for stage in self.stages if stage.is_main)

    @property
    def state_key(self) -> StateKey:
        """Whose state this is (ST-7)."""
        return StateKey(self.component.id, self.config_id, self.row_id, self.branch_prefix)

    @property
    def scope(self) -> Scope:
        """Whose secrets this row may read (EN-11)."""
        branch_type = "dev" if self.identity.is_dev_branch else "default"
        return Scope(self.component.id, self.identity.project_id, self.config_id, branch_type)

    @property
    def branch_prefix(self) -> str:
        """Id of the development branch, which marks what belongs to it in Storage; empty in the default branch."""
        return self.identity.branch_id if self.identity.is_dev_branch else ""

    @property
    def data_type_support(self) -> str:
        """``authoritative``, ``hints`` or ``none``: whether tables get typed columns (OM-90)."""
        if "new-native-types" not in self.identity.features:
            return "none"
        registered = self.component.definition["dataTypesConfiguration"].get("dataTypesSupport")
        return str(self.output.get("data_type_support") or registered or "none")

    @property
    def types_by_metadata(self) -> bool:
        """Whether new tables get the types that metadata of their columns tells: an older feature (OM-97)."""
        return "native-types" in self.identity.features and "new-native-types" not in self.identity.features

    @property
    def output(self) -> Mapping[str, Any]:
        """``storage.output``: where results go."""
        output: Mapping[str, Any] = (self.configuration.get("storage") or {}).get("output") or {}
        return output

    def default_bucket(self) -> str:
        """The bucket of tables that name none: the configuration's, else the component's; may be empty (OM-21, CF-23).

        Raises:
            ConfigurationError: as of :meth:`Component.default_bucket`.
        """
        return str(self.output.get("default_bucket") or "") or self.component.default_bucket(self.config_id)

    @property
    def null_values(self) -> tuple[str, ...]:
        """Texts in tables that are stored as null (CF-26)."""
        return tuple(scalar_text(value) for value in self.output.get("treat_values_as_null") or [])

    @property
    def stores_results(self) -> bool:
        """Whether output is mapped and state kept (LC-64, LC-65)."""
        return self.mode is Mode.RUN

    @property
    def stores_files_only(self) -> bool:
        """Whether tables are stored as files: the configuration wants it and the component allows it (OF-20)."""
        wanted = (self.configuration.get("runtime") or {}).get("use_file_storage_only")
        return bool(wanted) and "allow-use-file-storage-only" in self.component.features

    @property
    def extension(self) -> str:
        """Ending of config, state and usage files (CD-11)."""
        return self.component.extension

    def mapping(self, direction: str, kind: str) -> list[dict[str, Any]]:
        """The items of ``storage.<input|output>.<tables|files>``."""
        if not self.component.reads_storage:
            return []
        storage = self.configuration.get("storage") or {}
        return list((storage.get(direction) or {}).get(kind) or [])


@dataclass(frozen=True)
class Job:
    """One run of a configuration: its rows in order.

    Attributes:
        id: identity of the run, used in names of containers and folders.
        title: component and configuration, for people.
        rows: definitions of the rows that run.
        storage_token: the Storage token that came with the job, as a cipher; empty when none came.
        token_ids: ids of the tokens that rows work with, by row; found when the run begins.
    """

    id: str
    title: str
    rows: tuple[JobDefinition, ...]
    storage_token: str = field(default="", repr=False)
    token_ids: Mapping[str, int] = field(default_factory=dict)

    def row(self, row_id: str) -> JobDefinition | None:
        """The definition of a row, or None when the run leaves it out."""
        return next((row for row in self.rows if row.row_id == row_id), None)

    def images(self) -> dict[str, tuple[JobDefinition, Stage]]:
        """Every image that runs once, with the first row and stage that need it."""
        images: dict[str, tuple[JobDefinition, Stage]] = {}
        for row in self.rows:
            for stage in row.images:
                images.setdefault(stage.image_reference, (row, stage))
        return images

    def to_json(self) -> str:
        """Serialise; what comes out holds no secret in plain text."""
        components = {stage.component.id: stage.component.definition for row in self.rows for stage in row.stages}
        rows = [
            {
                "component": row.component.id,
                "config_id": row.config_id,
                "config_version": row.config_version,
                "row_id": row.row_id,
                "configuration": row.configuration,
                "stages": [
                    {
                        "name": stage.name,
                        "component": stage.component.id,
                        "tag": stage.tag,
                        "is_main": stage.is_main,
                        "parameters": stage.parameters,
                        "build_values": stage.build_values,
                    }
                    for stage in row.stages
                ],
                "identity": vars(row.identity),
                "variables": row.variables,
                "is_inline": row.is_inline,
                "config_exists": row.config_exists,
            }
            for row in self.rows
        ]
        document = {
            "id": self.id,
            "title": self.title,
            "storage_token": self.storage_token,
            "token_ids": self.token_ids,
        }
        return json.dumps({**document, "components": components, "rows": rows}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Read back what :meth:`to_json` wrote."""
        content = json.loads(text)
        components = {name: Component(definition) for name, definition in content["components"].items()}
        rows = tuple(
            JobDefinition(
                component=components[row["component"]],
                config_id=row["config_id"],
                config_version=row["config_version"],
                row_id=row["row_id"],
                configuration=row["configuration"],
                stages=tuple(
                    Stage(**{**stage, "component": components[stage["component"]]}) for stage in row["stages"]
                ),
                identity=RunIdentity(**{**row["identity"], "features": tuple(row["identity"]["features"])}),
                variables=row["variables"],
                is_inline=row["is_inline"],
                config_exists=row["config_exists"],
            )
            for row in content["rows"]
        )
        return cls(
            id=content["id"],
            title=content["title"],
            rows=rows,
            storage_token=content["storage_token"],
            token_ids=content["token_ids"],
        )
