"""Everything that is wrong in a project, found without running anything: what ``docker-runner validate`` shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from docker_runner.documents import problems, read_json
from docker_runner.encryption import Scope
from docker_runner.errors import ConfigurationError, UserError
from docker_runner.interface.environment import refuse_missing_token
from docker_runner.job.checks import effective_problems, errors_of, part_problems, plain_secret_problems
from docker_runner.job.credentials import credentials_id_of, found_credentials
from docker_runner.job.project_check import flow_problems
from docker_runner.job.request import JobRequest
from docker_runner.job.resolution import processor_problems, replaced, stages_of
from docker_runner.job.secret_checks import cipher_problems, known_keys, unsealed_notes
from docker_runner.job.source import Source, guard_branch, guard_configuration
from docker_runner.misplaced_keys import misplaced_keys
from docker_runner.oauth import StoredCredentials, is_broker
from docker_runner.positions import line_of
from docker_runner.project.code_links import target_component
from docker_runner.project.component import Component, ComponentRegistry, StackRegistry
from docker_runner.project.configuration import Project, Row
from docker_runner.project.core_files import read_map, read_meta
from docker_runner.project.entries import (
    FLOW_COMPONENTS,
    SCHEDULER_COMPONENT,
    SHARED_CODE_COMPONENT,
    VARIABLES_COMPONENT,
    Entry,
    Key,
)
from docker_runner.project.rows import effective_configurations
from docker_runner.project.run_options import run_option_problems
from docker_runner.project.schedule import Schedule
from docker_runner.project.shared_code import code_of
from docker_runner.project.starts import start_problems
from docker_runner.project.vault import Vault
from docker_runner.settings import Settings


@dataclass(frozen=True)
class Checked:
    """One thing that was checked.

    Attributes:
        kind: ``configuration``, ``flow``, ``component`` or ``project``.
        name: ``<component>/<configuration>``, the component's id, or the project's folder.
        file: its folder or file.
        problems: everything that is wrong with it.
        notes: what is not wrong, but may not be what was meant.
    """

    kind: str
    name: str
    file: Path
    problems: tuple[UserError, ...]
    notes: tuple[ConfigurationError, ...] = ()


@dataclass
class _Findings:
    """Collects problems; what is wrong in a root shows once for each of its rows, and is kept once."""

    _by_text: dict[str, UserError] = field(default_factory=dict)
    _notes: dict[str, ConfigurationError] = field(default_factory=dict)

    def note(self, *found: ConfigurationError) -> None:
        """Keep what is worth telling and no problem."""
        for note in found:
            self._notes.setdefault(str(note), note)

    @property
    def notes(self) -> tuple[ConfigurationError, ...]:
        """What is worth telling and no problem."""
        return tuple(self._notes.values())

    def add(self, *found: UserError) -> None:
        for problem in found:
            self._by_text.setdefault(str(problem), problem)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Go on behind the block when it finds a problem."""
        try:
            yield
        except UserError as problem:
            self.add(problem)

    @property
    def all(self) -> tuple[UserError, ...]:
        """The problems, those of one file together and by their lines."""
        files = [getattr(problem, "file", None) for problem in self._by_text.values()]

        def place(problem: UserError) -> tuple[int, int]:
            return files.index(getattr(problem, "file", None)), getattr(problem, "line", None) or 0

        return tuple(sorted(self._by_text.values(), key=place))


def checkable(project: Project) -> Iterator[Key]:
    """Every configuration of a branch that is checked on its own: what belongs to another is checked with that one."""
    yield from project.configurations()
    yield from project.flows()
    yield from project.configurations_of(SHARED_CODE_COMPONENT)
    for component_id in (VARIABLES_COMPONENT, SCHEDULER_COMPONENT):
        yield from (key for key in project.configurations_of(component_id) if not project.belongs(key))


def check_component(registry: ComponentRegistry, component_id: str, *, settings: Settings) -> Checked:
    """Check the definition of a component, with its own secrets."""
    found = _Findings()
    file = registry.folder / f"{component_id}.json"
    with found.collecting():
        document = read_json(file)
        found.add(*problems(document, "component", file=file))
        for place, meant in misplaced_keys(document, "component"):
            problem = f"The key is not known here and has no effect; did you mean {meant}?"
            found.note(ConfigurationError(problem, file=file, key=place, line=line_of(file, place)))
    if not found.all:
        with found.collecting():
            _check_secrets_of(registry.get(component_id), found, file=file, settings=settings)
    return Checked("component", component_id, file, found.all, found.notes)


def _check_secrets_of(component: Component, found: _Findings, *, file: Path, settings: Settings) -> None:
    document = {"data": component.data}
    found.add(*plain_secret_problems(document, files=[file]))
    found.add(*cipher_problems(document, Scope(component.id), known_keys(settings), files=[file]))
    found.note(*unsealed_notes(document, files=[file]))


