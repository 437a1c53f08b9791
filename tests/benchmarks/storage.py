"""(d) Storage beside raw DuckDB and ``cp``: loads, exports and upserts of a large table.

``BENCH_ROWS`` says how many rows (9,000,000 by default: 1 GB), ``BENCH_ROUNDS`` how often each is measured (3 by
default). It takes six times the size of the CSV on the disk of the temporary folder (``TMPDIR``). Each measurement is a
process of its own, from its start to its end; both sides of a comparison take turns.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.setting import REPOSITORY, median, target

ROWS = int(os.environ.get("BENCH_ROWS", "9000000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
UPSERTED = max(1, ROWS // 90)
COLUMNS = ("id", "customer", "status", "created", "amount", "token", "note")
MEMORY_LIMIT_MB = 1000

_START = f"""
import os, duckdb
from pathlib import Path
from docker_runner.storage import open_storage
from docker_runner.storage.base import Commit, TableLoad, Where
raw = duckdb.connect(config={{"memory_limit": os.environ.get("DOCKER_RUNNER_STORAGE_MEMORY") or "512MB",
    "threads": len(os.sched_getaffinity(0)), "preserve_insertion_order": False, "temp_directory": "spill",
    "allow_unsigned_extensions": True}})
raw.execute("SET enable_progress_bar = false")
columns = {COLUMNS!r}
def lake():
    return open_storage(f"ducklake:sqlite:{{os.getcwd()}}/lake/catalog.sqlite")
def load(key, file, **options):
    lake().commit(Commit(key, (TableLoad("in.c-main.t", Path(file), **options),)))
def rows(numbers, breaks):
    note = "'note of order ' || (i % 1000)"
    if breaks:
        note = f"CASE WHEN i % 10 = 0 THEN 'first line' || chr(10) || 'second, \\"quoted\\" ' || i ELSE {{note}} END"
    return f'''SELECT i::VARCHAR AS id, (hash(i) % 1000000)::VARCHAR AS customer,
        ['new', 'paid', 'sent', 'returned'][1 + (hash(i, 2) % 4)::INT] AS status,
        strftime(TIMESTAMP '2024-01-01' + to_seconds((hash(i, 3) % 60000000)::BIGINT), '%Y-%m-%d %H:%M:%S') AS created,
        format('{{{{:.2f}}}}', (hash(i, 4) % 1000000) / 100.0) AS amount, md5(i::VARCHAR) AS token, {{note}} AS note
        FROM ({{numbers}}) AS r(i)'''
def read_csv(file, parallel):
    kinds = ", ".join(f"'{{column}}': 'VARCHAR'" for column in columns)
    return f"read_csv('{{file}}', auto_detect = false, columns = {{{{{{kinds}}}}}}, header = true, delim = ',', " \\
        f"force_not_null = {{list(columns)}}, quote = '\\"', escape = '\\"', new_line = '\\\\n', " \\
        f"parallel = {{parallel}})"
to_csv = "(FORMAT csv, HEADER, FORCE_QUOTE *, USE_TMP_FILE false)"
"""
_ATTACH = """
import importlib.util
for name in ("ducklake", "sqlite_scanner"):
    (place,) = importlib.util.find_spec(f"duckdb_extension_{name}").submodule_search_locations
    raw.execute(f"LOAD '{place}/extensions/v{duckdb.__version__}/{name}.duckdb_extension'")
Path("raw").mkdir(exist_ok=True)
raw.execute("ATTACH 'ducklake:sqlite:raw/catalog.sqlite' AS raw (DATA_PATH 'raw/tables')")
"""
_MAKE = f"""
all_rows = "FROM range({ROWS})"
there, new = "FROM range({ROWS - UPSERTED // 2}, {ROWS})", "FROM range({ROWS}, {ROWS + UPSERTED // 2})"
scattered = "SELECT {2 * ROWS // UPSERTED} * i FROM range({UPSERTED // 2}) AS r(i)"
def write(file, rows):
    raw.execute(f"COPY ({{rows}}) TO '{{file}}' {{to_csv}}")
write("plain.csv", rows(all_rows, False))
write("breaks.csv", rows(all_rows, True))
for file, changed in {{"some.csv": there, "scattered.csv": scattered}}.items():
    write(file, f"SELECT * REPLACE ('changed' AS note) FROM ({{rows(changed + ' UNION ALL ' + new, False)}})")
"""
_MAKE_RAW = (
    _ATTACH
    + """
raw.execute(f"CREATE OR REPLACE TABLE raw.t AS SELECT *, now() AS _timestamp FROM {read_csv('plain.csv', True)}")
"""
)
_RAW_LOAD = "raw.execute(f\"COPY (SELECT * FROM {{read_csv('{0}.csv', {1})}}) TO '{0}.parquet' (FORMAT parquet)\")"
_RAW_EXPORT = "raw.execute(f\"COPY (SELECT * FROM 'plain.parquet') TO 'out.csv' {to_csv}\")"
_RAW_MERGE = (
    _ATTACH
    + """
others = [column for column in columns if column != "id"]
sets = ", ".join(f"{column} = s.{column}" for column in (*others, "_timestamp"))
differ = " OR ".join(f"t.{column} IS DISTINCT FROM s.{column}" for column in others)
matched = f"WHEN MATCHED AND (%s) THEN UPDATE SET {sets}"
raw.execute(f"MERGE INTO raw.t AS t USING (SELECT *, now() AS _timestamp FROM {read_csv('%s', True)}) AS s "
    f"ON t.id = s.id {matched} WHEN NOT MATCHED THEN INSERT BY NAME")
