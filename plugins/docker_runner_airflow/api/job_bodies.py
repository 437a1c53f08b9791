"""What callers of the newer queue send to start a job (API-55, LC-80)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from docker_runner_airflow.api.bodies import Body
from docker_runner_airflow.api.run_bodies import Scalar, VariableValuesData, given, refuse_two_sources

_LONGEST_DELAY = timedelta(days=366)
_SECONDS = r"^[0-9]{1,9}$"


class Backend(BaseModel):
    """How large the containers are (LC-83); other keys are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True)

    type: Scalar | None = Field(None, description="Size of the containers: `xsmall`, `small`, `medium` or `large`.")
    containerType: Scalar | None = Field(None, description="The same; it counts before `type`.")  # noqa: N815
    context: Scalar | None = None


class Behavior(Body):
    """What happens when the job fails."""

    onError: Literal["stop", "warning"] | None = Field(  # noqa: N815
        None, description="`warning`: the job ends as a warning in place of an error."
    )


class JobBody(Body):
    """A job (LC-80)."""

    component: Scalar = Field(description="Id of a registered component.")
    config: Scalar | None = Field(None, description="Id of a stored configuration.")
    configData: dict[str, Any] | None = Field(  # noqa: N815
        None, description="A whole configuration to run; its `#` values are encrypted before anything is stored."
    )
    configRowIds: list[Scalar] | None = Field(None, description="Which rows to run; none is all.")  # noqa: N815
    mode: Literal["run", "forceRun", "debug"] = "run"
    tag: Scalar | None = Field(None, description="Tag of the component's image.")
    branchId: Scalar | None = Field(None, description="Folder or id of a branch.")  # noqa: N815
    parentRunId: Scalar | None = Field(  # noqa: N815
        None, description="Run id of what the job is part of; or the header `X-KBC-RunId`."
    )
    delay: Annotated[int, Field(ge=0)] | Annotated[str, StringConstraints(pattern=_SECONDS)] | None = Field(
        None, description="Seconds until the job starts."
    )
    delayedStartTime: str | None = Field(  # noqa: N815
        None, description="When the job starts, with a time zone, e.g. `2030-01-31T08:00:00Z`."
    )
    type: Literal["standard"] | None = Field(None, description="All rows run within one job.")
    parallelism: Scalar | None = Field(
        None, description="As in the configuration's `runtime.parallelism`, or null: only a configuration sets it."
    )
    variableValuesId: Scalar | None = Field(None, description="Id of stored values of variables.")  # noqa: N815
    variableValuesData: VariableValuesData | None = None  # noqa: N815
    backend: Backend | None = None
    behavior: Behavior | None = None
    orchestrationJobId: Scalar | None = Field(  # noqa: N815
        None, description="What the job is part of: jobs of the same one share artifacts."
    )
    deduplicationId: Scalar | None = Field(  # noqa: N815
        None, description="While a job with this id is not finished, it is answered, and no other one is started."
    )
    previousJobId: Scalar | None = Field(None, description="The job that this one repeats; kept with it.")  # noqa: N815

    @field_validator("component")
    @classmethod
    def _component_given(cls, value: Scalar) -> Scalar:
        if not given(value):
            raise PydanticCustomError("empty", "Must be the id of a component")
        return value

    @field_validator("delayedStartTime")
    @classmethod
    def _moment(cls, value: str | None) -> str | None:
        """Refuse what is no moment, or one nobody will live to see."""
        if value is not None and not datetime.now(UTC) + _LONGEST_DELAY >= _parsed(value):
            raise PydanticCustomError("late", "Must be within a year")
        return value

    @field_validator("delay")
    @classmethod
    def _not_too_long(cls, value: int | str | None) -> int | str | None:
        if value is not None and int(value) > _LONGEST_DELAY.total_seconds():
            raise PydanticCustomError("late", "Must be within a year")
        return value

    @model_validator(mode="after")
    def _complete(self) -> JobBody:
        """Check what belongs together."""
        if not given(self.config) and not self.configData:
            raise PydanticCustomError(
                "nothing", "Nothing is given to run: give config, the id of a stored configuration, or configData"
            )
        if self.configRowIds and not given(self.config):
            raise PydanticCustomError("row", "Rows are given without their configuration: give config too")
        if self.delay is not None and self.delayedStartTime is not None:
            raise PydanticCustomError("two", "Give delay or delayedStartTime, not both")
        refuse_two_sources(self.variableValuesId, self.variableValuesData)
        return self

    @property
    def after(self) -> datetime | None:
        """When the job starts; None is now."""
        if self.delayedStartTime is not None:
            return _parsed(self.delayedStartTime)
        return datetime.now(UTC) + timedelta(seconds=int(self.delay)) if self.delay is not None else None


def _parsed(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise PydanticCustomError("moment", "Must be a time such as 2030-01-31T08:00:00Z") from None
    if moment.tzinfo is None:
        raise PydanticCustomError("zone", "Must have a time zone, such as the Z of 2030-01-31T08:00:00Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("moment", "Must be a time such as 2030-01-31T08:00:00Z") from None
