from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.installation import Installation, build_script_image, build_yaml_image

BASE_IMAGE = os.environ.get("DOCKER_RUNNER_BASE_IMAGE") or "docker-runner/base:latest"


@pytest.fixture(scope="session")
def script_image() -> None:
    build_script_image(BASE_IMAGE)


@pytest.fixture(scope="session")
def yaml_image() -> None:
    build_yaml_image(BASE_IMAGE)


@pytest.fixture
def installation(script_image: None, tmp_path: Path) -> Installation:
    return Installation(tmp_path)
