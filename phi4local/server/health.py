"""`/health`: not that the process is there, but that tokens come out of it."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from phi4local.errors import EngineBusyError
from phi4local.runtime.model import Model
from phi4local.runtime.pool import LoadedModel, ModelPool
from phi4local.server.openai.bodies import ERRORS

router = APIRouter(tags=["operations"])


FRESH_SECONDS = 5.0
"""How long a token proves that tokens come out."""


class HealthBody(BaseModel):
    """What a load balancer wants to know; `ready` means that a token came out, now or a moment ago."""

    status: Literal["ok"]
    models: dict[str, Literal["ready", "busy", "silent"]]


@router.get("/health", responses={200: {"model": HealthBody, "description": "Tokens come out"}, **ERRORS})
async def health(request: Request) -> dict[str, Any]:
    """Say whether tokens come out of every model that is loaded; a failure is a 5xx with the reason."""
    proofs: Proofs = request.app.state.proofs
    return {"status": "ok", "models": await proofs.states()}


class Proofs:
    """Asks every loaded model for a token, at most once in some seconds however many ask.

    A model that writes answers just now is `busy`, and is not asked: nobody waits behind somebody's answer.

    Args:
        pool: the models.
    """

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool
        self._asking = asyncio.Lock()
        self._known: dict[str, tuple[Model, float]] = {}

    async def states(self) -> dict[str, str]:
        """Return the state of each loaded model.

        Raises:
            EngineError: a model failed.
        """
        async with self._asking:
            return {one.name: await self._state(one) for one in self._pool.loaded()}

    async def _state(self, one: LoadedModel) -> str:
        model, until = self._known.get(one.name, (None, 0.0))
        if model is one.model and time.monotonic() < until:
            return "ready"
        if one.users:
            return "busy"
        try:
            answer = await one.model.agenerate("a", max_tokens=1, temperature=0)
        except EngineBusyError:
            return "busy"
        self._known[one.name] = one.model, time.monotonic() + FRESH_SECONDS
        return "ready" if answer.token_ids else "silent"
