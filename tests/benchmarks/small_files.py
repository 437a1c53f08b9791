"""What many small loads cost later, with and without maintenance."""

from __future__ import annotations

import os
import random
import resource
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from tests.benchmarks.setting import row, seconds, target

from docker_runner.storage.base import Commit, TableLoad
from docker_runner.storage.lake.lake import Lake
from docker_runner.storage.lake.location import parse_location

ROWS, LOADS, CHANGED, ADDED, TIMES = 100_000, int(os.environ.get("DOCKER_RUNNER_BENCH_LOADS") or 1000), 10, 10, 5
TABLES = ("in.c-main.upserted", "in.c-main.appended")


def small_files(folder: Path) -> None:
    """Load a table of 100,000 rows, then many times a few rows into it; measure load and export, maintain, measure."""
    folder.mkdir(parents=True)
    with closing(Lake(parse_location(f"ducklake:sqlite:{folder}/lake/catalog.sqlite"))) as lake:
        loads = _Loads(lake, folder)
        loads.first()
        print(f"\nstorage: {LOADS} loads of {CHANGED} changed and {ADDED} new rows into two tables of {ROWS} rows")
        new = _measure(loads, "at first")
        for _ in range(LOADS):
            loads.load()
        used = _measure(loads, f"after {LOADS} loads")
        took = seconds(lambda: print(f"  {lake.maintain(timedelta(days=7))}"))
        print(row("maintenance", [took]))
        kept = _measure(loads, "after maintenance that keeps 7 days")
        lake.maintain(timedelta(0), grace=timedelta(0))
        forgotten = _measure(loads, "after maintenance that keeps nothing")
        print(target("load, maintained / at first", kept["load"] / new["load"], 2, "x"))
        print(target("export, maintained / not maintained", kept["export"] / used["export"], 1, "x"))
        print(target("export, forgotten / at first", forgotten["export"] / new["export"], 1.5, "x"))
        print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


class _Loads:
    """Commits of a few rows each."""

    def __init__(self, lake: Lake, folder: Path) -> None:
        self.lake, self.folder, self.number = lake, folder, 0
        self.source = folder / "rows.csv"
        self.chance = random.Random(1)

    def first(self) -> None:
        """The tables before the many loads."""
        self._write(range(ROWS))
        self._commit(incremental=False)

    def load(self) -> None:
        """A few rows more and a few that change, in both tables."""
        self.number += 1
        end = ROWS + self.number * ADDED
        self._write([*self.chance.sample(range(end), CHANGED), *range(end, end + ADDED)])
        self._commit(incremental=True)

    def export(self) -> None:
        """Both tables as CSV."""
        for table in TABLES:
            self.lake.export_table(table, self.folder / "out.csv")

    def _write(self, keys: range | list[int]) -> None:
        lines = (f"{key},value {key} of load {self.number},{key % 7}\n" for key in keys)
        self.source.write_text("id,v,w\n" + "".join(lines))

    def _commit(self, *, incremental: bool) -> None:
        upserted, appended = TABLES
        tables = (
            TableLoad(upserted, self.source, primary_key=("id",), incremental=incremental),
            TableLoad(appended, self.source, incremental=incremental),
        )
        self.lake.commit(Commit(f"load-{self.number}-{time.time_ns()}", tables))


def _measure(loads: _Loads, when: str) -> dict[str, float]:
    """CPU seconds, which a busy machine does not change much."""

    def cpu(work: Callable[[], object]) -> float:
        begin = time.process_time()
        work()
        return time.process_time() - begin

    works: dict[str, Callable[[], object]] = {
        "load": loads.load,
        "export": loads.export,
        "list of tables": loads.lake.tables,
    }
    print(f"  {when}: {len(list(loads.folder.rglob('*.parquet')))} files, "
          f"catalogue {(loads.folder / 'lake/catalog.sqlite').stat().st_size / 1e6:.1f} MB")  # fmt: skip
    measured = {}
    for name, work in works.items():
        values = [cpu(work) for _ in range(TIMES)]
        print(row(f"  {name}, CPU", values))
        measured[name] = sorted(values)[TIMES // 2]
    return measured
