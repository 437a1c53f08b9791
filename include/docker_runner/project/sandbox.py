"""The component of a configuration that is not yet any component's: it has no image, only a format (LC-65, API-37)."""

from __future__ import annotations

from docker_runner.project.component import Component

SANDBOX = "sandbox"
FORMATS = ("yaml", "json")
"""Formats of config files; the first one counts when none is named."""
ROWS = 50
"""How many rows of each table are read for a sandbox."""


def sandbox_component(file_format: str = "") -> Component:
    """What stands in for a component in a sandbox.

    Args:
        file_format: format of its config file, state and manifests, one of :data:`FORMATS`; the first one when empty.
    """
    return Component.from_document(
        {
            "id": SANDBOX,
            "name": "Sandbox",
            "data": {
                # Docker's name for no image at all, which no registry has.
                "definition": {"type": "dockerhub", "uri": "scratch"},
                "configuration_format": file_format or FORMATS[0],
            },
        }
    )
