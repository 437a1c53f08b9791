"""``make bench``: every comparison is made in one run on one machine, alternating, and shown as medians."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))


def main() -> None:
    """Measure what was asked for, or everything."""
    from tests.benchmarks.api import api
    from tests.benchmarks.containers import containers
    from tests.benchmarks.overhead import overhead
    from tests.benchmarks.scale import scale
    from tests.benchmarks.small_files import small_files
    from tests.benchmarks.storage import storage
    from tests.benchmarks.triggerer import triggerer

    parts = {
        "overhead": overhead,
        "scale": scale,
        "containers": containers,
        "triggerer": triggerer,
        "storage": storage,
        "small_files": small_files,
        "api": api,
    }
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help="which comparisons; all by default")
    for name in parser.parse_args().parts or parts:
        with tempfile.TemporaryDirectory(prefix="docker-runner-bench-") as folder:
            parts[name](Path(folder) / name)


if __name__ == "__main__":
    main()
