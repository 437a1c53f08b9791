"""Whether the API is there: the only call that takes no credentials."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

router = APIRouter(tags=["Health"])


class Health(BaseModel):
    """That it is."""

    status: str


@router.get("/health", summary="Is the API there?")
def health() -> Health:
    """Answers as long as the API server runs; needs no credentials and tells nothing else."""
    return Health(status="ok")
