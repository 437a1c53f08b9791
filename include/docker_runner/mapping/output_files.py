"""Output mapping of files: from ``out/files`` to Storage (section 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from docker_runner.documents import checked, scalar_text
from docker_runner.errors import ConfigurationError
from docker_runner.interface.manifests import read_manifest
from docker_runner.mapping.sources import output_sources
from docker_runner.storage.base import FileUpload


def file_uploads(
    items: Sequence[Mapping[str, Any]], *, folder: Path, system_tags: Sequence[str], extension: str = "json"
) -> list[FileUpload]:
    """Describe the uploads of everything in ``out/files`` (OF-1..OF-6).

    Args:
        items: ``storage.output.files`` with defaults filled in.
        folder: ``out/files``.
        system_tags: appended to every file's tags.
        extension: format of the manifests.

    Raises:
        ConfigurationError: a mapped file is missing, a manifest is alone or wrong.
    """
    files = output_sources(folder, files_only=True)
    for index, item in enumerate(items):
        if item["source"] not in files:
            raise ConfigurationError(
                f"The component did not write out/files/{item['source']}; it wrote: {', '.join(files) or 'nothing'}.",
                key=f"storage.output.files[{index}].source",
            )
    mapped = {item["source"]: item for item in items}
    return [
        _upload(path, mapped.get(name), system_tags=system_tags, extension=extension) for name, path in files.items()
    ]


def _upload(path: Path, item: Mapping[str, Any] | None, *, system_tags: Sequence[str], extension: str) -> FileUpload:
    options = item
    if options is None:
        # Defaults come from the same schema for files with and without a manifest.
        options = read_manifest(path, "output-file-manifest", extension=extension) or checked(
            {}, "output-file-manifest"
        )
    tags = [text for tag in options["tags"] if (text := scalar_text(tag))]
    return FileUpload(
        source=path,
        name=path.name,
        tags=tuple(dict.fromkeys([*tags, *system_tags])),
        is_public=options["is_public"],
        is_permanent=options["is_permanent"],
        is_encrypted=options["is_encrypted"],
    )


def system_tags(component_id: str, config_id: str, row_id: str, run_id: str) -> list[str]:
    """Tags that tell where a file comes from (OF-6)."""
    tags = [f"componentId: {component_id}", f"configurationId: {config_id}"]
    if row_id:
        tags.append(f"configurationRowId: {row_id}")
    return [*tags, f"runId: {run_id}"]
