"""Errors: what a person reads, and what survives the way between processes."""

from __future__ import annotations

import pickle

import pytest

from docker_runner import errors
from docker_runner.errors import ApplicationError, ConfigurationError, RunnerError, UserError

ALL = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RunnerError)]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_survives_pickling(kind: type[RunnerError]) -> None:
    copy = pickle.loads(pickle.dumps(kind("Something is wrong.")))
    assert type(copy) is kind
    assert str(copy) == copy.message == "Something is wrong."


def test_a_configuration_error_keeps_its_place_when_pickled() -> None:
    copy = pickle.loads(pickle.dumps(ConfigurationError("Must be a map.", file="a/config.json", key="storage.input")))
    assert (copy.problem, copy.file, copy.key) == ("Must be a map.", "a/config.json", "storage.input")
    assert str(copy) == "a/config.json: storage.input: Must be a map."


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind is not RunnerError])
def test_every_error_is_either_the_users_or_the_applications(kind: type[RunnerError]) -> None:
    assert issubclass(kind, UserError) != issubclass(kind, ApplicationError)