def check_configuration(
    project: Project,
    registry: ComponentRegistry,
    key: Key,
    *,
    settings: Settings,
) -> Checked:
    """Check a configuration with all its rows, code, variables, values and schedules, or a flow with its tasks.

    Args:
        project: the project directory with its branch.
        registry: the registered components.
        key: component and configuration.
        settings: where values of ``{{ vault.… }}`` and OAuth credentials are, and what components with
            ``forward_token`` are given.

    Raises:
        NotFoundError: there is no such configuration.
    """
    name = "/".join(key).rstrip("/")
    kind = "flow" if key[0] in FLOW_COMPONENTS else "configuration"
    try:
        entry = project.entry(*key)
    except ConfigurationError as error:
        return Checked(kind, name, project.folder, (error,))
    found = _Findings()
    if key[0] == SHARED_CODE_COMPONENT:
        _check_shared_code(project, entry, found)
    elif kind == "flow":
        found.add(*flow_problems(project, registry, entry))
    elif key[0] == VARIABLES_COMPONENT:
        _check_variables(entry, found)
    elif key[0] == SCHEDULER_COMPONENT:
        with found.collecting():
            Schedule.read(entry.folder / "config.json")
    else:
        _RunnableCheck(project, StackRegistry(registry, project.api_host), entry, settings, found).run()
    return Checked(kind, name, entry.folder, found.all, found.notes)


def _check_variables(entry: Entry, found: _Findings) -> None:
    documents = [(entry.folder, "variables"), *((folder, "variable-values") for _, folder in entry.rows)]
    for folder, schema in documents:
        file = folder / "config.json"
        with found.collecting():
            found.add(*problems(read_json(file), schema, file=file))


def _check_shared_code(project: Project, entry: Entry, found: _Findings) -> None:
    target = ""
    with found.collecting():
        target = target_component(entry)
    for _, folder in entry.rows:
        with found.collecting():
            code_of(folder, component_id=target)
    for variables in project.children(entry.key, VARIABLES_COMPONENT):
        _check_variables(variables, found)


@dataclass(frozen=True)
class _RunnableCheck:
    """The check of one configuration that can be run."""

    project: Project
    registry: ComponentRegistry
    entry: Entry
    settings: Settings
    found: _Findings

    def run(self) -> None:
        """Check file by file; only when each is sound, what becomes of them together."""
        self._check_files()
        sound = not self.found.all
        component = None
        with self.found.collecting():
            component = self.registry.get(self.entry.key[0])
        if sound:
            with self.found.collecting():
                self._check_content(component)

    def _check_files(self) -> None:
        for folder in (self.entry.folder, *(folder for _, folder in self.entry.rows)):
            with self.found.collecting():
                read_map(folder / "config.json")
            with self.found.collecting():
                read_meta(folder)
        for schedule in self.project.children(self.entry.key, SCHEDULER_COMPONENT):
            with self.found.collecting():
                Schedule.read(schedule.folder / "config.json")
        for variables in self.project.children(self.entry.key, VARIABLES_COMPONENT):
            _check_variables(variables, self.found)

    def _check_content(self, component: Component | None) -> None:
        configuration = self.project.configuration(*self.entry.key)
        wrong = list(part_problems(configuration, configuration.rows))
        self.found.add(*wrong, *run_option_problems(configuration))
        if component:
            for guard in (
                partial(guard_branch, component, self.project.branch),
                partial(guard_configuration, configuration, component, self.project.branch),
            ):
                with self.found.collecting():
                    guard()
        effective = effective_configurations(configuration)
        if wrong or component is None:
            return
        for row, content in effective:
            with self.found.collecting():
                self._check_row(row, content, Source(configuration), component)
        if not self.found.all:
            self.found.add(*start_problems(configuration, component, project=self.project, registry=self.registry))

    def _check_row(self, row: Row | None, content: dict[str, Any], source: Source, component: Component) -> None:
        files = source.files(row)
        content, _ = replaced(
            content,
            source=source,
            request=JobRequest(),
            project=self.project,
            registry=self.registry,
            vault=Vault(self.settings.vault, self.project.branch.path),
            files=files,
        )
        wrong = list(effective_problems(content, files=files))
        self.found.add(*wrong)
        processors = [] if wrong else list(processor_problems(content, component=component, registry=self.registry))
        for problem in processors:
            with self.found.collecting(), errors_of(files):
                raise problem
        branch_type = "default" if self.project.branch.is_default else "dev"
        scope = Scope(component.id, self.project.id, self.entry.key[1], branch_type)
        self.found.note(*unsealed_notes(content, files=files))
        if not wrong:
            with self.found.collecting(), errors_of(files):
                self.found.add(*cipher_problems(content, scope, known_keys(self.settings), files=files))
        with self.found.collecting(), errors_of(files):
            self._check_credentials(content, component, scope)
        if not wrong and not processors:
            with errors_of(files):
                stages = stages_of(content, component=component, registry=self.registry, tag="")
            for stage in stages:
                with self.found.collecting():
                    refuse_missing_token(stage.component, self.settings.forwarded_token)

    def _check_credentials(self, content: dict[str, Any], component: Component, scope: Scope) -> None:
        """Look for OAuth credentials where they are kept here; a service is asked by runs only (AU-3)."""
        credentials_id = credentials_id_of(content)
        if credentials_id and not is_broker(self.settings.oauth):
            stored = StoredCredentials(Path(self.settings.oauth))
            record = found_credentials(stored, component.id, credentials_id)
            file = stored.path(component.id, credentials_id)
            self.found.add(*cipher_problems(record, scope, known_keys(self.settings), files=[file]))