"""
)
_EXPORT = "lake().export_table('in.c-main.t', Path('out.csv'){})"


@dataclass(frozen=True)
class Measured:
    """What a process took."""

    seconds: float
    cpu_seconds: float
    memory_mb: float


def storage(folder: Path) -> None:
    """Measure everything in a folder of its own."""
    folder.mkdir(parents=True)
    _process(folder, _MAKE)
    size = (folder / "plain.csv").stat().st_size
    print(f"\n(d) Storage: a CSV of {ROWS:,} rows, {size / 1e9:.2f} GB; medians of {ROUNDS}: time, CPU, peak memory")
    fresh = _Fresh(folder)
    peaks = [
        *_compare(
            folder,
            "load of a new table",
            ("COPY csv -> parquet", _RAW_LOAD.format("plain", True)),
            ("load", "load('a', 'plain.csv')"),
            1.5,
            before=fresh.lake,
        ),
        *_compare(
            folder,
            "load of a new table, a tenth of the rows with line ends in a field",
            ("COPY csv -> parquet, one thread as it must be", _RAW_LOAD.format("breaks", False)),
            ("load", "load('a', 'breaks.csv')"),
            1.5,
            before=fresh.lake,
        ),
    ]
    fresh.lake()
    _process(folder, "load('a', 'plain.csv', primary_key=('id',))")
    fresh.keep()
    for name, code in {
        "full load over an existing table": "load('b', 'plain.csv')",
        "incremental load, all rows added": "load('c', 'plain.csv', incremental=True, deduplicate=False)",
    }.items():
        pair = ("COPY csv -> parquet", _RAW_LOAD.format("plain", True))
        peaks += _compare(folder, name, pair, ("load", code), 1.5, before=fresh.kept)
    fresh.kept()
    copied = _process(folder, "import shutil; shutil.copyfile('plain.csv', 'out.csv')")
    print(_line("cp of the CSV", [copied]))
    exported = ("COPY parquet -> csv", _RAW_EXPORT)
    peaks += _compare(folder, "export", exported, ("export", _EXPORT.format("")), 1.2)
    for name, options in {
        "two columns": ", columns=('id', 'amount')",
        "a quarter of the rows": ", where=Where('status', ('paid',))",
        "what changed since the load (nothing)": ", changed_since=lake().table('in.c-main.t').last_import_date",
    }.items():
        print(_line(f"export, {name}", [_process(folder, _EXPORT.format(options))]))
    _process(folder, _MAKE_RAW)
    fresh.keep_raw()
    for keys, file in {"next to each other": "some.csv", "scattered over the table": "scattered.csv"}.items():
        name = f"upsert of {UPSERTED:,} rows, half of them new, keys {keys}"
        ours = ("load", f"load('d', '{file}', incremental=True)")
        keeping = ("MERGE on DuckLake of what differs", _RAW_MERGE % ("{differ}", file))
        peaks += _compare(folder, name, keeping, ours, 2.0, before=fresh.both)
        fresh.both()
        print(_line("  MERGE that writes equal rows anew", [_process(folder, _RAW_MERGE % ("true", file))]))
    print(target("peak memory of loads, exports and upserts", max(peaks), MEMORY_LIMIT_MB, "MB"))


class _Fresh:
    """Puts the lakes back into the state that a measurement begins with."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def lake(self) -> None:
        shutil.rmtree(self._folder / "lake", ignore_errors=True)

    def keep(self) -> None:
        self._copy("lake", "kept")

    def keep_raw(self) -> None:
        self._copy("raw", "kept-raw")

    def kept(self) -> None:
        self._copy("kept", "lake")

    def both(self) -> None:
        self.kept()
        self._copy("kept-raw", "raw")

    def _copy(self, source: str, target_name: str) -> None:
        """Files of tables never change: only the names are copied."""
        shutil.rmtree(self._folder / target_name, ignore_errors=True)
        for path in sorted((self._folder / source).rglob("*")):
            copy = self._folder / target_name / path.relative_to(self._folder / source)
            if path.is_dir():
                copy.mkdir(parents=True, exist_ok=True)
                continue
            copy.parent.mkdir(parents=True, exist_ok=True)
            (os.link if path.suffix == ".parquet" else shutil.copyfile)(path, copy)


def _compare(
    folder: Path,
    name: str,
    floor: tuple[str, str],
    ours: tuple[str, str],
    limit: float,
    *,
    before: Callable[[], None] = lambda: None,
) -> list[float]:
    """Print a comparison; gives the peak memory of ours in MB."""
    measured: tuple[list[Measured], list[Measured]] = ([], [])
    for number in range(ROUNDS):
        for side in (0, 1) if number % 2 else (1, 0):
            before()
            measured[side].append(_process(folder, (floor, ours)[side][1]))
    pairs = list(zip(*measured, strict=True))
    print(f"  {name}")
    print(_line(f"  {floor[0]}", measured[0]))
    print(_line(f"  {ours[0]}", measured[1]))
    print(target("  ratio of times", median([our.seconds / raw.seconds for raw, our in pairs]), limit, "x"))
    print(f"    ratio of CPU {median([our.cpu_seconds / raw.cpu_seconds for raw, our in pairs]):.2f}")
    return [our.memory_mb for our in measured[1]]


def _line(name: str, measured: list[Measured]) -> str:
    wall, cpu = median([one.seconds for one in measured]), median([one.cpu_seconds for one in measured])
    return f"  {name:<58} {wall:8.2f} s {cpu:8.2f} s {max(one.memory_mb for one in measured):8.0f} MB"


def _process(folder: Path, code: str) -> Measured:
    """Run some code in a process of its own."""
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY / "include")}
    # What the process before this one wrote must not be waited for in this one's time.
    os.sync()
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", _START + code], cwd=folder, env=variables)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"It failed: {code}")
    seconds = time.perf_counter() - begin
    return Measured(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
