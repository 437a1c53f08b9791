from __future__ import annotations

from pathlib import Path

import pytest
from tests.workbench import Workbench


@pytest.fixture
def workbench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path)
