"""What callers send to start jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from docker_runner.documents import scalar_text
from docker_runner_airflow.api.bodies import Body

Scalar = str | int | float | bool


class VariableValue(Body):
    """The value of a variable; other scalars become texts (VR-8)."""

    name: Scalar
    value: Scalar

    @field_validator("name", "value")
    @classmethod
    def _not_empty(cls, value: Scalar) -> Scalar:
        """Refuse empty texts (VR-3)."""
        if value == "":
            raise PydanticCustomError("empty", "Must not be empty")
        return value


class VariableValuesData(Body):
    """Values of variables; an empty list is none (VR-4)."""

    values: list[VariableValue]

    @model_validator(mode="after")
    def _each_once(self) -> VariableValuesData:
        seen: set[str] = set()
        for name in (scalar_text(item.name) for item in self.values):
            if name in seen:
                raise PydanticCustomError("repeated", "The variable {name} has several values", {"name": name[:100]})
            seen.add(name)
        return self


class RunBody(Body):
    """What is run (API-30)."""

    config: Scalar | None = Field(None, description="Id of a stored configuration.")
    row: Any = Field(None, description="Id of the only row of it to run.")
    configData: dict[str, Any] | None = Field(  # noqa: N815
        None,
        description="A whole configuration to run. With `config` too, the results belong to that configuration, whose "
        "stored content is not used. Values of keys that begin with `#` are encrypted before anything is stored.",
    )
    variableValuesId: Scalar | None = Field(None, description="Id of stored values of variables.")  # noqa: N815
    variableValuesData: VariableValuesData | None = None  # noqa: N815

    @classmethod
    def check_first(cls, value: dict[str, Any]) -> None:
        """Check in the order that callers know (API-31)."""
        if given(value.get("row")) and not given(value.get("config")):
            raise PydanticCustomError("row", "A row is given without its configuration: give config too")
        if not given(value.get("config")) and not value.get("configData"):
            raise PydanticCustomError(
                "nothing", "Nothing is given to run: give config, the id of a stored configuration, or configData"
            )

    @model_validator(mode="after")
    def _one_source_of_values(self) -> RunBody:
        refuse_two_sources(self.variableValuesId, self.variableValuesData)
        return self


class SandboxBody(Body):
    """What a data folder is made of (API-37)."""

    configData: dict[str, Any] = Field(description="A whole configuration.")  # noqa: N815

    @field_validator("configData")
    @classmethod
    def _something(cls, value: dict[str, Any]) -> dict[str, Any]:
        """An empty one is none (CF-39)."""
        if not value:
            raise PydanticCustomError("empty", "Must have at least one node, e.g. storage")
        return value


def given(value: Any) -> bool:
    """Whether an id is given: null and an empty text are none."""
    return value is not None and value != ""


def refuse_two_sources(values_id: Scalar | None, data: VariableValuesData | None) -> None:
    """Refuse values beside the id of stored ones (VR-4)."""
    if given(values_id) and data and data.values:
        raise PydanticCustomError("two", "Give variableValuesId or variableValuesData, not both")


def values_asked(values_id: Scalar | None, data: VariableValuesData | None) -> Mapping[str, Any]:
    """The values of variables as a request has them."""
    variables = {scalar_text(item.name): scalar_text(item.value) for item in data.values} if data else {}
    return {"values": scalar_text(values_id), "variables": variables}
