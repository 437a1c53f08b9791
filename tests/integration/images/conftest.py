"""Runs the sample's real images as the runner does: unprivileged, without network, writing to /data and /tmp only."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

UNPRIVILEGED = 1000


@dataclass(frozen=True)
class Outcome:
    """What a container left."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class DataFolder:
    """A data folder on disk, and what a test wants to do with it."""

    path: Path

    def table(self, name: str, rows: Sequence[Sequence[str]], *, manifest: dict | None = None) -> None:
        """Put a table into ``in/tables``; the first row is the header."""
        with (self.path / "in/tables" / name).open("w", newline="") as file:
            csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
        if manifest is not None:
            self.manifest(name, manifest)

    def manifest(self, name: str, manifest: dict) -> None:
        """Put a manifest beside a table of ``in/tables``."""
        (self.path / f"in/tables/{name}.manifest").write_text(json.dumps(manifest))

    def written_rows(self, name: str) -> list[list[str]]:
        """Rows of a table of ``out/tables``, header first."""
        with (self.path / "out/tables" / name).open(newline="") as file:
            return list(csv.reader(file))

    def written_json(self, name: str) -> dict:
        """A JSON document somewhere in ``out``."""
        return json.loads((self.path / "out" / name).read_text())


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    for folder in ("in/tables", "in/files", "in/user", "out/tables", "out/files"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    return DataFolder(tmp_path / "data")


RunImage = Callable[..., Outcome]


@pytest.fixture
def run_image(data: DataFolder, tmp_path: Path) -> RunImage:
    def run(name: str, parameters: dict, *, action: str = "run", **variables: str) -> Outcome:
        config = {"storage": {}, "parameters": parameters, "image_parameters": {}, "action": action}
        (data.path / "config.json").write_text(json.dumps(config))
        (tmp_path / "tmp").mkdir(exist_ok=True)
        uid = os.getuid() or UNPRIVILEGED
        if os.getuid() == 0:
            for path in [tmp_path / "tmp", data.path, *data.path.rglob("*")]:
                os.chown(path, uid, uid)
        environment = {
            "KBC_DATADIR": "/data/",
            "KBC_STACKID": "local",
            "KBC_PROJECT_FEATURE_GATES": "queuev2",
            **variables,
        }
        done = subprocess.run(
            [
                *("docker", "run", "--rm", "--net=none", "--read-only", "--memory=256m", "--cap-drop=ALL"),
                *("--security-opt=no-new-privileges", f"--user={uid}:{uid}"),
                *(f"--volume={data.path}:/data", f"--volume={tmp_path / 'tmp'}:/tmp"),
                *(f"--env={key}={value}" for key, value in environment.items()),
                f"docker-runner/{name}:latest",
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
        return Outcome(done.returncode, done.stdout, done.stderr.strip())

    return run
