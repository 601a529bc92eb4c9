"""OpenAI's endpoints."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from phi4local.errors import Phi4LocalError, UnknownModelError
from phi4local.runtime.pool import ModelPool
from phi4local.server.answering import Answering
from phi4local.server.errors import field_of, message_of, status_of
from phi4local.server.openai.errors import error_body
from phi4local.server.openai.frames import DONE, ChatCompletion, frame
from phi4local.server.openai.requests import ChatRequest
from phi4local.server.replies import streamed, unless_disconnected
from phi4local.server.task import Task

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

router = APIRouter(prefix="/v1", tags=["OpenAI"])


@router.post("/chat/completions")
async def chat(request: Request, wanted: ChatRequest) -> Response:
    """Answer a conversation."""
    task = wanted.as_task()
    answering: Answering = request.app.state.answering
    usage = wanted.stream_options is not None and wanted.stream_options.include_usage
    completion = ChatCompletion(task.model, include_usage=usage)
    if wanted.stream:
        frames = _frames(answering, task, completion)
        return await streamed(request, frames, media_type="text/event-stream")
    return JSONResponse(await unless_disconnected(request, _whole(answering, task, completion)))


@router.get("/models")
async def models(request: Request) -> dict[str, Any]:
    """List the models that a request can name."""
    pool: ModelPool = request.app.state.pool
    return {"object": "list", "data": [_model(name) for name in pool.names()]}


@router.get("/models/{name:path}")
async def model(request: Request, name: str) -> dict[str, Any]:
    """Describe one model."""
    pool: ModelPool = request.app.state.pool
    if name not in pool.names():
        raise UnknownModelError(name, (), known=pool.names())
    return _model(name)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "phi4local"}


async def _frames(answering: Answering, task: Task, completion: ChatCompletion) -> AsyncGenerator[str, None]:
    begun = False
    try:
        async with contextlib.aclosing(answering.events(task)) as events:
            async for number, event in events:
                for chunk in completion.chunks(number, event):
                    begun = True
                    yield frame(chunk)
    except Phi4LocalError as error:
        if not begun:
            raise  # its own status tells more than an event
        yield frame(error_body(status_of(error), message_of(error), field_of(error)))
        return
    for chunk in completion.last_chunks():
        yield frame(chunk)
    yield DONE


async def _whole(answering: Answering, task: Task, completion: ChatCompletion) -> dict[str, Any]:
    async with contextlib.aclosing(answering.events(task)) as events:
        async for number, event in events:
            completion.take(number, event)
    return completion.whole()
