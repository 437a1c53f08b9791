"""Output mapping of files: from ``out/files`` to Storage (section 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from docker_runner.documents import checked, scalar_text
from docker_runner.errors import ConfigurationError
from docker_runner.interface.manifests import read_manifest
from docker_runner.mapping.branches import branch_tags
from docker_runner.mapping.sources import output_sources
from docker_runner.storage.base import FileUpload


def file_uploads(
    items: Sequence[Mapping[str, Any]],
    *,
    folder: Path,
    system_tags: Sequence[str],
    branch: str = "",
    extension: str = "json",
) -> list[FileUpload]:
    """Describe the uploads of everything in ``out/files`` (OF-1..OF-7).

    Args:
        items: ``storage.output.files`` with defaults filled in.
        folder: ``out/files``.
        system_tags: appended to every file's tags.
        branch: id of the development branch, which all tags begin with there.
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
    uploads = []
    for name, path in files.items():
        options = mapped.get(name)
        if options is None:
            # Defaults come from the same schema for files with and without a manifest.
            options = read_manifest(path, "output-file-manifest", extension=extension) or checked(
                {}, "output-file-manifest"
            )
        uploads.append(_upload(path, options, system_tags=system_tags, branch=branch))
    return uploads


def table_file_uploads(
    options: Mapping[str, Any], *, folder: Path, system_tags: Sequence[str], branch: str = ""
) -> list[FileUpload]:
    """Describe the uploads of the files in ``out/tables`` when tables are stored as files (OF-20).

    Args:
        options: ``storage.output.table_files``; permanent without a word about it.
        folder: ``out/tables``; manifests in it are not read.
        system_tags: appended to every file's tags.
        branch: id of the development branch, which all tags begin with there.

    Raises:
        ConfigurationError: an entry is a link or a special file, or a manifest is alone.
    """
    files = output_sources(folder, files_only=True)
    full = {**checked({}, "output-file-manifest"), "is_permanent": True, **options}
    return [_upload(path, full, system_tags=system_tags, branch=branch) for path in files.values()]


def _upload(path: Path, options: Mapping[str, Any], *, system_tags: Sequence[str], branch: str) -> FileUpload:
    tags = [text for tag in options["tags"] or () if (text := scalar_text(tag))]
    return FileUpload(
        source=path,
        name=path.name,
        tags=branch_tags(tuple(dict.fromkeys([*tags, *system_tags])), branch),
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
