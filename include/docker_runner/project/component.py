"""Components: registered Docker images with their definitions (section 2 of the contract)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from docker_runner.documents import checked, lines_shown, read_object
from docker_runner.engine.images import ImageRequest, PullPolicy
from docker_runner.errors import ConfigurationError, NotFoundError
from docker_runner.project.build_options import BUILDER
from docker_runner.project.entries import FLOW_COMPONENTS
from docker_runner.project.image_definition import check_image_definition, image_uri
from docker_runner.project.unsupported import refuse_unsupported_component

_LONGEST_NAME_BYTES = 255


@dataclass(frozen=True)
class Component:
    """A component as registered. ``definition`` is the checked document, with defaults filled in.

    Ciphers inside image parameters and registry credentials stay encrypted, so a component may be written to disk.
    """

    definition: Mapping[str, Any] = field(repr=False)
    id: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", str(self.definition["id"]))

    @classmethod
    def from_document(cls, document: Any, *, file: Path | str | None = None) -> Component:
        """Check a definition and make a component of it.

        Raises:
            ConfigurationError: the definition is wrong (CD-33) or asks for what is not offered (D27).
        """
        definition = checked(document, "component", file=file)
        refuse_unsupported_component(definition, file=file)
        check_image_definition(definition["data"]["definition"], file=file)
        return cls(definition)

    def for_stack(self, host: str) -> Component:
        """The component as a stack sees it: its own parameters there are laid over the general ones (CD-40, CD-41).

        Args:
            host: host name of the stack, by which or by whose region its parameters are known; those of other stacks
                are left out.
        """
        stacks = self.data["stack_parameters"] or {}
        if not stacks:
            return self
        region = host.split(".")[1] if host.count(".") > 2 else ""
        parameters = {**(self.data["image_parameters"] or {}), **stacks.get(region, {}), **stacks.get(host, {})}
        return Component(
            {**self.definition, "data": {**self.data, "image_parameters": parameters, "stack_parameters": {}}}
        )

    @property
    def data(self) -> Mapping[str, Any]:
        """The ``data`` node of the definition."""
        data: Mapping[str, Any] = self.definition["data"]
        return data

    @property
    def type(self) -> str:
        """Extractor, writer, application, transformation, processor or other."""
        return str(self.definition["type"])

    @property
    def sanitized_id(self) -> str:
        """The id with every character outside ``[a-zA-Z0-9-]`` replaced by ``-`` (CD-1)."""
        return re.sub(r"[^a-zA-Z0-9-]", "-", self.id)

    @property
    def features(self) -> tuple[str, ...]:
        """Features of the component (section 2.3)."""
        return tuple(self.definition["features"])

    def image(self, tag: str = "") -> ImageRequest:
        """The image to run; of a component whose image is built, the one that it is built on (IG-20).

        Args:
            tag: overrides the registered tag when not empty (LC-82, PR-4); a registered digest then does not apply.
        """
        image = self.data["definition"]
        registered = str(image["tag"] or "latest")
        return ImageRequest(
            uri=image_uri(image),
            tag=tag or registered,
            digest="" if tag and tag != registered else str(image["digest"] or ""),
            pull_policy=PullPolicy(image["pull_policy"]),
        )

    @property
    def extension(self) -> str:
        """Ending of config, state and usage files and of manifests (CD-11)."""
        return "yml" if self.data["configuration_format"] == "yaml" else "json"

    @property
    def build_options(self) -> Mapping[str, Any] | None:
        """How the image is built from a git repository (CD-9); None for an image that is pulled."""
        image = self.data["definition"]
        return image["build_options"] if image["type"] == BUILDER else None

    @cached_property
    def memory_bytes(self) -> int:
        """Memory limit: ``m`` is 10^6 and ``g`` 10^9 bytes (CD-10)."""
        text = str(self.data["memory"]).lower()
        return int(text[:-1]) * (10**9 if text.endswith("g") else 10**6)

    @property
    def memory_text(self) -> str:
        """The memory limit as written in the definition."""
        return str(self.data["memory"])

    @property
    def process_timeout(self) -> int:
        """Seconds that a container may run; 0 is no limit (CD-12, D9)."""
        return int(self.data["process_timeout"])

    @property
    def network(self) -> str:
        """``none``, ``bridge`` or ``no-internet`` (CD-13)."""
        return str(self.data["network"])

    @property
    def granularity(self) -> str:
        """``steps`` or ``merged``: how the work of a configuration that does not say becomes tasks."""
        return str(self.data["granularity"])

    @property
    def reads_storage(self) -> bool:
        """Whether input is mapped; without it nothing is read, written or processed (LC-31)."""
        return str(self.data["staging_storage"].get("input", "local")) == "local"

    @property
    def writes_storage(self) -> bool:
        """Whether output is mapped (LC-31)."""
        return self.reads_storage and self.data["staging_storage"].get("output", "local") == "local"

    def default_bucket(self, config_id: str) -> str:
        """The bucket of a configuration's tables that name none, empty when the component has no such bucket (OM-21).

        Raises:
            ConfigurationError: the bucket is named after the configuration, and there is no id.
        """
        if not self.data["default_bucket"]:
            return ""
        if not config_id:
            raise ConfigurationError(
                f"{self.id} stores tables into a bucket that is named after the configuration, and this one has no id: "
                "run it under the id of one, or name a bucket.",
                key="storage.output.default_bucket",
            )
        return f"{self.data['default_bucket_stage']}.c-{self.sanitized_id}-{config_id}"

    @property
    def no_application_errors(self) -> bool:
        """Whether every failure of the container is the user's (CT-33)."""
        return bool(self.data["logging"].get("no_application_errors", False))

    @property
    def processor_position(self) -> str:
        """``any``, ``before`` or ``after`` (CD-29)."""
        return str(self.definition["processorConfiguration"].get("allowedProcessorPosition", "any"))


class ComponentRegistry:
    """The registered components: a folder with one ``<id>.json`` each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ids(self) -> list[str]:
        """Ids of all registered components, sorted."""
        return sorted(path.stem for path in self.folder.glob("*.json"))

    @lines_shown()
    def get(self, component_id: str) -> Component:
        """Read a component's definition.

        Raises:
            NotFoundError: no such component is registered.
            ConfigurationError: its definition is wrong.
        """
        path = self.folder / f"{component_id}.json"
        if component_id in FLOW_COMPONENTS and not path.is_file():
            raise NotFoundError(
                f"{component_id} is no component that runs by itself: its configurations are flows, which are DAGs in "
                "Airflow. `docker-runner list` shows what they run."
            )
        is_name = "/" not in component_id and len(path.name.encode("utf-8", "replace")) <= _LONGEST_NAME_BYTES
        if not is_name or not path.is_file():
            near = difflib.get_close_matches(component_id, self.ids(), n=3)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise NotFoundError(
                f"The component {component_id!r} is not registered: there is no file {path}.{hint} "
                "Register a component by writing its definition into that file."
            )
        component = Component.from_document(read_object(path, "component"), file=path)
        if component.id != component_id:
            raise ConfigurationError(f"The id must be that of the file name, {component_id!r}.", file=path, key="id")
        return component


class StackRegistry(ComponentRegistry):
    """A registry whose components are as one stack sees them (CD-40).

    Args:
        registry: the registered components.
        host: host name of the stack.
    """

    def __init__(self, registry: ComponentRegistry, host: str) -> None:
        super().__init__(registry.folder)
        self._registry = registry
        self._host = host

    def get(self, component_id: str) -> Component:
        """Read a component's definition; see :meth:`ComponentRegistry.get`."""
        return self._registry.get(component_id).for_stack(self._host)
