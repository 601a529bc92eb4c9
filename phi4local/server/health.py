"""`/health`: not that the process is there, but that tokens come out of it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from phi4local.errors import EngineBusyError
from phi4local.runtime.model import Model
from phi4local.runtime.pool import ModelPool

router = APIRouter(tags=["operations"])


@router.get("/health")
async def health(request: Request) -> dict[str, Any]:
    """Say whether tokens come out of every model that is loaded; a failure is a 5xx with the reason."""
    pool: ModelPool = request.app.state.pool
    states = {loaded.name: await _state(loaded.model) for loaded in pool.loaded()}
    return {"status": "ok", "models": states}


async def _state(model: Model) -> str:
    try:
        answer = await model.agenerate("a", max_tokens=1, temperature=0)
    except EngineBusyError:
        return "busy"
    return "ready" if answer.token_ids else "silent"
