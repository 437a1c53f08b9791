"""The folders that a component sees under ``/data`` (DF-1..DF-5)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DataFolder:
    """One ``/data`` on the runner's side.

    Args:
        root: the folder that is mounted as ``/data``.
        extension: ``json`` or ``yml``, by the component's configuration format (CD-11).
    """

    root: Path
    extension: str = "json"

    @property
    def inputs(self) -> Path:
        """``/data/in``."""
        return self.root / "in"

    @property
    def outputs(self) -> Path:
        """``/data/out``."""
        return self.root / "out"

    @property
    def config_file(self) -> Path:
        """``/data/config.json``."""
        return self.root / f"config.{self.extension}"

    @property
    def in_state(self) -> Path:
        """``/data/in/state.json``."""
        return self.inputs / f"state.{self.extension}"

    @property
    def out_state(self) -> Path:
        """``/data/out/state.json``."""
        return self.outputs / f"state.{self.extension}"

    @property
    def usage_file(self) -> Path:
        """``/data/out/usage.json``."""
        return self.outputs / f"usage.{self.extension}"

    def make(self) -> None:
        """Make all folders of the contract that are not there yet."""
        for name in (
            "in/tables",
            "in/files",
            "in/user",
            "out/tables",
            "out/files",
            "artifacts/out/current",
            "artifacts/out/shared",
        ):
            (self.root / name).mkdir(parents=True, exist_ok=True)
