"""Has every image of a job ready: pulled with the right login, or built from a git repository (LC-33, IG-8, D2)."""

from __future__ import annotations

from typing import Any

from docker_runner.documents import scalar_text
from docker_runner.encryption import Scope, secret_values
from docker_runner.engine.git_images import BuildRequest, build_image
from docker_runner.engine.git_repository import GitRepository
from docker_runner.engine.images import ImageRequest, PreparedImage, prepare_image
from docker_runner.engine.outlook import ImageOutlook, look_up
from docker_runner.engine.redaction import Redactor
from docker_runner.engine.registries import Login, ecr_login, registry_of
from docker_runner.errors import ApplicationError, UserError
from docker_runner.job.definition import Job, JobDefinition, Stage
from docker_runner.job.tools import Tools
from docker_runner.project.build_options import build_plan
from docker_runner.project.component import Component
from docker_runner.project.image_definition import ECR, has_login, registry_type


def pull_images(job: Job, tools: Tools) -> dict[str, Any]:
    """Have every image of the job ready; what runs later is exactly what was found here (LC-33, D2).

    Args:
        job: whose images.
        tools: the engine, the keys, the log, logins to registries.

    Returns:
        ``{"images": {name: image}}``, each image as of :meth:`PreparedImage.to_manifest`.

    Raises:
        UserError, ApplicationError: as of :func:`prepare_image` and :func:`build_image`.
    """
    images = {}
    for name, (row, stage) in job.images().items():
        prepare = _prepare if stage.component.build_options is None else _build
        images[name] = prepare(stage, row, tools).to_manifest()
    return {"images": images}


def outlook_of(stage: Stage, tools: Tools) -> ImageOutlook:
    """Which image a run would get now, without pulling it; of one that is built, the one that it is built on."""
    request = stage.component.image(stage.tag)
    return look_up(tools.engine, request, login=lambda: _login(stage.component, request, tools))


def _prepare(stage: Stage, row: JobDefinition, tools: Tools) -> PreparedImage:
    del row
    return _pull(stage.component, stage.component.image(stage.tag), tools)


def _pull(component: Component, request: ImageRequest, tools: Tools) -> PreparedImage:
    return prepare_image(tools.engine, request, tools.log.info, login=lambda: _login(component, request, tools))


def _login(component: Component, request: ImageRequest, tools: Tools) -> Login | None:
    """The login of the component's definition (CD-8), of Amazon (IG-11), else what this installation knows."""
    definition = component.data["definition"]
    repository = definition.get("repository") or {}
    if registry_type(definition) == ECR:
        return ecr_login(request.uri, scalar_text(repository.get("region")))
    if not has_login(definition):
        return tools.registry_login(registry_of(request.uri))
    plain = _decrypted(component, tools)["repository"]
    return Login(scalar_text(plain["username"]), plain["#password"])


def _build(stage: Stage, row: JobDefinition, tools: Tools) -> PreparedImage:
    component = stage.component
    parent = component.image(stage.tag)
    try:
        prepared = _pull(component, parent, tools)
    except UserError as error:
        # The one who runs the configuration cannot mend it (IG-30).
        raise ApplicationError(f"The image that {component.id} is built on cannot be had. {error}") from None
    values = tools.encryptor.decrypt(stage.build_values, row.scope, file=f"configuration {row.title}")
    plan = build_plan(_decrypted(component, tools)["build_options"], values)
    request = BuildRequest(
        component_id=component.id,
        repository=GitRepository(plan.repository, plan.username, plan.password),
        version=plan.version,
        parent=prepared,
        commands=plan.commands,
        entry_point=plan.entry_point,
        cache=plan.cache,
        layer_cache=plan.layer_cache,
        memory_bytes=component.memory_bytes,
    )
    return build_image(tools.engine, request, tools.log.info, redactor=Redactor(secret_values(values)))


def _decrypted(component: Component, tools: Tools) -> dict[str, Any]:
    """The component's image definition with its secrets, which are ciphers for this component alone (EN-4)."""
    plain: dict[str, Any] = tools.encryptor.decrypt(
        component.data["definition"], Scope(component=component.id), file=f"definition of {component.id}"
    )
    return plain
