"""Vault variables: ``{{ vault.<name> }}``, whose values are kept outside the project (VR-14)."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docker_runner.documents import read_object
from docker_runner.project.branches import DEFAULT_FOLDER

# A third opening brace makes it a raw Mustache placeholder, which is none of the vault's.
_PLACEHOLDER = re.compile(r"(?<!{){{\s*vault\.([A-Za-z0-9_-]+)\s*}}")


@dataclass
class Vault:
    """Values by name in a JSON file: ``{"name": "text or cipher"}``, or ``{"name": {"<branch>": "…"}}``.

    Attributes:
        file: the file; it is read only when a placeholder occurs.
        branch: folder of the branch whose values count; a plain text counts in every branch.
    """

    file: Path | None = None
    branch: str = DEFAULT_FOLDER
    _values: dict[str, str] | None = field(default=None, repr=False)

    def rendered(self, configuration: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str], list[str]]:
        """Replace the placeholders of a configuration.

        Returns:
            The configuration, the values that were used by ``vault.<name>``, and the names that have no value.

        Raises:
            ConfigurationError: the vault's file is wrong.
        """
        text = json.dumps(configuration, ensure_ascii=False)
        names = list(dict.fromkeys(_PLACEHOLDER.findall(text)))
        if not names:
            return configuration, {}, []
        values = self._read()
        used = {name: values[name] for name in names if name in values}
        text = _PLACEHOLDER.sub(lambda match: _json_text(used.get(match[1], match[0])), text)
        missing = [f"vault.{name}" for name in names if name not in used]
        return json.loads(text), {f"vault.{name}": value for name, value in used.items()}, missing

    def _read(self) -> dict[str, str]:
        if self._values is None:
            content = read_object(self.file, "vault") if self.file and self.file.exists() else {}
            of_branch = (
                (name, value.get(self.branch) if isinstance(value, dict) else value) for name, value in content.items()
            )
            self._values = {name: value for name, value in of_branch if value is not None}
        return self._values


@dataclass
class ClosedVault(Vault):
    """A vault that tells whether it has a value, and never which: its placeholders come out as they went in."""

    _mark: str = field(default_factory=lambda: f"vault-{uuid.uuid4().hex}", repr=False)
    _used: set[str] = field(default_factory=set)

    def rendered(self, configuration: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str], list[str]]:
        """Mark the placeholders, so that nothing else that is put in touches them; see :meth:`reopened`."""
        content, used, missing = super().rendered(configuration)
        self._used |= used.keys()
        return content, used, missing

    def reopened(self, configuration: dict[str, Any]) -> dict[str, Any]:
        """Put the placeholders back into a configuration whose other placeholders were replaced meanwhile."""
        text = json.dumps(configuration, ensure_ascii=False)
        document: dict[str, Any] = json.loads(re.sub(rf"{self._mark}<([A-Za-z0-9_-]+)>", r"{{ vault.\1 }}", text))
        return document

    def hidden(self, message: str) -> str:
        """A message with placeholders in place of the values that were used."""
        values = {f"vault.{name}": value for name, value in super()._read().items()}
        for name in sorted(self._used, key=lambda name: len(values[name]), reverse=True):
            message = message.replace(values[name] or "\0", f"{{{{ {name} }}}}")
        return message

    def _read(self) -> dict[str, str]:
        return {name: f"{self._mark}<{name}>" for name in super()._read()}


def _json_text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)[1:-1]
