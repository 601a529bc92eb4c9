"""Ollama's endpoints about models: what is here, what is loaded, and how to get, copy and remove one."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from phi4local import __version__
from phi4local.runtime.fetch import plan_pull
from phi4local.runtime.pool import require_served
from phi4local.server.ollama import changes, records
from phi4local.server.ollama.bodies import (
    NDJSON,
    NOTHING,
    ProcessesBody,
    ShowBody,
    StatusBody,
    TagsBody,
    VersionBody,
    answers,
)
from phi4local.server.ollama.frames import error_line, line
from phi4local.server.ollama.progress import Statuses, nothing, told
from phi4local.server.replies import streamed, unless_disconnected, with_error_frame
from phi4local.server.strict import report

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from phi4local.runtime.pool import ModelPool

INTERFACE = "0.12.11"
"""The version of Ollama whose requests are understood, the first with `logprobs`; clients want a minimum."""

GREETING = "Ollama is running"
"""What clients look for at `/`, to know which interface this is."""

router = APIRouter(prefix="/api", tags=["Ollama"])


class ShowRequest(changes.Named):
    """A request to `/api/show`."""

    verbose: bool | None = None


def greeting() -> Response:
    """Tell clients at `/` that Ollama's interface is spoken; browsers get the page there."""
    return PlainTextResponse(GREETING)


@router.get("/version", responses=answers(VersionBody))
@router.head("/version", include_in_schema=False)
async def version() -> dict[str, str]:
    """Say which version of Ollama's interface this is."""
    return {"version": INTERFACE, "phi4local": __version__}


@router.get("/tags", responses=answers(TagsBody))
@router.head("/tags", include_in_schema=False)
async def tags(request: Request) -> dict[str, Any]:
    """List the models that a request can name."""
    return {"models": await asyncio.to_thread(records.tags, _pool(request).loaded())}


@router.get("/ps", responses=answers(ProcessesBody))
async def ps(request: Request) -> dict[str, Any]:
    """List the models in memory."""
    return {"models": await asyncio.to_thread(records.running, _pool(request).loaded())}


@router.post("/show", responses=answers(ShowBody))
async def show(wanted: ShowRequest) -> Response:
    """Describe a model; nothing is loaded."""
    name = changes.plain_name(wanted.target())
    require_served(name)
    body = await asyncio.to_thread(records.shown, name, verbose=bool(wanted.verbose))
    return JSONResponse(body)


@router.post("/copy", responses=NOTHING)
async def copy(wanted: changes.CopyRequest) -> Response:
    """Give a model a second name; no bytes are copied."""
    await asyncio.to_thread(wanted.run)
    return Response()


@router.delete("/delete", responses=NOTHING)
async def delete(request: Request, wanted: changes.DeleteRequest) -> Response:
    """Remove a model; where it is loaded, it is unloaded first."""
    name, pool = wanted.target(), _pool(request)
    loaded_as = await asyncio.to_thread(changes.served_name, pool.loaded(), name)
    await asyncio.to_thread(changes.delete, name)
    await pool.release(loaded_as)
    return Response()


@router.post("/pull", responses=answers(StatusBody, streams=True))
async def pull(request: Request, wanted: changes.PullRequest) -> Response:
    """Download a model; a client that leaves stops it, and the next try goes on there."""
    reference = await asyncio.to_thread(wanted.reference)
    if reference is None:
        return await _told(request, nothing(), stream=wanted.streams)
    plan = await unless_disconnected(request, asyncio.to_thread(plan_pull, reference))
    statuses = told(lambda tell: changes.pull(plan, tell))
    return await _told(request, statuses, stream=wanted.streams)


@router.post("/create", responses=answers(StatusBody, streams=True))
async def create(request: Request, wanted: changes.CreateRequest) -> Response:
    """Make a model of one that is here, with other words and settings."""
    described = await asyncio.to_thread(wanted.described)
    headers = report(wanted.ignored())
    statuses = _created(_pool(request), wanted.target(), told(lambda tell: wanted.run(described, tell)))
    return await _told(request, statuses, stream=wanted.streams, headers=headers)


async def _created(pool: ModelPool, name: str, statuses: Statuses) -> Statuses:
    """Yield what happens; what was called like this before is unloaded at the end."""
    async with contextlib.aclosing(statuses) as open_statuses:
        async for status in open_statuses:
            yield status
    for one in pool.loaded():
        if one.name in (name, f"{name}:latest", name.removesuffix(":latest")):
            await pool.release(one.name)


def _pool(request: Request) -> ModelPool:
    pool: ModelPool = request.app.state.pool
    return pool


async def _told(
    request: Request, statuses: Statuses, *, stream: bool, headers: dict[str, str] | None = None
) -> Response:
    if stream:
        return await streamed(
            request, with_error_frame(_lines(statuses), error_line), media_type=NDJSON, headers=headers
        )
    await unless_disconnected(request, _ended(statuses))
    return JSONResponse(changes.SUCCESS, headers=headers)


async def _lines(statuses: Statuses) -> AsyncGenerator[str, None]:
    async with contextlib.aclosing(statuses) as open_statuses:
        async for status in open_statuses:
            yield line(status)
    yield line(changes.SUCCESS)


async def _ended(statuses: Statuses) -> None:
    async with contextlib.aclosing(statuses) as open_statuses:
        async for _ in open_statuses:
            pass
