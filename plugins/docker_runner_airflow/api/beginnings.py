"""A run that was stopped, told apart from the same run begun anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.models import DagRun
    from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Beginning:
    """One beginning of a DAG run.

    Attributes:
        clear_number: how often a person had cleared the run before, which begins it anew.
    """

    dag_id: str
    run_id: str
    clear_number: int

    @classmethod
    def of(cls, run: DagRun) -> Beginning:
        """That of a run as it is now."""
        return cls(run.dag_id, run.run_id, run.clear_number)

    def ended_run(self, session: Session) -> DagRun | None:
        """The run, if it has ended and nobody has begun it anew."""
        from airflow.models import DagRun
        from airflow.utils.state import State
        from sqlalchemy import select

        return session.scalar(
            select(DagRun).where(
                DagRun.dag_id == self.dag_id,
                DagRun.run_id == self.run_id,
                DagRun.clear_number == self.clear_number,
                DagRun.state.in_(State.finished_dr_states),
            )
        )
