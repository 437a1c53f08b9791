"""What ``docker-runner plan`` shows, for people."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

Document = dict[str, Any]
_UNITS = {
    "memory_bytes": lambda value: f"{value / 10**6:g} MB",
    "timeout_seconds": lambda value: f"{value} s" if value else "no limit",
}


def as_text(plan: Document) -> str:
    """Row by row: what is read, run and written, and what would let it fail."""
    branch = f", branch {plan['branch']}" if plan["branch"] else ""
    lines = [f"{plan['configuration']}, version {plan['version']}, mode {plan['mode']}{branch}"]
    for row in plan["rows"]:
        lines += _row(row)
    if plan["left_out"]:
        lines += ["", f"Rows that are left out: {', '.join(plan['left_out'])}"]
    if not plan["rows"]:
        lines += ["", "Nothing is run: all rows are disabled."]
    return "\n".join(lines)


def _row(row: Document) -> Iterator[str]:
    yield ""
    if row["row"]:
        yield f"Row {row['row']}"
    yield f"Steps: {', '.join(row['steps'])}"
    if row["variables"]:
        yield f"Variables: {', '.join(f'{name} = {value}' for name, value in row['variables'].items())}"
    yield "Reads"
    yield from (f"  {line}" for line in _input(row["input"]))
    yield "Runs" if row["run"] else "Runs nothing"
    for stage in row["run"]:
        yield from (f"  {line}" for line in _stage(stage))
    yield "Writes, besides what the component's own manifests say" if row["output"]["tables_stored"] else "Writes"
    yield from (f"  {line}" for line in _output(row["output"]))
    if row["problems"]:
        yield "It would fail"
        yield from (f"  {_short(problem)}" for problem in row["problems"])


def _input(given: Document) -> Iterator[str]:
    for table in given["tables"]:
        yield f"table {table['source']} -> {table['destination'] or table['source']}{_of_table(table)}"
    for item in given["files"]:
        which = (
            f"query {item['query']}" if item["query"] else f"tags {', '.join(item['tags'])}" if item["tags"] else "ids"
        )
        yield f"files with {which}: {len(item['files'])}"
        yield from (f"  {file['id']} -> {file['destination']}, {file['bytes']} bytes" for file in item["files"])
    yield f"state: {given['state']}"


def _of_table(table: Document) -> str:
    if "rows" not in table:
        return ""
    parts = [f"of {table['rows']} rows, {table['bytes']} bytes"]
    parts += [f"columns {', '.join(table['columns'])}", f"where {table['where']}" if table["where"] else ""]
    parts.append(f"changed since {table['changed_since']}" if table["changed_since"] else "")
    parts.append(f"at most {table['limit']}" if table["limit"] is not None else "")
    return "".join(f"\n    {part}" for part in parts if part)


def _stage(stage: Document) -> Iterator[str]:
    image = stage["image"]
    yield f"{stage['step']}: {stage['component']}"
    built = ", on which the image is built from git" if stage["built_from_git"] else ""
    yield f"  image            {image['reference']}{built}; tag from {_short(image['tag_from'])}"
    there = "on the engine" if image["id"] else "it is not there"
    where = {True: "would be pulled", False: there, None: "not known"}[image["pulled"]]
    yield f"                   {image['digest'] or image['id'] or 'digest not known'} ({where})"
    if image.get("problem"):
        yield f"                   {image['problem']}"
    for name, limit in {"pull_policy": stage["pull_policy"], **stage["limits"]}.items():
        value = _UNITS.get(name, str)(limit["value"])
        yield f"  {name.removesuffix('_bytes').removesuffix('_seconds'):<16} {value}  ({_short(limit['from'])})"


def _output(given: Document) -> Iterator[str]:
    for table in given["tables"]:
        notes = [
            "incremental" if table["incremental"] else "replaced",
            f"key {', '.join(table['primary_key'])}" if table["primary_key"] else "",
            "rows are deleted first" if table["deletes_rows_first"] else "",
            "also after a failure" if table["write_always"] else "",
            "new" if table["rows_now"] is None else f"{table['rows_now']} rows now",
        ]
        destination = table["destination"] or "where its manifest says"
        yield f"table {table['source']} -> {destination}: {', '.join(note for note in notes if note)}"
    for file in given["files"]:
        permanent = ", permanent" if file["is_permanent"] else ""
        yield f"file {file['source']}: tags {', '.join(file['tags']) or 'none'}{permanent}"
    if given["tables_stored"]:
        yield _other_tables(given)
    yield f"state: {'stored' if given['state_stored'] else 'not stored'}"


def _other_tables(given: Document) -> str:
    if given["tables_as_files"]:
        return "all tables as files"
    if given["default_bucket"]:
        return f"other tables -> {given['default_bucket']}.<name>, if their manifests say nothing else"
    return "other tables -> where their manifests say"


def _short(text: str) -> str:
    """Paths as seen from the current folder."""
    return text.replace(f"{Path.cwd()}/", "")
