"""The folders that a component sees under ``/data`` (DF-1..DF-5)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from docker_runner.errors import ConfigurationError

EXTENSIONS = ("json", "yml")
_ARTIFACTS = ("artifacts/out/current", "artifacts/out/shared")


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
    def artifacts(self) -> Path:
        """``/data/artifacts``."""
        return self.root / "artifacts"

    @property
    def usage_file(self) -> Path:
        """``/data/out/usage.json``."""
        return self.outputs / f"usage.{self.extension}"

    def refuse_replaced(self) -> None:
        """Refuse what a container left if it put links or files in place of the folders of the contract.

        Following such a link would read and write files of the machine that the component itself cannot see.

        Raises:
            ConfigurationError: names the folder.
        """
        for name in ("out", "out/tables", "out/files", "artifacts", "artifacts/out", *_ARTIFACTS):
            place = self.root / name
            if place.is_symlink() or (place.exists() and not place.is_dir()):
                raise ConfigurationError("The component must leave this as a folder, not a link or a file.", file=name)

    def remove_secrets(self, *, also_new_state: bool = True) -> None:
        """Remove the files that hold secrets in plain text, whatever the container made of their folders.

        Args:
            also_new_state: the new state is not needed any more either.
        """
        for file in self.secret_files(also_new_state=also_new_state):
            file.unlink(missing_ok=True)

    def secret_files(self, *, also_new_state: bool = True) -> list[Path]:
        """The files that are there and hold secrets in plain text; see :meth:`remove_secrets`."""
        holders = (self.inputs, self.outputs) if also_new_state else (self.inputs,)
        states = (folder / f"state.{extension}" for folder in holders for extension in EXTENSIONS)
        return [
            file
            for file in (self.config_file, *states)
            if not file.parent.is_symlink() and (file.is_file() or file.is_symlink())
        ]

    def make(self) -> None:
        """Make all folders of the contract that are not there yet."""
        for name in (
            "in/tables",
            "in/files",
            "in/user",
            "out/tables",
            "out/files",
            *_ARTIFACTS,
        ):
            (self.root / name).mkdir(parents=True, exist_ok=True)


def write_secret(file: Path, text: str) -> None:
    """Write a new file that only its owner can read; what holds secrets in plain text is written by this."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
