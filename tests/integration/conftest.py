from __future__ import annotations

import warnings

import pytest


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What is logged, also by a test that is the first of its process to need Airflow.

    Airflow replaces the handlers of the root logger when it is imported: that must have happened before the test.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import airflow.sdk  # noqa: F401
    return caplog
