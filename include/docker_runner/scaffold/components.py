"""A new component: its image's folder with program, example and test, and its definition.

::

    <images>/<name>/Dockerfile  src/component.py
    <images>/<name>/example/            a data folder, as the container sees it in /data
    <images>/<name>/example.json        a configuration to run at once; of a processor, an item of processors
    <images>/<name>/tests/test_component.py
    <components>/<id>.json
"""

from __future__ import annotations

import re
import shutil
import string
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from docker_runner.errors import UserError
from docker_runner.written_whole import written_file, written_folder

if TYPE_CHECKING:
    from docker_runner.engine.client import Engine

TYPES = ("extractor", "writer", "application", "transformation", "processor", "other")
_ID = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_TITLE = re.compile(r"""[^"'\\\x00-\x1f{}$]+""")
_TEMPLATE = ".template"
_DEFINITION = Path("definition.json")
# What of their work is outside of the machine.
_TALKS = ("extractor", "writer")
_BUILD_LINES = 15


@dataclass(frozen=True)
class NewComponent:
    """A component that is to be written.

    Attributes:
        id: its id, e.g. ``my.first``.
        type: one of :data:`TYPES`.
        title: its name for people.
        images: folder with one folder for each image.
        components: folder of the definitions.
    """

    id: str
    type: str
    title: str
    images: Path
    components: Path

    @property
    def name(self) -> str:
        """The name of its image's folder, e.g. ``my-first``."""
        return re.sub(r"[._]", "-", self.id)

    @property
    def folder(self) -> Path:
        """The folder of its image."""
        return self.images / self.name

    @property
    def definition(self) -> Path:
        """The file of its definition."""
        return self.components / f"{self.id}.json"

    @property
    def image(self) -> str:
        """The name of its image."""
        return f"docker-runner/{self.name}:latest"

    def check(self) -> None:
        """Refuse what cannot be written.

        Raises:
            UserError: id, type or title cannot be used, or something of that name is there already.
        """
        if not _ID.fullmatch(self.id) or len(self.id) > 100:
            raise UserError(
                f"The id {self.id!r} cannot be that of a component and its image: use small letters and digits, with "
                "single . - or _ between them, e.g. my.first-component."
            )
        if self.type not in TYPES:
            raise UserError(f"The type must be one of {', '.join(TYPES)}, not {self.type!r}.")
        if not _TITLE.fullmatch(self.title):
            raise UserError("The title must be one line without quotes, backslashes, braces and $.")
        for path in (self.definition, self.folder):
            if path.exists():
                raise UserError(f"{path} is there already: choose another id, or remove it.")

    def write(self) -> list[Path]:
        """Write all its files, or none.

        Returns:
            The files, the definition first.

        Raises:
            UserError: as of :meth:`check`.
        """
        self.check()
        definition, files = self._texts()
        for folder in (self.components, self.images):
            folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as undo:
            with written_file(self.definition) as part:
                part.write_text(definition, encoding="utf-8")
                with written_folder(self.folder) as folder:
                    for name, text in files.items():
                        (folder / name).parent.mkdir(parents=True, exist_ok=True)
                        (folder / name).write_text(text, encoding="utf-8")
                undo.callback(shutil.rmtree, self.folder, ignore_errors=True)
            undo.pop_all()
        return [self.definition, *(self.folder / name for name in files)]

    def _texts(self) -> tuple[str, dict[Path, str]]:
        """The definition, and the files of the image's folder by their place in it."""
        kind = "processor" if self.type == "processor" else "component"
        templates = Path(__file__).parent / "templates" / kind
        definition, files = "", {}
        for template in sorted(path for path in templates.rglob("*") if path.is_file()):
            place = template.relative_to(templates)
            text = template.read_text(encoding="utf-8")
            if template.suffix == _TEMPLATE:
                place, text = place.with_suffix(""), self._filled(text)
            if place == _DEFINITION:
                definition = text
            else:
                files[place] = text
        return definition, files

    def _filled(self, text: str) -> str:
        network = "bridge" if self.type in _TALKS else "none"
        return string.Template(text).substitute(
            id=self.id, name=self.name, type=self.type, title=self.title, network=network
        )


def build(component: NewComponent, engine: Engine) -> None:
    """Build the image of a component on the engine.

    Raises:
        UserError: the build fails; shows its last lines.
        EngineError: the engine fails.
    """
    from docker_runner.engine.client import engine_errors

    lines: list[str] = []
    with engine_errors(engine, f"Building the image {component.image}"):
        messages = engine.client.build(path=str(component.folder), tag=component.image, rm=True, decode=True)
        for message in messages:
            lines += str(message.get("stream") or message.get("error") or "").splitlines()
            if message.get("error"):
                shown = "\n".join(line for line in lines[-_BUILD_LINES:] if line.strip())
                raise UserError(f"The image {component.image} could not be built:\n{shown}")
