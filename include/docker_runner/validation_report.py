"""What ``docker-runner validate`` found, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from docker_runner.errors import ConfigurationError, UserError
from docker_runner.job.validation import Checked

NOT_IN_MANIFEST = "not in the manifest, so it is left alone"


def as_text(checked: Sequence[Checked], unnamed: Sequence[Path] = ()) -> str:
    """One line for each thing that was checked, below it one for each of its problems and notes, and counts at the end.

    Args:
        checked: what was checked.
        unnamed: folders that look like configurations and are none; told, and no problem.
    """
    lines: list[str] = []
    for item in checked:
        what = item.name if item.kind in ("configuration", "flow") else f"{item.kind} {item.name}"
        lines.append(f"{'broken' if item.problems else 'ok':<8}{what}")
        lines += [f"        {_shown(problem)}" for problem in item.problems]
        lines += [f"        note: {_shown(note)}" for note in item.notes]
    lines += [f"{'note':<8}{short_path(folder)}: {NOT_IN_MANIFEST}" for folder in unnamed]
    count = _count(checked)
    flows = f", {count['flows']} flows" if count["flows"] else ""
    lines.append(
        f"{count['configurations']} configurations{flows} and {count['components']} components checked: "
        f"{count['broken']} broken, {count['problems']} problems."
    )
    return "\n".join(lines)


def as_document(checked: Sequence[Checked], unnamed: Sequence[Path] = ()) -> dict[str, Any]:
    """The same as one JSON document."""
    return {
        **_count(checked),
        "not_in_manifest": [short_path(folder) for folder in unnamed],
        "checked": [
            {
                "kind": item.kind,
                "name": item.name,
                "path": short_path(item.file),
                "ok": not item.problems,
                "problems": [problem_document(problem) for problem in item.problems],
                "notes": [problem_document(note) for note in item.notes],
            }
            for item in checked
        ],
    }


def _count(checked: Sequence[Checked]) -> dict[str, int]:
    return {
        "configurations": sum(item.kind == "configuration" for item in checked),
        "flows": sum(item.kind == "flow" for item in checked),
        "components": sum(item.kind == "component" for item in checked),
        "broken": sum(bool(item.problems) for item in checked),
        "problems": sum(len(item.problems) for item in checked),
    }


def problem_document(problem: UserError) -> dict[str, Any]:
    """A problem as a JSON document: ``{file, line, key, message}``."""
    if not isinstance(problem, ConfigurationError):
        return {"file": None, "line": None, "key": "", "message": str(problem)}
    file = short_path(problem.file) if problem.file else None
    return {"file": file, "line": problem.line, "key": problem.key, "message": problem.problem}


def _shown(problem: UserError) -> str:
    if not isinstance(problem, ConfigurationError) or not problem.file:
        return str(problem)
    short = ConfigurationError(problem.problem, file=short_path(problem.file), key=problem.key, line=problem.line)
    return str(short)


def short_path(file: Path | str) -> str:
    """A path as the reader would write it: from the current folder when it lies below it."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(file)
