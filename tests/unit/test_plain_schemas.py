"""What is plainly right is right for the validator too."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docker_runner.plain_schemas import plainly_fits
from docker_runner.schemas import load_schema, validator

NAMES = ("meta", "schedule", "project-manifest-configuration", "flow-task", "variables", "state", "configuration")
KEYS = ("name", "isDisabled", "schedule", "cronTab", "state", "branchId", "componentId", "id", "path", "rows", "x")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.floats(0, 2) | st.sampled_from(["", "a", "/a", "..", "enabled"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.parametrize("name", NAMES)
@given(document=VALUES)
def test_nothing_that_the_validator_refuses_is_plainly_right(name: str, document: Any) -> None:
    if plainly_fits(document, load_schema(name)):
        assert validator(name).is_valid(document)


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("meta", {"name": "n", "isDisabled": False}),
        ("schedule", {"schedule": {"cronTab": "* * * * *", "timezone": "UTC", "state": "enabled"}}),
        ("project-manifest-configuration", {"branchId": 1, "componentId": "c", "id": "1", "path": "a/b", "rows": []}),
    ],
)
def test_the_small_files_of_a_project_need_no_validator(name: str, document: dict[str, Any]) -> None:
    assert plainly_fits(document, load_schema(name))


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("meta", {"isDisabled": 1}),
        ("meta", []),
        ("schedule", {"schedule": {"cronTab": "", "state": "enabled"}}),
        ("schedule", {"schedule": {"cronTab": "* * * * *", "state": "on"}}),
        ("schedule", {}),
        ("project-manifest-configuration", {"branchId": True, "componentId": "c", "id": "1", "path": "a"}),
        ("project-manifest-configuration", {"branchId": 1, "componentId": "c", "id": "1", "path": "../a"}),
        ("project-manifest-configuration", {"branchId": 1, "componentId": "c", "id": "1", "path": "a", "rows": [{}]}),
    ],
)
def test_what_is_wrong_is_not_plainly_right(name: str, document: Any) -> None:
    assert not validator(name).is_valid(document)
    assert not plainly_fits(document, load_schema(name))
