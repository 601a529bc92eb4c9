"""Anthropic's endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from phi4local.server.anthropic.bodies import CountBody, MessageBody, answers
from phi4local.server.anthropic.errors import error_body
from phi4local.server.anthropic.frames import AnthropicMessage
from phi4local.server.anthropic.requests import MessagesRequest, Talk
from phi4local.server.errors import body_for
from phi4local.server.replies import (
    named_frame,
    named_frames,
    streamed,
    taken,
    unless_disconnected,
    with_error_frame,
)
from phi4local.server.strict import report

if TYPE_CHECKING:
    from phi4local.server.answering import Answering

router = APIRouter(prefix="/v1/messages", tags=["Anthropic"])


@router.post("", responses=answers(MessageBody, streams=True))
async def messages(request: Request, wanted: MessagesRequest) -> Response:
    """Answer a conversation."""
    answering: Answering = request.app.state.answering
    task, headers = wanted.as_task(), report(wanted.ignored())
    numbered = answering.events(task)
    if wanted.stream:
        counted = await unless_disconnected(request, answering.count(task))
        message = AnthropicMessage(wanted.model, input_tokens=counted)
        frames = with_error_frame(
            named_frames(numbered, message.events), lambda error: named_frame(body_for(error_body, error))
        )
        return await streamed(request, frames, media_type="text/event-stream", headers=headers)
    message = AnthropicMessage(wanted.model)
    await unless_disconnected(request, taken(numbered, message.take))
    return JSONResponse(message.whole(), headers=headers)


@router.post("/count_tokens", responses=answers(CountBody))
async def count(request: Request, wanted: Talk) -> dict[str, int]:
    """Count the tokens of a conversation, without answering it."""
    return {"input_tokens": await request.app.state.answering.count(wanted.counted())}
