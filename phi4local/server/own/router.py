"""The endpoints below `/phi4local`: for the command line on this machine, or with a key on another one.

To stop the server, or to unload a model, is for who started it: their command line reads a secret from a file
that nobody else can read. A web page knows no such thing, and another user of this machine does not either.
"""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from phi4local.runtime.pool import ModelPool
from phi4local.runtime.remote.records import proof
from phi4local.server.access import is_one_of
from phi4local.server.options import ServerOptions
from phi4local.server.own.answers import Prompt, Wanted, counted, lines
from phi4local.server.own.state import state
from phi4local.server.replies import streamed
from phi4local.server.strict import Strict

router = APIRouter(prefix="/phi4local", include_in_schema=False)

_NONCE = re.compile(r"[\w-]{16,100}", re.ASCII)


class UnloadRequest(Strict):
    """Which model goes."""

    model: str


@router.get("/hello")
async def hello(request: Request, nonce: str) -> dict[str, str]:
    """Prove that this is the server of a record; told to everybody, and of use to who has the record."""
    options: ServerOptions = request.app.state.options
    if not options.owner_token or not _NONCE.fullmatch(nonce):
        raise HTTPException(404)
    return {"proof": proof(options.owner_token, nonce)}


@router.get("/state")
async def told_state(request: Request) -> dict[str, Any]:
    """Say what is loaded, and how."""
    pool: ModelPool = request.app.state.pool
    guarded = request.app.state.answering.guard is not None
    return state(pool.loaded(), guarded=guarded, owner=_is_owner(request))


@router.post("/stop")
async def stop(request: Request) -> dict[str, int]:
    """Stop as on Ctrl-C: nobody new gets in, and running answers have their time to end."""
    _require_owner(request)
    running = sum(one.users for one in request.app.state.pool.loaded())
    request.app.state.stop()
    return {"running": running}


@router.post("/unload")
async def unload(request: Request, wanted: UnloadRequest) -> dict[str, bool]:
    """Unload a model as soon as nobody uses it."""
    _require_owner(request)
    return {"unloaded": await request.app.state.pool.release(wanted.model)}


@router.post("/answer")
async def answer(request: Request, wanted: Wanted) -> Response:
    """Answer as a model that is loaded at the client's would, event by event."""
    frames = lines(request.app.state.answering, wanted, request.app.state.note)
    return await streamed(request, frames, media_type="application/x-ndjson")


@router.post("/count")
async def count(request: Request, prompt: Prompt) -> dict[str, Any]:
    """Count the tokens of a prompt."""
    return await counted(request.app.state.answering, prompt, with_ids=False)


@router.post("/tokenize")
async def tokenize(request: Request, prompt: Prompt) -> dict[str, Any]:
    """Return the token ids of a prompt."""
    return await counted(request.app.state.answering, prompt, with_ids=True)


def _is_owner(request: Request) -> bool:
    options: ServerOptions = request.app.state.options
    return bool(options.owner_token) and is_one_of(request.scope["headers"], [options.owner_token.encode()])


def _require_owner(request: Request) -> None:
    if not _is_owner(request):
        raise HTTPException(403, "only the command line of the person who started the server may do this")
