"""``docker-runner new``: writes the files with which a configuration or a component begins."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from docker_runner.errors import EngineError, UserError
from docker_runner.settings import Settings
from docker_runner.validation_report import short_path

app = typer.Typer(help="Write a new configuration or component.", no_args_is_help=True)


@app.command()
def configuration(
    ids: Annotated[str, typer.Argument(metavar="COMPONENT/CONFIGURATION", help="the component and the new id")],
    name: Annotated[str, typer.Option(help="name for people; by default the id")] = "",
    content: Annotated[
        Path | None, typer.Option("--from", help="JSON file with the content of config.json; by default it is empty")
    ] = None,
    row: Annotated[list[str] | None, typer.Option(help="id of a row; may be repeated")] = None,
    branch: Annotated[
        str, typer.Option(help="folder or id of the branch; by default DOCKER_RUNNER_BRANCH, else the default branch")
    ] = "",
) -> None:
    """Write a configuration, or a flow (keboola.flow/ID), into the project directory and its manifest if any."""
    from docker_runner.arguments import ids as parsed
    from docker_runner.project.component import ComponentRegistry
    from docker_runner.project.configuration import Project
    from docker_runner.project.core_files import read_map
    from docker_runner.project.entries import FLOW_COMPONENTS
    from docker_runner.scaffold.configurations import NewConfiguration

    component_id, config_id = parsed(ids)
    settings = Settings.from_environment()
    is_flow = component_id in FLOW_COMPONENTS
    empty: dict[str, Any] = {"phases": [{"id": 1, "name": "First"}], "tasks": []} if is_flow else {"parameters": {}}
    new = NewConfiguration(
        project=Project(settings.project, branch=branch or settings.branch),
        component_id=component_id,
        component_type="flow" if is_flow else ComponentRegistry(settings.components).get(component_id).type,
        id=config_id,
        name=name or config_id,
        content=read_map(content) if content else empty,
        rows=tuple(row or ()),
    )
    folder = new.write()
    print(f"Wrote {short_path(folder)}. Edit config.json in it, then:")
    print(f"  docker-runner validate {component_id}/{config_id}")
    if not is_flow:
        print(f"  docker-runner run {component_id}/{config_id}")


@app.command()
def component(
    component_id: Annotated[str, typer.Argument(metavar="ID", help="the new id, e.g. my.first")],
    kind: Annotated[
        str, typer.Option("--type", help="extractor, writer, application, transformation, processor or other")
    ] = "application",
    title: Annotated[str, typer.Option(help="name for people; by default the id")] = "",
    images: Annotated[
        Path | None, typer.Option(help="folder for its image's folder; by default images beside the components")
    ] = None,
    build_image: Annotated[bool, typer.Option("--build/--no-build", help="build its image now")] = True,
) -> None:
    """Write a component in Python: Dockerfile, program, definition, an example and a test; and build its image."""
    from docker_runner.engine.client import Engine
    from docker_runner.scaffold.components import NewComponent, build

    settings = Settings.from_environment()
    new = NewComponent(
        id=component_id,
        type=kind,
        title=title or component_id,
        images=(images or settings.components.parent / "images").absolute(),
        components=settings.components,
    )
    for file in new.write():
        print(f"Wrote {short_path(file)}")
    folder = short_path(new.folder)
    by_hand = f"docker build --tag {new.image} {folder}"
    if build_image:
        try:
            with Engine.from_environment() as engine:
                build(new, engine)
        except (EngineError, UserError) as error:
            raise type(error)(f"{error}\nThe files are written; build the image with: {by_hand}") from None
        print(f"Built the image {new.image}. After each change build it again: {by_hand}")
    else:
        print(f"Build its image now, and after each change: {by_hand}")
    print("Try it:")
    print(f"  python -m pytest {folder}/tests")
    if kind == "processor":
        print(f"  and put {folder}/example.json into processors.before or processors.after of a configuration")
    else:
        print(f"  docker-runner run {new.id} --config {folder}/example.json")
        print(f"  docker-runner new configuration {new.id}/main --from {folder}/example.json")
