from __future__ import annotations

import os
import signal

import pytest
from tests.builders import ProjectBuilder

from docker_runner.errors import UserError
from docker_runner.job.definition import Mode
from docker_runner.job.interruption import interruption_told, may_have_stored
from docker_runner.job.request import JobRequest


def test_only_a_run_that_had_come_to_its_results_may_have_stored_some(built: ProjectBuilder) -> None:
    built.configuration({"processors": {"after": [{"definition": {"component": "vendor.ex-foo"}}]}})
    job = built.job()
    done = {("", "create_workspace"), ("", "pull_images"), ("", "write_config"), ("", "run_component")}
    assert not may_have_stored(job, done)
    assert may_have_stored(job, {*done, ("", "after_1")})
    assert not may_have_stored(job, {*done, ("another row", "after_1")})


def test_a_run_that_stores_snapshots_may_have_stored_some_from_the_beginning(built: ProjectBuilder) -> None:
    built.configuration({})
    assert may_have_stored(built.job(JobRequest(mode=Mode.DEBUG)), set())


@pytest.mark.parametrize(
    ("done", "failure", "told"),
    [
        ([], "", "Nothing was stored."),
        ([("", "run_component")], "", "What was stored until then stays."),
        ([], "its write_always tables are being stored", "What was stored until then stays."),
    ],
)
def test_ctrl_c_is_answered_at_once_and_what_was_stored_is_told_in_the_end(
    built: ProjectBuilder, capfd: pytest.CaptureFixture[str], done: list[tuple[str, str]], failure: str, told: str
) -> None:
    built.configuration({})
    job, said_at_once = built.job(), []

    def press() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            said_at_once.append(capfd.readouterr().err)

    def run() -> None:
        with interruption_told(job, done):
            try:
                if failure:
                    raise UserError(failure)
            except UserError:
                press()
            press()

    with pytest.raises(SystemExit) as end:
        run()
    assert said_at_once[0] == "\nStopping the container ...\n"
    assert capfd.readouterr().err == f"The run was stopped. {told}\n"
    assert end.value.code == 130
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_was_started_without_ctrl_c_stays_without_it(built: ProjectBuilder) -> None:
    built.configuration({})
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruption_told(built.job(), set()):
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
