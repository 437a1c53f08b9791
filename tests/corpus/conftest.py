from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.corpus.world import SharedStorage, World


@pytest.fixture(scope="session")
def shared_storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedStorage]:
    """One Storage for all cases: none of them may change it."""
    shared = SharedStorage(lambda: tmp_path_factory.mktemp("storage"))
    yield shared
    shared.close()


@pytest.fixture
def world(shared_storage: SharedStorage, tmp_path_factory: pytest.TempPathFactory) -> World:
    """An installation of its own for each case."""
    # Short, whatever the case is called: messages name files in it, and their lengths are checked.
    return World(tmp_path_factory.mktemp("w"), shared_storage)
