"""(d): what our run step costs beside ``docker run``, and what containers that are waited for cost a triggerer."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from tests.benchmarks.setting import REPOSITORY, median, row, seconds, target
from tests.installation import SCRIPT_IMAGE, Installation, build_script_image

from docker_runner.engine.client import Engine
from docker_runner.engine.container_logs import ContainerLog
from docker_runner.engine.container_spec import ContainerSpec
from docker_runner.engine.container_state import ContainerState
from docker_runner.engine.containers import remove_container, remove_containers, start_container
from docker_runner.job.definition import Job
from docker_runner.job.images import pull_images
from docker_runner.job.plan import row_steps
from docker_runner.job.steps import clean_up, create_workspace, perform
from docker_runner.job.workspace import Workspace

PAIRS = 7
STREAMS = 3
MEGABYTES = 200
WAITING = 200
WAIT_SECONDS = 20
LABELS = {"com.keboola.docker-runner.benchmark": str(os.getpid())}
PRINTS = f"import sys\nline = 'x' * 99 + '\\n'\nfor _ in range({MEGABYTES * 100}): sys.stdout.write(line * 100)"


def containers(folder: Path) -> None:
    """Measure starting, streaming and waiting."""
    build_script_image(os.environ.get("DOCKER_RUNNER_BASE_IMAGE") or "docker-runner/base:latest")
    print("\n(d) the run step beside docker run")
    _starting(Installation(folder / "starting"))
    _streaming(Installation(folder / "streaming"))
    _waiting(Installation(folder / "waiting"))


def _step(installation: Installation, script: str) -> Callable[[], dict[str, Any]]:
    """The run step of a configuration, to be done again and again."""
    installation.script("bench", script)
    job, tools = installation.job("bench"), installation.tools()
    workspace = Workspace(installation.settings.workspaces, job.id)
    create_workspace(job, workspace, tools)
    images = {"pull_images": pull_images(job, tools)}
    step = next(s for s in row_steps(job.rows[0].configuration, job.rows[0].component) if s.name == "run_component")
    lines = 0

    def count(*_: object) -> None:
        nonlocal lines
        lines += 1

    # Its own handler would keep every line in memory.
    for handler in (*tools.log.handlers, *tools.log.getChild("component").handlers):
        handler.emit = count  # type: ignore[method-assign]
    return lambda: perform(step, workspace=workspace, row_id="", tools=tools, manifests=images)


def _bare(folder: Path, script: str) -> None:
    (folder / "config.json").write_text('{"parameters": {"script": ""}}')
    run = ["docker", "run", "--rm", "--net", "none", "-v", f"{folder}:/data", f"{SCRIPT_IMAGE}:latest"]
    subprocess.run([*run, "python3", "-c", script], check=True, stdout=subprocess.DEVNULL)


def _starting(installation: Installation) -> None:
    step = _step(installation, "pass")
    times: dict[str, list[float]] = {"bare": [], "step": []}
    for number in range(PAIRS + 1):
        measured = {"bare": seconds(lambda: _bare(installation.folder, "pass")), "step": seconds(step)}
        for name, value in measured.items() if number else ():
            times[name].append(value)
    print(row("docker run of a component that does nothing", times["bare"]))
    print(row("the run step around the same", times["step"]))
    print(target("the run step over docker run", median(times["step"]) - median(times["bare"]), 0.3, "s"))


def _streaming(installation: Installation) -> None:
    """Long outputs: to the one who started the container, and to one who has nothing but the engine's stored log."""
    _step(installation, "pass")()  # imports what the step imports
    step = _step(installation, PRINTS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times: dict[str, list[float]] = {name: [] for name in ("bare", "bare itself", "step", "step itself")}
    for _ in range(STREAMS):
        times["bare"].append(seconds(lambda: times["bare itself"].append(_piped(installation.folder, PRINTS))))
        times["step"].append(seconds(lambda: times["step itself"].append(step()["seconds"])))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(row(f"docker run that prints {MEGABYTES} MB in lines of 100 characters", times["bare"]))
    print(row("  of which the component ran", times["bare itself"]))
    print(row("the run step, until every line was shown", times["step"]))
    print(row("  of which the component ran", times["step itself"]))
    print(target("the run step / docker run", _ratio(times["step"], times["bare"]), 2, "x"))
    print(
        target(
            "the component / the same under docker run", _ratio(times["step itself"], times["bare itself"]), 1.1, "x"
        )
    )
    print(target("memory that this took more", grown, 64, "MB"))


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return median([one / other for one, other in zip(ours, theirs, strict=True)])


def _piped(folder: Path, script: str) -> float:
    """``docker run`` into a file; gives how long the component itself ran."""
    name = f"docker-runner-benchmark-{os.getpid()}-piped"
    run = ["docker", "run", "--name", name, "--net", "none", f"{SCRIPT_IMAGE}:latest", "python3", "-c", script]
    with (folder / "printed").open("wb") as file:
        subprocess.run(run, check=True, stdout=file)
    with Engine.from_environment() as engine:
        state = ContainerState.from_engine(engine.client.inspect_container(name))
        remove_container(engine, name)
    return state.seconds


def _waiting(installation: Installation) -> None:
    """A process like a triggerer's, with many containers; and one task that waits for one."""
    _step(installation, "pass")()
    job = installation.job("bench")
    with Engine.from_environment() as engine:
        try:
            ids = sleepers(installation, engine)
            command = [sys.executable, "-m", "tests.benchmarks.containers", str(installation.folder), job.id, *ids]
            places = {**installation.environment, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'scripts'}"}
            done = subprocess.run(command, env={**os.environ, **places}, check=True, capture_output=True, text=True)
            print(done.stdout, end="")
        finally:
            remove_containers(engine, LABELS)
    _clean(installation, job)


def _clean(installation: Installation, job: Job) -> None:
    clean_up(Workspace(installation.settings.workspaces, job.id), installation.tools())


def sleepers(installation: Installation, engine: Engine) -> list[str]:
    """Start many containers that do nothing for long, as far as the machine can."""
    folder = installation.folder / "sleepers"
    folder.mkdir()
    spec = ContainerSpec(
        name="", image=f"{SCRIPT_IMAGE}:latest", labels=LABELS, environment={}, data=folder, tmp=folder,
        user="1000:1000", memory_bytes=32 * 2**20, network="none", command=("sleep", "3600"),
    )  # fmt: skip
    ids = []
    for number in range(WAITING):
        one = replace(spec, name=f"docker-runner-benchmark-{os.getpid()}-{number}")
        ids.append(start_container(engine, one, ContainerLog(lambda *_: None)).container_id)
    return ids


def wait_for_all(folder: Path, job_id: str, ids: list[str]) -> None:
    """What the triggerer does for these containers; print what it costs."""
    import docker_runner_airflow.triggers  # noqa: F401
    from docker_runner.engine.wire import Wire
    from docker_runner.job.supervision import RunRecord
    from docker_runner.job.waiting import LeftContainer

    installation = Installation(folder)
    tools = installation.tools()
    RunRecord("bench").write(Workspace(installation.settings.workspaces, job_id).row("").stage(0))
    Wire.of(tools.engine)
    process = psutil.Process()

    async def run() -> None:
        first = [asyncio.create_task(LeftContainer(job_id, "", 0, ids[0]).wait(tools))]
        await asyncio.sleep(2)
        alone = process.memory_info().rss / 2**20
        tasks = first + [asyncio.create_task(LeftContainer(job_id, "", 0, one).wait(tools)) for one in ids[1:]]
        await asyncio.sleep(10)
        all_of_them = process.memory_info().rss / 2**20
        cpu = time.process_time()
        await asyncio.sleep(WAIT_SECONDS)
        share = (time.process_time() - cpu) / WAIT_SECONDS * 100
        assert not any(task.done() for task in tasks)
        print(row("a process that waits for 1 container", [alone], "MB"))
        print(row(f"the same process with {len(ids)} containers", [all_of_them], "MB"))
        print(target("memory of each container more", (all_of_them - alone) / len(ids) * 1024, 512, "KB"))
        print(target(f"CPU of waiting for {len(ids)} containers", share, 5, "%"))
        print(target("threads", float(process.num_threads()), 64))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())


if __name__ == "__main__":
    wait_for_all(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
