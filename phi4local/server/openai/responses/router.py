"""OpenAI's endpoint of responses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from phi4local.server.errors import message_of
from phi4local.server.openai.bodies import answers
from phi4local.server.openai.responses.bodies import InputTokensBody, ResponseBody
from phi4local.server.openai.responses.requests import ResponseRequest, ResponseTalk
from phi4local.server.openai.responses.response import OpenaiResponse
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

router = APIRouter(prefix="/v1/responses", tags=["OpenAI"])


@router.post("", responses=answers(ResponseBody, streams=True))
async def respond(request: Request, wanted: ResponseRequest) -> Response:
    """Answer a conversation, as items."""
    answering: Answering = request.app.state.answering
    task = wanted.as_task()
    tokens = None if task.sampling.logprobs is None else await answering.tokens(task.model)
    response = OpenaiResponse(task.model, wanted.echoed(), tokens)
    numbered, headers = answering.events(task), report(wanted.ignored())
    if wanted.stream:
        frames = with_error_frame(
            named_frames(numbered, response.events),
            lambda error: named_frame(response.failed(message_of(error))),
        )
        return await streamed(request, frames, media_type="text/event-stream", headers=headers)
    await unless_disconnected(request, taken(numbered, response.take))
    return JSONResponse(response.whole(), headers=headers)


@router.post("/input_tokens", responses=answers(InputTokensBody))
async def count(request: Request, wanted: ResponseTalk) -> dict[str, int | str]:
    """Count the tokens of a conversation, without answering it."""
    answering: Answering = request.app.state.answering
    tokens = await answering.count(wanted.counted())
    return {"object": "response.input_tokens", "input_tokens": tokens}
