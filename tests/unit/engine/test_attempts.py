"""How often, and with which pauses, what may pass is tried again."""

from __future__ import annotations

import pickle

import pytest

from docker_runner.engine.attempts import DoubtfulError, PassingError, PullLimits, with_attempts
from docker_runner.engine.pull import refused
from docker_runner.errors import EngineError, RunnerError, UserError


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made; none of them takes any time."""
    made: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", made.append)
    return made


def failing(error: Exception, tries: list[int]) -> None:
    tries.append(1)
    raise error


@pytest.mark.rules("IG-5")
def test_a_registry_gets_twenty_chances_with_pauses_that_double_up_to_a_minute(pauses: list[float]) -> None:
    told: list[str] = []
    tries: list[int] = []
    with pytest.raises(PassingError, match="does not answer"):
        with_attempts(lambda: failing(PassingError("It does not answer."), tries), told.append, PullLimits())
    assert len(tries) == 20
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32, *[60] * 12]
    assert told[:2] == ["It does not answer. Trying again in 0.5 s.", "It does not answer. Trying again in 1 s."]
    assert len(told) == 19


@pytest.mark.rules("IG-5")
def test_a_host_that_nobody_knows_is_given_up_while_somebody_still_waits(pauses: list[float]) -> None:
    tries: list[int] = []
    error = refused("regsitry.example.com/a:1", "dial tcp: lookup regsitry.example.com: no such host")
    with pytest.raises(DoubtfulError, match=r"regsitry\.example\.com/a:1 cannot be pulled.*Check the name of the reg"):
        with_attempts(lambda: failing(error, tries), print, PullLimits())
    assert len(tries) == 6
    assert sum(pauses) < 20


@pytest.mark.parametrize("error", [UserError("wrong"), EngineError("The engine does not answer.")])
def test_what_does_not_pass_is_not_tried_again(pauses: list[float], error: RunnerError) -> None:
    tries: list[int] = []
    with pytest.raises(type(error)):
        with_attempts(lambda: failing(error, tries), print, PullLimits())
    assert (len(tries), pauses) == (1, [])


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("dial tcp 10.0.0.1:443: connect: connection refused", PassingError),
        ("toomanyrequests: You have reached your pull rate limit", PassingError),
        ("received unexpected HTTP status: 503 Service Unavailable", PassingError),
        ("x509: certificate signed by unknown authority", DoubtfulError),
        ("http: server gave HTTP response to HTTPS client", DoubtfulError),
    ],
)
def test_what_a_registry_answered_decides_how_often_it_is_asked(said: str, kind: type[Exception]) -> None:
    error = refused("vendor/a:1", said)
    assert type(error) is kind
    assert said in str(error)
    assert type(pickle.loads(pickle.dumps(error))) is kind
