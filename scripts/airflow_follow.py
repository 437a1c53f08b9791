"""Starts a run of a DAG, follows it to its end, and shows what happened in a form that people like to read."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_api import FINAL_TASK_STATES, AirflowApi
from airflow_changes import dag_files, touch_dag_files
from airflow_home import LocalAirflow
from rich.console import Console
from rich.text import Text

from docker_runner.settings import Settings
from docker_runner_airflow.shard_files import ShardFiles, newest_change

COMPONENT_TASK = "run_component"
HEAD_LINES, TAIL_LINES = 40, 160
"""How much of a long log is shown: its beginning and its end."""

DAG_SECONDS = 60.0
"""Time for Airflow to parse the DAG files, thousands of DAGs included."""

NEW_FILE_SECONDS = 3.0
"""Time, and a second for each DAG file, for a DAG that Airflow does not know to follow one that it knows."""

STYLES = {"success": "green", "failed": "red", "upstream_failed": "red", "skipped": "dim", "up_for_retry": "yellow"}
LEVELS = {"error": "red", "critical": "red", "warning": "yellow", "debug": "dim"}
AIRFLOWS_OWN = re.compile(r"^(airflow($|\.)|task$|supervisor$|py\.warnings$|alembic|httpx|httpcore)")


class RunError(Exception):
    """A run cannot be started; the message says why."""


@dataclass(frozen=True)
class TaskResult:
    """What became of a task.

    Args:
        task_id: the task, with its groups: ``row_1.run_component``.
        map_index: its index when it is mapped, otherwise -1.
        state: e.g. ``success``.
        attempt: how many times it was tried; 0 when it never ran.
        started: when, or None.
        ended: when, or None.
    """

    task_id: str
    map_index: int
    state: str
    attempt: int
    started: datetime | None
    ended: datetime | None

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.ended - self.started).total_seconds() if self.started and self.ended else 0.0


@dataclass(frozen=True)
class RunResult:
    """What became of a run.

    Args:
        dag_id: the DAG.
        run_id: the run.
        state: ``success`` or ``failed``.
        seconds: from asking for the run to the end of its last task.
        tasks: its tasks, in the order in which they started.
    """

    dag_id: str
    run_id: str
    state: str
    seconds: float
    tasks: tuple[TaskResult, ...]

    @property
    def succeeded(self) -> bool:
        """Whether the run did what it should."""
        return self.state == "success"


def run_and_follow(
    airflow: LocalAirflow,
    dag_id: str,
    *,
    conf: Mapping[str, Any] | None = None,
    console: Console | None = None,
    timeout: float = 3600.0,
) -> RunResult:
    """Run a DAG and wait for its end; Airflow is started when it does not run.

    Args:
        airflow: where.
        dag_id: the DAG.
        conf: values for its params.
        console: where to show what happens; nothing is shown without it.
        timeout: seconds that the run may take.

    Raises:
        AirflowStartError: Airflow cannot be started.
        RunError: there is no such DAG, or its file has an error.
        ApiError: Airflow refuses the run, for example because of a wrong param.
        TimeoutError: the run has not ended in time.
        KeyboardInterrupt: somebody pressed Ctrl-C; once there is a run, the message says that it goes on.
    """
    airflow.start()
    with airflow.api() as api:
        dag = known_dag(airflow, api, dag_id)
        asked = datetime.now().astimezone()
        run_id = api.trigger(dag_id, conf)
        display = RunDisplay(console, asked) if console else None
        if console is not None:
            console.print(f"[bold]{dag_id}[/] [dim]{api.url}/dags/{dag_id}/runs/{run_id}[/]")
        if dag["is_paused"]:
            api.set_paused(dag_id, False)
        # Nothing is to start by its schedule because somebody tried the DAG once.
        is_paused_again = bool(dag["is_paused"] and dag["timetable_summary"])
        try:
            state = api.wait(dag_id, run_id, timeout=timeout, look=display.look if display else None)
        except KeyboardInterrupt:
            how = "waits in Airflow until its DAG is switched on" if is_paused_again else "goes on in Airflow"
            raise KeyboardInterrupt(
                f"Run {run_id} {how}. Look at it, or mark it as failed to stop it: "
                f"{api.url}/dags/{dag_id}/runs/{run_id} (`make up` prints user and password)."
            ) from None
        finally:
            if is_paused_again:
                api.set_paused(dag_id, True)
        tasks = task_results(api.tasks(dag_id, run_id))
        ends = [task.ended for task in tasks if task.ended]
        seconds = (max(ends) - asked).total_seconds() if ends else 0.0
        result = RunResult(dag_id=dag_id, run_id=run_id, state=state, seconds=seconds, tasks=tasks)
        if console is not None:
            show_logs(api, result, console)
        return result


def known_dag(airflow: LocalAirflow, api: AirflowApi, dag_id: str) -> dict[str, Any]:
    """What Airflow knows about a DAG, after it has parsed the project as it is now.

    Raises:
        RunError: no file makes this DAG.
    """
    settings = Settings.from_environment(airflow.variables())
    shards = ShardFiles(settings)
    folders = airflow.dags_folder, shards.folder
    changed = newest_change([settings.project, settings.components, airflow.dags_folder])[0] / 1e9
    dag = api.dag(dag_id)
    if dag is not None and _seconds(dag["last_parsed_time"]) >= changed:
        return dag
    asked = time.time()
    shards.write()
    touch_dag_files(*folders)
    while time.time() < asked + DAG_SECONDS:
        dag = api.dag(dag_id)
        if dag is not None and _seconds(dag["last_parsed_time"]) >= asked:
            return dag
        errors = [error for error in api.import_errors() if _seconds(error.get("timestamp", "")) >= asked]
        if errors:
            last_line = errors[0]["stack_trace"].strip().rpartition("\n")[2]
            raise RunError(f"{errors[0]['filename']} has an error, so its DAGs cannot run: {last_line}")
        # All files have had their time: some other DAG was stored, and this one has not followed.
        parsed = _seconds(api.last_parsed())
        if dag is None and parsed >= asked and time.time() > parsed + NEW_FILE_SECONDS + len(dag_files(*folders)):
            break
        time.sleep(0.2)
    raise RunError(_no_such_dag(api, dag_id))


def _no_such_dag(api: AirflowApi, dag_id: str) -> str:
    from difflib import get_close_matches

    names = api.dag_ids()
    close = get_close_matches(dag_id, names, n=3) or names[:10]
    others = f"There are: {', '.join(close)}" if close else "There are no DAGs at all."
    return f"There is no DAG {dag_id!r}. {others}"


def _seconds(timestamp: str | None) -> float:
    return datetime.fromisoformat(timestamp).timestamp() if timestamp else 0.0


def task_results(tasks: Iterable[Mapping[str, Any]]) -> tuple[TaskResult, ...]:
    """The tasks of a run in the order in which they started; those that never did come last."""
    results = [
        TaskResult(
            task_id=task["task_id"],
            map_index=task["map_index"],
            state=task["state"] or "none",
            attempt=task["try_number"],
            # Tasks that are passed over get a start and an end as well.
            started=datetime.fromisoformat(task["start_date"]) if task["start_date"] and task["try_number"] else None,
            ended=datetime.fromisoformat(task["end_date"]) if task["end_date"] else None,
        )
        for task in tasks
    ]
    return tuple(sorted(results, key=lambda task: (task.started is None, task.started or datetime.min, task.task_id)))


class RunDisplay:
    """Shows the start and the end of each task once.

    Args:
        console: where.
        asked: the time that shown times count from.
    """

    def __init__(self, console: Console, asked: datetime) -> None:
        self._console = console
        self._asked = asked
        self._shown: set[tuple[str, int, int, str]] = set()

    def look(self, tasks: list[dict[str, Any]]) -> None:
        """Show what is new."""
        for task in task_results(tasks):
            if task.started is not None:
                self._once(task, "started", task.started, "starts")
            if task.state in FINAL_TASK_STATES or task.state in {"up_for_retry", "deferred"}:
                self._once(task, task.state, task.ended, task.state.replace("_", " "))

    def _once(self, task: TaskResult, what: str, when: datetime | None, words: str) -> None:
        key = (task.task_id, task.map_index, task.attempt, what)
        if key in self._shown:
            return
        self._shown.add(key)
        at = f"{max(0.0, (when - self._asked).total_seconds()):8.2f} s" if when else " " * 10
        name = task.task_id if task.map_index < 0 else f"{task.task_id}[{task.map_index}]"
        line = Text.assemble((at, "dim"), f"  {name:<32} ", (words, STYLES.get(what, "")))
        if what in FINAL_TASK_STATES and task.started:
            line.append(f"  {task.seconds:.2f} s", "dim")
        self._console.print(line)


def show_logs(api: AirflowApi, result: RunResult, console: Console) -> None:
    """Show what components wrote, why tasks failed, and how the run ended."""
    for task in result.tasks:
        if task.started is None:
            continue
        if task.task_id.rpartition(".")[2] == COMPONENT_TASK:
            console.print(Text(f"\n{task.task_id}", "bold"))
            for line in shortened(component_lines(_entries(api, result, task))):
                console.print(line)
    for task in result.tasks:
        if task.state == "failed":
            reason = failure(_entries(api, result, task)) or "see its log in the UI"
            console.print(Text.assemble((f"\n{task.task_id} failed: ", "bold red"), reason))
    style = STYLES[result.state]
    console.print(f"\n[{style} bold]{result.state}[/] in {result.seconds:.2f} s")


def _entries(api: AirflowApi, result: RunResult, task: TaskResult) -> Iterator[dict[str, Any]]:
    return api.log(result.dag_id, result.run_id, task.task_id, attempt=task.attempt, map_index=task.map_index)


def component_lines(entries: Iterable[Mapping[str, Any]]) -> Iterator[Text]:
    """The lines of a task's log that are not Airflow's own, with their time and coloured by their level."""
    for entry in entries:
        event, logger = str(entry.get("event", "")), str(entry.get("logger") or "task")
        if AIRFLOWS_OWN.match(logger) or event.startswith(("::group::", "::endgroup::")) or not entry.get("timestamp"):
            continue
        moment = datetime.fromisoformat(str(entry["timestamp"])).astimezone()
        yield Text.assemble((f"{moment:%H:%M:%S} ", "dim"), (event, LEVELS.get(str(entry.get("level")), "")))


def shortened(lines: Iterable[Text]) -> Iterator[Text]:
    """The beginning and the end of a long log, without holding what is between."""
    tail: deque[Text] = deque(maxlen=TAIL_LINES)
    count = 0
    for count, line in enumerate(lines, 1):
        if count <= HEAD_LINES:
            yield line
        else:
            tail.append(line)
    if count > HEAD_LINES + TAIL_LINES:
        yield Text(f"... {count - HEAD_LINES - TAIL_LINES:,} more lines, all of them in the UI ...", "dim")
    yield from tail


def failure(entries: Iterable[Mapping[str, Any]]) -> str:
    """The message of the error that ended a task, without its traceback."""
    message = ""
    for entry in entries:
        details = entry.get("error_detail")
        if details:
            message = str(details[0].get("exc_value") or details[0].get("exc_type"))
        elif entry.get("event") == "Task exited" and entry.get("exit_code"):
            # A step that fails ends its task with its message instead of a traceback.
            message = str(entry["exit_code"])
        elif not message and entry.get("level") in {"error", "critical"}:
            message = str(entry.get("event", ""))
    return message
