from __future__ import annotations

import pickle
from typing import Any

import pytest

from docker_runner.engine.containers import ContainerOutcome
from docker_runner.errors import ApplicationError, ComponentError, UserError
from docker_runner.interface.result import (
    NO_MESSAGE,
    CrashedComponentError,
    FailedComponentError,
    OutOfMemoryError,
    TimeLimitError,
    judge,
    printable_image,
)

IMAGE = "quay.io/keboola/ex-foo:1.2.3"
ID = "0123456789abcdef" * 4


def verdict(
    exit_code: int,
    *,
    oom: bool = False,
    timed_out: bool = False,
    seconds: float = 1.0,
    stdout: str = "",
    stderr: str = "",
    timeout_seconds: int = 60,
    **more: Any,
) -> None:
    outcome = ContainerOutcome(ID, exit_code, oom, timed_out, seconds, stdout, stderr)
    judge(outcome, image=IMAGE, timeout_seconds=timeout_seconds, memory_text="256M", **more)


@pytest.mark.rules("CT-34")
def test_exit_code_0_is_success_even_with_words_on_stderr() -> None:
    verdict(0, stderr="just a warning")


@pytest.mark.rules("CT-30", "CT-38")
@pytest.mark.parametrize("exit_code", [0, 1, 2, 137])
def test_out_of_memory_comes_first_and_names_the_limit(exit_code: int) -> None:
    with pytest.raises(OutOfMemoryError, match=r"out of memory.*256M"):
        verdict(exit_code, oom=True, timed_out=True)


@pytest.mark.rules("CT-31")
@pytest.mark.parametrize("how", [{"timed_out": True}, {"seconds": 60.0}])
@pytest.mark.parametrize("exit_code", [137, 125])
def test_a_component_killed_at_its_limit_exceeded_the_timeout(exit_code: int, how: dict[str, Any]) -> None:
    with pytest.raises(TimeLimitError, match=r"keboola/ex-foo:1.2.3 exceeded the timeout of 60 seconds"):
        verdict(exit_code, **how)


@pytest.mark.rules("CT-31", "D9")
@pytest.mark.parametrize("exit_code", [137, 125])
@pytest.mark.parametrize("timeout_seconds", [60, 0])
def test_a_component_killed_before_its_limit_was_terminated(exit_code: int, timeout_seconds: int) -> None:
    with pytest.raises(FailedComponentError, match=r"was terminated.*possibly ran out of memory") as caught:
        verdict(exit_code, timeout_seconds=timeout_seconds)
    assert isinstance(caught.value, UserError)


@pytest.mark.rules("CT-32", "CT-35")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"stderr": "from stderr\n", "stdout": "from stdout", "last_gelf_message": "gelf"}, "from stderr"),
        ({"stderr": " \n", "stdout": "from stdout\n", "last_gelf_message": "gelf"}, "from stdout"),
        ({"last_gelf_message": "gelf"}, "gelf"),
        ({}, NO_MESSAGE),
    ],
)
def test_exit_code_1_shows_the_components_own_words(words: dict[str, str], message: str) -> None:
    with pytest.raises(ComponentError) as caught:
        verdict(1, **words)
    assert str(caught.value) == message


@pytest.mark.rules("CT-36")
def test_a_long_message_loses_its_middle() -> None:
    with pytest.raises(ComponentError) as caught:
        verdict(1, stderr="begin" + "x" * 9000 + "end")
    message = str(caught.value)
    assert len(message) == 4000
    assert message.startswith("beginxxx")
    assert " ... " in message
    assert message.endswith("xxxend")


@pytest.mark.rules("CT-33", "CT-41")
@pytest.mark.parametrize("exit_code", [2, 20, 126, 127, 255])
def test_other_exit_codes_are_errors_of_the_component(exit_code: int) -> None:
    with pytest.raises(ApplicationError) as caught:
        verdict(exit_code, stderr="broken")
    assert str(caught.value) == f"keboola/ex-foo:1.2.3 container '{ID[:12]}' failed: ({exit_code}) broken"


@pytest.mark.rules("CT-33")
def test_without_application_errors_the_same_words_are_a_user_error() -> None:
    with pytest.raises(UserError, match=r"container '0123456789ab' failed: \(2\) broken"):
        verdict(2, stderr="broken", no_application_errors=True)


@pytest.mark.rules("CT-37")
@pytest.mark.parametrize(
    ("exit_code", "how", "kind"),
    [
        (1, {}, FailedComponentError),
        (2, {}, CrashedComponentError),
        (137, {"oom": True}, OutOfMemoryError),
        (137, {"timed_out": True}, TimeLimitError),
    ],
)
def test_errors_carry_their_container_to_other_processes(exit_code: int, how: dict[str, Any], kind: type) -> None:
    with pytest.raises(kind) as caught:
        verdict(exit_code, stdout="said", stderr="complained", **how)
    error = pickle.loads(pickle.dumps(caught.value))
    assert type(error) is kind
    assert str(error) == str(caught.value)
    assert error.container == caught.value.container
    assert (error.container.container_id, error.container.exit_code) == (ID, exit_code)
    assert (error.container.stdout_tail, error.container.stderr_tail) == ("said", "complained")


@pytest.mark.rules("CT-39")
@pytest.mark.parametrize(
    ("image", "name"),
    [("quay.io/keboola/ex-foo:1", "keboola/ex-foo:1"), ("keboola/ex-foo:1", "ex-foo:1"), ("python:3", "python:3")],
)
def test_an_image_is_named_without_its_registry(image: str, name: str) -> None:
    assert printable_image(image) == name
