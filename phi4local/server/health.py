"""`/health`: not that the process is there, but that tokens come out of it."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from phi4local.errors import EngineBusyError
from phi4local.runtime.model import Model
from phi4local.runtime.pool import ModelPool
from phi4local.server.openai.bodies import ERRORS

router = APIRouter(tags=["operations"])


class HealthBody(BaseModel):
    """What a load balancer wants to know; `ready` means that a token came out just now."""

    status: Literal["ok"]
    models: dict[str, Literal["ready", "busy", "silent"]]


@router.get("/health", responses={200: {"model": HealthBody, "description": "Tokens come out"}, **ERRORS})
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
