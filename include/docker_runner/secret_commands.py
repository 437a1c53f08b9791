"""``docker-runner encrypt`` and ``docker-runner oauth …``: secrets as their owners handle them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from docker_runner.encryption import KINDS, Encryptor, Scope
from docker_runner.encryption_keys import add_key, encryptor_of, key_file, keys_are_in_file, new_key
from docker_runner.errors import ConfigurationError, UserError
from docker_runner.settings import Settings

if TYPE_CHECKING:
    from docker_runner.oauth import StoredCredentials
    from docker_runner.rotation import Rotation
    from docker_runner.secret_files import SecretFile

oauth = typer.Typer(help="OAuth credentials that components are given.", no_args_is_help=True)
_BRANCH_TYPES = ("default", "dev")


def encrypt(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]…",
            help="project directories, folders or files in one, or component definitions; with --component any JSON "
            "files. Their # values are encrypted in place",
        ),
    ] = None,
    component: Annotated[
        str, typer.Option(help="component that may read the secrets, where the path does not tell it")
    ] = "",
    configuration: Annotated[str, typer.Option(help="with --component: configuration that may read them")] = "",
    scope: Annotated[str, typer.Option(help=f"who may read the secrets: {', '.join(KINDS)}")] = "",
    branch_type: Annotated[
        str, typer.Option(help="default or dev, for the scopes of a branch type, where the path does not tell it")
    ] = "default",
    value: Annotated[bool, typer.Option("--value", help="encrypt one value read from standard input")] = False,
    definition: Annotated[bool, typer.Option("--definition", help="for the component's own definition")] = False,
    rotate: Annotated[
        bool,
        typer.Option(
            "--rotate",
            help="make every cipher anew with the first key: in the project, the component definitions, the OAuth "
            "credentials, the vault and the stored states, or in the paths",
        ),
    ] = False,
    make_key: Annotated[bool, typer.Option("--new-key", help="print a new key for DOCKER_RUNNER_KEYS")] = False,
) -> None:
    """Encrypt secrets: values, files, whole project directories; or move them to a new key."""
    others = {
        "--component": component, "--configuration": configuration, "--scope": scope, "--value": value,
        "--definition": definition,
    }  # fmt: skip
    if make_key:
        _refuse_others("--new-key", {**others, "--rotate": rotate, "PATH": paths})
        print(new_key())
        return
    settings = Settings.from_environment()
    if rotate:
        _refuse_others("--rotate", others)
        _rotate(paths or [], settings)
        return
    kind = _kind(scope, branch_type, definition=definition)
    if value == bool(paths):
        raise UserError("Name files or folders, or give --value and the value on standard input.")
    if value and not component:
        raise UserError("Name the component that may read the value: --component ID.")
    if configuration and not component:
        raise UserError("--configuration needs --component ID: paths in a project tell whose secrets they hold.")
    if "configuration" in scope and component and not configuration:
        raise UserError(f"The scope {scope} needs --configuration ID with --component.")
    if component:
        from docker_runner.project.configuration import Project

        given = Scope(component, Project(settings.project).id, configuration, branch_type)
    encryptor = encryptor_of(settings, create=True)
    if value:
        plain = _without_line_end(sys.stdin.read())
        if not plain:
            raise UserError("There is no value on standard input.")
        print(encryptor.encrypt_value(plain, given, kind=kind))
        if not definition:
            # A definition may be written with its secrets in it from the beginning.
            _warn_if_unregistered(component, settings)
        return
    from docker_runner.documents import read_json
    from docker_runner.job.secret_checks import unsealed_notes
    from docker_runner.secret_files import SecretFile, encrypt_files

    files = (
        [SecretFile(path, given, kind) for path in paths or []]
        if component
        else list(_files_at(paths or [], settings, kind if scope else ""))
    )
    encrypted = encrypt_files(files, encryptor)
    for path, number in encrypted.items():
        print(f"{path}: {number} {'value' if number == 1 else 'values'} encrypted.")
    if not encrypted:
        print(f"Nothing to encrypt in {len(files)} {'file' if len(files) == 1 else 'files'}.")
    for file in files:
        for note in unsealed_notes(read_json(file.path), files=[file.path]):
            print(f"note: {note}")


def _warn_if_unregistered(component: str, settings: Settings) -> None:
    """Say that no run can read a cipher yet: its component may be registered later, or its id is misspelt."""
    from docker_runner.errors import NotFoundError
    from docker_runner.project.component import ComponentRegistry
    from docker_runner.terminal_text import printable

    try:
        ComponentRegistry(settings.components).get(component)
    except NotFoundError as error:
        print(f"Warning: only this component can read the value. {printable(str(error))}", file=sys.stderr)
    except ConfigurationError:
        # It is there; `validate` tells what is wrong with its definition.
        return


def _refuse_others(option: str, others: Mapping[str, Any]) -> None:
    """Refuse what would have no effect beside an option."""
    if given := [name for name, value in others.items() if value]:
        raise UserError(f"{option} goes without {' and '.join(given)}.")


def _kind(scope: str, branch_type: str, *, definition: bool) -> str:
    if scope and scope not in KINDS:
        raise UserError(f"There is no scope {scope!r}; there are: {', '.join(KINDS)}.")
    if branch_type not in _BRANCH_TYPES:
        raise UserError(f"--branch-type must be {' or '.join(_BRANCH_TYPES)}, not {branch_type!r}.")
    if definition and scope not in ("", "component"):
        raise UserError(f"A component's own definition belongs to no project: it takes no scope {scope}.")
    return KINDS["component" if definition else scope or "project"]


def _without_line_end(text: str) -> str:
    """Standard input without the line end that an echo or an editor leaves; a secret of several lines keeps its own."""
    return text.rstrip("\n") if text.count("\n") <= 1 else text.removesuffix("\n")


def _files_at(paths: list[Path], settings: Settings, kind: str) -> Iterator[SecretFile]:
    """The files of configurations and component definitions that lie at paths."""
    from docker_runner.secret_files import SecretFile, files_of
    from docker_runner.validation_targets import targets

    for path in paths:
        if not path.exists():
            raise UserError(f"There is no {path}.")
        found = targets([str(path)], settings)
        for component_id in found.components:
            file = settings.components / f"{component_id}.json"
            yield SecretFile(file, Scope(component_id), KINDS["component"], within=settings.components)
        for project, key in found.configurations:
            yield from files_of(project, key, kind or KINDS["project"])


def _rotate(paths: list[Path], settings: Settings) -> None:
    from docker_runner.oauth import is_broker
    from docker_runner.rotation import files_to_rotate, rotate_files
    from docker_runner.storage_token_commands import refuse_unless_manager

    if not paths:
        refuse_unless_manager("encrypt --rotate")
    for path in paths:
        if not path.exists():
            raise UserError(f"There is no {path}.")
    oauth_folder = [] if is_broker(settings.oauth) else [Path(settings.oauth)]
    # Before there is a new key: what keeps a file from being made anew must not be found when half of them are.
    files = files_to_rotate(paths or [settings.project, settings.components, settings.vault, *oauth_folder])
    if keys_are_in_file(settings) and key_file(settings).exists() and not paths:
        add_key(key_file(settings))
    encryptor = encryptor_of(settings)
    rotation = rotate_files(files, encryptor)
    print(f"{rotation.ciphers} ciphers in {rotation.files} files are made anew with the first key.")
    if not paths:
        states = _rotate_states(settings, encryptor, rotation)
        print(f"{states} stored states are made anew with the first key.")
    if rotation.left:
        shown = "\n  ".join(dict.fromkeys(rotation.left))
        raise UserError(
            f"The ciphers of these places stay as they are, as no key can read them; keep the older keys:\n  {shown}"
        )
    where = str(key_file(settings)) if keys_are_in_file(settings) else "DOCKER_RUNNER_KEYS"
    if not paths:
        print(f"When no run that started before is under way any more, the older keys can be removed from {where}.")


def _rotate_states(settings: Settings, encryptor: Encryptor, rotation: Rotation) -> int:
    from docker_runner.rotation import rotated_document
    from docker_runner.storage.lake.lake import Lake
    from docker_runner.storage.lake.location import parse_location

    with Lake(parse_location(settings.storage)) as lake:
        return lake.change_states(
            lambda state: rotated_document(state, encryptor, rotation, place="a state in Storage")
        )


@oauth.command("add")
def add_credentials(
    component: Annotated[str, typer.Argument(help="component that is given the credentials")],
    credentials_id: Annotated[str, typer.Argument(metavar="ID", help="id that configurations name")],
    file: Annotated[
        Path | None,
        typer.Option(help="JSON file with #data, and appKey, #appSecret and others; by default standard input"),
    ] = None,
) -> None:
    """Store credentials, encrypted; in place of those with the same id."""
    from datetime import UTC, datetime

    from docker_runner.documents import checked, parse_json, read_json
    from docker_runner.oauth import encrypted_record
    from docker_runner.project.component import ComponentRegistry
    from docker_runner.project.configuration import Project

    settings = Settings.from_environment()
    store = _store(settings)
    store.path(component, credentials_id)
    ComponentRegistry(settings.components).get(component)
    name = file or "standard input"
    content = (
        read_json(file, or_pipe=True) if file else parse_json(sys.stdin.read(), file="standard input", unique=True)
    )
    for key in ("data", "appSecret"):
        if isinstance(content, dict) and key in content:
            raise ConfigurationError(f"This is a secret, which is encrypted only as #{key}.", file=name, key=key)
    record: dict[str, Any] = checked(content, "oauth-credentials", file=name)
    record = {"created": datetime.now(UTC).isoformat(timespec="seconds"), **record, "id": credentials_id}
    encryptor = encryptor_of(settings, create=True)
    project_id = Project(settings.project).id
    store.put(
        component, credentials_id, encrypted_record(record, encryptor, component_id=component, project_id=project_id)
    )
    print(f"Stored the OAuth credentials {credentials_id} for {component}.")


@oauth.command("list")
def list_credentials(
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON document, for programs")] = False,
) -> None:
    """List the stored credentials, without their secrets; those that are spoilt with what is wrong."""
    store = _store(Settings.from_environment())
    shown = []
    for component, credentials_id in store.ids():
        problem, record = "", {}
        try:
            record = store.get(component, credentials_id)
        except UserError as error:
            problem = str(error)
        open_part = {key: record.get(key) or "" for key in ("authorizedFor", "created", "oauthVersion", "appKey")}
        shown.append({"component": component, "id": credentials_id, **open_part, "problem": problem})
    if as_json:
        print(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    for item in shown:
        told = f"broken: {item['problem']}" if item["problem"] else f"{item['created']}  {item['authorizedFor']}"
        print(f"{item['component']}  {item['id']}  {told}".rstrip())
    if not shown:
        print("There are no OAuth credentials yet.")


@oauth.command("remove")
def remove_credentials(
    component: Annotated[str, typer.Argument(help="component")],
    credentials_id: Annotated[str, typer.Argument(metavar="ID", help="id of the credentials")],
) -> None:
    """Remove stored credentials."""
    _store(Settings.from_environment()).remove(component, credentials_id)
    print(f"Removed the OAuth credentials {credentials_id} for {component}.")


def _store(settings: Settings) -> StoredCredentials:
    from docker_runner.oauth import StoredCredentials, is_broker

    if is_broker(settings.oauth):
        raise UserError(f"OAuth credentials are kept by {settings.oauth} (DOCKER_RUNNER_OAUTH), not here.")
    return StoredCredentials(Path(settings.oauth))
